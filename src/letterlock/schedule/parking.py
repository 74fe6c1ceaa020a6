"""Tasks whose host is busy, or for whose content there is no memory: they wait without a slot or connection.

A parked task is tried again when a session with its host has been set up, or is free to be used. Nobody waits for ever:
what has been parked for `patience_seconds` is deferred like mail to a host that did not answer, so that it counts as an
attempt, ages, and expires.
"""

from collections import OrderedDict, deque

from letterlock.frozen import frozen_dataclass
from letterlock.queue.tasks import DeliveryTask

PARKED_SHARE = 3  # of a lease that may be spent waiting for a busy host: what is left is enough to write the outcome
OVERDUE_BATCH = 20  # parked tasks put off in one sweep: each is written, and other mail waits for that


@frozen_dataclass(frozen=True, slots=True)
class Parked:
    """A task, what it waits for and why, and since when (monotonic seconds)."""

    task: DeliveryTask
    key: str
    why: str
    since: float


class Parking:
    """Parked tasks by the key of `handshake_slots.Busy`; at most `most`. Data only, no clock.

    `lines` has a line for each key that somebody waits for: mostly none.
    """

    def __init__(self, most: int, patience_seconds: float) -> None:
        self.refusals = 0  # how often there was no room, for monitoring
        self._most = most
        self._patience = patience_seconds
        self.lines: OrderedDict[str, deque[Parked]] = OrderedDict()
        self._parked: set[str] = set()  # their leases
        self._called: dict[str, float] = {}  # by lease: since when those wait who are being tried again

    @property
    def parked(self) -> int:
        """How many tasks wait here."""
        return len(self._parked)

    def __contains__(self, token: str) -> bool:
        """Whether the task of a lease is parked."""
        return token in self._parked

    def park(self, task: DeliveryTask, key: str, why: str, now: float) -> bool:
        """Let a task wait; False when there is no room. A task that was called in vain stays first in line."""
        if len(self._parked) >= self._most:
            self.refusals += 1
            return False
        again = task.lease.token in self._called
        parked = Parked(task, key, why, self._called.pop(task.lease.token, now))
        line = self.lines.setdefault(key, deque())
        line.insert(0 if again else len(line), parked)
        self._parked.add(task.lease.token)
        return True

    def call(self, key: str) -> DeliveryTask | None:
        """The first in line for a key, to be tried again."""
        line = self.lines.get(key)
        if not line:
            return None
        parked = line[0]
        self._remove(parked)
        self._called[parked.task.lease.token] = parked.since
        return parked.task

    def tried(self, token: str) -> None:
        """A task needs its place in the line no more."""
        self._called.pop(token, None)

    def next_hops(self) -> set[str]:
        """The next hops of the tasks that wait here: each keeps the slot of its place."""
        return {parked.task.lease.next_hop for line in self.lines.values() for parked in line}

    def waited_for(self) -> list[str]:
        """What tasks wait for."""
        return list(self.lines)

    def overdue(self, now: float, most: int) -> list[Parked]:
        """Remove at most so many of those that have waited for too long."""
        found: list[Parked] = []
        for line in list(self.lines.values()):
            for parked in tuple(line):
                if len(found) >= most or now - parked.since < self._patience:
                    break
                self._remove(parked)
                found.append(parked)
        return found

    def clear(self) -> list[DeliveryTask]:
        """Remove all."""
        tasks = [parked.task for line in self.lines.values() for parked in line]
        self.lines.clear()
        self._parked.clear()
        return tasks

    def _remove(self, parked: Parked) -> None:
        line = self.lines[parked.key]
        line.remove(parked)
        self._parked.discard(parked.task.lease.token)
        if not line:
            del self.lines[parked.key]
