"""`letterlock check`: what protects mail to a domain, by which evidence, and what an attacker could still do."""

import asyncio
import random
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, aclosing, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol

import click

from letterlock.app.binding import StartFailed
from letterlock.app.output import EXIT_OUTPUT
from letterlock.app.resolving import UNFIT_HINT, Dns, discovering, validated_dns
from letterlock.app.system_clock import SystemClock
from letterlock.cli.check.domains import MAX_DOMAINS, BadDomains, parse_domain, read_domains
from letterlock.cli.check.outputs import Blocks, Json, JsonLines, Output, PageOutput, TableOutput
from letterlock.cli.check.run import run_surveys
from letterlock.cli.check.selectors import own_selectors
from letterlock.cli.check.table import draw_count, heading
from letterlock.cli.configured import config_option, configured
from letterlock.cli.resolve import AnchorParam, UpstreamParam
from letterlock.cli.style import Style
from letterlock.config import Options
from letterlock.deliver.options import Timeouts
from letterlock.deliver.session import Ports
from letterlock.discover import MAX_ADDRESSES
from letterlock.inspect.outlook import Protection
from letterlock.inspect.shared_sessions import SharedSessions
from letterlock.inspect.survey import Survey, survey, unforeseen
from letterlock.mail.names import InvalidName
from letterlock.net.dial import TcpDialer
from letterlock.net.dns import Upstream
from letterlock.policy.route import MAX_HOSTS
from letterlock.resolver import TrustAnchor

BLOCKS_UP_TO = 3  # chosen: more domains than this are shown as a table, one line each
MAX_JOBS = 200  # chosen: each has sockets open, and a process usually may have 1,024
MAX_PAGE_DOMAINS = 5_000  # chosen: a browser still opens the page, of some 30 MB
EXIT_STATUS = {
    Protection.PROTECTED: 0,
    Protection.ONCE_KNOWN: 0,
    Protection.UNPROTECTED: 1,
    Protection.HELD: 1,
    Protection.UNKNOWN: 3,
    Protection.NO_MAIL: 0,
}
EXIT_USAGE, EXIT_UNKNOWN, EXIT_SIGNALLED = 2, 3, 128  # and the signal's number, as shells have it


