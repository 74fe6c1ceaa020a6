"""Every store."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from letterlock.queue.store import Store
from letterlock.store.segments.segment_store import SegmentStore
from letterlock.store.sqlite.sqlite_store import SqliteStore
from tests.memory_store import MemoryStore


@pytest.fixture(params=["memory", "sqlite", "fresh over memory", "fresh over sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store."""
    opened: Store = await SqliteStore.open(tmp_path) if "sqlite" in request.param else MemoryStore()
    if "fresh" in request.param:
        opened = await SegmentStore.open(tmp_path, opened)
    yield opened
    await opened.close()
