"""`letterlock lab`: the internet in a box, and what each protection is worth in it."""

import asyncio
import logging
import os
import re
import sys
from collections.abc import Sequence

import click

from letterlock.app.binding import StartFailed
from letterlock.app.output import json_text
from letterlock.lab.loopback import NoFreeAddresses
from letterlock.lab.result_table import as_data, draw, explain
from letterlock.lab.scenarios import Attack, SiteProtection
from letterlock.lab.stay import ServerFailed, stay
from letterlock.lab.subject import NotAccepted
from letterlock.lab.trial import Cell, run_cells
from letterlock.queue.store import StoreFailed

_FAILURES = (NoFreeAddresses, NotAccepted, ServerFailed, StartFailed, StoreFailed)
_ATTACKS = click.Choice([attack.value for attack in Attack])
_PROTECTIONS = click.Choice([protection.value for protection in SiteProtection])


@click.group(invoke_without_command=True)
@click.option("--attack", "attacks", type=_ATTACKS, multiple=True, help="Run only this attack; may be repeated.")
@click.option(
    "--protection", "protections", type=_PROTECTIONS, multiple=True, help="Run only this protection; may be repeated."
)
@click.option("--json", "as_json", is_flag=True, help="Print the cells as JSON.")
@click.option("--verbose", "-v", is_flag=True, help="Also print the reasons for each cell.")
@click.pass_context
def lab(
    context: click.Context, attacks: Sequence[str], protections: Sequence[str], *, as_json: bool, verbose: bool
) -> None:
    """Attack your own mail on a simulated internet, and see what each protection is worth.

    Everything runs on loopback, without root, and sends mail through the real server: a signed root, signed and
    unsigned domains, receiving servers, and attackers on the path and in the DNS.

    Exit status: 0 if every cell is as theory predicts; 1 if not; 2 usage error.
    """
    if context.invoked_subcommand is not None:
        if attacks or protections or as_json or verbose:
            raise click.UsageError("the options of `lab` do not go with a command; put --attack behind `up`")
        return
    _silence_servers()
    rows = [attack for attack in Attack if not attacks or attack in attacks]
    columns = [protection for protection in SiteProtection if not protections or protection in protections]
    try:
        cells = asyncio.run(_run(rows, columns))
    except _FAILURES as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    if as_json:
        click.echo(json_text(as_data(cells), indent=2))
    else:
        _print(draw(cells) + explain([cell for cell in cells if verbose or not cell.passed]))
    sys.exit(0 if all(cell.passed for cell in cells) else 1)


@lab.command()
@click.option("--attack", type=_ATTACKS, default=Attack.NONE.value, show_default=True, help="The attack to run.")
def up(attack: str) -> None:
    """Keep the lab running with a server in it, and show how to send mail through it by hand.

    Prints commands with the real addresses of this run, then logs events until Ctrl-C.
    """
    try:
        asyncio.run(stay(Attack(attack), click.echo))
    except _FAILURES as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)


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


_COLOURED = re.compile(
    r"(?P<bad>\bREAD( tls| clear)?|INCONSISTENT|UNDECIDED|(?<= )!)"
    r"|(?P<best>\bauthenticated\b)|(?P<good>\b(held|encrypted)\b)"
)
_HUES = {"bad": "red", "best": "green", "good": "green"}


def _print(lines: Sequence[str]) -> None:
    """To stdout; click takes the colour away unless it is a terminal."""
    for line in lines:
        click.echo(line if "NO_COLOR" in os.environ else _COLOURED.sub(_colour, line))


def _colour(found: re.Match[str]) -> str:
    kind = next(name for name, text in found.groupdict().items() if text)
    return click.style(found[0], fg=_HUES[kind], bold=kind != "good")
