"""`letterlock queue stats`: counts, octets and ages of what waits, by next hop, sender, reason or age."""

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import click

from letterlock.admin.client import Queues
from letterlock.app.output import json_text
from letterlock.cli.queue.server_link import progress, tell_problems, with_server
from letterlock.cli.queue.text import octets, span
from letterlock.deliver.log import safe
from letterlock.queue.orders import AGES, OLDER, Tally, TallyBy

MAX_GROUPS = 100_000  # chosen: more than anybody reads; a listing for a program still fits
OTHERS = "(others)"
TOTAL = "TOTAL"
MIN_NAME, MAX_NAME = 16, 60
_HEADINGS = {TallyBy.DOMAIN: "NEXT HOP", TallyBy.SENDER: "SENDER", TallyBy.REASON: "REASON", TallyBy.AGE: "AGE UP TO"}


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    width: int
    value: Callable[[Tally], str]


@click.command()
@click.option(
    "--by",
    type=click.Choice([each.value for each in TallyBy]),
    default="domain",
    show_default=True,
    help="How to group the counts.",
)
@click.option("--top", type=click.IntRange(1), default=20, show_default=True, help="Number of rows, largest first.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; oldest_at is in seconds since 1970.")
@with_server
def stats(client: Queues, *, by: str, top: int, as_json: bool) -> None:
    """Count the waiting deliveries by state, size and age.

    A message with two next hops counts as two deliveries. WAIT: waiting for the first attempt. TRY: being tried now.
    DEFER: waiting for another attempt. HELD and QUAR: waiting for you.

    Exit status: 0, also if the queue is empty; 1 if mail of former workers could not be taken over and is not counted.
    """
    problems = client.problems()
    total, groups = _collected(client, TallyBy(by))
    rows = _largest(groups, TallyBy(by), top)
    if as_json:
        values = {"by": by, "total": _values(total), "groups": [_values(each) for each in rows], "problems": problems}
        click.echo(json_text(values, indent=2))
    elif not groups:
        click.echo("The queue is empty.")
    else:
        _print_tables(_HEADINGS[TallyBy(by)], [total, *rows], by_age=by == TallyBy.AGE, now=time.time())
        if len(groups) > len(rows):
            click.echo(f"and {len(groups) - len(rows):,} more: --top shows them", err=True)
    tell_problems(problems)


def _collected(client: Queues, by: TallyBy) -> tuple[Tally, dict[str, Tally]]:
    """The sum, and the counts of each group; beyond MAX_GROUPS, what is new is counted together."""
    total, groups = Tally(key=TOTAL), dict[str, Tally]()
    with progress(client.size() if sys.stderr.isatty() else None) as advance:
        for tallies in client.stats(by):
            for each in tallies:
                key = each.key if each.key in groups or len(groups) < MAX_GROUPS else OTHERS
                groups[key] = groups.get(key, Tally(key=key)).add(each)
                total = total.add(each)
            advance(sum(each.total for each in tallies))
    return total, groups


def _largest(groups: dict[str, Tally], by: TallyBy, top: int) -> list[Tally]:
    """The first rows: the largest groups, or the ages from the youngest."""
    if by is TallyBy.AGE:
        names = [*(name for name, _ in AGES), OLDER]
        return sorted(groups.values(), key=lambda each: names.index(each.key))
    return sorted(groups.values(), key=lambda each: (-each.total, each.key))[:top]


def _values(tally: Tally) -> dict[str, object]:
    ages = dict(zip([*(name for name, _ in AGES), OLDER], tally.ages, strict=True))
    return asdict(tally) | {"total": tally.total, "ages": ages}


def _columns(now: float, *, by_age: bool) -> tuple[list[_Column], list[_Column]]:
    """Those of the states, and those of the ages."""
    states = [
        _Column("ALL", 6, lambda each: _short(each.total)),
        _Column("WAIT", 6, lambda each: _short(each.waiting)),
        _Column("TRY", 6, lambda each: _short(each.leased)),
        _Column("DEFER", 6, lambda each: _short(each.deferred)),
        _Column("HELD", 6, lambda each: _short(each.held)),
        _Column("QUAR", 6, lambda each: _short(each.quarantined)),
        _Column("SIZE", 10, lambda each: octets(each.octets)),
        _Column("OLDEST", 7, lambda each: "" if each.oldest_at is None else span(now - each.oldest_at)),
    ]
    ages = [] if by_age else [_age_column(place, name) for place, name in enumerate([*(a for a, _ in AGES), OLDER])]
    return states, ages


def _age_column(place: int, name: str) -> _Column:
    return _Column(name, 6, lambda each: _short(each.ages[place]))


def _short(count: int) -> str:
    """A number of at most five characters: 99999, 123k, 1.2M."""
    if count < 100_000:
        return str(count) if count else "."
    return f"{count // 1000}k" if count < 1_000_000 else f"{count / 1e6:.1f}M"


def _print_tables(heading: str, rows: Sequence[Tally], *, by_age: bool, now: float) -> None:
    """One table where it fits, and two where it does not."""
    width = shutil.get_terminal_size().columns
    states, ages = _columns(now, by_age=by_age)
    if width - sum(column.width for column in (*states, *ages)) >= MIN_NAME:
        _print_table(heading, rows, [*states, *ages], width)
        return
    _print_table(heading, rows, states, width)
    click.echo()
    _print_table(heading, rows, [states[0], *ages], width)


def _print_table(heading: str, rows: Sequence[Tally], columns: Sequence[_Column], width: int) -> None:
    longest = max(len(heading), *(len(safe(row.key)) for row in rows))
    name = max(MIN_NAME, min(longest, MAX_NAME, width - sum(column.width for column in columns)))
    click.echo(f"{heading:<{name}}" + "".join(f"{column.name:>{column.width}}" for column in columns))
    for row in rows:
        cells = "".join(f"{column.value(row):>{column.width}}" for column in columns)
        click.echo(f"{_fitted(safe(row.key), name):<{name}}{cells}")


def _fitted(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
