"""`letterlock reports`: TLS and DMARC reports of others about our domains, and ours about theirs."""

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from letterlock.app.output import json_text
from letterlock.app.privileges import NotPermitted, make_directory
from letterlock.app.system_clock import SystemClock
from letterlock.cli.configured import config_option, configured
from letterlock.mail.names import InvalidName, normalise
from letterlock.mail.unpacking import MAX_PACKED_OCTETS, InvalidReport
from letterlock.presence import is_there
from letterlock.queue.store import StoreFailed
from letterlock.report.report_desk import ReportDesk, TakenReport
from letterlock.report.reported_problems import DomainSummary, ReportedProblem, summarise
from letterlock.state.report_store import FILE, ReceivedReport, ReportStore
from letterlock.state.shared_state import open_state
from letterlock.tlsrpt.report import TlsReport, moment

EXIT_PROBLEM = 1  # as for every verb that found something wrong
DAY_SECONDS = 86_400  # reports are about days
MAX_LISTED = 1_000  # the latest: chosen, more than anybody reads
MAX_SUMMARISED = 5_000  # reports, the latest: some ten a day come for a domain
MAX_NAMED = 5  # reporters in one line
_T = TypeVar("_T")


@click.group()
def reports() -> None:
    """Read reports about your domains: who could not deliver securely to you, since when, which host, and why.

    A route with next_hop = "reports:" takes reports by mail; `import` reads files and Maildirs. TLS reports (RFC 8460)
    and DMARC aggregate reports (RFC 9990) are kept together.
    """


