"""Several workers, each with a queue and a control socket of its own, asked as one."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from letterlock.admin.client import NotRunning, Queues, ServerError
from letterlock.admin.server import ControlServer
from letterlock.queue.folders import CONTROL_SOCKET
from letterlock.queue.orders import RecipientState, TallyBy, Wanted
from letterlock.store.sqlite.sqlite_store import SqliteStore
from tests.deliver.world import HandClock
from tests.queue.messages import ANN, BODY, CAT, envelope

_T = TypeVar("_T")


@pytest.fixture
async def queues(tmp_path: Path) -> AsyncIterator[Queues]:
    """The queues of two workers: even numbers at one, odd ones at the other."""
    async with AsyncExitStack() as stack:
        for worker, directory in enumerate((tmp_path, tmp_path / "worker-2")):
            directory.mkdir(exist_ok=True)
            store = await SqliteStore.open(directory)
            stack.push_async_callback(store.close)
            for number in range(worker, 1_200, 2):
                kept = envelope(f"M{number:04}", ANN if number % 3 else CAT)
                await store.accept(kept, BODY, next_attempt_at=0)
            server = ControlServer(store, directory / CONTROL_SOCKET, clock=HandClock(), wake=lambda: None)
            await server.start()
            stack.push_async_callback(server.stop)
        yield Queues(tmp_path)


async def aside(work: Callable[[], _T]) -> _T:
    return await asyncio.to_thread(work)


async def test_messages_of_all_workers_come_in_order(queues: Queues) -> None:
    found = await aside(lambda: [each["id"] for each in queues.messages()])
    assert found == [f"M{number:04}" for number in range(1_200)]
    some = await aside(lambda: [each["id"] for each in queues.messages(Wanted(domain="two.test"))])
    assert some == [f"M{number:04}" for number in range(0, 1_200, 3)]


async def test_an_order_reaches_all_workers(queues: Queues) -> None:
    wanted = Wanted(domain="one.test")
    assert await aside(lambda: queues.count(wanted)) == 800
    pages = await aside(lambda: list(queues.order("hold", wanted, reason="a test")))
    assert sum(matched for matched, _ in pages) == 800
    assert len({each for _, ids in pages for each in ids}) == 800
    assert await aside(lambda: queues.count(Wanted(state=RecipientState.HELD))) == 800
    assert await aside(queues.size) == 1_200


def _order(queues: Queues, verb: str) -> None:
    list(queues.order(verb, Wanted(ids=("M0001",)), reason="why"))


async def test_every_order_is_logged_with_who_gave_it_and_why(queues: Queues, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "letterlock.admin")
    await aside(lambda: list(queues.order("hold", Wanted(ids=("M0000", "M0001", "NONE")), reason="a test")))
    for verb in ("release", "retry", "quarantine", "release", "flush"):
        await aside(partial(_order, queues, verb))
    await aside(lambda: list(queues.order("return", Wanted(ids=("M0000",)))))
    await aside(lambda: list(queues.order("remove", Wanted(ids=("M0001",)), reason="twice")))
    by = f"uid={os.geteuid()}"
    said = [re.sub(r" login=\d+", "", record.getMessage()) for record in caplog.records]
    assert said == [
        f"M0000: hold by {by}: a test",
        f"M0001: hold by {by}: a test",
        f"M0001: release by {by}: why",
        f"M0001: retry by {by}: why",
        f"M0001: quarantine by {by}: why",
        f"M0001: release by {by}: why",
        f"M0001: flush by {by}: why",
        f"M0000: return by {by}",
        f"M0001: remove by {by}: twice",
    ]


async def test_many_ids_are_asked_for_in_parts(queues: Queues) -> None:
    names = tuple(f"M{number:04}" for number in range(5_000))
    pages = await aside(lambda: list(queues.order("remove", Wanted(ids=names))))
    assert sum(len(ids) for _, ids in pages) == 1_200
    assert await aside(lambda: list(queues.messages())) == []


async def test_counts_come_from_all_workers(queues: Queues) -> None:
    pages = await aside(lambda: list(queues.stats(TallyBy.DOMAIN)))
    totals = {key: sum(each.waiting for page in pages for each in page if each.key == key) for key in ("one.test",)}
    assert totals == {"one.test": 800}


async def test_one_message_is_found_wherever_it_is(queues: Queues) -> None:
    for name in ("M0000", "M0001"):
        message = await aside(partial(queues.message, name))
        assert message is not None
        assert message["id"] == name
    assert await aside(lambda: queues.message("M9999")) is None


async def test_what_the_server_refuses_is_told(queues: Queues) -> None:
    with pytest.raises(ServerError, match="unknown order"):
        await aside(lambda: list(queues.order("explode", Wanted())))


async def test_without_a_server_nobody_answers(tmp_path: Path) -> None:
    with pytest.raises(NotRunning):
        await aside(lambda: Queues(tmp_path).size())
