"""A message may come again only when nobody could know that it had come: the soak's own judge is judged here."""

import pytest

from tests.soak.arrivals import Arrival, Disasters, Doubt, Visit, explain_all


def arrivals(first: Arrival) -> list[Arrival]:
    """A message that arrives so, and once more later."""
    return [Arrival(first.number, first.at + 5, first.at + 5, Visit(), answered=True), first]


@pytest.mark.parametrize(
    ("visit", "disasters", "reason"),
    [
        pytest.param(Visit(10.3), Disasters(kills=[10.25]), Doubt.KILLED, id="killed, and its connection with it"),
        pytest.param(Visit(10.1, polite=True), Disasters(kills=[10.2]), Doubt.KILLED, id="killed after its goodbye"),
        pytest.param(Visit(12.0), Disasters(kills=[10.25]), None, id="it was another process that was killed"),
        pytest.param(
            Visit(13.1, deaf=(10.1, 13.1)),
            Disasters(kills=[10.25]),
            Doubt.KILLED,
            id="killed while the receiver stalled at its next command",
        ),
        pytest.param(
            Visit(15.0, deaf=(10.1, 13.1)),
            Disasters(kills=[10.25]),
            None,
            id="it went on after the receiver had stalled",
        ),
        pytest.param(Visit(None), Disasters(kills=[10.25]), None, id="its connection outlived the kill"),
        pytest.param(Visit(13.0), Disasters(kills=[13.0]), None, id="killed when the note was long written"),
        pytest.param(Visit(9.0), Disasters(kills=[8.9]), None, id="killed before"),
        pytest.param(Visit(), Disasters(disk=[(9.5, 10.5)]), Doubt.DISK, id="the disk failed"),
        pytest.param(Visit(), Disasters(disk=[(1.0, 2.0)]), None, id="the disk had recovered"),
        pytest.param(Visit(), Disasters(jumps=[9.0]), Doubt.CLOCK, id="the clock jumped during the attempt"),
        pytest.param(Visit(), Disasters(jumps=[20.0]), None, id="the clock jumped later"),
        pytest.param(Visit(10.0, polite=True), Disasters(), None, id="nothing happened"),
    ],
)
def test_what_comes_again_needs_a_reason(visit: Visit, disasters: Disasters, reason: Doubt | None) -> None:
    found = explain_all(arrivals(Arrival("1-1", 10.0, 10.0, visit, answered=True)), disasters)
    assert list(found.reasons) == ([reason] if reason else [])
    assert len(found.unexplained) == (reason is None)


def test_a_receiver_that_broke_off_after_the_final_dot_is_reason_enough() -> None:
    found = explain_all(arrivals(Arrival("1-1", 10.0, 10.0, Visit(10.0), answered=False)), Disasters())
    assert found.reasons == {Doubt.BROKEN_OFF: 1}


def test_who_stalled_and_took_the_message_later_may_be_the_reason_of_one_that_came_before() -> None:
    stalled = Arrival("1-1", 10.0, 13.1, Visit(13.2), answered=False)
    found = explain_all([Arrival("1-1", 13.0, 13.0, Visit(), answered=True), stalled], Disasters())
    assert found.reasons == {Doubt.BROKEN_OFF: 1}
    assert not found.unexplained


def test_what_came_once_needs_no_reason() -> None:
    found = explain_all([Arrival("1-1", 10.0, 10.0, Visit(), answered=True)], Disasters())
    assert not found.reasons
    assert not found.unexplained