def _domain(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    try:
        return normalise(value) if value else ""
    except InvalidName as error:
        raise click.BadParameter(str(error)) from None


domain_option = click.option("--domain", metavar="D", default="", callback=_domain, help="Only about this domain.")
json_option = click.option("--json", "as_json", is_flag=True, help="The same as data.")
days_option = click.option("--days", type=click.IntRange(1, 3650), default=30, show_default=True, help="How far back.")
kind_option = click.option("--kind", type=click.Choice(["tls", "dmarc"]), default=None, help="Only one kind.")


@reports.command("list")
@config_option
@domain_option
@kind_option
@days_option
@json_option
def list_command(config_path: Path | None, domain: str, kind: str | None, days: int, as_json: bool) -> None:
    """List the reports received, the latest first.

    Exit status: 0 listed; 1 they cannot be read; 2 usage error; 78 mistakes in the configuration.
    """
    since = time.time() - days * DAY_SECONDS
    none: Sequence[ReceivedReport] = ()
    found = _with_store(
        config_path,
        lambda store: store.received(domain=domain, kind=kind or "", since=since, limit=MAX_LISTED + 1),
        none,
    )
    found = _latest(found, MAX_LISTED, "listed\n  hint: --domain, --kind and --days ask for fewer")
    if as_json:
        click.echo(json_text([asdict(each) for each in found], indent=2))
        return
    for each in found:
        click.echo(_line(each))
    if not found:
        click.echo(_none_since(days), err=True)


def _latest(found: Sequence[_T], limit: int, ending: str) -> Sequence[_T]:
    """What of the reports, the latest first, is shown; says so when that is not all. `ending`: what is done to them."""
    if len(found) > limit:
        click.echo(f"note: only the latest {limit:,} are {ending}", err=True)
    return found[:limit]


def _none_since(days: int) -> str:
    return f"no reports in the last {days} days\n  hint: --days looks further back"


def _line(each: ReceivedReport) -> str:
    unit = "sessions" if each.kind == "tls" else "messages"
    counts = f"{each.good + each.bad} {unit}, {each.bad} failed" if each.bad else f"{each.good} {unit}, all well"
    return f"{each.number:6}  {each.kind:5}  {_day(each.began_at)}  {each.organization}  {each.domain}  {counts}"


def _day(seconds: int) -> str:
    return moment(seconds)[:10]


@reports.command()
@config_option
@click.argument("number", metavar="NUMBER", type=click.IntRange(1))
@json_option
def show(config_path: Path | None, number: int, as_json: bool) -> None:
    """Show one report whole, by its number in the list.

    Exit status: 0 shown; 1 there is no such report; 2 usage error; 78 mistakes in the configuration.
    """
    report = _with_store(config_path, lambda store: store.received_report(number), None)
    if report is None:
        _fail(f"there is no report {number}\n  hint: `letterlock reports list` shows their numbers")
    if as_json:
        click.echo(json_text(asdict(report), indent=2))
        return
    if isinstance(report, TlsReport):
        click.echo(f"TLS report {report.report_id} of {report.organization} ({report.contact or 'no contact'})")
    else:
        click.echo(f"DMARC report {report.report_id} of {report.org_name} ({report.email or 'no contact'})")
    click.echo(f"from {moment(report.begin)} to {moment(report.end)}")
    for oddity in report.oddities:
        click.echo(f"remark: {oddity}")
    for line in _details(summarise([report])):
        click.echo(line)


@reports.command()
@config_option
@domain_option
@days_option
@json_option
def summary(config_path: Path | None, domain: str, days: int, as_json: bool) -> None:
    """Sum up all reports by domain.

    Shows what failed, since when, at which host, who says so, and what to do.

    \b
    Exit status:
       0  nothing failed
       1  something did, or the reports cannot be read
       2  usage error
      78  mistakes in the configuration
    """
    since = time.time() - days * DAY_SECONDS

    async def read(store: ReportStore) -> list[DomainSummary]:
        found = await store.received(since=since, limit=MAX_SUMMARISED + 1)
        found = _latest(found, MAX_SUMMARISED, "summed up\n  hint: --days asks for fewer")
        whole = [await store.received_report(each.number) for each in found]
        return summarise([each for each in whole if each is not None], domain)

    none: list[DomainSummary] = []
    summaries = _with_store(config_path, read, none)
    if as_json:
        click.echo(json_text([_summary_values(each) for each in summaries], indent=2))
    else:
        click.echo("\n".join(_details(summaries)) if summaries else _none_since(days))
    sys.exit(EXIT_PROBLEM if any(each.bad for each in summaries) else 0)


def _details(summaries: list[DomainSummary]) -> Iterator[str]:
    for each in summaries:
        unit = "sessions" if each.kind == "tls" else "messages"
        total = each.good + each.bad
        reports = f"{each.reports} report{'s' * (each.reports != 1)}"
        yield f"{each.domain}  {each.kind.upper()}: {each.bad} of {total} {unit} failed, in {reports}"
        for problem in each.ordered:
            yield from _problem_lines(problem)


def _problem_lines(problem: ReportedProblem) -> Iterator[str]:
    names = sorted(name for name in problem.reporters if name)
    more = f" and {len(names) - MAX_NAMED} others" if len(names) > MAX_NAMED else ""
    who = ", ".join(names[:MAX_NAMED]) + more or "somebody"
    yield f"  {problem.subject}: {problem.why} ({problem.result})"
    yield f"    {problem.number} times from {_day(problem.since)} to {_day(problem.until)}, reported by {who}"
    if problem.code or problem.section:
        yield f"    reason: {' '.join(filter(None, (problem.code, problem.section and f'[{problem.section}]')))}"
    yield f"    do: {problem.advice}"


def _summary_values(each: DomainSummary) -> dict[str, Any]:
    problems = [asdict(problem) | {"reporters": sorted(problem.reporters)} for problem in each.ordered]
    values = {"kind": each.kind, "domain": each.domain, "good": each.good, "bad": each.bad, "reports": each.reports}
    return values | {"problems": problems}


@reports.command("import")
@config_option
@click.argument("paths", metavar="[FILE|FOLDER|-]...", nargs=-1, required=True, type=click.Path(path_type=Path))
@json_option
def import_command(config_path: Path | None, paths: tuple[Path, ...], as_json: bool) -> None:
    """Read reports from files, folders, Maildirs or standard input (-).

    Each is JSON, XML, gzip, zip, or a mail with one of these. A report that is known already is not counted again.

    Exit status: 0 all were read; 1 some were not; 2 usage error; 78 mistakes in the configuration.
    """

    async def read(store: ReportStore) -> list[dict[str, Any]]:
        desk = ReportDesk(store, SystemClock())
        return [await _imported(desk, path) for given in paths for path in _files(given)]

    none: list[dict[str, Any]] = []
    results = _with_store(config_path, read, none, creates=True)
    if as_json:
        click.echo(json_text(results, indent=2))
    else:
        for each in results:
            click.echo(f"{each['file']}: {each['result']}", err=each["failed"])
    sys.exit(EXIT_PROBLEM if any(each["failed"] for each in results) else 0)


def _files(given: Path) -> Iterator[Path]:
    """The file, or those of a folder; of a Maildir those in `new` and `cur`. One that cannot be listed is read itself.

    Reading it then says what is wrong.
    """
    try:
        folders = [given / name for name in ("new", "cur") if (given / name).is_dir()] or [given]
        found = sorted(each for folder in folders for each in folder.iterdir() if each.is_file())
    except OSError:
        found = [given]
    yield from found


async def _imported(desk: ReportDesk, path: Path) -> dict[str, Any]:
    name = "standard input" if str(path) == "-" else str(path)
    try:
        taken: TakenReport = await desk.take(_content(path), name, path.name)
    except (InvalidReport, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        return {"file": name, "failed": True, "new": False, "result": f"not read: {why}"}
    return {"file": name, "failed": False, "new": taken.is_new, "result": str(taken)}


def _content(path: Path) -> bytes:
    """No more than a report may have, and a byte. Raises OSError."""
    if str(path) == "-":
        return sys.stdin.buffer.read(MAX_PACKED_OCTETS + 1)
    with path.open("rb") as file:
        return file.read(MAX_PACKED_OCTETS + 1)


@reports.command()
@config_option
@json_option
def outgoing(config_path: Path | None, as_json: bool) -> None:
    """Show the reports that this server sent or tries to send.

    Also shows what could not be counted.

    Exit status: 0 shown; 1 they cannot be read; 2 usage error; 78 mistakes in the configuration.
    """

    async def read(store: ReportStore) -> dict[str, Any]:
        latest = _latest(await store.sent(MAX_LISTED + 1), MAX_LISTED, "shown")
        sent = [asdict(each.mark) | {"next_at": each.next_at, "note": each.note} for each in latest]
        lost = [{"day": day, "what": what, "number": number} for day, what, number in await store.losses()]
        return {"sent": sent, "lost": lost}

    found: dict[str, Any] = _with_store(config_path, read, {"sent": [], "lost": []})
    if as_json:
        click.echo(json_text(found, indent=2))
        return
    for each in found["sent"]:
        state = each["note"] and f"failed {each['tries']} times: {each['note']}"
        click.echo(
            f"{_day(each['day'] * DAY_SECONDS)}  {each['kind']}  {each['domain']}  {each['uri']}  {state or 'sent'}"
        )
    for each in found["lost"]:
        click.echo(f"{_day(each['day'] * DAY_SECONDS)}  {each['number']} {each['what']} could not be counted")


def _with_store(
    config_path: Path | None,
    work: Callable[[ReportStore], Coroutine[Any, Any, _T]],
    nothing: _T,
    *,
    creates: bool = False,
) -> _T:
    """Do work with the database of the configuration; `nothing` where there is none yet."""
    options = configured(config_path)
    directory = options.state_directory
    if not creates and not is_there(directory / FILE):
        return nothing
    if creates and not is_there(directory):  # no server has run here yet
        try:
            make_directory(directory, options.user)
        except NotPermitted as error:
            _fail(str(error))

    async def run() -> _T:
        state = open_state(options.store.engine, directory)
        try:
            return await work(state.reports())
        finally:
            await state.close()

    try:
        return asyncio.run(run())
    except StoreFailed as error:
        _fail(str(error))


def _fail(text: str) -> NoReturn:
    click.echo(f"error: {text}", err=True)
    sys.exit(EXIT_PROBLEM)
