"""`letterlock lab`: the internet in a box, and what each protection is worth in it."""

import asyncio
import difflib
import logging
import os
import re
import shutil
import sys
from collections.abc import Iterable, Sequence

import click

from letterlock.app.binding import StartFailed
from letterlock.app.output import json_text
from letterlock.lab.loopback import NoFreeAddresses
from letterlock.lab.result_table import DEFAULT_COLUMNS, as_data, draw, explain
from letterlock.lab.retelling import retell
from letterlock.lab.scenarios import SHORT, Attack, SiteProtection
from letterlock.lab.stay import ServerFailed, stay
from letterlock.lab.subject import NotAccepted
from letterlock.lab.theory import story, theory
from letterlock.lab.trial import Cell, replay, run_cells
from letterlock.queue.store import StoreFailed

_FAILURES = (NoFreeAddresses, NotAccepted, ServerFailed, StartFailed, StoreFailed)
_SIMILARITY = 0.4  # chosen: a word of a name finds the name
MAX_HINTS = 3  # chosen: more is a list


class _OneOf(click.Choice[str]):
    """A name of many; an unknown one is answered with those that are near, and not with all of them."""

    def __init__(self, names: Iterable[str], what: str) -> None:
        super().__init__([str(each) for each in names])
        self.name = what

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name. Raises click.BadParameter."""
        if value in self.choices:
            return value
        within = [name for name in self.choices if value in name]
        near = (within or difflib.get_close_matches(value, self.choices, cutoff=_SIMILARITY))[:MAX_HINTS]
        hint = f"did you mean {', '.join(map(repr, near))}? " if near else ""
        return self.fail(f"there is no {self.name} {value!r}; {hint}`letterlock lab --list` shows all", param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002  # click's signature
        """How the usage shows it: all the names are too many."""
        return self.name.upper()


_ATTACK = _OneOf(Attack, "attack")
_PROTECTION = _OneOf(SiteProtection, "protection")


@click.group(invoke_without_command=True)
@click.option("--attack", "attacks", type=_ATTACK, multiple=True, help="Run only this attack; may be repeated.")
@click.option(
    "--protection", "protections", type=_PROTECTION, multiple=True, help="Run only this protection; may be repeated."
)
@click.option("--short", is_flag=True, help="Run one attack of each kind only: seconds instead of a minute.")
@click.option("--list", "listed", is_flag=True, help="List all attacks and protections, and run nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the cells and their totals as JSON.")
@click.option(
    "--verbose", "-v", is_flag=True, help="Also print the reasons for each cell; of a single one, the conversation."
)
@click.pass_context
def lab(
    context: click.Context,
    attacks: Sequence[str],
    protections: Sequence[str],
    *,
    short: bool,
    listed: bool,
    as_json: bool,
    verbose: bool,
) -> None:
    """Attack your own mail on a simulated internet, and see what each protection is worth.

    Everything runs on loopback, without root, and sends mail through the real server: a signed root, signed and
    unsigned domains, receiving servers, and attackers on the path and in the DNS. Each result is compared with the best
    that theory allows. With one --attack, one --protection and -v, the lab shows the conversation as the attacker saw
    it.

    Exit status: 0 if every cell is as theory predicts; 1 if not; 2 usage error.
    """
    if context.invoked_subcommand is not None:
        if attacks or protections or short or listed or as_json or verbose:
            raise click.UsageError("the options of `lab` do not go with a command; put --attack behind `up`")
        return
    if listed:
        _print_lines(_everything())
        return
    _silence_servers()
    rows = [each for each in Attack if (each in attacks if attacks else not short or each in SHORT)]
    columns = [each for each in SiteProtection if not protections or each in protections]
    try:
        if verbose and not as_json and len(rows) == len(columns) == 1:
            cells = [_replayed(rows[0], columns[0])]
        else:
            cells = asyncio.run(_run(rows, columns))
            _report(cells, as_json=as_json, verbose=verbose)
    except _FAILURES as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    sys.exit(0 if all(cell.passed for cell in cells) else 1)


@lab.command()
@click.option("--attack", type=_ATTACK, default=Attack.NONE.value, show_default=True, help="The attack to run.")
def up(attack: str) -> None:
    """Keep the lab running with a server in it, and show how to send mail through it by hand.

    Prints commands with the real addresses of this run, then logs events until Ctrl-C.
    """
    try:
        asyncio.run(stay(Attack(attack), click.echo))
    except _FAILURES as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)


def _report(cells: Sequence[Cell], *, as_json: bool, verbose: bool) -> None:
    if as_json:
        click.echo(json_text(as_data(cells), indent=2))
        return
    columns = shutil.get_terminal_size((DEFAULT_COLUMNS, 0)).columns if sys.stdout.isatty() else DEFAULT_COLUMNS
    _print(draw(cells, columns) + explain([cell for cell in cells if verbose or not cell.passed]))


def _replayed(attack: Attack, protection: SiteProtection) -> Cell:
    """Run one cell and print its conversation."""
    cell, transcript = asyncio.run(replay(attack, protection))
    _print_lines(retell(cell, transcript, _paint))
    return cell


def _everything() -> list[str]:
    known = theory()
    lines = ["Attacks:", *(f"  {each:<26}{story(each)}" for each in Attack), ""]
    return [*lines, "Protections:", *(f"  {each:<26}{known.protections[each]}" for each in SiteProtection)]


async def _run(attacks: Sequence[Attack], protections: Sequence[SiteProtection]) -> list[Cell]:
    """Run the cells, with progress on stderr."""
    total = len(attacks) * len(protections)
    live = sys.stderr.isatty()
    cells: list[Cell] = []
    click.echo(f"{total} cells, each a message through the real server ...", err=True, nl=not live)
    async for cell in run_cells(attacks, protections):
        cells.append(cell)
        if live:
            click.echo(f"\r{len(cells)} of {total} cells done\x1b[K", err=True, nl=False)
    if live:
        click.echo("\r\x1b[K", err=True, nl=False)
    return cells


def _silence_servers() -> None:
    """The servers of the cells log nothing but faults of their own: their reasons are in the table."""
    faults = logging.StreamHandler()
    faults.setLevel(logging.ERROR)
    logger = logging.getLogger("letterlock")
    logger.addHandler(faults)
    logger.propagate = False


_COLOURED = re.compile(r"(?P<bad>\b(READ|CLEAR|ODD|OPEN)\b|(?<=[a-zA-Z])!)|(?P<best>\bauth\b)|(?P<good>\b(held|tls)\b)")
_HUES = {"bad": "red", "best": "green", "good": "green"}


def _print(lines: Sequence[str]) -> None:
    """To stdout; click takes the colour away unless it is a terminal."""
    for line in lines:
        click.echo(line if "NO_COLOR" in os.environ else _COLOURED.sub(_colour, line))


def _print_lines(lines: Sequence[str]) -> None:
    for line in lines:
        click.echo(line)


def _paint(text: str, colour: str) -> str:
    if "NO_COLOR" in os.environ:
        return text
    return click.style(text, bold=True) if colour == "bold" else click.style(text, fg=colour)


def _colour(found: re.Match[str]) -> str:
    kind = next(name for name, text in found.groupdict().items() if text and name in _HUES)
    return click.style(found[0], fg=_HUES[kind], bold=kind != "good")
