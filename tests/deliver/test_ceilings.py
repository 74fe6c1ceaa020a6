"""The number of deliveries at once that a place takes is learned, and tried again seldom."""

import asyncio

import pytest

from letterlock.deliver.ceilings import FIRST_ROW, LONGEST_ROW, Ceilings
from letterlock.schedule.slots import Slots
from tests.deliver.world import HandClock, MemoryDialer, MemoryStream, Server
from tests.schedule.hand_store import HandStore
from tests.schedule.test_deliverer import PerDomain, task_for, until, working


def test_refusals_lead_to_the_number_that_works() -> None:
    ceilings = Ceilings()
    for taken in range(10, 2, -1):  # eight of ten are refused, one after the other
        ceilings.refused("place", taken)
    assert ceilings.of("place") == 2
    assert ceilings.of("other") is None


def test_one_alone_that_is_refused_says_nothing_of_a_number() -> None:
    ceilings = Ceilings()
    ceilings.refused("place", 1)
    assert ceilings.of("place") is None


def test_it_rises_slowly_and_more_slowly_after_a_trial_in_vain() -> None:
    ceilings = Ceilings()
    ceilings.refused("place", 3)
    rows = []
    for _ in range(10):
        count = 0
        while ceilings.of("place") == 2:
            ceilings.went_well("place", 2, 10)
            count += 1
        rows.append(count)
        ceilings.refused("place", 3)
    assert rows[:4] == [FIRST_ROW, 2 * FIRST_ROW, 4 * FIRST_ROW, 8 * FIRST_ROW]
    assert rows[-1] == LONGEST_ROW


def test_only_deliveries_with_all_seats_taken_prove_anything() -> None:
    ceilings = Ceilings()
    ceilings.refused("place", 4)
    for _ in range(10 * FIRST_ROW):
        ceilings.went_well("place", 1, 10)
    assert ceilings.of("place") == 3


def test_at_the_usual_number_there_is_no_ceiling_any_more() -> None:
    ceilings = Ceilings()
    ceilings.refused("place", 10)
    for _ in range(FIRST_ROW):
        ceilings.went_well("place", 9, 10)
    assert ceilings.of("place") is None


@pytest.mark.parametrize("place", ["place", None])
def test_the_operator_can_have_it_forgotten(place: str | None) -> None:
    slots = Slots(total=10, each=4, max_waiting=100, first=4)
    for number in range(6):
        slots.wait(task_for("place", number))
    assert len([*iter(slots.take, None)]) == 4
    slots.leave("place", well=False, crowded=True)
    slots.forgive(place)
    assert slots.take() is not None


async def test_a_server_that_takes_two_connections_gets_all_mail_and_soon_refuses_none(
    dialer: MemoryDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, server = HandStore(HandClock()), Server()
    monkeypatch.setattr("letterlock.schedule.deliverer.Backoff.of", lambda *_: None)
    at_once, refused = 0, 0

    async def narrow(stream: MemoryStream) -> None:
        nonlocal at_once, refused
        if at_once == 2:
            refused += 1
            await stream.write(b"421 4.7.0 too many connections\r\n")
            await stream.close()
            return
        at_once += 1
        try:
            await asyncio.sleep(0)
            await server(stream)
        finally:
            at_once -= 1

    dialer.handlers = {"192.0.2.1": narrow}
    store.put(*(task_for("a.example", number) for number in range(60)))
    async with working(store, dialer, PerDomain(a="192.0.2.1")):
        await until(lambda: len(store.settled) == 60)
    deferred = sum(bool(settlement.deferred) for settlement, _ in store.settled)
    assert deferred <= 10, "the first ten at most"
    assert sum(bool(settlement.delivered) for settlement, _ in store.settled) == 60 - deferred
