"""How `python -m bench.observing` compares blocks of messages: what something costs comes out of a drifting machine."""

import random

import pytest
from bench.observing import LEFT_OUT, compare, states


@pytest.mark.parametrize("only", ["", "no log"])
def test_what_is_left_out_is_found_although_the_machine_gets_slower(only: str) -> None:
    chance = random.Random(17)
    costs = dict(zip(LEFT_OUT, (4e-6, 16e-6, 2e-6, 0.0), strict=True))
    blocks = [
        (state, 300e-6 + 1e-8 * at + chance.gauss(0, 2e-6) - costs.get(state, 0.0))
        for at in range(len(states(only)) * 100)
        for state in [states(only)[at % len(states(only))]]
    ]
    printed = compare(blocks)
    wanted = [cost for state, cost in costs.items() if only in ("", state)]
    for line, cost in zip(printed.splitlines()[1:], wanted, strict=True):
        assert abs(float(line.split()[1]) - cost * 1e6) < 1.0, printed
