"""Shared state in the server's directory: MTA-STS policies in a SQLite file, and a small file for each trust point."""

from collections.abc import Iterable
from pathlib import Path

import dns.name

from letterlock.machine import boot_id
from letterlock.queue.store import StoreFailed
from letterlock.resolver.trust_anchors import TrustAnchor
from letterlock.state.policies import PolicyStore
from letterlock.state.rate_file import RateFile
from letterlock.state.remembered_domains import DomainMemoryStore
from letterlock.state.report_store import ReportStore
from letterlock.state.statistics_store import StatisticsStore
from letterlock.state.trust_points import TrustPointFile


class StateInFiles:
    """`SharedState` of all workers that have this directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._policies: PolicyStore | None = None
        self._memory: DomainMemoryStore | None = None
        self._rates: RateFile | None = None
        self._reports: ReportStore | None = None
        self._statistics: StatisticsStore | None = None

    def policies(self) -> PolicyStore:
        """The policies. Raises StoreFailed."""
        if self._policies is None:
            self._policies = PolicyStore.open(self._directory)
        return self._policies

    def memory(self) -> DomainMemoryStore:
        """What is remembered of domains. Raises StoreFailed."""
        if self._memory is None:
            self._memory = DomainMemoryStore.open(self._directory)
        return self._memory

    def trust_point(self, zone: dns.name.Name, anchors: Iterable[TrustAnchor]) -> TrustPointFile:
        """The file of a trust point."""
        return TrustPointFile(self._directory, zone, anchors)

    def rates(self) -> RateFile:
        """The counters. Raises StoreFailed."""
        if self._rates is None:
            path = self._directory / "rates"
            try:
                self._rates = RateFile(path, boot_id())
            except OSError as error:
                raise StoreFailed(f"{path} cannot be used: {error.strerror}") from None
        return self._rates

    def reports(self) -> ReportStore:
        """The database of the reports. Raises StoreFailed."""
        if self._reports is None:
            self._reports = ReportStore.open(self._directory)
        return self._reports

    def statistics(self) -> StatisticsStore:
        """The database of the statistics. Raises StoreFailed."""
        if self._statistics is None:
            self._statistics = StatisticsStore.open(self._directory)
        return self._statistics

    async def close(self) -> None:
        """Finish what is being written."""
        if self._rates is not None:
            self._rates.close()
        if self._memory is not None:
            await self._memory.close()
        if self._policies is not None:
            await self._policies.close()
        if self._reports is not None:
            await self._reports.close()
        if self._statistics is not None:
            await self._statistics.close()
