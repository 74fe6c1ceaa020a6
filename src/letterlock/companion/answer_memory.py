"""Policies that were decided, ready to be sent; those in use are decided again before they end.

Bounded by count: the least recently used go first. An entry holds the replies as bytes and little else, so that 50,000
destinations take some 50 MB (`python -m bench.companion`). One memory serves one event loop.
"""

import asyncio
import heapq
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from letterlock.companion.deciding import FAILED_SECONDS, Decided
from letterlock.companion.postfix_policy import NotDemanded, NotFoundOut, PolicyAnswer
from letterlock.routing.routes import NextHop
from letterlock.socketmap.questions import NOT_FOUND, ok, temporary
from letterlock.socketmap.tls_policy import Unwritable, policy_text

MAX_DESTINATIONS = 50_000  # chosen: as many as postfix-tlspol remembers; a busy relay has some ten thousand
IN_USE_SECONDS = 3600.0  # chosen: a destination that nobody asked for since then is left to end
IN_USE_QUESTIONS = 2  # chosen: refreshing what was asked for once would mostly be wasted queries
REFRESH_SHARE = 0.1  # of the time that an answer holds: refreshed when this share is left
MAX_REFRESHES = 8  # chosen: refreshing must not compete with questions that mail waits for
DUE_SLACK = 100  # reminders beyond four for each entry, so that a small memory is not swept all the time
MAX_DECIDING = 500  # at once: each takes some twenty lookups; beyond it, mail is put off
DECIDE_SECONDS = 60.0  # Postfix waits for 100 s, and what takes longer than this will not succeed

log = logging.getLogger("letterlock.companion")


@dataclass(slots=True)
class PolicyEntry:
    """The replies for one key, until when they hold (monotonic), and how they were used."""

    plain: bytes
    reporting: bytes  # for Postfix 3.10 and later
    demands: bool  # somebody demands something, or nobody knows: the relay door can do more
    failed: bool
    until: float
    refresh_at: float
    asked_at: float
    questions: int = 1


