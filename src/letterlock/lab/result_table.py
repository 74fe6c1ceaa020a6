"""The result of the lab, for people: one table, readable without colour; and as data."""

from collections.abc import Sequence

from letterlock.lab.scenarios import ATTACK_STORIES, ATTACK_TITLES, Attack, SiteProtection, TrialOutcome
from letterlock.lab.trial import Cell

_WORDS = {
    TrialOutcome.AUTHENTICATED: "authenticated",
    TrialOutcome.ENCRYPTED: "encrypted",
    TrialOutcome.CLEAR: "clear",
    TrialOutcome.HELD: "held",
    TrialOutcome.INCONSISTENT: "INCONSISTENT",
    TrialOutcome.UNDECIDED: "UNDECIDED",
}
_LEGEND = (
    ("READ tls", "delivered inside TLS, and the attacker read it: TLS ended at the attacker"),
    ("READ clear", "delivered without TLS, and the attacker read it"),
    ("held", "kept in the queue with the reason and tried again; nobody else has it"),
    ("encrypted", "delivered inside TLS to an unidentified server; here it was the right one"),
    ("authenticated", "delivered inside TLS to the server that signed DNS or the MTA-STS policy names"),
)
_HEAD = "attack \\ protection"
_GAP = 2  # two spaces between columns


def word(cell: Cell) -> str:
    """What happened in a cell, in at most three words. Capitals are bad news; `!` marks what theory forbids."""
    text = _WORDS[cell.outcome]
    if cell.readable:
        text = f"READ {'clear' if cell.outcome is TrialOutcome.CLEAR else 'tls'}"
    return text if cell.passed else f"{text} !"


def draw(cells: Sequence[Cell]) -> list[str]:
    """The table, the legend and the summary, a line each."""
    attacks = [attack for attack in Attack if any(cell.attack is attack for cell in cells)]
    columns = [protection for protection in SiteProtection if any(cell.protection is protection for cell in cells)]
    words = {(cell.attack, cell.protection): word(cell) for cell in cells}
    rows = [[_HEAD, *columns]]
    rows += [[ATTACK_TITLES[attack], *(words.get((attack, each), "") for each in columns)] for attack in attacks]
    return [*_aligned(rows), "", *_aligned(_LEGEND), "", summary(cells)]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) + _GAP for column in range(len(rows[0]))]
    return ["".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def summary(cells: Sequence[Cell]) -> str:
    """One line: how many cells are as theory says, how many are worse, how many differ otherwise."""
    right = sum(cell.passed for cell in cells)
    worse = sum(cell.worse for cell in cells)
    other = len(cells) - right - worse
    text = f"{right} {'cell' if right == 1 else 'cells'} as theory predicts, {worse} worse"
    return f"{text}, {other} different" if other else text


def explain(cells: Sequence[Cell]) -> list[str]:
    """Every cell with the reasons that the server gave, attack by attack."""
    lines: list[str] = []
    for attack in Attack:
        chosen = [cell for cell in cells if cell.attack is attack]
        if chosen:
            lines += ["", f"{ATTACK_TITLES[attack]}: {ATTACK_STORIES[attack]}"]
        for cell in sorted(chosen, key=lambda cell: list(SiteProtection).index(cell.protection)):
            lines.append(f"  {cell.protection:<13}{word(cell)}")
            lines += [f"      {reason['code']}: {reason['text']}" for reason in cell.reasons]
            if not cell.passed:
                lines.append(f"      theory predicts: {_theory(cell)}")
    return lines


def _theory(cell: Cell) -> str:
    theory = cell.expected
    who = "readable by the attacker" if theory.readable else "unread"
    return f"{theory.outcome}, {who}, because of {theory.because}"


def as_data(cells: Sequence[Cell]) -> dict[str, list[dict[str, object]]]:
    """The cells as JSON-able values, in the order of the table."""
    order = {pair: number for number, pair in enumerate((a, p) for a in Attack for p in SiteProtection)}
    ordered = sorted(cells, key=lambda cell: order[cell.attack, cell.protection])
    return {"cells": [_cell_as_data(cell) for cell in ordered]}


def _cell_as_data(cell: Cell) -> dict[str, object]:
    return {
        "attack": cell.attack.value,
        "protection": cell.protection.value,
        "expected": cell.expected.outcome.value,
        "outcome": cell.outcome.value,
        "expected_readable": cell.expected.readable,
        "expected_reason": cell.expected.because,
        "readable_by_attacker": cell.readable,
        "pass": cell.passed,
        "reasons": list(cell.reasons),
        "seconds": round(cell.seconds, 3),
    }
