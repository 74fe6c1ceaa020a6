"""Finds what is remembered of a next hop. The store is opened when the first one is asked for."""

import logging
from collections.abc import Callable

from letterlock.memory.remembered import DomainMemory
from letterlock.policy.evidence import MemoryUnreadable
from letterlock.ports import RemembersDomains
from letterlock.queue.store import StoreFailed

log = logging.getLogger("letterlock.memory")
COMPLAINT_SECONDS = 60.0  # between two lines on a store that fails: it is asked for each destination


class RememberedFinder:
    """What is remembered of next hops. A store that fails is evidence too: could not find out."""

    def __init__(self, opened: Callable[[], RemembersDomains], monotonic: Callable[[], float]) -> None:
        self._opened = opened
        self._monotonic = monotonic
        self._silent_until: float | None = None

    async def find(self, domain: str) -> DomainMemory | MemoryUnreadable | None:
        """What is remembered of a next hop; None: nothing."""
        try:
            return await self._opened().load(domain)
        except StoreFailed as error:
            now = self._monotonic()
            if self._silent_until is None or now >= self._silent_until:
                self._silent_until = now + COMPLAINT_SECONDS
                log.warning("%s; mail waits where memory is to hold it", error)
            return MemoryUnreadable(str(error))
