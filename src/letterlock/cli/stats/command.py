"""`letterlock stats`: how mail was protected, by destination and over time."""

import asyncio
import csv
import io
import shutil
import sys
import time
from pathlib import Path

import click

from letterlock.app.output import json_text
from letterlock.cli.configured import config_option, configured
from letterlock.cli.queue.server_link import AgeParam, Domain
from letterlock.cli.stats.bars import Bars
from letterlock.cli.stats.text import StatisticsScreen, grain_of
from letterlock.cli.stats.values import CSV_COLUMNS, csv_rows, values
from letterlock.cli.style import Style
from letterlock.presence import is_there
from letterlock.queue.store import StoreFailed
from letterlock.state.shared_state import open_state
from letterlock.state.statistics_rows import Grain
from letterlock.state.statistics_store import STATISTICS_FILE
from letterlock.statistics.summary import Statistics, no_statistics, statistics, usual_grain

EXIT_UNREADABLE = 1  # as for every verb that could not do its work
DEFAULT_STATS_AGE = "7d"
MAX_TOP = 100_000  # destinations that are kept by name at most


@click.command()
@config_option
@click.argument("domain", metavar="[DOMAIN]", type=Domain(), required=False)
@click.option("--since", type=AgeParam(), default=DEFAULT_STATS_AGE, show_default=True, help="How far back: 12h, 90d.")
@click.option(
    "--by",
    type=click.Choice([each.name.lower() for each in Grain]),
    help="The length of the periods.  [default: hour up to 2 days, day up to 62, then month]",
)
@click.option("--top", type=click.IntRange(0, MAX_TOP), default=20, show_default=True, help="Destinations, most first.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; times are seconds since 1970.")
@click.option("--csv", "as_csv", is_flag=True, help="Print the same as comma-separated values.")
def stats(
    config_path: Path | None,
    domain: str | None,
    since: float,
    by: str | None,
    top: int,
    *,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Show how mail was protected, for all destinations or one DOMAIN.

    Counts delivery attempts: clear, encrypted, authenticated; who demanded TLS and what proved the server; STARTTLS or
    implicit TLS; TLS version, cipher and key exchange; what was held, and why; and what would have failed if a rule in
    audit, or an MTA-STS policy in testing mode, were enforced. Periods begin at full hours, days and months of UTC.
    The server writes its counts every 15 seconds.

    Exit status: 0 shown; 1 the statistics cannot be read; 2 usage error; 78 mistakes in the configuration.
    """
    if as_json and as_csv:
        raise click.UsageError("use either --json or --csv")
    grain = usual_grain(since) if by is None else grain_of(by)
    found = _read(config_path, since=since, grain=grain, domain=domain, top=top)
    if as_json:
        click.echo(json_text(values(found), indent=2))
    elif as_csv:
        click.echo(_csv(found), nl=False)
    else:
        width = shutil.get_terminal_size().columns
        screen = StatisticsScreen(found, Style.of(sys.stdout), Bars.of(sys.stdout), width)
        click.echo("\n".join(screen.lines()))


def _csv(found: Statistics) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    writer.writerows(csv_rows(found))
    return text.getvalue()


def _read(config_path: Path | None, *, since: float, grain: Grain, domain: str | None, top: int) -> Statistics:
    options, now = configured(config_path), time.time()
    directory = options.state_directory
    if not options.statistics.count:
        click.echo("note: [statistics] count is off, so nothing new is counted", err=True)
    if not is_there(directory / STATISTICS_FILE):
        click.echo(f"nothing has been counted yet in {directory}", err=True)
        return no_statistics(now=now, seconds=since, grain=grain, domain=domain)

    async def read() -> Statistics:
        state = open_state(options.store.engine, directory)
        try:
            return await statistics(state.statistics(), now=now, seconds=since, grain=grain, domain=domain, top=top)
        finally:
            await state.close()

    try:
        return asyncio.run(read())
    except StoreFailed as error:
        click.echo(f"error: {error}\n  hint: run this as root, or as the server's user", err=True)
        sys.exit(EXIT_UNREADABLE)