class DomainParam(click.ParamType[str]):
    """A domain, or an address literal, on the command line."""

    name = "DOMAIN"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Normalise it, or report the mistake. The part before an `@` is dropped."""
        try:
            return parse_domain(str(value))
        except InvalidName as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.argument("domains", metavar="[DOMAIN]...", type=DomainParam(), nargs=-1)
@click.option(
    "--file",
    "listed",
    type=click.File("rb"),
    help="Read more domains, one per line, # for comments; - is standard input.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, MAX_JOBS),
    default=20,
    show_default=True,
    help="Number of domains to check at once.",
)
@config_option
@click.option(
    "--upstream", "upstreams", type=UpstreamParam(), multiple=True, help="Resolver to query; may be repeated."
)
@click.option(
    "--anchor",
    "anchors",
    type=AnchorParam(),
    multiple=True,
    help="File of DS or DNSKEY records to trust; may be repeated.",
)
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the MX hosts.  [default: 25]")
@click.option(
    "--timeout",
    type=click.FloatRange(1, 300),
    default=15,
    show_default=True,
    help="Seconds for each connection and reply.",
)
@click.option(
    "--full/--brief",
    "full",
    default=None,
    help="Print a block or a line per domain.  [default: a line if there are 4 or more]",
)
@click.option(
    "--mail-auth/--no-mail-auth",
    default=None,
    help="Show SPF, DMARC and DKIM keys of each domain.  [default: yes, where a domain is more than a line]",
)
@click.option(
    "--selector",
    "selectors",
    metavar="NAME",
    multiple=True,
    help="Show the DKIM key of this selector, too; may be repeated.  [default: those in the configuration]",
)
@click.option("--json", "form", flag_value="json", help="Print one JSON document.")
@click.option("--jsonl", "form", flag_value="jsonl", help="Print one JSON object per line, as results arrive.")
@click.option(
    "--html", "html", type=click.Path(path_type=Path, dir_okay=False), help="Also write an HTML page to this file."
)
def check(
    domains: tuple[str, ...],
    listed: BinaryIO | None,
    jobs: int,
    config_path: Path | None,
    upstreams: tuple[Upstream, ...],
    anchors: tuple[tuple[TrustAnchor, ...], ...],
    port: int | None,
    timeout: float,
    full: bool | None,
    mail_auth: bool | None,
    selectors: tuple[str, ...],
    form: str | None,
    html: Path | None,
) -> None:
    """Show what protects mail to each DOMAIN, and what an attacker on the path could still do.

    Connects to the MX hosts as delivery would, but stops before MAIL FROM, so nothing is sent. Ends with what the
    domain's owner should do next, most valuable step first. Also shows how the domain's own mail is authenticated.

    \b
    Exit status; with several domains the worst counts, 1 before 3:
       0  protected, or there is no mail to protect
       1  not protected, or a host does not keep what is promised for it
       2  usage error
       3  could not find out
      74  the result could not be written
      78  mistakes in the configuration
     130  interrupted (143 by SIGTERM); finished domains are shown
    """
    asked = _all_domains(domains, listed)
    options = _overridden(configured(config_path, sending=True), upstreams, anchors, port, timeout)
    if html is not None and len(asked) > MAX_PAGE_DOMAINS:
        raise click.UsageError(f"a page holds at most {MAX_PAGE_DOMAINS} domains; these are {len(asked)}")
    brief = len(asked) > BLOCKS_UP_TO if full is None else not full
    if mail_auth is None:
        mail_auth = bool(selectors) or html is not None or form is not None or not brief
    own = own_selectors(options, asked) if mail_auth else {}
    keys = {domain: tuple(dict.fromkeys((*selectors, *own.get(domain, ())))) for domain in asked if mail_auth}
    run = _Run(asked, options, jobs, _Sheets.of(form, brief=brief, html=html), keys)
    sys.exit(run.to_its_end())


def _all_domains(domains: Sequence[str], listed: BinaryIO | None) -> tuple[str, ...]:
    """Each once. Ends the program with status 2 on mistakes in the file."""
    try:
        more = read_domains(listed, listed.name) if listed else ()
    except BadDomains as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(EXIT_USAGE)
    asked = tuple(dict.fromkeys((*domains, *more)))
    if not asked:
        raise click.UsageError(
            "name a domain, or a file of them by --file" if not listed else "the file names no domain"
        )
    if len(asked) > MAX_DOMAINS:
        raise click.UsageError(f"at most {MAX_DOMAINS} domains at once; these are {len(asked)}")
    return asked


@dataclass(frozen=True, slots=True)
class _Sheets:
    """Where the surveys go."""

    outputs: tuple[Output, ...]
    page: PageOutput | None
    for_people: bool
    held: list[str] | None
    """Text that waits for the end, so that it does not run into the progress bar on the same terminal."""

    @classmethod
    def of(cls, form: str | None, *, brief: bool, html: Path | None) -> "_Sheets":
        """Ends the program with status 2 when the page cannot be written."""
        held: list[str] | None = [] if sys.stdout.isatty() and sys.stderr.isatty() else None
        write = _write_out if held is None else held.append
        style = Style.of(sys.stdout)
        plain: Output
        match form, brief:
            case "json", _:
                plain = Json(write)
            case "jsonl", _:
                plain = JsonLines(write)
            case _, True:
                plain = TableOutput(write, style)
            case _:
                plain = Blocks(write, style)
        try:
            page = PageOutput(html) if html else None
        except OSError as error:
            click.echo(f"error: cannot write {html}: {error.strerror}", err=True)
            sys.exit(EXIT_USAGE)
        return cls((plain, page) if page else (plain,), page, form is None, held)

    def end(self, *, whole: bool) -> None:
        """Write what waited for the end; the page last, so that nothing is lost when it cannot be written."""
        for output in self.outputs:
            if output is not self.page:
                output.end(whole=whole)
        if self.held:
            _write_out("".join(self.held))

    def end_page(self, *, whole: bool) -> None:
        """Write the page. Ends the program with status 74 when it cannot be written."""
        if self.page is None:
            return
        try:
            self.page.end(whole=whole)
        except OSError as error:
            click.echo(f"error: cannot write {self.page.path}: {error.strerror}", err=True)
            sys.exit(EXIT_OUTPUT)
        click.echo(f"page written to {self.page.path}", err=True)


def _write_out(text: str) -> None:
    click.echo(text, nl=False)


class _Bar(Protocol):
    """A progress bar."""

    def update(self, n_steps: int) -> None:
        """So many more are done."""


class _Run:
    """From domains to an exit status."""

    def __init__(
        self,
        domains: tuple[str, ...],
        options: Options,
        jobs: int,
        sheets: _Sheets,
        selectors: Mapping[str, tuple[str, ...]],
    ) -> None:
        """`selectors`: the DKIM keys to look at by domain; of a domain without an entry nothing is looked at."""
        self._selectors = selectors
        self._domains = domains
        self._options = options
        self._jobs = jobs
        self._sheets = sheets
        self._found: Counter[Protection] = Counter()
        self._verdicts: Counter[str] = Counter()
        self._signal: signal.Signals | None = None

    def to_its_end(self) -> int:
        """Look at every domain, or at as many as there is time for until SIGINT or SIGTERM; the exit status."""
        began = time.monotonic()
        try:
            asyncio.run(self._work())
            self._sheets.end_page(whole=self._whole)
        except StartFailed as error:
            click.echo(f"error: {error}", err=True)
            return EXIT_UNKNOWN
        finally:
            if self._sheets.page:
                self._sheets.page.give_up()
        if self._sheets.for_people and len(self._domains) > 1:
            click.echo("\n" + draw_count(self._verdicts, time.monotonic() - began))
        if self._signal is not None:
            partial = "" if self._whole else "partial, "
            click.echo(f"interrupted: {partial}{self._found.total()} of {len(self._domains)} domains", err=True)
            return EXIT_SIGNALLED + self._signal
        found = {EXIT_STATUS[protection] for protection in self._found}
        return next((status for status in (1, EXIT_UNKNOWN) if status in found), 0)

    async def _work(self) -> None:
        """Raises StartFailed."""
        chance, stop, sessions = random.SystemRandom(), asyncio.Event(), SharedSessions()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._interrupt, number, stop)
        options = self._options
        async with validated_dns(options.resolver) as asked, discovering(options, asked, None) as discoverer:
            ports = Ports(
                discoverer=discoverer,
                dialer=TcpDialer(),
                clock=SystemClock(),
                shuffle=lambda items: chance.sample(items, len(items)),
            )

            async def look(domain: str) -> Survey:
                source = options.route_settings.of(domain).source
                return await survey(
                    domain,
                    ports=replace(ports, dialer=TcpDialer(source)),
                    options=options.deliver,
                    resolver=asked.resolver,
                    sessions=sessions,
                    source=str(source),
                    selectors=self._selectors.get(domain),
                )

            async with aclosing(sessions):
                await self._show(run_surveys(self._domains, partial(self._guarded, look), self._jobs, stop))
            if self._found[Protection.UNKNOWN] and self._signal is None:
                await _tell_unfit(asked)

    async def _guarded(self, look: Callable[[str], Awaitable[Survey]], domain: str) -> Survey:
        """What nobody foresaw at one domain ends neither the others nor their results."""
        try:
            return await look(domain)
        except Exception as error:  # noqa: BLE001  # shown as a result, with the place where it happened
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(where.filename).name}:{where.lineno}"
            click.echo(f"warning: {domain}: a bug in Letterlock ({type(error).__name__} at {place})", err=True)
            return unforeseen(domain, port=self._options.deliver.port, at=time.time())

    async def _show(self, surveys: AsyncIterator[Survey]) -> None:
        """Each as it comes, and the end."""
        with self._progress() as bar:
            async for found in surveys:
                self._found[found.summary.protection] += 1
                self._verdicts[heading(found)[0]] += 1
                for output in self._sheets.outputs:
                    output.add(found)
                if bar:
                    bar.update(1)
        self._sheets.end(whole=self._whole)

    @property
    def _whole(self) -> bool:
        """Whether all domains were looked at."""
        return self._found.total() == len(self._domains)

    def _interrupt(self, number: signal.Signals, stop: asyncio.Event) -> None:
        self._signal = number
        stop.set()

    def _progress(self) -> AbstractContextManager["_Bar | None"]:
        """A progress bar on a terminal."""
        if len(self._domains) == 1 or not sys.stderr.isatty():
            return nullcontext()
        return click.progressbar(length=len(self._domains), label="checking", file=sys.stderr)


def _overridden(
    options: Options,
    upstreams: tuple[Upstream, ...],
    anchors: tuple[tuple[TrustAnchor, ...], ...],
    port: int | None,
    timeout: float,
) -> Options:
    """The configuration with what the command line says instead; time-outs for somebody who waits."""
    resolver = replace(
        options.resolver,
        upstreams=upstreams or options.resolver.upstreams,
        anchors=tuple(anchor for file in anchors for anchor in file) or options.resolver.anchors,
    )
    timeouts = Timeouts(
        connect=timeout, greeting=timeout, hello=timeout, starttls=timeout, handshake=timeout, session=4 * timeout
    )
    deliver = replace(
        options.deliver,
        port=port or options.deliver.port,
        timeouts=timeouts,
        max_hosts=MAX_HOSTS,
        max_addresses=MAX_ADDRESSES,
    )
    return replace(options, resolver=resolver, deliver=deliver)


async def _tell_unfit(asked: Dns) -> None:
    """When something could not be found out, the upstream may be why."""
    for report in await asked.examine():
        if report.findings:
            click.echo(f"warning: upstream {report}\n  {UNFIT_HINT}", err=True)
