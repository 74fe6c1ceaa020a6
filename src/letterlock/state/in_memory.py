"""Shared state of a process by itself, such as `letterlock check`: it is forgotten when the process ends."""

from collections.abc import Callable, Iterable

import dns.name

from letterlock.resolver.rollover import TrustPoint, begin
from letterlock.resolver.trust_anchors import TrustAnchor
from letterlock.state.policies import PolicyStore
from letterlock.state.rate_file import RateFile
from letterlock.state.remembered_domains import DomainMemoryStore
from letterlock.state.report_store import ReportStore
from letterlock.state.statistics_store import StatisticsStore


class RememberedTrustPoint:
    """`TrustPointMemory` of one process."""

    def __init__(self, point: TrustPoint) -> None:
        self._point = point

    def load(self) -> TrustPoint:
        """The trust point."""
        return self._point

    def change(self, change: Callable[[TrustPoint], TrustPoint]) -> TrustPoint:
        """Replace it by what follows from it."""
        self._point = change(self._point)
        return self._point


class StateInMemory:
    """`SharedState` of one process."""

    def __init__(self) -> None:
        self._policies: PolicyStore | None = None
        self._memory: DomainMemoryStore | None = None
        self._rates: RateFile | None = None
        self._reports: ReportStore | None = None
        self._statistics: StatisticsStore | None = None
        self._trust_points: dict[tuple[dns.name.Name, frozenset[str]], RememberedTrustPoint] = {}

    def policies(self) -> PolicyStore:
        """The policies."""
        if self._policies is None:
            self._policies = PolicyStore.open(None)
        return self._policies

    def memory(self) -> DomainMemoryStore:
        """What is remembered of domains."""
        if self._memory is None:
            self._memory = DomainMemoryStore.open(None)
        return self._memory

    def trust_point(self, zone: dns.name.Name, anchors: Iterable[TrustAnchor]) -> RememberedTrustPoint:
        """The trust point of a zone."""
        configured = zone, frozenset(map(str, anchors))
        return self._trust_points.setdefault(configured, RememberedTrustPoint(begin(zone)))

    def rates(self) -> RateFile:
        """The counters."""
        if self._rates is None:
            self._rates = RateFile(None, "")
        return self._rates

    def reports(self) -> ReportStore:
        """The database of the reports."""
        if self._reports is None:
            self._reports = ReportStore.open(None)
        return self._reports

    def statistics(self) -> StatisticsStore:
        """The database of the statistics."""
        if self._statistics is None:
            self._statistics = StatisticsStore.open(None)
        return self._statistics

    async def close(self) -> None:
        """Nothing is written anywhere, but threads have worked for the policies, reports and statistics."""
        if self._memory is not None:
            await self._memory.close()
        if self._policies is not None:
            await self._policies.close()
        if self._reports is not None:
            await self._reports.close()
        if self._statistics is not None:
            await self._statistics.close()
