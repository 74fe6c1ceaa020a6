"""`letterlock memory`: what is remembered of domains that mail went to."""

import asyncio
import collections
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import click

from letterlock.admin.client import NotRunning, Queues, ServerError
from letterlock.app.output import json_text
from letterlock.cli.because import because_option
from letterlock.cli.configured import config_option, configured
from letterlock.cli.queue.text import span
from letterlock.config import Options
from letterlock.deliver.log import safe
from letterlock.mail.names import InvalidName, normalise
from letterlock.memory.memory_text import to_json
from letterlock.memory.remembered import DomainMemory, HostMemory, NotedChange
from letterlock.memory.suggestion import as_toml, day, moment, suggestion
from letterlock.memory.traces import Trace
from letterlock.presence import is_there
from letterlock.queue.orders import Wanted
from letterlock.queue.store import StoreFailed
from letterlock.routing.destination_rule import DestinationRule, TlsRule
from letterlock.state.memory_reader import MemoryReader, is_readable
from letterlock.state.remembered_domains import FILE
from letterlock.state.shared_state import open_state

EXIT_NOTHING = 1  # as for every verb that did not find what it was asked for
_STRICTNESS = [each.value for each in (TlsRule.MAY, TlsRule.REQUIRE_TLS, TlsRule.VERIFY, TlsRule.DANE_ONLY)]


@click.group()
def memory() -> None:
    """Show what is remembered of the domains that mail went to; forget it; make rules of it.

    \b
    Exit status of all verbs:
       0  done
       1  nothing is known, or the memory cannot be read
       2  usage error
      78  mistakes in the configuration
    """


def _key(_context: click.Context, _parameter: click.Parameter, values: Any) -> Any:
    """Domains as they are remembered: A-labels, or a host by itself in brackets."""
    if values is None or isinstance(values, str):
        return None if values is None else _named(values)
    return tuple(_named(each) for each in values)


def _named(text: str) -> str:
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else None
    try:
        return normalise(text) if inner is None else f"[{normalise(inner)}]"
    except InvalidName as error:
        raise click.BadParameter(str(error)) from None


