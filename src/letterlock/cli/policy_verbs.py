"""`letterlock policy`: what the policy door answers Postfix, and why."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from letterlock.admin.client import NotRunning, Queues, ServerError
from letterlock.app.output import json_text
from letterlock.cli.because import because_option
from letterlock.cli.configured import config_option, configured
from letterlock.mail.printable import printable

EXIT_NOT_RUNNING = 3  # as `letterlock status` has it


@click.group()
def policy() -> None:
    """Show what the policy door answers Postfix for a destination, and why; forget what it remembers.

    \b
    Exit status of all verbs:
       0  done
       1  the server could not
       2  usage error
       3  no server answers
      78  mistakes in the configuration
    """


@policy.command()
@click.argument("next_hop")
@config_option
def query(next_hop: str, config_path: Path | None) -> None:
    """Print as JSON what the policy door answers for NEXT_HOP.

    The output has everything that the answer was derived from. NEXT_HOP is what Postfix asks for: example.org,
    example.org:587 or [mx.example.org].
    """
    click.echo(json_text(_first(config_path, "policy.query", next_hop=next_hop), indent=2))


@policy.command()
@click.argument("next_hop")
@config_option
def explain(next_hop: str, config_path: Path | None) -> None:
    """Explain in words why the policy door answers for NEXT_HOP as it does, host by host."""
    click.echo("\n".join(_explained(_first(config_path, "policy.query", next_hop=next_hop))))


@policy.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@config_option
def dump(config_path: Path | None, as_json: bool) -> None:
    """List all destinations that the policy door remembers, with the answer for each."""
    rows = [row for each in _everyone(config_path, "policy.dump") for row in each["destinations"]]
    rows.sort(key=lambda row: str(row["next_hop"]))
    if as_json:
        click.echo(json_text({"count": len(rows), "destinations": rows}, indent=2))
        return
    for row in rows:
        click.echo(f"{row['next_hop']}  {printable(row['answer'])}  ({row['ends_in_seconds']} s)")
    click.echo(f"{len(rows)} destination{'s' * (len(rows) != 1)}", err=True)


@policy.command()
@because_option()
@config_option
def purge(config_path: Path | None, because: str | None) -> None:
    """Forget all answers: the next question is decided anew. Validated DNS answers and MTA-STS policies stay."""
    count = sum(int(each["purged"]) for each in _everyone(config_path, "policy.purge", because))
    click.echo(f"{count} answer{'s' * (count != 1)} forgotten")


def _explained(found: dict[str, Any]) -> Iterator[str]:
    """The answer, then what was found, in the order in which it was looked up."""
    yield f"{found['next_hop']}: {printable(str(found['answer']))}"
    yield f"  {printable(str(found['why']))}"
    yield f"  mx       {found['mx'] or 'not asked for'}"
    sts = found["mta_sts"]
    yield f"  mta-sts  {sts['mode'] or 'no policy'}{_detail(sts)}"
    yield f"  rule     {found['rule'] or 'none'}"
    yield from (_reason(each, "  ") for each in found["route"])
    for host in found["hosts"]:
        yield f"  {host['name']}  tlsa: {host['tlsa'] or 'not asked for'}"
        yield from (_reason(each, "    ") for each in host["reasons"])
    if found["remembered"] and found["remembered"]["answer"] != found["answer"]:
        ends = found["remembered"]["ends_in_seconds"]
        yield f"  for {ends} s more, Postfix gets what was found before: {printable(found['remembered']['answer'])}"


def _detail(sts: dict[str, Any]) -> str:
    parts = [f"{name} {printable(str(sts[name]))}" for name in ("id", "detail", "trouble") if sts.get(name)]
    return f" ({', '.join(parts)})" if parts else ""


def _reason(each: dict[str, str], indent: str) -> str:
    return f"{indent}{printable(each['sentence'])} [{each['standard']}]"


def _first(path: Path | None, verb: str, **values: object) -> dict[str, Any]:
    return _asked(path, lambda queues: [queues.first(verb, **values)])[0]


def _everyone(path: Path | None, verb: str, reason: str | None = None) -> list[dict[str, Any]]:
    return _asked(path, lambda queues: queues.everyone(verb, reason=reason))


def _asked(path: Path | None, ask: Callable[[Queues], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The answers of the running server; ends with its exit status when there is none."""
    options = configured(path)
    try:
        found: list[dict[str, Any]] = ask(Queues(options.queue_directory))
    except NotRunning as error:
        click.echo(f"error: {error}\n  hint: start it with `letterlock serve` or `letterlock companion run`", err=True)
        sys.exit(EXIT_NOT_RUNNING)
    except ServerError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    return found
