"""A store is opened from its configuration in one place."""

from pathlib import Path

import pytest

from letterlock.queue.store import QueueInUse
from letterlock.store.engines import (
    ENGINES,
    NoLeftovers,
    StoreAddress,
    StoreOptions,
    UnknownEngine,
    open_store,
    parse_store,
)
from tests.queue.messages import ANN, BODY, envelope


def test_an_address_is_an_engine_and_a_location_that_may_hold_colons() -> None:
    assert parse_store("sqlite:/var/lib/x:y") == StoreAddress("sqlite", "/var/lib/x:y")
    assert str(parse_store("sqlite:/var/lib/x:y")) == "sqlite:/var/lib/x:y"
    assert parse_store("sqlite") == parse_store("sqlite:") == StoreAddress()


def test_an_unknown_engine_is_refused_with_those_there_are() -> None:
    with pytest.raises(UnknownEngine, match="unknown store engine 'mbox'; one of: sqlite"):
        parse_store("mbox:/var/mail")


@pytest.mark.parametrize("engine", ENGINES)
async def test_what_an_engine_stored_is_there_when_it_is_opened_again(engine: str, tmp_path: Path) -> None:
    options = StoreOptions(StoreAddress(engine), tmp_path, workers=1)
    opened = await open_store(options)
    await opened.store.accept(envelope("M1", ANN), BODY, next_attempt_at=0)
    with pytest.raises(QueueInUse):
        await open_store(options)
    await opened.store.close()
    opened = await open_store(options)
    assert await opened.store.body("M1") == BODY
    assert opened.leftovers.problems == {}
    await opened.store.close()


async def test_where_workers_share_a_store_nothing_is_left_over() -> None:
    leftovers = NoLeftovers()
    await leftovers.keep_trying(lambda: pytest.fail("nothing was taken"))
    leftovers.stop()
    assert leftovers.problems == {}
