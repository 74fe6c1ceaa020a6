"""Every store."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from letterlock.queue.store import OperatedStore
from letterlock.store.memory import MemoryStore
from letterlock.store.sqlite import SqliteStore


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OperatedStore]:
    """An empty store."""
    opened: OperatedStore = MemoryStore() if request.param == "memory" else await SqliteStore.open(tmp_path)
    yield opened
    await opened.close()
