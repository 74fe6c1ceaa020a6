"""The async resolver: a small loop around the stepper. Any transport, any time, any recorded conversation can drive it.

Only this module, `fair_slots` and `work_slice` know asyncio here (docs/decisions/0002-resolver-driver.md). None opens a
socket.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace

import dns.exception
import dns.name
import dns.rdatatype

from letterlock.resolver.answer import Answer, FailureKind, LookupFailure, NoUpstream, Question
from letterlock.resolver.budget import Budget
from letterlock.resolver.cache import Cache
from letterlock.resolver.dns_message import DNSReply, Fault, query_wire, read_reply, truncated
from letterlock.resolver.fair_slots import FairSlots, GaveWay, domain_of
from letterlock.resolver.inquiry import Ask, Breathe, InquirySettings
from letterlock.resolver.known_names import as_known, from_text
from letterlock.resolver.lookup import Lookup
from letterlock.resolver.lookup_counts import LookupCounts
from letterlock.resolver.rdata import SignedRRset
from letterlock.resolver.signatures import ALGORITHMS
from letterlock.resolver.trust_anchors import NegativeAnchor, TrustAnchor, as_anchors
from letterlock.resolver.work_slice import WorkSlice

Transport = Callable[[bytes, bool], Awaitable[bytes]]
Now = Callable[[], float]
MAX_LOOKUPS, LOOKUPS_ASIDE = 200, 1_000  # at once, and such as wait for servers that are slow: some 20 KB each
MAX_QUERIES, QUERIES_ASIDE = 250, 1_000  # the same for queries: each takes a socket
PATIENCE_SECONDS = 0.5  # nearly every answer takes less; after that a lookup is one for servers that are slow
_META_TYPES = frozenset(
    {dns.rdatatype.ANY, dns.rdatatype.AXFR, dns.rdatatype.IXFR, dns.rdatatype.OPT, dns.rdatatype.RRSIG}
)


class ValidatingResolver:
    """A validating stub resolver.

    `transport(wire, tcp)` sends a query and returns the reply's wire. It raises TimeoutError when none came in time,
    and NoUpstream or any other OSError when no upstream answers anything. `anchors`: TrustAnchor objects or DS/DNSKEY
    record text; None means the root's, as shipped. `now`: seconds since 1970 as a number or a callable; None means the
    machine's clock. `keeps_sections`: answers have the RRsets that they were made of.

    One resolver serves one event loop at a time: after the end of one it can be used in another.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        anchors: Iterable[TrustAnchor | str] | None = None,
        now: float | Now | None = None,
        budget: Budget | None = None,
        cache: Cache | None = None,
        negative_anchors: Iterable[NegativeAnchor] = (),
        algorithms: frozenset[int] = ALGORITHMS,
        settings: InquirySettings | None = None,
        keeps_sections: bool = False,
    ) -> None:
        self._transport = transport
        self._now: Now = time.time if now is None else now if callable(now) else _constant(float(now))
        self._settings = settings or InquirySettings(anchors=as_anchors(anchors))
        self._settings = replace(
            self._settings,
            negative_anchors=(*self._settings.negative_anchors, *negative_anchors),
            algorithms=algorithms,
            keeps_sections=keeps_sections or self._settings.keeps_sections,
            budget=budget or self._settings.budget,
        )
        self.cache = cache if cache is not None else Cache()
        self.counts = LookupCounts()
        self._work: _Work | None = None

    async def resolve(self, name: str | dns.name.Name, rdtype: str | dns.rdatatype.RdataType) -> Answer | LookupFailure:
        """Look up a name and a type, class IN. Whatever DNS does comes back as a value.

        Raises ValueError for a name that cannot be one, and for a type that cannot be asked for.
        """
        text = str(name).lower()
        if text.endswith(".") and not text.endswith("\\."):  # an escaped dot is part of the last label
            text = text[:-1]
        key = text, int(dns.rdatatype.RdataType.make(rdtype))
        now = self._now()
        known = self.cache.get(key, now)
        if self.cache.due:
            self._refresh()
        if known is None:
            return await self._shared(key, _question(name, key[1]))
        self.counts.cached += 1
        return known if isinstance(known, LookupFailure) else _counted_down(known, now)

    def known(self, key: tuple[str, int]) -> Answer | LookupFailure | None:
        """What the cache holds for a name (lower-case, without the dot at the end) and a type, with its first TTL."""
        found = self.cache.get(key, self._now())
        if self.cache.due:
            self._refresh()
        return found

    async def unvalidated(self, question: Question) -> DNSReply | Fault:
        """What the upstream says, with no proof at all: for a client that checks it itself (CD, RFC 4035 3.2.2)."""
        return await asyncio.shield(self._sent(question))

    def _refresh(self) -> None:
        """Ask for popular answers again before they run out, while the old ones are still served."""
        due, self.cache.due = self.cache.due, []
        for key in due:
            self._begin(key, _question(key[0] or ".", key[1]))

    @property
    def anchors(self) -> tuple[TrustAnchor, ...]:
        """The trust anchors in use now."""
        return self._settings.anchors

    def trust(self, anchors: Iterable[TrustAnchor]) -> None:
        """Trust other anchors from now on; what was proven from the old ones is forgotten.

        Lookups under way still answer those who wait for them, and nobody else: their results are not kept.
        """
        self._settings = replace(self._settings, anchors=tuple(anchors))
        self.cache.clear()
        if self._work is not None:
            self._work.lookups = {}

    async def published_keys(self, zone: dns.name.Name) -> SignedRRset | None:
        """The DNSKEY RRset of a zone as the upstream gives it, without proof: to follow key rolls (RFC 5011)."""
        reply = await asyncio.shield(self._sent(Question(zone, dns.rdatatype.DNSKEY)))
        return reply.answer.get((zone, dns.rdatatype.DNSKEY)) if isinstance(reply, DNSReply) else None

    def _here(self) -> "_Work":
        """The work in progress in this event loop. Raises RuntimeError while another loop has not ended."""
        loop = asyncio.get_running_loop()
        if self._work is None or self._work.loop is not loop:
            if self._work is not None and not self._work.loop.is_closed():
                raise RuntimeError("this Resolver belongs to another event loop, which has not ended: use one for each")
            self._work = _Work(loop)
        return self._work

    async def _shared(self, key: tuple[str, int], question: Question) -> Answer | LookupFailure:
        """One lookup for all who ask the same at once; it goes on when one of them gives up."""
        return await asyncio.shield(self._begin(key, question))

    def _begin(self, key: tuple[str, int], question: Question) -> "asyncio.Task[Answer | LookupFailure]":
        lookups = self._here().lookups
        task = lookups.get(question)
        if task is None:
            task = lookups[question] = asyncio.create_task(self._look_up(key, question))
            task.add_done_callback(lambda _: lookups.pop(question, None))
        return task

    async def _look_up(self, key: tuple[str, int], question: Question) -> Answer | LookupFailure:
        begun = time.perf_counter()
        result = await self._look_up_now(key, question)
        self.counts.looked_up(result, time.perf_counter() - begun)
        return result

    async def _look_up_now(self, key: tuple[str, int], question: Question) -> Answer | LookupFailure:
        try:
            async with self._here().lookup_slots.hold(domain_of(question.name)):
                settings, now = self._settings, self._now()
                result = await self._drive(Lookup(question, settings, self.cache.zones, now))
        except GaveWay as error:
            self.counts.gave_way += 1
            return LookupFailure(question=question, kind=FailureKind.TIMEOUT, detail=str(error), ede=22)
        if settings.anchors == self._settings.anchors:  # else it rests on anchors that are trusted no more
            self.cache.put(key, result, now)
        return result

    async def _drive(self, lookup: Lookup) -> Answer | LookupFailure:
        steps, turn = lookup.run(), self._here().turn
        sent: dict[Question, asyncio.Task[DNSReply | Fault]] = {}
        replies: Mapping[Question, DNSReply | Fault] = {}
        wanted: Ask | Breathe | None = None
        try:
            while True:
                if isinstance(wanted, Ask):
                    ahead = wanted.ahead if self._here().query_slots.free else ()
                    sent |= {each: self._sent(each) for each in (*wanted.questions, *ahead) if each not in sent}
                    replies = {each: await asyncio.shield(sent[each]) for each in wanted.questions}
                await turn.come()
                with turn:
                    wanted = next(steps) if wanted is None else steps.send(replies)
        except StopIteration as end:
            result: Answer | LookupFailure = end.value
            return result

    def _sent(self, question: Question) -> "asyncio.Task[DNSReply | Fault]":
        """One query for all lookups that need it at once."""
        queries = self._here().queries
        task = queries.get(question)
        if task is None:
            task = queries[question] = asyncio.create_task(self._ask(question))
            task.add_done_callback(lambda _: queries.pop(question, None))
        return task

    async def _ask(self, question: Question) -> DNSReply | Fault:
        message_id = secrets.randbits(16)
        try:
            async with self._here().query_slots.hold(domain_of(question.name)):
                reply = await self._exchange(query_wire(question, message_id))
        except GaveWay as error:
            self.counts.gave_way += 1
            return Fault(FailureKind.TIMEOUT, str(error), 22)
        if isinstance(reply, Fault):
            return reply
        turn = self._here().turn
        await turn.come()
        with turn:
            return read_reply(reply, question, message_id)

    async def _exchange(self, wire: bytes) -> bytes | Fault:
        try:
            reply = await self._transport(wire, False)
            return await self._transport(wire, True) if truncated(reply) else reply
        except NoUpstream as error:
            return Fault(FailureKind.NO_UPSTREAM, str(error), 23)
        except TimeoutError as error:
            return Fault(FailureKind.TIMEOUT, str(error) or "no reply in time", 22)
        except OSError as error:
            return Fault(FailureKind.NO_UPSTREAM, f"no upstream can be reached: {error.strerror or error}", 23)


