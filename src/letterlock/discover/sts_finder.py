"""Finds the MTA-STS policy of a domain: TXT, what is remembered, and a fetch where one is due (RFC 8461).

What to do is decided by `letterlock.mtasts`; here it is done, once for all who ask at the same time, and what is learnt
is stored. That a policy could not be confirmed is logged when it begins, as section 10.2 wants it.

Several processes may store policies in one place, so the stored row decides and no copy in memory does: it is read for
every question, and replaced only while it is still what the conclusion was drawn from (compare and swap). Otherwise
another process knows more, and the conclusion is drawn anew from what it stored. What is held in memory counts only
while the disk fails: where it cannot be read, or did not take what was fetched later.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import dns.rdatatype
from dns.rdtypes.ANY.TXT import TXT

from letterlock.discover.discoverer import addresses_of
from letterlock.frozen import frozen_dataclass
from letterlock.mail.names import MAX_NAME_OCTETS, is_address_literal
from letterlock.mtasts import (
    Absent,
    Conclusion,
    Fetched,
    FetchFailed,
    FetchFailure,
    Known,
    KnownPolicy,
    PastFailure,
    PolicyFetch,
    PolicyUnavailable,
    StsEvidence,
    TxtFailed,
    TxtResult,
    after_fetch,
    find_id,
    next_step,
)
from letterlock.ports import Clock, PolicyMemory, Resolver
from letterlock.queue.store import StoreFailed
from letterlock.resolver.answer import Answer, LookupFailure

log = logging.getLogger("letterlock.mtasts")
MAX_HELD = 1_000  # chosen: policies kept in memory for when the disk fails
MAX_ROUNDS = 8  # each means that another process changed the row meanwhile; after two they agree
MAX_PAST_FAILURES = 10_000  # chosen: bounds memory; the oldest is dropped, and costs one early fetch
MAX_REFRESHES = 8  # chosen: refreshing must not compete with fetches that mail waits for
MAX_DUE = 1_000  # chosen: a round each five minutes; what is left over waits for the next
_TXT_LABEL, _HOST_LABEL = "_mta-sts", "mta-sts"


class StsFinder:
    """The MTA-STS policies of domains. `chance` gives fractions from 0 to 1, which spread refreshes over time."""

    def __init__(
        self,
        resolver: Resolver,
        fetch: PolicyFetch,
        policies: PolicyMemory,
        clock: Clock,
        chance: Callable[[], float],
    ) -> None:
        self._resolver = resolver
        self._fetch = fetch
        self._policies = policies
        self._clock = clock
        self._chance = chance
        self._running: dict[str, asyncio.Task[StsEvidence]] = {}
        self._held: OrderedDict[str, KnownPolicy] = OrderedDict()
        self._unsaved: set[str] = set()
        self._past: OrderedDict[str, PastFailure] = OrderedDict()

    def find(self, domain: str) -> Awaitable[StsEvidence]:
        """The evidence on the policy of a policy domain (A-labels, lower-case). Never raises for DNS, HTTPS or disk.

        The policy domain is the recipients' domain, or that of a smart host (section 3.4): its parents are not asked.
        """
        return self._find(domain, for_mail=True)

    def _find(self, domain: str, *, for_mail: bool) -> asyncio.Future[StsEvidence]:
        """Begin at once. Who gives up waiting takes nothing from the others."""
        if is_address_literal(domain) or len(f"{_TXT_LABEL}.{domain}") > MAX_NAME_OCTETS:
            absent: asyncio.Future[StsEvidence] = asyncio.get_running_loop().create_future()
            absent.set_result(Absent())
            return absent
        task = self._running.get(domain)
        if task is None:
            task = self._running[domain] = asyncio.create_task(self._look(domain, for_mail=for_mail))
            task.add_done_callback(lambda _: self._running.pop(domain))
        return asyncio.shield(task)

    async def recheck(self, domain: str) -> StsEvidence:
        """Look at the TXT id once more, from now on, as is due before a failure becomes permanent (section 5.1)."""
        running = self._running.get(domain)
        if running is not None:
            await asyncio.wait([running])
        return await self.find(domain)

    async def refresh_due(self, now: float) -> int:
        """Refresh the policies whose time has come, at most MAX_DUE, MAX_REFRESHES at a time; how many were due."""
        try:
            due = await self._policies.due(now, MAX_DUE)
        except StoreFailed as error:
            log.warning("%s", error)
            return 0
        slots = asyncio.Semaphore(MAX_REFRESHES)

        async def refresh(domain: str) -> None:
            async with slots:
                await self._find(domain, for_mail=False)

        async with asyncio.TaskGroup() as group:
            for known in due:
                group.create_task(refresh(known.domain))
        return len(due)

    async def close(self) -> None:
        """End the lookups that are under way."""
        tasks = tuple(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self, domain: str, *, for_mail: bool) -> StsEvidence:
        """Conclude from the stored state, repeated until no other process changed it meanwhile."""
        fetched = _Outcome()
        for _ in range(MAX_ROUNDS):
            txt = await self._txt(domain)
            recalled = await self._recall(domain, for_mail=for_mail)
            before = fetched.outcome
            conclusion = await self._conclude(domain, recalled.known, txt, fetched)
            at_once = fetched.outcome is before  # it was read a moment ago, so it cannot have changed
            if await self._remember(domain, recalled, conclusion.remember, at_once=at_once):
                _tell(domain, recalled.known, conclusion)
                break
        else:
            log.warning("the MTA-STS policy of %s is changed by other processes all the time", domain)
        if recalled.trouble is not None and recalled.known is None and isinstance(conclusion.evidence, Absent):
            return PolicyUnavailable(f"remembered policies cannot be read: {recalled.trouble}")
        return conclusion.evidence

    async def _conclude(
        self, domain: str, known: KnownPolicy | None, txt: TxtResult, fetched: "_Outcome"
    ) -> Conclusion:
        step = next_step(domain, known, self._past.get(domain), txt, self._clock.now())
        if isinstance(step, Conclusion):
            return step
        if fetched.outcome is None or (known is not None and known.fetched_at >= fetched.began_at):
            fetched.began_at = self._clock.now()
            fetched.outcome = await self._fetch_from(f"{_HOST_LABEL}.{domain}")
        conclusion = after_fetch(step, fetched.outcome, fetched.began_at, self._chance())
        self._note_failure(domain, conclusion.failure)
        return conclusion

    async def _txt(self, domain: str) -> TxtResult:
        answer = await self._resolver.resolve(f"{_TXT_LABEL}.{domain}", dns.rdatatype.TXT)
        if isinstance(answer, LookupFailure):
            return TxtFailed(_say(answer))
        return find_id([record.strings for record in answer.records if isinstance(record, TXT)])

    async def _fetch_from(self, host: str) -> Fetched | FetchFailed:
        lookups = await asyncio.gather(
            self._resolver.resolve(host, dns.rdatatype.AAAA), self._resolver.resolve(host, dns.rdatatype.A)
        )
        addresses = addresses_of([one for one in lookups if isinstance(one, Answer)])
        if addresses:
            return await self._fetch(host, addresses)
        failed = next((one for one in lookups if isinstance(one, LookupFailure)), None)
        return FetchFailed(FetchFailure.FETCH, _say(failed) if failed else f"{host} has no address")

    def _note_failure(self, domain: str, failure: FetchFailed | None) -> None:
        self._past.pop(domain, None)
        if failure is not None:
            self._past[domain] = PastFailure(at=self._clock.now(), failure=failure)
            if len(self._past) > MAX_PAST_FAILURES:
                self._past.popitem(last=False)

    async def _recall(self, domain: str, *, for_mail: bool) -> "_Recalled":
        held = self._held.get(domain)
        try:
            stored = await self._policies.load(domain, self._clock.now() if for_mail else None)
        except StoreFailed as error:
            log.warning("%s", error)
            return _Recalled(None, held, trouble=str(error))
        later = held is not None and domain in self._unsaved
        return _Recalled(stored, _later(stored, held) if later and held is not None else stored)

    async def _remember(self, domain: str, recalled: "_Recalled", after: KnownPolicy | None, *, at_once: bool) -> bool:
        """Store what was concluded; False when another process has stored something else since it was read.

        A disk that does not take it is logged; the policy holds in memory all the same. Where nothing could be read,
        only a policy that was fetched anew is stored: another process may have changed what is held.
        """
        readable = recalled.trouble is None
        if (at_once and after == recalled.stored) if readable else not _is_fetched_anew(recalled.known, after):
            self._hold(domain, after, saved=readable or domain not in self._unsaved)
            return True
        try:
            if not await self._policies.swap(domain, recalled.stored, after, self._clock.now()):
                return False
            self._hold(domain, after, saved=True)
        except StoreFailed as error:
            self._hold(domain, after, saved=False)
            if after != recalled.known:
                log.warning("the MTA-STS policy of %s is kept in memory only: %s", domain, error)
        return True

    def _hold(self, domain: str, known: KnownPolicy | None, *, saved: bool) -> None:
        """Have a policy at hand for when the disk fails."""
        self._held.pop(domain, None)
        self._unsaved.discard(domain)
        if known is None:
            return
        self._held[domain] = known
        if not saved:
            self._unsaved.add(domain)
        if len(self._held) > MAX_HELD:
            self._unsaved.discard(self._held.popitem(last=False)[0])


@dataclass(slots=True)
class _Outcome:
    """How the last fetch of a look ended, if there was one, and when it began."""

    outcome: Fetched | FetchFailed | None = None
    began_at: float = 0.0


@frozen_dataclass(frozen=True, slots=True)
class _Recalled:
    """What is stored of a domain, and what to go by: the same, but for what the disk did not take.

    `trouble`: nothing could be read.
    """

    stored: KnownPolicy | None
    known: KnownPolicy | None
    trouble: str | None = None


def _is_fetched_anew(before: KnownPolicy | None, after: KnownPolicy | None) -> bool:
    return after is not None and (before is None or before.fetched_at != after.fetched_at)


def _later(stored: KnownPolicy | None, unsaved: KnownPolicy) -> KnownPolicy:
    """The one that was fetched later; what is stored, unless the other is the same policy with later remarks."""
    if stored is None or unsaved.fetched_at > stored.fetched_at:
        return unsaved
    same = (stored.fetched_at, stored.id, stored.policy) == (unsaved.fetched_at, unsaved.id, unsaved.policy)
    return unsaved if same else stored


def _say(failure: LookupFailure) -> str:
    return f"the lookup of {failure.question} failed ({failure.kind.value}): {failure.detail}"


def _tell(domain: str, before: KnownPolicy | None, conclusion: Conclusion) -> None:
    """Log changes of a policy, and when a policy begins not to be confirmed (section 10.2: alert administrators)."""
    evidence, after = conclusion.evidence, conclusion.remember
    if after is None:
        if before is not None:
            log.info("MTA-STS policy of %s: withdrawn or expired", domain)
        return
    if after.history != (before.history if before is not None else ()):
        change = after.history[-1]
        log.info("MTA-STS policy of %s: mode %s, id %s", domain, change.new_mode.value, change.new_id)
    if _blocked(after) - _blocked(before) and isinstance(evidence, Known) and evidence.suspicious:
        log.warning(
            "MTA-STS policy of %s: %s; an attacker may be blocking it; the one remembered holds",
            domain,
            evidence.trouble,
        )


def _blocked(known: KnownPolicy | None) -> set[str]:
    if known is None:
        return set()
    since = {"txt": known.txt_blocked_since, "https": known.https_blocked_since}
    return {what for what, when in since.items() if when is not None}
