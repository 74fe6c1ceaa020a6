"""How `python -m bench.observing` compares blocks of messages: what something costs comes out of a drifting machine."""

import random

from bench.observing import LEFT_OUT, STATES, compare


def test_what_is_left_out_is_found_although_the_machine_gets_slower() -> None:
    chance = random.Random(17)
    costs = dict(zip(LEFT_OUT, (4e-6, 16e-6, 2e-6, 0.0), strict=True))
    blocks = [
        (state, 300e-6 + 1e-8 * at + chance.gauss(0, 2e-6) - costs.get(state, 0.0))
        for at in range(len(STATES) * 100)
        for state in [STATES[at % len(STATES)]]
    ]
    printed = compare(blocks)
    for line, cost in zip(printed.splitlines()[1:], costs.values(), strict=True):
        assert abs(float(line.split()[1]) - cost * 1e6) < 1.0, printed
