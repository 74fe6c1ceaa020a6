"""Every store."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from letterlock.queue.store import Store
from letterlock.store.engines import ENGINES, StoreAddress, StoreOptions, open_store
from letterlock.store.segments.segment_store import SegmentStore
from letterlock.store.sqlite.sqlite_store import SqliteStore
from tests.memory_store import MemoryStore


@pytest.fixture(params=["memory", "sqlite alone", "fresh over memory", "fresh over sqlite", *ENGINES])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store: each layer by itself, and each engine as a server opens it."""
    if request.param in ENGINES:
        opened = (await open_store(StoreOptions(StoreAddress(request.param), tmp_path, workers=1))).store
    else:
        opened = await SqliteStore.open(tmp_path) if "sqlite" in request.param else MemoryStore()
    if "fresh" in request.param:
        opened = await SegmentStore.open(tmp_path, opened)
    yield opened
    await opened.close()
