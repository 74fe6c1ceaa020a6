"""Finds the MTA-STS policy of a domain: TXT, what is remembered, and a fetch where one is due (RFC 8461).

What to do is said by `letterlock.mtasts`; here it is done, once for all who ask at the same time, and what is learnt is
kept. That a policy could not be confirmed is logged when it begins, as section 10.2 wants it.
"""

import asyncio
import itertools
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

import dns.rdatatype
from dns.rdtypes.ANY.TXT import TXT
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA

from letterlock.mail.names import MAX_NAME_OCTETS, is_address_literal
from letterlock.mtasts import (
    Absent,
    Conclusion,
    Fetch,
    Fetched,
    FetchFailed,
    FetchFailure,
    Known,
    KnownPolicy,
    PastFailure,
    PolicyFetch,
    StsEvidence,
    TxtFailed,
    TxtResult,
    Unreachable,
    after_fetch,
    find_id,
    next_step,
)
from letterlock.ports import Clock, Resolver
from letterlock.queue.store import StoreFailed
from letterlock.resolver.answer import Answer, LookupFailure

log = logging.getLogger("letterlock.mtasts")
MAX_AT_HAND = 1_000
MAX_PAST_FAILURES = 10_000
MAX_REFRESHES = 8
MAX_DUE = 1_000
_TXT_LABEL, _HOST_LABEL = "_mta-sts", "mta-sts"


class Policies(Protocol):
    """Where policies are remembered over restarts. Every verb may raise StoreFailed."""

    async def load(self, domain: str) -> KnownPolicy | None:
        """What is remembered of one domain, expired or not."""

    async def due(self, now: float, limit: int) -> Sequence[KnownPolicy]:
        """Policies that hold and are to be fetched again, the longest due first."""

    async def save(self, known: KnownPolicy) -> None:
        """Replace what is remembered of its domain."""

    async def delete(self, domain: str) -> None:
        """Forget a domain."""


class StsFinder:
    """The MTA-STS policies of domains. `chance` gives fractions from 0 to 1, which spread refreshes over time."""

    def __init__(
        self,
        resolver: Resolver,
        fetch: PolicyFetch,
        policies: Policies,
        clock: Clock,
        chance: Callable[[], float],
        *,
        shared: bool = False,
    ) -> None:
        """`shared`: other processes remember policies in the same place, so what was not there may be by now."""
        self._resolver = resolver
        self._fetch = fetch
        self._policies = policies
        self._clock = clock
        self._chance = chance
        self._shared = shared
        self._running: dict[str, asyncio.Task[StsEvidence]] = {}
        self._at_hand: OrderedDict[str, KnownPolicy | None] = OrderedDict()
        self._past: OrderedDict[str, PastFailure] = OrderedDict()

    async def find(self, domain: str) -> StsEvidence:
        """What is known of the policy of a policy domain (A-labels, lower-case). Never raises for DNS, HTTPS or disk.

        The policy domain is the recipients' domain, or that of a smart host (section 3.4): its parents are not asked.
        """
        if is_address_literal(domain) or len(f"{_TXT_LABEL}.{domain}") > MAX_NAME_OCTETS:
            return Absent()
        task = self._running.get(domain)
        if task is None:
            task = self._running[domain] = asyncio.create_task(self._look(domain))
            task.add_done_callback(lambda _: self._running.pop(domain))
        return await asyncio.shield(task)  # who gives up waiting takes nothing from the others

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
        seats = asyncio.Semaphore(MAX_REFRESHES)

        async def refresh(domain: str) -> None:
            async with seats:
                await self.find(domain)

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

    async def _look(self, domain: str) -> StsEvidence:
        try:
            known = await self._recall(domain)
        except StoreFailed as error:
            log.warning("%s", error)
            evidence = await self._ask(domain, None)
            return Unreachable(f"remembered policies cannot be read: {error}") if _is_absent(evidence) else evidence
        return await self._ask(domain, known)

    async def _ask(self, domain: str, known: KnownPolicy | None) -> StsEvidence:
        txt = await self._txt(domain)
        step = next_step(domain, known, self._past.get(domain), txt, self._clock.now())
        if isinstance(step, Fetch):
            outcome = await self._fetch_from(f"{_HOST_LABEL}.{domain}")
            step = after_fetch(step, outcome, self._clock.now(), self._chance())
            self._note_failure(domain, step.failure)
        _tell(domain, known, step)
        await self._remember(domain, known, step.remember)
        return step.evidence

    async def _txt(self, domain: str) -> TxtResult:
        answer = await self._resolver.resolve(f"{_TXT_LABEL}.{domain}", dns.rdatatype.TXT)
        if isinstance(answer, LookupFailure):
            return TxtFailed(_say(answer))
        return find_id([record.strings for record in answer.records if isinstance(record, TXT)])

    async def _fetch_from(self, host: str) -> Fetched | FetchFailed:
        lookups = await asyncio.gather(
            self._resolver.resolve(host, dns.rdatatype.AAAA), self._resolver.resolve(host, dns.rdatatype.A)
        )
        addresses = _addresses([one for one in lookups if isinstance(one, Answer)])
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

    async def _recall(self, domain: str) -> KnownPolicy | None:
        """Raises StoreFailed."""
        if domain not in self._at_hand or (self._shared and self._at_hand[domain] is None):
            self._keep_at_hand(domain, await self._policies.load(domain))
        self._at_hand.move_to_end(domain)
        return self._at_hand[domain]

    def _keep_at_hand(self, domain: str, known: KnownPolicy | None) -> None:
        self._at_hand[domain] = known
        self._at_hand.move_to_end(domain)
        if len(self._at_hand) > MAX_AT_HAND:
            self._at_hand.popitem(last=False)

    async def _remember(self, domain: str, before: KnownPolicy | None, after: KnownPolicy | None) -> None:
        """Keep what changed. A disk that does not take it is told of; the policy holds in memory all the same."""
        if before == after:
            return
        self._keep_at_hand(domain, after)
        try:
            if after is None:
                await self._policies.delete(domain)
            else:
                await self._policies.save(after)
        except StoreFailed as error:
            log.warning("the MTA-STS policy of %s is kept in memory only: %s", domain, error)


def _addresses(answers: Sequence[Answer]) -> tuple[str, ...]:
    """Addresses of both families in turn, IPv6 first."""
    families = [[one.address for one in answer.records if isinstance(one, A | AAAA)] for answer in answers]
    mixed = itertools.chain.from_iterable(itertools.zip_longest(*families))
    return tuple(dict.fromkeys(address for address in mixed if address is not None))


def _is_absent(evidence: StsEvidence) -> bool:
    return isinstance(evidence, Absent)


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
