"""The sessions of a day added up (RFC 8460 section 4), in bounded memory.

A tally counts per day (UTC), per domain that the report is for, and per policy. What failed is counted by everything
that the sessions had in common. When a domain or a policy has too many different ones, further ones are counted
without what tells them apart, and then not by themselves: counts of sessions are always right.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from letterlock.tlsrpt.datagram import PolicyOutcome, SessionResult
from letterlock.tlsrpt.report import AppliedPolicy, CountedFailure, PolicyResults, SessionFailure

DAY_SECONDS = 86_400  # a report is about one day (RFC 8460 section 4.1)
MAX_GROUPS = 50_000  # policies of domains in one tally, some 50 MB; a worker writes its tally down every minute
MAX_FAILURES = 200  # of one policy: hosts, addresses and reasons; a domain rarely has more than 20 of these


class Group(NamedTuple):
    """What a report adds up: the day (since 1970), the domain that the report goes to, and the policy."""

    day: int
    domain: str
    policy: AppliedPolicy


@dataclass(slots=True)
class Counts:
    """How many sessions of a group were successful, and how many failed."""

    successful: int = 0
    failed: int = 0
    failures: dict[SessionFailure, int] = field(default_factory=dict)

    def fail(self, failures: Iterable[CountedFailure]) -> None:
        """Count failures by what they have in common, as far as there is room."""
        for failure, count in failures:
            kept = failure if failure in self.failures else self._in_room(failure)
            if kept is not None:
                self.failures[kept] = self.failures.get(kept, 0) + count

    def _in_room(self, failure: SessionFailure) -> SessionFailure | None:
        if len(self.failures) < MAX_FAILURES:
            return failure
        plain = SessionFailure(failure.result_type)
        return plain if plain in self.failures or len(self.failures) < 2 * MAX_FAILURES else None

    def results(self, policy: AppliedPolicy) -> PolicyResults:
        """The same as a report has it, the most frequent failures first."""
        failures = sorted(self.failures.items(), key=lambda each: (-each[1], each[0]))
        return PolicyResults(
            policy=policy,
            successful=self.successful,
            failed=self.failed,
            failures=tuple(CountedFailure(*each) for each in failures),
        )


class TlsTally:
    """Counts sessions. `lost` are those for which there was no room: too many domains at once."""

    def __init__(self, max_groups: int = MAX_GROUPS) -> None:
        self._max_groups = max_groups
        self._groups: dict[Group, Counts] = {}
        self.lost = 0

    def __len__(self) -> int:
        return len(self._groups)

    def __iter__(self) -> Iterator[tuple[Group, Counts]]:
        return iter(self._groups.items())

    def add(self, result: SessionResult, now: float) -> None:
        """Count a session that ended at `now` (seconds since 1970)."""
        day = int(now // DAY_SECONDS)
        for outcome in result.outcomes:
            counts = self._counts(Group(day, result.domain, outcome.policy))
            if counts is None:
                self.lost += 1
            elif outcome.succeeded:
                counts.successful += 1
            else:
                counts.failed += 1
                counts.fail(_counted(outcome))

    def merge(self, group: Group, counts: Counts) -> None:
        """Add what was counted elsewhere."""
        own = self._counts(group)
        if own is None:
            self.lost += counts.successful + counts.failed
            return
        own.successful += counts.successful
        own.failed += counts.failed
        own.fail(CountedFailure(*each) for each in counts.failures.items())

    def _counts(self, group: Group) -> Counts | None:
        found = self._groups.get(group)
        if found is None and len(self._groups) < self._max_groups:
            found = self._groups[group] = Counts()
        return found


def _counted(outcome: PolicyOutcome) -> Iterator[CountedFailure]:
    return (CountedFailure(each, 1) for each in outcome.failures)
