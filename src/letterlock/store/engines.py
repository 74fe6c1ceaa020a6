"""The one place that opens a store from its configuration: `[queue] store = "ENGINE:LOCATION"`.

An engine is a package beside this module and one line in ENGINES. This module imports none of them before it is used,
because the configuration reads it to check the name of an engine.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from letterlock.queue.store import Store

SQLITE = "sqlite"


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """The store as configured: an engine's name, and the part after the colon (empty: the engine's default)."""

    engine: str = SQLITE
    location: str = ""

    def __str__(self) -> str:
        return f"{self.engine}:{self.location}"


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """The options that an engine opens its store with.

    `directory` is the worker's own. `workers`: how many there are, for the one worker that takes over the messages of
    former ones; None for all others.
    """

    address: StoreAddress
    directory: Path
    workers: int | None = None
    key: bytes | None = field(default=None, repr=False)
    min_free_octets: int = 0


class Leftovers(Protocol):
    """Messages that former workers left and that this one takes over."""

    @property
    def problems(self) -> Mapping[str, str]:
        """Queues that could not be taken over, and why. Their messages are neither listed nor delivered meanwhile."""

    async def keep_trying(self, taken: Callable[[], None]) -> None:
        """Try again what failed, until `stop`; `taken` is called when messages came."""

    def stop(self) -> None:
        """Finish the work in hand; `keep_trying` ends then."""


class NoLeftovers:
    """For an engine whose workers share one store: none leaves messages behind."""

    @property
    def problems(self) -> Mapping[str, str]:
        """None."""
        return {}

    async def keep_trying(self, taken: Callable[[], None]) -> None:
        """Nothing is left to try."""

    def stop(self) -> None:
        """Nothing is in hand."""


@dataclass(frozen=True, slots=True)
class OpenedStore:
    """A store that is open, and what former workers left for it."""

    store: Store
    leftovers: Leftovers


@dataclass(frozen=True, slots=True)
class Engine:
    """One way to store messages. `open` may raise StoreFailed, QueueInUse.

    `in_directory`: its location is the server's own directory (`[queue] directory`), and nothing else. `modules` are
    those that `open` loads, for a supervisor that loads them once for all workers.
    """

    open: Callable[[StoreOptions], Awaitable[OpenedStore]]
    modules: tuple[str, ...]
    in_directory: bool = False


class UnknownEngine(ValueError):
    """There is no engine of this name."""


def parse_store(text: str) -> StoreAddress:
    """`ENGINE:LOCATION`. Raises UnknownEngine."""
    engine, _, location = text.partition(":")
    if engine not in ENGINES:
        raise UnknownEngine(f"unknown store engine {engine!r}; one of: {', '.join(ENGINES)}")
    return StoreAddress(engine, location)


async def open_store(options: StoreOptions) -> OpenedStore:
    """Open the store that is configured. Raises StoreFailed, QueueInUse."""
    return await ENGINES[options.address.engine].open(options)


async def _open_sqlite(options: StoreOptions) -> OpenedStore:
    from letterlock.store.adoption import open_adopting  # noqa: PLC0415  # only a server pays for loading an engine
    from letterlock.store.sealing import ContentSeal  # noqa: PLC0415  # the same

    store, adopter = await open_adopting(
        options.directory, options.workers, ContentSeal(options.key), min_free_octets=options.min_free_octets
    )
    return OpenedStore(store, adopter)


_SQLITE_MODULES = ("letterlock.store.adoption", "letterlock.store.sealing")
ENGINES: Mapping[str, Engine] = {
    SQLITE: Engine(_open_sqlite, _SQLITE_MODULES, in_directory=True),
}
