"""The result of the lab, for people: one table, readable without colour; and as data."""

from collections.abc import Sequence

from letterlock.lab.scenarios import Attack, SiteProtection, TrialOutcome
from letterlock.lab.theory import story, theory, title
from letterlock.lab.trial import Cell

_WORDS = {
    TrialOutcome.AUTHENTICATED: "auth",
    TrialOutcome.ENCRYPTED: "tls",
    TrialOutcome.CLEAR: "clear",
    TrialOutcome.HELD: "held",
    TrialOutcome.INCONSISTENT: "ODD",
    TrialOutcome.UNDECIDED: "OPEN",
}
_READ, _READ_CLEAR = "READ", "CLEAR"
_LEGEND = (
    (_READ, "delivered inside TLS, and the attacker read it: TLS ended at the attacker"),
    (_READ_CLEAR, "delivered without TLS, and the attacker read it"),
    ("held", "kept in the queue with the reason and tried again; nobody else has it"),
    ("tls", "delivered inside TLS to an unidentified server; here it was the right one"),
    ("auth", "delivered inside TLS to the server that signed DNS, a policy or a rule names"),
)
_HEAD = "attack"
_GAP = 2  # two spaces between columns of words
_MARK = 1  # room for `!` behind a word
DEFAULT_COLUMNS = 120  # chosen: of output that is no terminal


def word(cell: Cell) -> str:
    """What happened in a cell. Capitals are bad news; `!` marks what theory forbids."""
    text = _WORDS[cell.outcome]
    if cell.readable:
        text = _READ_CLEAR if cell.outcome is TrialOutcome.CLEAR else _READ
    return text if cell.passed else f"{text}!"


def draw(cells: Sequence[Cell], columns: int = DEFAULT_COLUMNS) -> list[str]:
    """The table, in as many parts as its width needs, the legend and the summary, a line each."""
    attacks = [attack for attack in Attack if any(cell.attack is attack for cell in cells)]
    protections = [each for each in SiteProtection if any(cell.protection is each for cell in cells)]
    words = {(cell.attack, cell.protection): word(cell) for cell in cells}
    lines: list[str] = []
    for part in _parts(protections, columns - _stub(attacks)):
        rows = [[title(attack), *(words.get((attack, each), "") for each in part)] for attack in attacks]
        lines += [*_grid([*_heads(part), *rows]), ""]
    used = {text.rstrip("!") for text in words.values()}
    legend = [(text, meaning) for text, meaning in _LEGEND if text in used]
    names = [(" ".join(theory().heads[each]), f"{each}: {theory().protections[each]}") for each in protections]
    return [*lines, *_aligned(legend), "", *_aligned(names), "", summary(cells)]


def _stub(attacks: Sequence[Attack]) -> int:
    return max(len(title(attack)) for attack in attacks) + _GAP


def _parts(protections: Sequence[SiteProtection], columns: int) -> list[Sequence[SiteProtection]]:
    """The columns of each part of the table."""
    each = max(1, columns // _COLUMN)
    return [protections[at : at + each] for at in range(0, len(protections), each)]


_COLUMN = max(len(text) for text in (*_WORDS.values(), _READ_CLEAR)) + _MARK + 1


def _heads(protections: Sequence[SiteProtection]) -> list[list[str]]:
    heads = [theory().heads[each] for each in protections]
    depth = max(len(head) for head in heads)
    rows = [[head[line] if line < len(head) else "" for head in heads] for line in range(depth)]
    return [[_HEAD if line == depth - 1 else "", *row] for line, row in enumerate(rows)]


def _grid(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of a wide first column and narrow others."""
    stub = max(len(row[0]) for row in rows) + _GAP
    return [f"{row[0]:<{stub}}{''.join(text.ljust(_COLUMN) for text in row[1:])}".rstrip() for row in rows]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
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
            lines += ["", f"{title(attack)}: {story(attack)}"]
        for cell in sorted(chosen, key=lambda cell: list(SiteProtection).index(cell.protection)):
            lines.append(f"  {cell.protection:<18}{word(cell)}")
            lines.append(f"      best possible: {_theory(cell)}")
            lines += [f"      {reason['code']}: {reason['text']}" for reason in cell.reasons]
    return lines


def _theory(cell: Cell) -> str:
    best = cell.expected
    who = ", and the attacker can read it" if best.readable else ""
    code = f" [{best.because}]" if best.because else ""
    return f"{best.outcome}{who}: {best.why}{code}"


def as_data(cells: Sequence[Cell]) -> dict[str, object]:
    """The cells as JSON-able values, in the order of the table, and what they add up to."""
    order = {pair: number for number, pair in enumerate((a, p) for a in Attack for p in SiteProtection)}
    ordered = sorted(cells, key=lambda cell: order[cell.attack, cell.protection])
    return {"totals": _totals(cells), "cells": [_cell_as_data(cell) for cell in ordered]}


def _totals(cells: Sequence[Cell]) -> dict[str, int]:
    """The figures of a run; `readable_although_protectable` must be 0."""
    return {
        "attacks": len({cell.attack for cell in cells}),
        "protections": len({cell.protection for cell in cells}),
        "cells": len(cells),
        "as_theory_predicts": sum(cell.passed for cell in cells),
        "readable_although_protectable": sum(cell.worse for cell in cells),
        "held": sum(cell.outcome is TrialOutcome.HELD for cell in cells),
        "readable": sum(cell.readable for cell in cells),
        "delivered_unread": sum(cell.outcome is not TrialOutcome.HELD and not cell.readable for cell in cells),
    }


def _cell_as_data(cell: Cell) -> dict[str, object]:
    return {
        "attack": cell.attack.value,
        "protection": cell.protection.value,
        "expected": cell.expected.outcome.value,
        "outcome": cell.outcome.value,
        "expected_readable": cell.expected.readable,
        "expected_reason": cell.expected.because,
        "why": cell.expected.why,
        "readable_by_attacker": cell.readable,
        "pass": cell.passed,
        "reasons": list(cell.reasons),
        "seconds": round(cell.seconds, 3),
    }
