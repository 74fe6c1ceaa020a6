"""The async resolver: a small loop around the stepper. Any transport, any time, any recorded conversation can drive it.

The one module of this room that knows asyncio (docs/decisions/0002-resolver-driver.md): it opens no socket.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace

import dns.exception
import dns.name
import dns.rdatatype

from letterlock.resolver.anchors import NegativeAnchor, TrustAnchor, as_anchors
from letterlock.resolver.answer import Answer, FailureKind, LookupFailure, Question
from letterlock.resolver.budget import Budget
from letterlock.resolver.cache import Cache
from letterlock.resolver.inquiry import Ask, Breathe, Settings
from letterlock.resolver.lookup import Lookup
from letterlock.resolver.message import Fault, Reply, SignedRRset, query_wire, read_reply, truncated
from letterlock.resolver.signatures import ALGORITHMS

Transport = Callable[[bytes, bool], Awaitable[bytes]]
Now = Callable[[], float]
MAX_LOOKUPS = 200  # at once; more wait
SLICE_SECONDS = 0.003  # of work in one turn of the event loop, by all lookups together
_META_TYPES = frozenset(
    {dns.rdatatype.ANY, dns.rdatatype.AXFR, dns.rdatatype.IXFR, dns.rdatatype.OPT, dns.rdatatype.RRSIG}
)


class Resolver:
    """A validating stub resolver.

    `transport(wire, tcp)` sends a query and returns the reply's wire; it raises OSError (TimeoutError too) when there
    is none. `anchors`: TrustAnchor objects or DS/DNSKEY record text; None means the root's, as shipped. `now`: seconds
    since 1970 as a number or a callable; None means the machine's clock.
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
        settings: Settings | None = None,
    ) -> None:
        self._transport = transport
        self._now: Now = time.time if now is None else now if callable(now) else _constant(float(now))
        self._settings = settings or Settings(anchors=as_anchors(anchors))
        self._settings = replace(
            self._settings,
            negative_anchors=(*self._settings.negative_anchors, *negative_anchors),
            algorithms=algorithms,
            budget=budget or self._settings.budget,
        )
        self.cache = cache if cache is not None else Cache()
        self._lookups: dict[Question, asyncio.Task[Answer | LookupFailure]] = {}
        self._queries: dict[Question, asyncio.Task[Reply | Fault]] = {}
        self._room = asyncio.Semaphore(MAX_LOOKUPS)
        self._turn = _Turn()
        self._refreshing: set[asyncio.Task[Answer | LookupFailure]] = set()

    async def resolve(self, name: str | dns.name.Name, rdtype: str | dns.rdatatype.RdataType) -> Answer | LookupFailure:
        """Look up a name and a type, class IN. Whatever DNS does comes back as a value.

        Raises ValueError for a name that cannot be one, and for a type that cannot be asked for.
        """
        key = str(name).lower().removesuffix("."), int(dns.rdatatype.RdataType.make(rdtype))
        known = self.cache.get(key, self._now())
        if self.cache.due:
            self._refresh()
        return known if known is not None else await self._shared(key, _question(name, key[1]))

    def _refresh(self) -> None:
        """Ask for popular answers again before they run out, while the old ones are still served."""
        for key in self.cache.due:
            task = asyncio.create_task(self._shared(key, _question(key[0] or ".", key[1]), fresh=True))
            self._refreshing.add(task)
            task.add_done_callback(self._refreshing.discard)
        self.cache.due.clear()

    @property
    def anchors(self) -> tuple[TrustAnchor, ...]:
        """What is trusted now."""
        return self._settings.anchors

    def trust(self, anchors: Iterable[TrustAnchor]) -> None:
        """Trust other anchors from now on; what was proven from the old ones is forgotten."""
        self._settings = replace(self._settings, anchors=tuple(anchors))
        self.cache.clear()

    async def published_keys(self, zone: dns.name.Name) -> SignedRRset | None:
        """The DNSKEY RRset of a zone as the upstream gives it, nothing proven: for who follows keys (RFC 5011)."""
        reply = await self._ask_once(Question(zone, dns.rdatatype.DNSKEY))
        return reply.answer.get((zone, dns.rdatatype.DNSKEY)) if isinstance(reply, Reply) else None

    async def _shared(self, key: tuple[str, int], question: Question, *, fresh: bool = False) -> Answer | LookupFailure:
        """One lookup for all who ask the same at once; it goes on when one of them gives up."""
        if question not in self._lookups:
            await self._room.acquire()
            known = None if fresh else self.cache.get(key, self._now())  # somebody may have asked meanwhile
            if known is not None or question in self._lookups:
                self._room.release()
            if known is not None:
                return known
            if question not in self._lookups:
                self._begin(key, question)
        return await asyncio.shield(self._lookups[question])

    def _begin(self, key: tuple[str, int], question: Question) -> None:
        task = asyncio.create_task(self._look_up(key, question))
        self._lookups[question] = task
        task.add_done_callback(lambda _: self._end(question))

    def _end(self, question: Question) -> None:
        self._lookups.pop(question, None)
        self._room.release()

    async def _look_up(self, key: tuple[str, int], question: Question) -> Answer | LookupFailure:
        now = self._now()
        result = await self._drive(Lookup(question, self._settings, self.cache.zones, now))
        self.cache.put(key, result, now)
        return result

    async def _drive(self, lookup: Lookup) -> Answer | LookupFailure:
        steps = lookup.run()
        replies: Mapping[Question, Reply | Fault] = {}
        wanted: Ask | Breathe | None = None
        try:
            while True:
                if isinstance(wanted, Ask):
                    found = await asyncio.gather(*(self._ask_once(question) for question in wanted.questions))
                    replies = dict(zip(wanted.questions, found, strict=True))
                await self._turn.come()
                with self._turn:
                    wanted = next(steps) if wanted is None else steps.send(replies)
        except StopIteration as end:
            result: Answer | LookupFailure = end.value
            return result

    async def _ask_once(self, question: Question) -> Reply | Fault:
        """One query for all lookups that need it at once."""
        task = self._queries.get(question)
        if task is None:
            task = asyncio.create_task(self._ask(question))
            self._queries[question] = task
            task.add_done_callback(lambda _: self._queries.pop(question, None))
        return await asyncio.shield(task)

    async def _ask(self, question: Question) -> Reply | Fault:
        message_id = secrets.randbits(16)
        wire = query_wire(question, message_id)
        try:
            reply = await self._transport(wire, False)
            if truncated(reply):
                reply = await self._transport(wire, True)
        except TimeoutError as error:
            return Fault(FailureKind.TIMEOUT, str(error) or "no reply in time", 22)
        except OSError as error:
            return Fault(FailureKind.TIMEOUT, f"no upstream can be reached: {error.strerror or error}", 23)
        await self._turn.come()
        with self._turn:
            return read_reply(reply, question, message_id)


