"""The transport of a resolver: several upstreams, the best first, until one deadline."""

import asyncio
import secrets
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import dns.name

from letterlock.net.dns.connections import Connections
from letterlock.net.dns.datagrams import Harassed, ask_over_udp
from letterlock.net.dns.examination import UpstreamReport, examine
from letterlock.net.dns.standing import Standing
from letterlock.net.dns.upstream import MAX_UPSTREAMS, Upstream
from letterlock.net.dns.wire import MAX_MESSAGE_OCTETS, answers, mix_case, poor, refuses, restored

FIRST_TRY_SECONDS = 1.5
ROUNDS = 3
MAX_QUERIES = 1_300  # at once, so as many sockets: all that a Resolver sends, and some to find out about upstreams


class UpstreamTransport:
    """`await transport(wire, tcp)` asks the best upstream, then the next ones, until one deadline.

    `timeout_seconds` bounds a whole query. A try that is not answered in 1.5 seconds (then 3, then 6) makes the next
    upstream be asked, too; the first good reply counts, whosever it is. `mixed_case` sends names in random case and
    demands it back (0x20), `roots` (PEM) verifies upstreams over TLS instead of the system's roots.
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
        self._standings = [Standing(upstream) for upstream in self.upstreams]
        self._connections = {upstream: Connections(upstream, roots) for upstream in self.upstreams}
        self._room = asyncio.Semaphore(MAX_QUERIES)

    @property
    def strays(self) -> int:
        """How many datagrams came that did not answer the query they came for: forgeries, or very late replies."""
        return sum(standing.strays for standing in self._standings)

    async def examine(self, zone: dns.name.Name = dns.name.root) -> tuple[UpstreamReport, ...]:
        """Find out which upstreams are fit for validation, by a zone that is signed; from now on ask those first."""
        reports = await asyncio.gather(
            *(examine(each.upstream, partial(self._exchange, each), zone) for each in self._standings)
        )
        for standing, report in zip(self._standings, reports, strict=True):
            standing.demerits = report.demerits
        return tuple(reports)

    async def __call__(self, wire: bytes, tcp: bool) -> bytes:
        """Send a query, return the reply that answers it. Raises OSError, TimeoutError among them."""
        if len(wire) > MAX_MESSAGE_OCTETS:
            raise ValueError("the query is too long")
        try:
            async with asyncio.timeout(self._timeout_seconds), self._room:
                return await self._ask(wire, tcp)
        except TimeoutError:
            names = ", ".join(map(str, self.upstreams))
            raise TimeoutError(f"no reply from {names} within {self._timeout_seconds:g} s") from None

    async def aclose(self) -> None:
        """Close what is kept open."""
        for connections in self._connections.values():
            await connections.aclose()

    def _turns(self) -> Iterator[tuple[Standing, float]]:
        """Whom to ask, and how long to wait before the next one is asked, too."""
        now = asyncio.get_running_loop().time
        for number in range(ROUNDS):
            order = sorted(self._standings, key=lambda each: each.rank(now()))
            for standing in order[1:]:
                standing.passed_over()
            for standing in order:
                yield standing, FIRST_TRY_SECONDS * 2**number

    async def _ask(self, wire: bytes, tcp: bool) -> bytes:
        trying: dict[asyncio.Task[bytes], Standing] = {}
        outcome: bytes | OSError = TimeoutError("no reply")
        try:
            for turn, (standing, wait) in enumerate(self._turns()):
                if turn >= len(self._standings) and (isinstance(outcome, bytes) or not trying):
                    break  # everyone has answered, none well: asking again is the resolver's to decide
                trying[asyncio.create_task(self._try(standing, wire, tcp))] = standing
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

    async def _try(self, standing: Standing, wire: bytes, tcp: bool) -> bytes:
        """One query to one upstream; how it went is written down."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            reply = await self._exchange(standing, wire, tcp)
        except OSError:
            standing.failed(loop.time())
            raise
        if refuses(reply):
            standing.failed(loop.time())
        elif not poor(reply):
            standing.answered(loop.time() - begun)
        return reply

    async def _exchange(self, standing: Standing, wire: bytes, tcp: bool) -> bytes:
        upstream = standing.upstream
        query = mix_case(wire, secrets.randbits) if self._mixed_case else wire
        fits = partial(answers, query=query, exact_case=self._mixed_case)
        if not tcp and upstream.tls is None:
            try:
                return restored(await ask_over_udp(upstream, query, fits, standing.stray), wire)
            except Harassed:
                pass  # over TCP a forger cannot guess
        reply = await self._connections[upstream].ask(query)
        return restored(reply, wire)


def _harvest(
    done: Iterable[asyncio.Task[bytes]], trying: dict[asyncio.Task[bytes], Standing], so_far: bytes | OSError
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
