"""How `python -m bench.observing` compares blocks of messages: what something costs comes out of a drifting machine."""

import random
from itertools import islice

import pytest
from bench.observing import ALL, AWAY, LOGS, compare, pairs_of, states

COSTS = dict(zip(AWAY, (4e-6, 16e-6, 2e-6, 0.0, 20e-6), strict=True))


@pytest.mark.parametrize("only", ["", LOGS])
def test_what_is_left_out_is_found_although_the_machine_gets_slower(only: str) -> None:
    chance = random.Random(17)
    blocks = [
        (state, 300e-6 + 1e-8 * at + chance.gauss(0, 2e-6) - COSTS.get(state, 0.0))
        for at, state in enumerate(islice(states(only), 2_000))
    ]
    blocks[100] = (blocks[100][0], 9e-3)  # something else ran
    printed = compare(pairs_of(blocks))
    wanted = [cost for state, cost in COSTS.items() if only in ("", state)]
    for line, cost in zip(printed.splitlines()[1:], wanted, strict=True):
        found = float(line.partition(" us")[0].split()[-1])
        assert abs(found - cost * 1e6) < 1.0, printed


def test_no_order_of_blocks_falls_into_step_with_a_source_that_sends_in_rounds() -> None:
    """Every other block delivers a twelfth more: blocks that alternate would take that for a cost of the log."""
    states_in_turn = islice(states(LOGS), 4_000)
    blocks = [(state, 300e-6 + 25e-6 * (at % 2)) for at, state in enumerate(states_in_turn)]
    share = float(compare(pairs_of(blocks)).splitlines()[1].partition(" us, ")[2].partition(" %")[0])
    assert abs(share) < 0.5
    assert {state for state, _ in blocks} == {ALL, LOGS}
