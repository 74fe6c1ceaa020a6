"""The transport of a resolver: several upstreams, the best first, until one deadline."""

import asyncio
import itertools
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import dns.name

from letterlock.net.dns.connections import Connections
from letterlock.net.dns.datagrams import Datagrams, Harassed
from letterlock.net.dns.examination import UpstreamReport, examine
from letterlock.net.dns.message_header import MAX_MESSAGE_OCTETS, answers, mix_case, poor, question, refuses, restored
from letterlock.net.dns.shared_sockets import SharedSockets, is_local
from letterlock.net.dns.upstream import MAX_UPSTREAMS, Upstream
from letterlock.net.dns.upstream_stats import UpstreamStats
from letterlock.resolver.answer import NoUpstream

FIRST_TRY_SECONDS = 1.5  # chosen: nearly every upstream answers within it; it doubles with each round
ROUNDS = 3  # chosen: 1.5, 3 and 6 seconds, so that a lost packet or two do no harm
_ROOT_SERVERS = bytes.fromhex("0100 0001 0000 0000 0000 00 0002 0001")  # RD; . IN NS, which every resolver knows
MAX_QUERIES = 1_300  # at once, so as many sockets: all that a Resolver sends, and some to find out about upstreams
LEAST_SECONDS = 3 * FIRST_TRY_SECONDS  # with less time, a first try alone would be too much of it
_Turns = Iterator[tuple[UpstreamStats, float]]


@dataclass(slots=True)
class _Work:
    """The state that belongs to one event loop."""

    loop: asyncio.AbstractEventLoop
    connections: dict[Upstream, Connections]
    local: dict[UpstreamStats, SharedSockets]  # of the upstreams on this machine
    room: asyncio.Semaphore
    looking: asyncio.Task[None] | None = None
    trying: "dict[FirstTry, None]" = field(default_factory=dict)  # the oldest first
    timer: asyncio.TimerHandle | None = None  # for all of them
    general: int = 0  # queries that need a task, or wait for room

    def watch(self) -> None:
        """Look again when the oldest first try will have had its time."""
        if self.timer is None and self.trying:
            self.timer = self.loop.call_at(next(iter(self.trying)).begun + FIRST_TRY_SECONDS, self._sweep)

    def _sweep(self) -> None:
        """Those that have had their time go on with others."""
        self.timer = None
        late = self.loop.time() - FIRST_TRY_SECONDS
        for each in [each for each in self.trying if each.begun <= late]:
            each.go_on_now()
        self.watch()


