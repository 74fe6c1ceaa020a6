"""The one place that opens what workers share besides mail, from the configuration.

The engine that `[queue] store` names keeps this state too, so that a cluster has all of it in one place. An engine is a
module beside this one and one line in STATE_ENGINES. The suites `tests/contract/test_shared_*.py` run over all of them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import dns.name

from letterlock.ports import PolicyMemory, ProtectionMemory, Rates, TrustPointMemory
from letterlock.resolver.trust_anchors import TrustAnchor
from letterlock.state.report_store import ReportStore
from letterlock.state.statistics_store import StatisticsStore


class SharedState(Protocol):
    """What workers share besides mail, one memory for each kind. `close` it at the end."""

    def policies(self) -> PolicyMemory:
        """The MTA-STS policies; opened at the first call. Raises StoreFailed."""

    def memory(self) -> ProtectionMemory:
        """What is remembered of domains; opened at the first call. Raises StoreFailed."""

    def trust_point(self, zone: dns.name.Name, anchors: Iterable[TrustAnchor]) -> TrustPointMemory:
        """The keys seen of a zone for which these anchors are configured (RFC 5011)."""

    def rates(self) -> Rates:
        """What clients and users have sent lately; opened at the first call. Raises StoreFailed."""

    def reports(self) -> ReportStore:
        """What reports are made of, and those of others; opened at the first call. Raises StoreFailed."""

    def statistics(self) -> StatisticsStore:
        """What became of deliveries, counted; opened at the first call. Raises StoreFailed."""

    async def close(self) -> None:
        """Finish what is being written."""


def open_state(engine: str, directory: Path | None) -> SharedState:
    """The state of an engine, in a server's directory. Without a directory it lasts as long as the process."""
    from letterlock.state.in_memory import StateInMemory  # noqa: PLC0415  # loaded if used, as an engine is

    return StateInMemory() if directory is None else STATE_ENGINES[engine].open(directory)


def _files(directory: Path) -> SharedState:
    from letterlock.state.in_files import StateInFiles  # noqa: PLC0415  # loaded if used

    return StateInFiles(directory)


@dataclass(frozen=True, slots=True)
class StateEngine:
    """One way to keep state. `modules`: what `open` loads, for a supervisor that loads it once for all workers."""

    open: Callable[[Path], SharedState]
    modules: tuple[str, ...]


STATE_ENGINES: Mapping[str, StateEngine] = {
    "sqlite": StateEngine(_files, ("letterlock.state.in_files", "letterlock.state.in_memory")),
}
"""By the name of the store's engine (`store.engines`)."""