class AnswerMemory:
    """Decides on demand, once for all who ask at the same time, and remembers `size` destinations at most."""

    def __init__(
        self,
        decide: Callable[[NextHop], Awaitable[Decided]],
        monotonic: Callable[[], float],
        *,
        size: int = MAX_DESTINATIONS,
    ) -> None:
        self._decide = decide
        self._now = monotonic
        self._size = size
        self._entries: OrderedDict[NextHop, PolicyEntry] = OrderedDict()
        self._due: list[tuple[float, int, NextHop]] = []
        self._deciding: dict[NextHop, asyncio.Task[PolicyEntry]] = {}
        self._count = 0
        self._refreshing: set[asyncio.Task[PolicyEntry]] = set()
        self._generation = 0

    def __len__(self) -> int:
        return len(self._entries)

    def known(self, next_hop: NextHop) -> PolicyEntry | None:
        """What was decided and still holds."""
        entry, now = self._entries.get(next_hop), self._now()
        if entry is None or now >= entry.until:
            return None
        entry.questions += 1
        entry.asked_at = now
        self._entries.move_to_end(next_hop)
        return entry

    async def find(self, next_hop: NextHop) -> PolicyEntry:
        """The policy for a next hop. Never raises for DNS or HTTPS, and never takes longer than DECIDE_SECONDS."""
        known = self.known(next_hop)
        if known is not None:
            return known
        return await asyncio.shield(self._begin(next_hop))

    def _begin(self, next_hop: NextHop) -> "asyncio.Task[PolicyEntry]":
        task = self._deciding.get(next_hop)
        if task is None:
            task = self._deciding[next_hop] = asyncio.create_task(self._decided(next_hop))
            task.add_done_callback(lambda _: self._deciding.pop(next_hop, None))
        return task

    async def _decided(self, next_hop: NextHop) -> PolicyEntry:
        if len(self._deciding) > MAX_DECIDING:
            return self._entry(NotFoundOut("too many questions at once"), FAILED_SECONDS)
        generation = self._generation
        try:
            async with asyncio.timeout(DECIDE_SECONDS):
                decided = await self._decide(next_hop)
        except TimeoutError:
            return self._entry(NotFoundOut(f"not found out within {DECIDE_SECONDS:.0f} s"), FAILED_SECONDS)
        entry = self._entry(decided.answer, decided.seconds)
        if generation == self._generation:  # else it may rest on rules that do not hold any more
            self._keep(next_hop, entry)
        return entry

    def _entry(self, answer: PolicyAnswer, seconds: float) -> PolicyEntry:
        now, failed = self._now(), isinstance(answer, NotFoundOut)
        plain, reporting = replies(answer)
        refresh_at = now + seconds * (1 - REFRESH_SHARE)
        return PolicyEntry(plain, reporting, plain is not NOT_FOUND, failed, now + seconds, refresh_at, now)

    def _keep(self, next_hop: NextHop, entry: PolicyEntry) -> None:
        before = self._entries.pop(next_hop, None)
        if before is not None:
            entry.asked_at, entry.questions = before.asked_at, before.questions
            if entry.failed and self._now() < before.until:  # what was found out before holds to its end
                entry = before
        self._entries[next_hop] = entry
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)
        self._remind(entry.refresh_at if entry is not before else entry.until, next_hop)

    def _remind(self, at: float, next_hop: NextHop) -> None:
        """Look at an entry again; reminders of what was forgotten are swept out before they become many."""
        self._count += 1
        heapq.heappush(self._due, (at, self._count, next_hop))
        if len(self._due) > 4 * self._size + DUE_SLACK:  # swept rarely, so that it costs little for each reminder
            latest = {each: (when, number, each) for when, number, each in sorted(self._due) if each in self._entries}
            self._due = sorted(latest.values())

    async def keep_fresh(self) -> None:
        """Decide again what is in use and ends soon, and forget what has ended; until it is cancelled."""
        while True:
            self.refresh_due()
            await asyncio.sleep(1.0)  # as exact as anything here needs to be

    def refresh_due(self) -> None:
        """Do what is due now. The work is bounded; the rest follows a second later."""
        now = self._now()
        while self._due and self._due[0][0] <= now and len(self._refreshing) < MAX_REFRESHES:
            _, _, next_hop = heapq.heappop(self._due)
            entry = self._entries.get(next_hop)
            if entry is None or now < entry.refresh_at:
                continue
            if entry.questions >= IN_USE_QUESTIONS and now - entry.asked_at <= IN_USE_SECONDS and not entry.failed:
                task = self._begin(next_hop)
                self._refreshing.add(task)
                task.add_done_callback(self._refreshed)
            elif now >= entry.until:
                del self._entries[next_hop]
            else:
                self._remind(entry.until, next_hop)

    def _refreshed(self, task: "asyncio.Task[PolicyEntry]") -> None:
        self._refreshing.discard(task)
        if not task.cancelled() and (bug := task.exception()) is not None:
            log.error("internal error: a policy could not be decided again", exc_info=bug)

    def purge(self) -> int:
        """Forget everything; how many answers that were."""
        count = len(self._entries)
        self._entries.clear()
        self._due.clear()
        self._generation += 1
        return count

    def dump(self) -> Iterator[tuple[NextHop, PolicyEntry, float]]:
        """Everything that holds, with the seconds that are left."""
        now = self._now()
        yield from ((hop, entry, entry.until - now) for hop, entry in self._entries.items() if now < entry.until)

    async def close(self) -> None:
        """End what is being decided."""
        tasks = tuple(self._deciding.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def replies(answer: PolicyAnswer) -> tuple[bytes, bytes]:
    """The reply to `QUERY`, and that to `QUERYwithTLSRPT`."""
    if isinstance(answer, NotDemanded):
        return NOT_FOUND, NOT_FOUND
    if isinstance(answer, NotFoundOut):
        reply = temporary(answer.why)
        return reply, reply
    try:
        plain = ok(policy_text(answer))
        reporting = ok(policy_text(answer, reporting=True)) if answer.sts else plain
    except Unwritable as error:
        reply = temporary(str(error))
        return reply, reply
    return plain, plain if reporting.startswith(b"TEMP") else reporting  # too long with the report: go without
