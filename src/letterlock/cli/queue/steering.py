"""The verbs of `letterlock queue` that change it: retry, hold, quarantine, release, remove, flush."""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import click

from letterlock.admin.client import EVERYTHING, Queues, ServerError
from letterlock.app.output import json_text
from letterlock.cli.because import because_option
from letterlock.cli.queue.server_link import Domain, among, filtered, named_ids, plural, progress, with_server
from letterlock.deliver.log import safe
from letterlock.queue.orders import RecipientState, Wanted

MAX_ABSENT_SHOWN = 10  # chosen: what fits on a screen
_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
_FREED = (RecipientState.HELD, RecipientState.QUARANTINED)


@dataclass(frozen=True, slots=True)
class OrderVerb:
    """An order to many: its name to the server, what to ask before it, and what to say when it is done."""

    order: str
    asked: str
    done: str
    unasked: bool = True  # whether it may be done to many without a terminal and without --yes
    because: str | None = None
    only: RecipientState | None = None


def _many(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command ids, filters, --all, --yes and --json."""
    decorators: list[_Decorator] = [
        with_server,
        click.option("--json", "as_json", is_flag=True, help='Print what was changed: {"ids": [...], "changed": n}.'),
        click.option("--yes", is_flag=True, help="Do not ask for confirmation."),
        click.option("--all", "everything", is_flag=True, help="Apply to every message that qualifies."),
        filtered,
        click.argument("ids", nargs=-1, metavar="[ID]..."),
    ]
    for decorate in decorators:
        command = decorate(command)
    return command


@click.command()
@because_option()
@_many
def retry(
    client: Queues, *, wanted: Wanted, ids: tuple[str, ...], everything: bool, because: str | None, **how: Any
) -> None:
    """Make messages due now.

    Select messages by ID (- reads IDs from standard input), with filters, or with --all.

    Held messages stay held. With --domain, only deliveries to that domain are tried.

    Exit status: 0 done; 1 if a message given by ID does not exist or cannot be changed in this way.
    """
    verb = OrderVerb("retry", "Try", "due now", because=because)
    _carry_out(client, verb, wanted, ids, everything=everything, **how)


@click.command()
@because_option("Your reason; it is stored and shown with the message, and in the log.")
@_many
def hold(
    client: Queues, *, wanted: Wanted, ids: tuple[str, ...], everything: bool, because: str | None, **how: Any
) -> None:
    """Hold messages until they are released.

    Select messages by ID (- reads IDs from standard input), with filters, or with --all.

    Held messages are not tried and do not expire. With --domain, only deliveries to that domain are held. An attempt in
    progress is not interrupted; recipients that it defers are held afterwards.

    Exit status: 0 done; 1 if a message given by ID does not exist or cannot be changed in this way.
    """
    _carry_out(client, OrderVerb("hold", "Hold", "held", because=because), wanted, ids, everything=everything, **how)


@click.command()
@because_option("Your reason; it is stored and shown with the message, and in the log.")
@_many
def quarantine(
    client: Queues, *, wanted: Wanted, ids: tuple[str, ...], everything: bool, because: str | None, **how: Any
) -> None:
    """Set messages aside for inspection.

    Select messages by ID (- reads IDs from standard input), with filters, or with --all.

    Like hold, but `release` with filters or --all does not release them, unless you add --state quarantined. The server
    itself quarantines messages whose rows in the queue are damaged.

    Exit status: 0 done; 1 if a message given by ID does not exist or cannot be changed in this way.
    """
    verb = OrderVerb("quarantine", "Quarantine", "quarantined", because=because)
    _carry_out(client, verb, wanted, ids, everything=everything, **how)


@click.command()
@because_option("Your reason; it is stored with the message, and in the log.")
@_many
def release(
    client: Queues, *, wanted: Wanted, ids: tuple[str, ...], everything: bool, because: str | None, **how: Any
) -> None:
    """Release held messages, so that they are due now.

    Select messages by ID (- reads IDs from standard input), with filters, or with --all.

    Quarantined messages are released by ID or with --state quarantined. A message that has expired in the meantime gets
    one more attempt, and is returned to its sender if that fails.

    Exit status: 0 done; 1 if a message given by ID does not exist or cannot be changed in this way.
    """
    if wanted.state not in (None, *_FREED):
        raise click.UsageError("only held or quarantined messages can be released")
    only = wanted.state if ids else wanted.state or RecipientState.HELD
    verb = OrderVerb("release", "Release", "released", because=because, only=only)
    _carry_out(client, verb, wanted, ids, everything=everything, **how)


@click.command()
@click.option("--bounce", is_flag=True, help="Return the messages to their senders (5.0.0).")
@because_option("Your reason, for the log; with --bounce it is quoted to the sender.")
@_many
def remove(
    client: Queues,
    *,
    wanted: Wanted,
    ids: tuple[str, ...],
    everything: bool,
    bounce: bool,
    because: str | None,
    **how: Any,
) -> None:
    """Remove messages, without notice to anybody unless --bounce is given.

    Select messages by ID (- reads IDs from standard input), with filters, or with --all.

    With --domain, only recipients in that domain are removed. Messages being tried now are not bounced, because they
    may still be delivered. Without a terminal, filters and --all need --yes.

    Exit status: 0 done; 1 if a message given by ID does not exist or cannot be changed in this way.
    """
    if bounce:
        verb = OrderVerb("return", "Return", "returned to their senders", unasked=False, because=because)
    else:
        verb = OrderVerb("remove", "Without notice, remove", "removed", unasked=False, because=because)
    _carry_out(client, verb, wanted, ids, everything=everything, **how)


@click.command()
@click.option("--domain", type=Domain(), help="Only deliveries to this domain.")
@because_option()
@click.option("--json", "as_json", is_flag=True, help='Print what was changed: {"ids": [...], "changed": n}.')
@with_server
def flush(client: Queues, *, domain: str | None, because: str | None, as_json: bool) -> None:
    """Make everything that waits due now.

    Held messages stay held.

    Exit status: 0 done, also if nothing waits.
    """
    verb, wanted = OrderVerb("flush", "Flush", "due now", because=because), Wanted(domain=domain)
    total = client.count(wanted) if sys.stderr.isatty() else None
    _tell(verb, _obeyed(client, verb, wanted, total), as_json=as_json)


def _carry_out(
    client: Queues,
    verb: OrderVerb,
    wanted: Wanted,
    words: tuple[str, ...],
    *,
    everything: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Ask if need be, do it page by page, and tell of it."""
    ids = named_ids(words)
    if ids is None and everything == (wanted != EVERYTHING):
        raise click.UsageError("select messages by ID, with filters, or with --all")
    if ids is not None and everything:
        raise click.UsageError("use either IDs or --all")
    if ids is None and verb.only is not None:
        wanted = replace(wanted, state=verb.only)
    meant = among(wanted, ids)
    total = None if meant.ids is None else len(meant.ids)
    if ids is None and not yes:
        total = _confirmed(client, verb, meant)
    if total is None and sys.stderr.isatty():
        total = client.count(meant)
    changed = _tell(verb, _obeyed(client, verb, meant, total), as_json=as_json, keep=ids is not None)
    if absent := [each for each in ids or () if each not in changed]:
        raise ServerError(_absence(verb, absent))


def _confirmed(client: Queues, verb: OrderVerb, wanted: Wanted) -> int | None:
    """Ask, on a terminal; how many messages it is about. Ends the program when the answer is no."""
    if not sys.stdin.isatty():
        if not verb.unasked:
            raise click.UsageError("without a terminal to ask on, this command needs --yes")
        return None
    total = client.count(wanted)
    if total:
        click.confirm(f"{verb.asked} {plural(total)}?", abort=True, err=True)
    return total


def _obeyed(client: Queues, verb: OrderVerb, wanted: Wanted, total: int | None) -> Iterator[list[str]]:
    """Pages of ids that were changed, with a bar on a terminal."""
    with progress(total) as advance:
        for matched, ids in client.order(verb.order, wanted, reason=verb.because, only=verb.only):
            yield ids
            advance(matched)


def _tell(verb: OrderVerb, pages: Iterable[list[str]], *, as_json: bool, keep: bool = False) -> set[str]:
    """Print what was changed as it comes; the ids, if they are to be kept."""
    count, kept = 0, set[str]()
    if as_json:
        click.echo('{"ids": [', nl=False)
    for ids in pages:
        if as_json and ids:
            click.echo((", " if count else "") + json_text(ids)[1:-1], nl=False)
        count += len(ids)
        if keep:
            kept.update(ids)
    if as_json:
        click.echo(f'], "changed": {count}}}')
    else:
        click.echo(f"{plural(count)} {verb.done}", err=True)
    return kept


def _absence(verb: OrderVerb, absent: list[str]) -> str:
    names = ", ".join(safe(each) for each in absent[:MAX_ABSENT_SHOWN])
    more = f" and {len(absent) - MAX_ABSENT_SHOWN:,} more" if len(absent) > MAX_ABSENT_SHOWN else ""
    hint = "`letterlock queue show ID` shows whether it is in the queue, and its state"
    return f"not {verb.done}: {names}{more}: no such message, or nothing to change\n  hint: {hint}"


ORDERS = (retry, hold, quarantine, release, remove, flush)
