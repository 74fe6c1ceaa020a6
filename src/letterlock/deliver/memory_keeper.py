"""Learns from attempts what domains and hosts have, and tells when something is gone.

An observer: it takes notes while attempts end, and works on them later, so that no delivery waits for it. Of a kept
session only the first message is noted; of the same host and outcome only one in NOTE_SECONDS. Certificates are
verified in a thread, once a day for each key of a host.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dns.rdtypes.ANY.MX import MX

from letterlock.deliver.log import safe
from letterlock.events import LogEvent
from letterlock.frozen import changed, frozen_dataclass
from letterlock.identity.certificates import InvalidCertificate, issuer_of, read_certificate
from letterlock.identity.handshake import Completed
from letterlock.identity.keys_shown import key_of
from letterlock.identity.pkix import PkixMatch, verify_leaf
from letterlock.identity.trust import TrustRoots
from letterlock.mail.names import InvalidName, normalise
from letterlock.memory.comparison import MAX_HOSTS
from letterlock.memory.learning import Learned, Sighting, VerifiedKey
from letterlock.memory.remembered import Difference, NotedChange
from letterlock.memory.traces import DAY_SECONDS
from letterlock.policy.by_memory import announces, memory_key, missing
from letterlock.policy.decision import Cleared, Requirement, SkipHost, SkipKind
from letterlock.policy.evidence import Grounds, MemoryUnreadable, Origin, SessionEvidence
from letterlock.ports import Clock, ProtectionMemory
from letterlock.queue.observing import Watcher
from letterlock.queue.sessions import SessionTried
from letterlock.queue.store import StoreFailed
from letterlock.queue.tasks import Attempt, DeliveryTask, OutcomeKind
from letterlock.resolver.answer import Answer
from letterlock.routing.destination_rule import MemoryMode
from letterlock.spare_time import SpareTime

log = logging.getLogger("letterlock.memory")
FLUSH_SECONDS = 5.0  # chosen: an alarm is this late, and the disk writes this seldom
MOST_PUT_OFF = 5  # chosen: in a server that is busy all the time, an alarm is half a minute late
NOTE_SECONDS = 600.0  # chosen: the same again within it teaches nothing
MAX_NOTES = 2_000  # between two flushes; what comes beyond is seen another time
MAX_RECENT_NOTES = 20_000  # chosen: destinations with hosts, some 4 MB
MAX_VERIFIED = 4_096  # chosen: keys of hosts, of which the result is remembered for a day
SUMMARY_SECONDS = 15.0  # chosen: as often as Prometheus asks, usually
MAX_ALARMS = 100  # in a summary: `letterlock memory list --changed` has them all


@frozen_dataclass(frozen=True, slots=True)
class _Note:
    """A sighting to be completed: the chain waits to be verified."""

    sighting: Sighting
    chain: tuple[bytes, ...]
    roots: TrustRoots | None


@dataclass(frozen=True, slots=True)
class MemorySummary:
    """How many domains are remembered, and those at which something is gone. `trouble`: the store cannot be read."""

    domains: int = 0
    alarms: tuple[tuple[str, NotedChange], ...] = ()
    trouble: str | None = None


class MemoryKeeper(Watcher):
    """Takes notes of attempts; `run` works on them."""

    def __init__(self, opened: Callable[[], ProtectionMemory], clock: Clock, is_on: Callable[[], bool]) -> None:
        """`is_on` says whether anything is remembered at all."""
        self._opened = opened
        self._clock = clock
        self._is_on = is_on
        self._notes: list[_Note] = []
        self._recent: OrderedDict[tuple[object, ...], float] = OrderedDict()
        self._verified: OrderedDict[tuple[str, str, float], VerifiedKey | None] = OrderedDict()
        self._spare_time = SpareTime()
        self._put_off = 0  # how often there was no time to work on the notes
        self._summed_at: float | None = None
        self.summary = MemorySummary()
        self.lost = 0
        self.began: dict[str, int] = {each.value: 0 for each in Difference}

    # --- in the event loop, for each attempt -------------------------------------------------------------------------

    def attempted(self, task: DeliveryTask, attempt: Attempt) -> None:  # noqa: ARG002  # the port's signature
        """Note what an attempt showed."""
        sessions = attempt.sessions
        if len(sessions) == 1 and sessions[0].reused and not attempt.ruled_out:
            return  # most messages: what the session showed is noted already
        for each in attempt.ruled_out:
            if isinstance(each.verdict, SkipHost) and each.verdict.kind is SkipKind.MEMORY:
                self._note(each.grounds, None, attempt.ended_at, delivered=False, held=True)
        grounds: Grounds | None = None
        for session in sessions:
            grounds = session.requirement.grounds or grounds
            self._note_session(session, grounds, attempt)

    def _note_session(self, session: SessionTried, grounds: Grounds | None, attempt: Attempt) -> None:
        if session.reused or session.evidence is None or grounds is None or grounds.host is None:
            return
        if grounds.host.host.name != session.host:
            return
        held = isinstance(session.verdict, SkipHost) and session.verdict.kind is SkipKind.MEMORY
        delivered = (
            isinstance(session.verdict, Cleared)
            and session is attempt.sessions[-1]
            and any(each.kind is OutcomeKind.DELIVERED for each in attempt.outcomes)
        )
        if held or delivered:
            self._note(grounds, session.evidence, attempt.ended_at, session.requirement, delivered=delivered, held=held)

    def _note(
        self,
        grounds: Grounds,
        session: SessionEvidence | None,
        now: float,
        requirement: Requirement | None = None,
        *,
        delivered: bool,
        held: bool,
    ) -> None:
        evidence, target = grounds.destination, grounds.host
        if target is None or evidence.memory_mode is MemoryMode.OFF or isinstance(evidence.memory, MemoryUnreadable):
            return
        if evidence.lmtp or target.host.origin is Origin.LITERAL:
            return
        tls = session.handshake if session is not None and isinstance(session.handshake, Completed) else None
        gone = missing(evidence, target, session, now, requirement)
        domain = memory_key(evidence.next_hop)
        if self._is_recent((domain, target.host.name, delivered, tls is None, gone), now):
            return
        if len(self._notes) >= MAX_NOTES:
            self.lost += 1
            return
        announced = announces(evidence, target)
        sighting = Sighting(
            domain=domain,
            host=target.host.name,
            at=now,
            hosts=_hosts(grounds),
            delivered=delivered,
            encrypted=tls is not None,
            dane=bool(announced.dane),
            mta_sts=bool(announced.mta_sts),
            signed=bool(announced.signed),
            missing=gone,
            held=held,
        )
        self._notes.append(_Note(sighting, tls.chain if tls is not None and delivered else (), evidence.public_roots))

    def _is_recent(self, key: tuple[object, ...], now: float) -> bool:
        """Whether the same was noted a moment ago. On another day it counts anew."""
        noted = self._recent.get(key)
        if noted is not None and 0 <= now - noted < NOTE_SECONDS and now // DAY_SECONDS == noted // DAY_SECONDS:
            return True
        self._recent[key] = now
        self._recent.move_to_end(key)
        if len(self._recent) > MAX_RECENT_NOTES:
            self._recent.popitem(last=False)
        return False

    # --- aside -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work on the notes until cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(FLUSH_SECONDS)
                if self._is_time():
                    await self.flush()
                await self.sum_up()
        finally:
            await asyncio.shield(self.flush())

    def _is_time(self) -> bool:
        """Whether to work on the notes now. While the server is busy they wait: to verify a thousand certificates takes
        a fifth of a second of CPU time."""
        there_is = self._spare_time.is_there()
        if there_is or self._put_off >= MOST_PUT_OFF or len(self._notes) >= MAX_NOTES // 2:
            self._put_off = 0
            return True
        self._put_off += 1
        return False

    async def flush(self) -> None:
        """Remember what was noted. What cannot be written is lost, and will be seen again."""
        if not self._notes:
            return
        notes, self._notes = self._notes, []
        sightings = await asyncio.to_thread(lambda: [self._completed(each) for each in notes])
        try:
            learned = await self._opened().learn(sightings, self._clock.now())
        except StoreFailed as error:
            self.lost += len(notes)
            log.warning("what %d hosts showed cannot be stored: %s", len(notes), error)
            self._recent.clear()
            return
        self._summed_at = None
        for each in learned:
            self._tell(each)

    async def forget(self, domains: Sequence[str] | None) -> int:
        """Forget domains, or everything (None), and what was noted of them; how many were known. Raises StoreFailed."""
        self._notes = [each for each in self._notes if domains is not None and each.sighting.domain not in domains]
        self._recent.clear()
        self._summed_at = None
        return await self._opened().forget(domains)

    async def sum_up(self) -> None:
        """Find out what `letterlock status` and the metrics show."""
        now = self._clock.monotonic()
        if not self._is_on() or (self._summed_at is not None and now - self._summed_at < SUMMARY_SECONDS):
            return
        self._summed_at = now
        try:
            memory, today = self._opened(), self._clock.now()
            found = await memory.alarms(today, MAX_ALARMS)
            count = await memory.count()
        except StoreFailed as error:
            self.summary = MemorySummary(trouble=str(error))
            return
        alarms = tuple((each.domain, change) for each in found for change in each.alarms(today))
        self.summary = MemorySummary(count, alarms)

    def _completed(self, note: _Note) -> Sighting:
        """The sighting with its certificate, if that can be verified for the host. In a thread."""
        sighting = note.sighting
        key = key_of(note.chain) if note.roots is not None else None
        if key is None or note.roots is None:
            return sighting
        known = sighting.host, key, sighting.at // DAY_SECONDS
        if known not in self._verified:
            self._verified[known] = _verified(note.chain, sighting.host, key, note.roots, sighting.at)
            if len(self._verified) > MAX_VERIFIED:
                self._verified.popitem(last=False)
        return changed(sighting, certificate=self._verified[known])

    def _tell(self, learned: Learned) -> None:
        for change in learned.began:
            self.began[change.what.value] += 1
            log.warning(_event("memory-change", _BEGAN, learned, change))
        for change in learned.settled:
            log.warning(_event("memory-settled", _SETTLED, learned, change))
        for change in learned.ended:
            log.info(_event("memory-restored", _ENDED, learned, change))


_WORDS = {
    Difference.HOST: "a host that its mail never went to",
    Difference.SIGNED: "is not signed with DNSSEC any more",
    Difference.MTA_STS: "has no MTA-STS policy any more",
    Difference.DANE: "has no signed TLSA records any more",
    Difference.TLS: "takes mail in clear only",
    Difference.CERTIFICATE: "has a certificate that cannot be verified",
}
_BEGAN = "memory: %(domain)s: %(host)s: %(words)s; %(effect)s"
_SETTLED = "memory: %(domain)s: %(host)s: %(words)s, for a day now: taken for the domain's own doing"
_ENDED = "memory: %(domain)s: %(host)s: %(what)s is as before, after %(seconds).0f s"


def _event(name: str, form: str, learned: Learned, change: NotedChange) -> LogEvent:
    return LogEvent(
        name,
        form,
        domain=safe(learned.memory.domain),
        host=safe(change.host or learned.memory.domain),
        what=change.what.value,
        words=_WORDS[change.what],
        effect="mail waits" if change.held else "mail is sent all the same, for memory only observes",
        held=change.held,
        since=change.since,
        seconds=max(0.0, change.last - change.since),
    )


def _hosts(grounds: Grounds) -> tuple[str, ...]:
    """The hosts that the domain names, as far as a memory has room."""
    evidence, target = grounds.destination, grounds.host
    names = [target.host.name] if target is not None else []
    if isinstance(evidence.mx, Answer):
        for record in sorted(
            (one for one in evidence.mx.records if isinstance(one, MX)), key=lambda one: one.preference
        ):
            try:
                names.append(normalise(record.exchange.to_text()))
            except InvalidName:
                continue  # nobody delivers there
    return tuple(dict.fromkeys(names))[:MAX_HOSTS]


def _verified(chain: tuple[bytes, ...], host: str, key: str, roots: TrustRoots, now: float) -> VerifiedKey | None:
    """Looked at once a day, so the server's certificate is not among those that are kept in their parsed form."""
    try:
        leaf = read_certificate(chain[0])
    except InvalidCertificate:  # of a form that is not read here: not remembered
        return None
    found = verify_leaf(leaf, chain[1:], (host,), roots, now, remember=False)
    return VerifiedKey(key, issuer_of(leaf)) if isinstance(found, PkixMatch) else None
