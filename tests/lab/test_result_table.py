"""Theory as data, and the table drawn from it."""

import dataclasses
import json

from letterlock.lab.result_table import as_data, draw, explain, summary, word
from letterlock.lab.scenarios import (
    ATTACK_STORIES,
    ATTACK_TITLES,
    Attack,
    Expectation,
    SiteProtection,
    TrialOutcome,
    expected,
)
from letterlock.lab.subject import ObservedState, OperatorRecord
from letterlock.lab.trial import Cell, classify
from letterlock.policy.decision import Level
from letterlock.policy.reasons import all_codes

ALL = [(attack, protection) for attack in Attack for protection in SiteProtection]
DANE = (SiteProtection.DANE_EE, SiteProtection.DANE_TA)


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
        reasons=({"code": theory.because, "text": "because of this"},),
        seconds=0.25,
    )


def test_theory_has_a_word_on_every_cell() -> None:
    assert len(ALL) == 78
    assert set(ATTACK_TITLES) == set(ATTACK_STORIES) == set(Attack)
    for attack, protection in ALL:
        assert expected(attack, protection).because in set(all_codes())


def test_rfc7672_dane_is_never_read_and_delivered_authenticated_when_nobody_attacks() -> None:
    for attack in Attack:
        for protection in DANE:
            theory = expected(attack, protection)
            assert not theory.readable
            assert theory.outcome is (TrialOutcome.AUTHENTICATED if attack is Attack.NONE else TrialOutcome.HELD)


def test_rfc7672_1_3_2_the_honest_rows_stay() -> None:
    assert expected(Attack.SELF_SIGNED, SiteProtection.REQUIRE_TLS).readable
    unsigned = "rfc7672-1.3.2-unsigned-name"
    assert expected(Attack.MX_FORGED, SiteProtection.VERIFY) == Expectation(
        TrialOutcome.ENCRYPTED, unsigned, readable=True
    )
    assert expected(Attack.NONE, SiteProtection.VERIFY) == Expectation(TrialOutcome.ENCRYPTED, unsigned)
    stripped = expected(Attack.STARTTLS_STRIPPED, SiteProtection.NONE)
    assert (stripped.outcome, stripped.readable) == (TrialOutcome.CLEAR, True)


def test_rfc8461_10_what_mta_sts_does_not_stop_is_shown_as_read() -> None:
    """First contact (section 10.2) and a certificate that a public authority gave away (section 10.1)."""
    read = {attack for attack in Attack if expected(attack, SiteProtection.MTA_STS).readable}
    assert read == {Attack.STS_HIDDEN_FIRST, Attack.BOUGHT_CERTIFICATE}


def test_what_is_held_is_never_readable() -> None:
    for pair in ALL:
        if expected(*pair).outcome is TrialOutcome.HELD:
            assert not expected(*pair).readable


def test_the_table_is_aligned_and_readable_without_colour() -> None:
    lines = draw([make_cell(*pair) for pair in ALL])
    table = lines[: lines.index("")]
    assert len(table) == 1 + len(Attack)
    start = table[0].index("none")
    assert all(line[start - 1] == " " and line[start] != " " for line in table)
    assert all(len(line) <= 100 for line in lines)
    assert lines[-1] == "78 cells as theory predicts, 0 worse"
    assert not any("\x1b" in line for line in lines)


def test_the_table_shows_only_what_was_run() -> None:
    lines = draw([make_cell(Attack.NONE, SiteProtection.DANE_EE)])
    assert lines[0].split() == ["attack", "\\", "protection", "dane-ee"]
    assert lines[1].split() == ["nobody", "attacks", "authenticated"]
    assert lines[-1] == "1 cell as theory predicts, 0 worse"


def test_a_cell_that_theory_forbids_is_marked_and_counted() -> None:
    leak = make_cell(Attack.SELF_SIGNED, SiteProtection.DANE_EE, outcome=TrialOutcome.ENCRYPTED, readable=True)
    late = make_cell(Attack.NONE, SiteProtection.DANE_TA, outcome=TrialOutcome.HELD)
    assert word(leak) == "READ tls !"
    assert word(late) == "held !"
    assert leak.worse
    assert not late.worse
    assert summary([leak, late]) == "0 cells as theory predicts, 1 worse, 1 different"


def test_reasons_are_explained_attack_by_attack() -> None:
    lines = explain([make_cell(Attack.SELF_SIGNED, each) for each in reversed(SiteProtection)])
    assert lines[1].startswith("self-signed: on the path")
    assert [line.split()[0] for line in lines[2::2]] == list(SiteProtection)
    assert lines[3].strip() == "rfc7435-3-encrypted: because of this"


def test_the_right_outcome_for_a_wrong_reason_does_not_pass() -> None:
    cell = make_cell(Attack.TLSA_REMOVED, SiteProtection.DANE_EE)
    assert cell.passed
    wrong = dataclasses.replace(cell, reasons=({"code": "rfc7672-2.1.2-address-lookup-failed", "text": "timeout"},))
    assert not wrong.passed
    assert word(wrong) == "held !"


def test_the_data_has_the_cells_in_the_order_of_the_table() -> None:
    data = json.loads(json.dumps(as_data([make_cell(*pair) for pair in reversed(ALL)])))
    assert list(data) == ["cells"]
    assert [(cell["attack"], cell["protection"]) for cell in data["cells"]] == ALL
    wanted = {"attack", "protection", "expected", "outcome", "readable_by_attacker", "pass", "reasons"}
    assert all(wanted <= set(cell) and cell["pass"] for cell in data["cells"])


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
