"""The async resolver: a small loop around the stepper. Any transport, any time, any recorded conversation can drive it.

Only this module and what it is made of (`sent_queries`, `running_lookup`, `fair_slots`, `work_slice`) know asyncio here
(docs/decisions/0002-resolver-driver.md). None opens a socket.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

import dns.exception
import dns.name
import dns.rdatatype
from dns.rdatatype import RdataType

from letterlock.resolver.answer import Answer, LookupFailure, Question
from letterlock.resolver.budget import Budget
from letterlock.resolver.cache import Cache
from letterlock.resolver.dns_message import DNSReply, Fault
from letterlock.resolver.fair_slots import FairSlots
from letterlock.resolver.inquiry import InquirySettings, Steps
from letterlock.resolver.known_names import as_known, from_text
from letterlock.resolver.lookup import Lookup
from letterlock.resolver.lookup_counts import LookupCounts
from letterlock.resolver.number_names import type_name
from letterlock.resolver.rdata import SignedRRset
from letterlock.resolver.running_lookup import RunningLookup
from letterlock.resolver.sent_queries import Queries, Transport
from letterlock.resolver.signatures import ALGORITHMS
from letterlock.resolver.trust_anchors import NegativeAnchor, TrustAnchor, as_anchors
from letterlock.resolver.work_slice import WorkSlice

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
        found = self._cached(name, rdtype)
        if isinstance(found, LookupFailure):
            return found
        if isinstance(found, Answer):
            return _counted_down(found, self._now())
        return await self._begin(found).result()

    def look_up(
        self, name: str | dns.name.Name, rdtype: str | dns.rdatatype.RdataType
    ) -> asyncio.Future[Answer | LookupFailure]:
        """As `resolve`, but begun at once: several lookups side by side need no task. Raises ValueError, as it does.

        An answer from the cache has the TTL that it came with.
        """
        found = self._cached(name, rdtype)
        if isinstance(found, Question):
            return self._begin(found).result()
        known: asyncio.Future[Answer | LookupFailure] = asyncio.get_running_loop().create_future()
        known.set_result(found)
        return known

    def _cached(
        self, name: str | dns.name.Name, rdtype: str | dns.rdatatype.RdataType
    ) -> Answer | LookupFailure | Question:
        """What the cache holds; else the question. Raises ValueError."""
        text = (name if isinstance(name, str) else name.to_text()).lower()
        kind = rdtype if type(rdtype) is RdataType else RdataType.make(rdtype)
        key = f"{text if text.endswith('.') else f'{text}.'} {type_name(kind)}"
        known = self.cache.get(key, self._now())
        if self.cache.due:
            self._refresh()
        if known is None:
            question = _question(name, kind)
            known = self.known(question) if question != key else None
            if known is None:
                return question
        self.counts.cached += 1
        return known

    def known(self, question: str) -> Answer | LookupFailure | None:
        """What the cache holds for a Question, or for text that may be one, with its first TTL."""
        found = self.cache.get(question, self._now())
        if self.cache.due:
            self._refresh()
        return found

    async def unvalidated(self, question: Question) -> DNSReply | Fault:
        """What the upstream says, with no proof at all: for a client that checks it itself (CD, RFC 4035 3.2.2)."""
        return await self._here().queries.ask(question)

    def _refresh(self) -> None:
        """Ask for popular answers again before they run out, while the old ones are still served."""
        due, self.cache.due = self.cache.due, []
        for question in due:  # the caller is answered first
            asyncio.get_running_loop().call_soon(self._begin, question)

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
        reply = await self._here().queries.ask(Question(zone, dns.rdatatype.DNSKEY))
        return reply.answer.find(zone, dns.rdatatype.DNSKEY) if isinstance(reply, DNSReply) else None

    def _here(self) -> "_Work":
        """The work in progress in this event loop. Raises RuntimeError while another loop has not ended."""
        loop = asyncio.get_running_loop()
        if self._work is None or self._work.loop is not loop:
            if self._work is not None and not self._work.loop.is_closed():
                raise RuntimeError("this Resolver belongs to another event loop, which has not ended: use one for each")
            self._work = _Work(loop, self._transport, self.counts)
        return self._work

    def _begin(self, question: Question) -> RunningLookup:
        """One lookup for all who ask the same at once."""
        work = self._here()
        lookups = work.lookups
        running = lookups.get(question)
        if running is not None:
            return running
        settings, now = self._settings, 0.0

        # quoted, or each call would make the types
        def begin_steps() -> "Steps[Answer | LookupFailure]":
            nonlocal settings, now
            settings, now = self._settings, self._now()
            return Lookup(question, settings, self.cache.zones, now).run()

        def keep(result: "Answer | LookupFailure | None") -> None:
            lookups.pop(question, None)
            # with other anchors by now, it rests on such as are trusted no more
            if result is not None and settings.anchors == self._settings.anchors:
                self.cache.put(question, result, now)

        running = lookups[question] = RunningLookup(question, work.queries, work.lookup_slots, begin_steps, keep)
        work.lookup_slots.take(running)
        return running


class _Work:
    """Lookups, queries and their slots in one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: Transport, counts: LookupCounts) -> None:
        self.loop = loop
        self.lookups: dict[Question, RunningLookup] = {}
        self.lookup_slots = FairSlots(MAX_LOOKUPS, LOOKUPS_ASIDE, PATIENCE_SECONDS)
        query_slots = FairSlots(MAX_QUERIES, QUERIES_ASIDE, PATIENCE_SECONDS)
        self.queries = Queries(transport, query_slots, WorkSlice(), counts)


def _counted_down(answer: Answer, now: float) -> Answer:
    """An answer from the cache with the TTL that is left (RFC 1035 section 3.2.1)."""
    left = max(0, min(answer.ttl, int(answer.expires_at - now)))
    return answer if left == answer.ttl else replace(answer, ttl=left)


def _constant(moment: float) -> Now:
    return lambda: moment


def _question(name: str | dns.name.Name, kind: RdataType) -> Question:
    if kind in _META_TYPES:
        raise ValueError(f"{dns.rdatatype.to_text(kind)} cannot be asked for")
    try:
        absolute = from_text(name) if isinstance(name, str) else as_known(name.derelativize(dns.name.root))
    except (dns.exception.DNSException, ValueError) as error:
        raise ValueError(f"{name!r} is not a domain name: {error!s}") from None
    return Question(absolute.canonicalize(), kind)