@memory.command("list")
@click.option("--changed", is_flag=True, help="Only domains at which something is gone.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@config_option
def list_all(config_path: Path | None, changed: bool, as_json: bool) -> None:
    """List the domains that are remembered.

    Prints one per line, with what holds for each, and what is gone.
    """
    now, count = time.time(), 0
    for domain, found in _all(configured(config_path)):
        if changed and (found is None or not found.alarms(now)):
            continue
        count += 1
        if as_json:
            click.echo(json_text({"domain": domain, "damaged": True}) if found is None else to_json(found))
        else:
            click.echo(_line(domain, found, now))
    if not as_json:
        click.echo(f"{count} domain{'s' * (count != 1)}", err=True)


@memory.command()
@click.argument("domain", callback=_key)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@config_option
def show(domain: str, config_path: Path | None, as_json: bool) -> None:
    """Show everything that is remembered of DOMAIN and its hosts.

    Also shows what changed, and since when. A host that a route names by itself is written in brackets:
    [relay.example.net].
    """
    options = configured(config_path)
    try:
        found = _reader(options).look(domain) if _is_kept(options) else None
    except StoreFailed as error:
        _fail(str(error))
    if found is None:
        _fail(f"nothing is remembered of {domain}")
    click.echo(to_json(found) if as_json else "\n".join(_drawn(found, time.time())))


@memory.command()
@click.argument("domains", metavar="[DOMAIN]...", nargs=-1, callback=_key)
@click.option("--all", "everything", is_flag=True, help="Forget everything, and set a damaged file aside.")
@because_option()
@config_option
def forget(domains: tuple[str, ...], config_path: Path | None, everything: bool, because: str | None) -> None:
    """Forget DOMAINs, which accepts what changed there, and try the mail to them at once.

    A running server forgets at once; with --all its mail is tried when it is due. The next delivery is a first
    contact: memory protects these domains again when it has seen several deliveries over two weeks.

    Exit status: 1 if nothing was remembered of DOMAINs.
    """
    if bool(domains) == everything:
        raise click.UsageError("name domains, or --all")
    options, names = configured(config_path), None if everything else list(domains)
    try:
        queues = Queues(options.queue_directory)
        count = max(int(each["forgotten"]) for each in queues.everyone("memory.forget", domains=names, reason=because))
        for name in names or ():
            flushed = queues.order("flush", Wanted(domain=name.strip("[]")), reason=because)
            collections.deque(flushed, maxlen=0)  # page by page
    except NotRunning:
        count = asyncio.run(_forget_in_file(options, names))
    except ServerError as error:
        _fail(str(error))
    click.echo(f"{count} domain{'s' * (count != 1)} forgotten")
    if domains and not count:
        _fail(f"nothing is remembered of {', '.join(map(safe, domains))}")


@memory.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@config_option
def suggest(config_path: Path | None, as_json: bool) -> None:
    """Print rules that everything observed would already satisfy.

    The output is TOML to paste, with the evidence as comments. Domains of which a rule demands as much already are left
    out, and so are those at which something is gone. Where a domain has a table already, the lines to change in it are
    comments.
    """
    options, now = configured(config_path), time.time()
    rows, count = [], 0
    for _, found in _all(options):
        made = None if found is None else suggestion(found, now)
        rule = None if made is None else options.rules.for_next_hop(made.domain)
        if found is None or made is None or _demands(rule, made.tls):
            continue
        count += 1
        if as_json:
            rows.append({"domain": made.domain, "tls": made.tls, "names": list(made.names), "evidence": _plain(found)})
        else:
            written = options.rules.written_for(made.domain)
            click.echo("\n".join(as_toml(found, made, now, kept=_kept(rule), written=written)) + "\n")
    if as_json:
        click.echo(json_text({"rules": rows}, indent=2))
    elif not count:
        click.echo("no rule to suggest: nothing was seen long enough, or your rules demand it already", err=True)


def _demands(rule: DestinationRule | None, tls: str) -> bool:
    return rule is not None and not rule.audit and _STRICTNESS.index(rule.tls.value) >= _STRICTNESS.index(tls)


def _kept(rule: DestinationRule | None) -> dict[str, str]:
    """What a rule for many domains says beside `tls`: a table for one of them takes its place whole."""
    kept: dict[str, str] = {}
    if rule is not None and rule.minimum_version is not None:
        kept["minimum_version"] = rule.minimum_version.removeprefix("TLSv")
    if rule is not None and rule.memory is not None:
        kept["memory"] = rule.memory.value
    return kept


def _plain(found: DomainMemory) -> object:
    return json.loads(to_json(found))


def _reader(options: Options) -> MemoryReader:
    return MemoryReader(options.state_directory)


def _is_kept(options: Options) -> bool:
    """Whether there is a memory; ends the command when this user may not read it."""
    path = options.state_directory / FILE
    if not is_there(path):
        return False
    if not is_readable(options.state_directory):
        _fail(f"{path} cannot be read by this user\n  hint: run this as root, or as the server's user")
    return True


def _all(options: Options) -> Iterator[tuple[str, DomainMemory | None]]:
    """Everything that is remembered; ends the command when it cannot be read."""
    if not _is_kept(options):
        return
    try:
        yield from _reader(options).all()
    except StoreFailed as error:
        _fail(str(error))


async def _forget_in_file(options: Options, names: list[str] | None) -> int:
    """Forget while no server runs."""
    if not is_there(options.state_directory / FILE):
        return 0
    state = open_state(options.store.engine, options.state_directory)
    try:
        return await state.memory().forget(names)
    except StoreFailed as error:
        _fail(f"{error}\n  hint: {error.hint}")
    finally:
        await state.close()


def _line(domain: str, found: DomainMemory | None, now: float) -> str:
    if found is None:
        return f"{safe(domain)}  DAMAGED: letterlock memory forget {safe(domain)}"
    traits = [name for name, trace in _traits(found) if trace is not None and trace.holds(now)]
    words = " ".join(traits) or "not established yet"
    alarms = "; ".join(_alarm(each, now) for each in found.alarms(now))
    return f"{safe(domain)}  {words}{f'  GONE: {alarms}' if alarms else ''}"


def _traits(found: DomainMemory) -> Iterator[tuple[str, Trace | None]]:
    yield "tls", found.tls
    for name in ("certificate", "dane"):
        traces = [trace for each in found.hosts if (trace := getattr(each, name)) is not None]
        yield name, max(traces, key=lambda trace: trace.days, default=None)
    yield "mta-sts", found.mta_sts
    yield "dnssec", found.signed


def _drawn(found: DomainMemory, now: float) -> Iterator[str]:
    yield safe(found.domain)
    for name, trace in (("TLS", found.tls), ("MTA-STS", found.mta_sts), ("DNSSEC", found.signed)):
        yield f"  {name:<12} {_seen(trace, now)}"
    for host in found.hosts:
        yield from _host(host, now)
    for change in found.changes:
        yield f"  {'GONE' if change.alarming(now) else 'changed':<12} {_alarm(change, now)}"


def _host(host: HostMemory, now: float) -> Iterator[str]:
    yield f"  {safe(host.name)}"
    rows = (("seen", host.seen), ("TLS", host.tls), ("certificate", host.certificate), ("DANE", host.dane))
    for name, trace in (*rows, ("in clear", host.clear)):
        if trace is not None:
            more = f", issued by {safe(host.issuer)}" if name == "certificate" else ""
            yield f"    {name:<12} {_seen(trace, now)}{more}"
    for key in host.keys:
        yield f"    {'key':<12} sha256:{safe(key)}"


def _seen(trace: Trace | None, now: float) -> str:
    if trace is None:
        return "never"
    words = f"on {trace.days} day{'s' * (trace.days != 1)} from {day(trace.first)} to {day(trace.last)}"
    return words if trace.holds(now) else f"{words}: not enough, or faded"


def _alarm(change: NotedChange, now: float) -> str:
    at = f" at {safe(change.host)}" if change.host else ""
    waits = ", mail waits" if change.held else ""
    settled = ", settled" if change.settled(now) else ""
    lasted = span(max(0.0, now - change.since))
    return f"{change.what.value}{at} since {moment(change.since)} ({lasted}){waits}{settled}"


def _fail(text: str) -> NoReturn:
    click.echo(f"error: {text}", err=True)
    sys.exit(EXIT_NOTHING)