class _Work:
    """Lookups, queries and their slots in one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.lookups: dict[Question, asyncio.Task[Answer | LookupFailure]] = {}
        self.queries: dict[Question, asyncio.Task[DNSReply | Fault]] = {}
        self.lookup_slots = FairSlots(MAX_LOOKUPS, LOOKUPS_ASIDE, PATIENCE_SECONDS)
        self.query_slots = FairSlots(MAX_QUERIES, QUERIES_ASIDE, PATIENCE_SECONDS)
        self.turn = WorkSlice()


def _counted_down(answer: Answer, now: float) -> Answer:
    """An answer from the cache with the TTL that is left (RFC 1035 section 3.2.1)."""
    left = max(0, min(answer.ttl, int(answer.expires_at - now)))
    return answer if left == answer.ttl else replace(answer, ttl=left)


def _constant(moment: float) -> Now:
    return lambda: moment


def _question(name: str | dns.name.Name, rdtype: int) -> Question:
    kind = dns.rdatatype.RdataType.make(rdtype)
    if kind in _META_TYPES:
        raise ValueError(f"{dns.rdatatype.to_text(kind)} cannot be asked for")
    try:
        absolute = from_text(name) if isinstance(name, str) else as_known(name.derelativize(dns.name.root))
    except (dns.exception.DNSException, ValueError) as error:
        raise ValueError(f"{name!r} is not a domain name: {error!s}") from None
    return Question(absolute.canonicalize(), kind)
