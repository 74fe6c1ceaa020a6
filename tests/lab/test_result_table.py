"""Theory as data, and the table drawn from it."""

import dataclasses
import json

from letterlock.lab.result_table import DEFAULT_COLUMNS, as_data, draw, explain, summary, word
from letterlock.lab.scenarios import Attack, SiteProtection, TrialOutcome
from letterlock.lab.subject import ObservedState, OperatorRecord
from letterlock.lab.theory import expected
from letterlock.lab.trial import Cell, classify
from letterlock.policy.decision import Level

ALL = [(attack, protection) for attack in Attack for protection in SiteProtection]


def make_cell(
    attack: Attack, protection: SiteProtection, *, outcome: TrialOutcome | None = None, readable: bool | None = None
) -> Cell:
    """A cell that is as theory predicts, unless told otherwise."""
    theory = expected(attack, protection)
    return Cell(
        attack=attack,
        protection=protection,
        expected=theory,
        outcome=theory.outcome if outcome is None else outcome,
        readable=theory.readable if readable is None else readable,
        reasons=({"code": theory.because or "none", "text": "because of this"},),
        seconds=0.25,
    )


def test_the_table_is_aligned_and_readable_without_colour() -> None:
    lines = draw([make_cell(*pair) for pair in ALL])
    table = lines[: lines.index("")]
    assert len(table) == 2 + len(Attack)
    start = table[0].index("none")
    assert all(line[start - 1] == " " and line[start] != " " for line in table[2:])
    assert all(len(line) <= DEFAULT_COLUMNS for line in lines)
    assert lines[-1] == f"{len(ALL)} cells as theory predicts, 0 worse"
    assert not any("\x1b" in line for line in lines)


def test_a_narrow_terminal_gets_the_table_in_parts() -> None:
    lines = draw([make_cell(*pair) for pair in ALL], 80)
    heads = [line for line in lines if line.startswith("attack")]
    assert len(heads) > 1
    table = lines[: lines.index(next(line for line in lines if line.startswith("READ  ")))]
    assert all(len(line) <= 80 for line in table)
    assert sum(len(line.split()) for line in table if line.startswith("nobody")) == 2 * len(heads) + len(SiteProtection)


def test_the_table_shows_only_what_was_run() -> None:
    lines = draw([make_cell(Attack.NONE, SiteProtection.DANE_EE)])
    assert [line.split() for line in lines[:3]] == [["dane"], ["attack", "ee"], ["nobody", "attacks", "auth"]]
    assert lines[-1] == "1 cell as theory predicts, 0 worse"


def test_a_cell_that_theory_forbids_is_marked_and_counted() -> None:
    leak = make_cell(Attack.SELF_SIGNED, SiteProtection.DANE_EE, outcome=TrialOutcome.ENCRYPTED, readable=True)
    late = make_cell(Attack.NONE, SiteProtection.DANE_TA, outcome=TrialOutcome.HELD)
    assert word(leak) == "READ!"
    assert word(late) == "held!"
    assert leak.worse
    assert not late.worse
    assert summary([leak, late]) == "0 cells as theory predicts, 1 worse, 1 different"


def test_reasons_are_explained_attack_by_attack_with_what_theory_says() -> None:
    lines = explain([make_cell(Attack.SELF_SIGNED, each) for each in reversed(SiteProtection)])
    assert lines[1].startswith("self-signed: on the path")
    assert [line.split()[0] for line in lines[2::3]] == list(SiteProtection)
    assert lines[3].strip().startswith("best possible: delivered-encrypted, and the attacker can read it: TLS with")
    assert lines[4].strip() == "rfc7435-3-encrypted: because of this"


def test_the_right_outcome_for_a_wrong_reason_does_not_pass() -> None:
    cell = make_cell(Attack.TLSA_REMOVED, SiteProtection.DANE_EE)
    assert cell.passed
    wrong = dataclasses.replace(cell, reasons=({"code": "rfc7672-2.1.2-address-lookup-failed", "text": "timeout"},))
    assert not wrong.passed
    assert word(wrong) == "held!"


def test_the_data_has_the_cells_in_the_order_of_the_table_and_their_totals() -> None:
    data = json.loads(json.dumps(as_data([make_cell(*pair) for pair in reversed(ALL)])))
    assert list(data) == ["totals", "cells"]
    assert [(cell["attack"], cell["protection"]) for cell in data["cells"]] == ALL
    wanted = {"attack", "protection", "expected", "why", "outcome", "readable_by_attacker", "pass", "reasons"}
    assert all(wanted <= set(cell) and cell["pass"] for cell in data["cells"])
    totals = data["totals"]
    assert totals["cells"] == totals["as_theory_predicts"] == len(ALL)
    assert totals["readable_although_protectable"] == 0
    assert totals["held"] + totals["readable"] + totals["delivered_unread"] == len(ALL)


def test_a_message_that_should_not_have_been_readable_is_counted() -> None:
    leak = make_cell(Attack.SELF_SIGNED, SiteProtection.DANE_EE, outcome=TrialOutcome.ENCRYPTED, readable=True)
    totals = as_data([leak, make_cell(Attack.NONE, SiteProtection.NONE)])["totals"]
    assert isinstance(totals, dict)
    assert totals["readable_although_protectable"] == 1
    assert totals["as_theory_predicts"] == 1


def record(state: ObservedState, level: Level | None = None) -> OperatorRecord:
    """What a server says."""
    return OperatorRecord(state, level, ())


def test_what_came_over_the_wire_counts_more_than_what_the_server_claims() -> None:
    authenticated = record(ObservedState.DELIVERED, Level.AUTHENTICATED)
    assert classify(authenticated, queued=False, encrypted=True) is TrialOutcome.AUTHENTICATED
    assert classify(authenticated, queued=False, encrypted=False) is TrialOutcome.INCONSISTENT
    assert classify(authenticated, queued=False, encrypted=None) is TrialOutcome.INCONSISTENT
    assert classify(record(ObservedState.DELIVERED, Level.CLEAR), queued=False, encrypted=False) is TrialOutcome.CLEAR


def test_held_means_that_nobody_got_it() -> None:
    assert classify(record(ObservedState.DEFERRED), queued=True, encrypted=None) is TrialOutcome.HELD
    assert classify(record(ObservedState.DEFERRED), queued=True, encrypted=True) is TrialOutcome.INCONSISTENT
    assert classify(record(ObservedState.DEFERRED), queued=False, encrypted=None) is TrialOutcome.INCONSISTENT
    assert classify(record(ObservedState.FAILED), queued=False, encrypted=None) is TrialOutcome.INCONSISTENT
    assert classify(None, queued=True, encrypted=None) is TrialOutcome.UNDECIDED
