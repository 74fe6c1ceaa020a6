"""Turns at setting up sessions with one host."""

import asyncio

from letterlock.deliver.turns import Turns


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_so_many_at_once_and_the_next_in_line_when_one_leaves() -> None:
    turns = Turns(2)
    assert await turns.wait("mx")
    assert await turns.wait("mx")
    third, fourth = (asyncio.create_task(turns.wait("mx")) for _ in range(2))
    await settle()
    assert not third.done()
    turns.leave("mx")
    assert await third
    assert not fourth.done(), "first come, first served"
    turns.leave("mx")
    assert await fourth


async def test_hosts_do_not_wait_for_each_other() -> None:
    turns = Turns(1)
    assert await turns.wait("mx1")
    assert await turns.wait("mx2")


async def test_a_session_that_became_free_is_told_of_without_a_turn() -> None:
    turns = Turns(1)
    assert await turns.wait("mx")
    second, third = (asyncio.create_task(turns.wait("mx")) for _ in range(2))
    await settle()
    turns.session_free("mx")
    assert await second is False
    again = asyncio.create_task(turns.wait("mx", again=True))
    await settle()
    turns.leave("mx")
    assert await again, "who had no use for it stands before those who came later"
    assert not third.done()
    turns.leave("mx")
    assert await third


async def test_a_session_free_of_whom_nobody_waits_changes_nothing() -> None:
    turns = Turns(1)
    turns.session_free("mx")
    assert await turns.wait("mx")


async def test_who_goes_away_takes_no_turn_along() -> None:
    turns = Turns(1)
    assert await turns.wait("mx")
    gone, patient = (asyncio.create_task(turns.wait("mx")) for _ in range(2))
    await settle()
    gone.cancel()
    await settle()
    turns.leave("mx")
    assert await patient
    turns.leave("mx")
    assert await turns.wait("mx")


async def test_who_goes_away_at_the_moment_of_his_turn_gives_it_back() -> None:
    turns = Turns(1)
    assert await turns.wait("mx")
    gone, patient = (asyncio.create_task(turns.wait("mx")) for _ in range(2))
    await settle()
    turns.leave("mx")
    gone.cancel()
    await settle()
    assert gone.cancelled()
    assert await patient