class UpstreamTransport:
    """`await transport(wire, tcp)` asks the best upstream, then the next ones, until one deadline.

    `timeout_seconds` bounds a whole query. If a try is not answered within 1.5 seconds (then 3, then 6), the next
    upstream is asked, too, and the first good reply counts, from any of them. If none comes, it matters whether the
    upstreams answered anything else in the meantime; if nothing else was asked, they are asked for the root's servers.
    `mixed_case` sends names in random case and demands the same case back (0x20). `roots` is a PEM file that verifies
    upstreams over TLS instead of the system's roots. Raises ValueError if there is no upstream.
    """

    def __init__(
        self,
        upstreams: Sequence[Upstream],
        *,
        timeout_seconds: float = 10.0,
        mixed_case: bool = False,
        roots: Path | None = None,
    ) -> None:
        if not upstreams:
            raise ValueError("an upstream is needed")
        self.upstreams = tuple(dict.fromkeys(upstreams))[:MAX_UPSTREAMS]
        self._timeout_seconds = timeout_seconds
        self._mixed_case = mixed_case
        self._roots = roots
        self._standings = [UpstreamStats(upstream) for upstream in self.upstreams]
        self._work: _Work | None = None
        self._answered_at = 0.0  # by the monotonic clock of event loops

    @property
    def stats(self) -> tuple[UpstreamStats, ...]:
        """How each upstream does."""
        return tuple(self._standings)

    @property
    def strays(self) -> int:
        """How many datagrams came that did not answer the query they came for: forgeries, or very late replies."""
        return sum(standing.strays for standing in self._standings)

    @property
    def trying(self) -> int:
        """How many queries wait for the reply of their first try."""
        return 0 if self._work is None else len(self._work.trying)

    async def examine(self, zone: dns.name.Name = dns.name.root) -> tuple[UpstreamReport, ...]:
        """Find out which upstreams are fit for validation, by a zone that is signed; from now on ask those first."""
        reports = await asyncio.gather(
            *(examine(each.upstream, partial(self._exchange, each), zone) for each in self._standings)
        )
        for standing, report in zip(self._standings, reports, strict=True):
            standing.demerits = report.demerits
        return tuple(reports)

    async def __call__(self, wire: bytes, tcp: bool) -> bytes:
        """Send a query, return the reply that answers it.

        Raises TimeoutError when there is none though the upstreams answer other questions, else NoUpstream; ValueError
        for a query of more than MAX_MESSAGE_OCTETS.
        """
        if len(wire) > MAX_MESSAGE_OCTETS:
            raise ValueError("the query is too long")
        begun = asyncio.get_running_loop().time()
        came: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        first = None if tcp else self.begin(wire, partial(_settle, came))
        if first is None:
            return await self._ask_on(wire, tcp, self._turns(), begun, None)
        try:
            reply = await came
        except BaseException:
            first.close()
            raise
        return await first.go_on() if reply is None else reply

    def begin(self, wire: bytes, done: Callable[[bytes | None], None]) -> "FirstTry | None":
        """Ask the best upstream over UDP, as most queries get their reply: without a task.

        `done` is called later, with a good reply, or with None: then it is time for `go_on`. None, where it cannot be
        done so: call the transport.
        """
        work = self._here()
        best = self._standings[0]
        if len(self._standings) > 1:
            now = work.loop.time()
            best = min(self._standings, key=lambda each: each.rank(now))
        if (
            best.upstream.tls is not None
            or work.general + len(work.trying) >= MAX_QUERIES
            or self._timeout_seconds < LEAST_SECONDS
        ):
            return None
        for each in self._standings:
            if each is not best:
                each.passed_over()
        return FirstTry(self, work, best, wire, done)

    async def _ask_on(self, wire: bytes, tcp: bool, turns: "_Turns", begun: float, first: "FirstTry | None") -> bytes:
        """Ask one upstream after the other until the deadline. Raises TimeoutError, NoUpstream."""
        work, loop = self._here(), asyncio.get_running_loop()
        names, until = ", ".join(map(str, self.upstreams)), begun + self._timeout_seconds
        # when the second try has had its time, or a third of all
        alive = begun + min(2 * FIRST_TRY_SECONDS, self._timeout_seconds / 3)
        looking = loop.call_at(alive, self._look_for_life, begun)
        work.general += 1
        try:
            async with asyncio.timeout_at(until), work.room:
                return await self._ask(wire, tcp, turns, first)
        except TimeoutError:
            waited = f"within {self._timeout_seconds:g} s"
            if self._answered_at < begun:
                raise NoUpstream(f"{names} answered nothing at all {waited}") from None
            raise TimeoutError(f"{names} had no reply to this question {waited}, but answered others") from None
        except NoUpstream:
            raise
        except OSError as error:
            raise NoUpstream(f"{names}: {os.strerror(error.errno)}" if error.errno else str(error)) from error
        finally:
            work.general -= 1
            looking.cancel()
            if first is not None:
                first.close()

    def _here(self) -> "_Work":
        """The state of this event loop; the rest of one that has ended is dropped."""
        loop = asyncio.get_running_loop()
        if self._work is None or self._work.loop is not loop:
            if self._work is not None and not self._work.loop.is_closed():
                raise RuntimeError("this UpstreamTransport belongs to another event loop, which has not ended")
            connections = {upstream: Connections(upstream, self._roots) for upstream in self.upstreams}
            local = {
                each: SharedSockets(each.upstream, each.stray) for each in self._standings if is_local(each.upstream)
            }
            self._work = _Work(loop, connections, local, asyncio.Semaphore(MAX_QUERIES))
        return self._work

    def _look_for_life(self, begun: float) -> None:
        """A query has waited for a while: if nothing else was answered since it was sent, ask what is always known."""
        work = self._here()
        if self._answered_at < begun and (work.looking is None or work.looking.done()):
            work.looking = asyncio.create_task(self._ask_for_the_root())

    async def _ask_for_the_root(self) -> None:
        query = secrets.token_bytes(2) + _ROOT_SERVERS
        with suppress(TimeoutError):  # who waits has a deadline of their own
            async with asyncio.timeout(self._timeout_seconds):
                await asyncio.gather(
                    *(self._try(each, query, tcp=False) for each in self._standings), return_exceptions=True
                )

    async def aclose(self) -> None:
        """Close what is kept open."""
        if self._work is None or self._work.loop is not asyncio.get_running_loop():
            return
        for each in list(self._work.trying):
            each.close()
        if self._work.timer is not None:
            self._work.timer.cancel()
            self._work.timer = None
        if self._work.looking is not None:
            self._work.looking.cancel()
            await asyncio.wait({self._work.looking})
        for sockets in self._work.local.values():
            sockets.close()
        for connections in self._work.connections.values():
            await connections.aclose()

    def _turns(self, asked: UpstreamStats | None = None) -> "_Turns":
        """Whom to ask, and how long to wait before the next one is asked, too. One may have been asked already."""
        now = asyncio.get_running_loop().time
        for number in range(ROUNDS):
            order = sorted(self._standings, key=lambda each: each.rank(now()))
            if number == 0 and asked is not None:
                order.remove(asked)
            else:
                for standing in order[1:]:
                    standing.passed_over()
            for standing in order:
                yield standing, FIRST_TRY_SECONDS * 2**number

    async def _ask(self, wire: bytes, tcp: bool, turns: "_Turns", first: "FirstTry | None") -> bytes:
        trying: dict[asyncio.Task[bytes], UpstreamStats] = {}
        outcome: bytes | OSError = TimeoutError("no reply")
        begun = [] if first is None else [(first.standing, first.seconds_left)]
        try:
            for turn, (standing, wait) in enumerate(itertools.chain(begun, turns)):
                if turn >= len(self._standings) and (isinstance(outcome, bytes) or not trying):
                    break  # everyone has answered, none well: asking again is the resolver's to decide
                under_way = first.under_way if first is not None and turn == 0 else None
                trying[asyncio.create_task(self._try(standing, wire, tcp, under_way))] = standing
                done, _ = await asyncio.wait(trying, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    standing.failed(asyncio.get_running_loop().time())
                outcome, good = _harvest(done, trying, outcome)
                if good:
                    break
            while trying and (isinstance(outcome, OSError) or poor(outcome)):
                done, _ = await asyncio.wait(trying, return_when=asyncio.FIRST_COMPLETED)
                outcome, _ = _harvest(done, trying, outcome)
        finally:
            for task in trying:
                task.cancel()
            if trying:
                await asyncio.wait(trying)
        if isinstance(outcome, OSError):
            raise outcome
        return outcome

    async def _try(self, standing: UpstreamStats, wire: bytes, tcp: bool, under_way: Datagrams | None = None) -> bytes:
        """One query to one upstream, which may be under way; how it went is written down."""
        loop = asyncio.get_running_loop()
        begun = loop.time() if under_way is None else under_way.begun
        try:
            reply = await self._exchange(standing, wire, tcp, under_way)
        except OSError:
            standing.failed(loop.time())
            raise
        self._note(standing, reply, begun)
        return reply

    def _note(self, standing: UpstreamStats, reply: bytes, begun: float) -> None:
        now = asyncio.get_running_loop().time()
        if not poor(reply):
            self.note_good(standing, begun, now)
            return
        if refuses(reply):
            standing.failed(now)
            return
        self._answered_at = now

    def note_good(self, standing: UpstreamStats, begun: float, now: float) -> None:
        """A good reply came `now`, to a query of `begun`; both by the event loop's clock, in seconds."""
        standing.answered(now - begun)
        self._answered_at = now

    def _send(
        self, standing: UpstreamStats, wire: bytes, work: _Work, done: Callable[[], None] | None = None
    ) -> Datagrams:
        """Send a query over UDP; call `done` when there is an outcome."""
        query = mix_case(wire, secrets.randbits) if self._mixed_case else wire
        asked = question(query)
        fits = partial(answers, query=query, asked=asked, exact_case=self._mixed_case)
        same = None if self._mixed_case else asked
        local = work.local.get(standing)
        return Datagrams(standing.upstream, query, fits, standing.stray, asked=same, done=done, local=local)

    async def _exchange(
        self, standing: UpstreamStats, wire: bytes, tcp: bool, under_way: Datagrams | None = None
    ) -> bytes:
        upstream = standing.upstream
        if tcp or upstream.tls is not None:
            query = mix_case(wire, secrets.randbits) if self._mixed_case else wire
        else:
            asking = under_way or self._send(standing, wire, self._here())
            query = asking.query
            try:
                return restored(await asking.reply, wire)
            except Harassed:
                pass  # over TCP a forger cannot guess
            finally:
                asking.close()
        reply = await self._here().connections[upstream].ask(query)
        return restored(reply, wire)


class FirstTry:
    """The first try of a query, and what came of it so far."""

    __slots__ = ("_done", "_transport", "_wire", "_work", "begun", "standing", "under_way")

    def __init__(
        self,
        transport: UpstreamTransport,
        work: _Work,
        standing: UpstreamStats,
        wire: bytes,
        done: Callable[[bytes | None], None],
    ) -> None:
        self._transport = transport
        self._work = work
        self._wire = wire
        self._done = done
        self.standing = standing
        self.under_way = transport._send(standing, wire, work, self._came)  # noqa: SLF001  # a part of it
        self.begun = self.under_way.begun
        work.trying[self] = None
        if work.timer is None:
            work.watch()

    def close(self) -> None:
        """Nobody waits for it any more."""
        self._work.trying.pop(self, None)
        self.under_way.close()

    async def go_on(self) -> bytes:
        """Ask others too, until one has a good reply, or the deadline. Raises TimeoutError, NoUpstream."""
        turns = self._transport._turns(self.standing)  # noqa: SLF001  # as above
        return await self._transport._ask_on(self._wire, False, turns, self.begun, self)  # noqa: SLF001

    def go_on_now(self) -> None:
        """It has had its time, or came to nothing good."""
        del self._work.trying[self]
        self._done(None)

    @property
    def seconds_left(self) -> float:
        """How long to wait for it before the next one is asked, too."""
        return FIRST_TRY_SECONDS if self.under_way.outcome is not None else 0.0

    def _came(self) -> None:
        work, under_way = self._work, self.under_way
        if self not in work.trying:  # it was closed, or it took so long that others wait for this reply
            return
        reply = under_way.outcome
        if not isinstance(reply, bytes) or poor(reply):
            self.go_on_now()
            return
        del work.trying[self]
        self._transport.note_good(self.standing, self.begun, work.loop.time())
        self._done(restored(reply, self._wire, under_way.asked))


def _settle(waiting: asyncio.Future[bytes | None], reply: bytes | None) -> None:
    if not waiting.done():
        waiting.set_result(reply)


def _harvest(
    done: Iterable[asyncio.Task[bytes]], trying: dict[asyncio.Task[bytes], UpstreamStats], so_far: bytes | OSError
) -> tuple[bytes | OSError, bool]:
    """The best outcome so far, and whether it is a good reply. A poor reply is better than an error."""
    for task in done:
        del trying[task]
        error = task.exception()
        if error is None:
            so_far = task.result()
            if not poor(so_far):
                return so_far, True
        elif not isinstance(error, OSError):
            raise error
        elif isinstance(so_far, OSError):
            so_far = error
    return so_far, False