class _Turn:
    """Work that all lookups share: about a slice of it in one turn of the event loop, so that others get theirs."""

    def __init__(self) -> None:
        self._used = 0.0
        self._begun = 0.0
        self._counting = False
        self._open = asyncio.Event()
        self._open.set()

    async def come(self) -> None:
        """Wait until something is left of the slice."""
        while not self._open.is_set():
            await self._open.wait()

    def __enter__(self) -> None:
        if not self._counting:
            self._counting = True
            asyncio.get_running_loop().call_soon(self._renew)
        self._begun = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._used += time.perf_counter() - self._begun
        if self._used > SLICE_SECONDS:
            self._open.clear()

    def _renew(self) -> None:
        self._used, self._counting = 0.0, False
        self._open.set()


def _constant(moment: float) -> Now:
    return lambda: moment


def _question(name: str | dns.name.Name, rdtype: int) -> Question:
    kind = dns.rdatatype.RdataType.make(rdtype)
    if kind in _META_TYPES:
        raise ValueError(f"{dns.rdatatype.to_text(kind)} cannot be asked for")
    try:
        absolute = dns.name.from_text(name) if isinstance(name, str) else name.derelativize(dns.name.root)
    except (dns.exception.DNSException, ValueError) as error:
        raise ValueError(f"{name!r} is not a domain name: {error!s}") from None
    return Question(absolute.canonicalize(), kind)
