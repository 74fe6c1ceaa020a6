"""What TLS before SMTP gains and costs: `python -m bench.implicit_tls [--messages N]`, on real sockets of loopback.

A host announces a second port by SRV, on which a server speaks TLS first, or nothing listens, or connections are never
answered (a full backlog: the kernel drops what comes, as a firewall does), or somebody accepts and says nothing, or
answers in HTTP, or wants a login. Prints how long the first message and the next one take until they are delivered,
without implicit TLS and with each of these, and what was added. Fails if a first message is later than the head start
and a tenth of a second, or a next one later than that tenth.
"""

import argparse
import asyncio
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

from tests.certificates import authority
from tests.deliver.world import ANN, BODY, HandDiscoverer, Handler, Server, answer, as_they_are, make_task, mute, raw

from letterlock.deliver.attempt import attempt
from letterlock.deliver.eyeballs import HEAD_START_SECONDS
from letterlock.deliver.options import DeliverOptions
from letterlock.deliver.pool import SessionPool
from letterlock.deliver.session import Ports
from letterlock.net import tls
from letterlock.net.dial import TcpDialer
from letterlock.net.streams import TcpStream
from letterlock.net.tls import ServerContext
from letterlock.policy.evidence import DestinationEvidence, MxHost, TargetHost
from letterlock.ports import Stream
from letterlock.queue.sessions import ImplicitTry
from letterlock.queue.tasks import OutcomeKind
from letterlock.resolver.answer import Security
from letterlock.routing.routes import NextHop

HOST, ADDRESS = "mx.example.org", "127.0.0.1"
TOLERATED_SECONDS = 0.1  # of a machine that does other things too
REFUSALS = {"MAIL": [b"530 5.7.0 log in\r\n"], "RCPT": [b"503 5.5.1 no\r\n"], "DATA": [b"503 5.5.1 no\r\n"]}
CASES = ("open", "closed", "filtered", "silent", "something else", "wants a login")


class Now:
    """The real time."""

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()


class TlsFirst(Server):
    """A server that speaks TLS before anything else."""

    async def __call__(self, stream: Stream) -> None:
        """Serve one connection."""
        assert self.context is not None
        inner, _ = await tls.accept_tls(stream, self.context)
        await Server(None, self.extensions, self.answers, messages=self.messages)(inner)


class SrvDiscoverer(HandDiscoverer):
    """The host at loopback, which announces a port."""

    def __init__(self, announced: int | None) -> None:
        super().__init__(hosts={HOST: (ADDRESS,)})
        record = () if announced is None else (f"0 1 {announced} {HOST}.",)
        self.srv = answer("_smtp-tls._tcp.example.org", "SRV", *record, security=Security.SECURE)

    async def destination(self, next_hop: NextHop, sender: str | None = None) -> DestinationEvidence:
        """With the SRV records."""
        return replace(await super().destination(next_hop, sender), smtp_tls=self.srv)

    async def host(self, host: MxHost, port: int) -> TargetHost:
        """With the time of the lookup."""
        return replace(await super().host(host, port), at=time.time())


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[int]:
    """A server on a port of its own."""
    loop, tasks = asyncio.get_running_loop(), set[asyncio.Task[None]]()
    listening = socket.create_server((ADDRESS, 0))
    listening.setblocking(False)

    async def serve(connection: socket.socket) -> None:
        stream = TcpStream(connection)
        try:
            await cast("Callable[[Stream], Awaitable[None]]", handler)(stream)
        except OSError:
            pass
        finally:
            await stream.close()

    async def accept() -> None:
        while True:
            connection, _ = await loop.sock_accept(listening)
            tasks.add(asyncio.create_task(serve(connection)))

    accepting = asyncio.create_task(accept())
    try:
        yield int(listening.getsockname()[1])
    finally:
        accepting.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(accepting, *tasks, return_exceptions=True)
        listening.close()


@asynccontextmanager
async def closed() -> AsyncIterator[int]:
    """A port where nobody listens."""
    with socket.socket() as bound:
        bound.bind((ADDRESS, 0))
        yield int(bound.getsockname()[1])


@asynccontextmanager
async def filtered() -> AsyncIterator[int]:
    """A port where connections are never answered."""
    with socket.socket() as listening, socket.socket() as first:
        listening.bind((ADDRESS, 0))
        listening.listen(0)
        first.connect(listening.getsockname())  # and the backlog is full: further SYNs are dropped
        yield int(listening.getsockname()[1])


def where(case: str, context: ServerContext) -> AbstractAsyncContextManager[int]:
    """What is at the announced port."""
    if case == "closed":
        return closed()
    if case == "filtered":
        return filtered()
    handlers: dict[str, Handler] = {
        "open": TlsFirst(context),
        "silent": mute,
        "something else": raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        "wants a login": TlsFirst(context, answers=REFUSALS),
    }
    return serving(handlers[case])


async def deliver(ports: Ports, options: DeliverOptions, pool: SessionPool) -> tuple[float, ImplicitTry | None]:
    """Seconds until a message is delivered, in a session of its own. Raises RuntimeError."""
    began = time.perf_counter()
    made = await attempt(make_task(ANN), BODY, ports=ports, options=options, pool=pool)
    seconds = time.perf_counter() - began
    if made.outcomes[0].kind is not OutcomeKind.DELIVERED:
        raise RuntimeError(made.outcomes[0].text)
    return seconds, made.implicit


async def measure(case: str | None, context: ServerContext) -> tuple[float, float, ImplicitTry | None]:
    """The seconds of the first message and of the next one, and what came of the announced port."""
    async with AsyncExitStack() as stack:
        usual = await stack.enter_async_context(serving(Server(context)))
        announced = None if case is None else await stack.enter_async_context(where(case, context))
        options = DeliverOptions(
            hostname="client.example",
            port=usual,
            implicit_tls=case is not None,
            implicit_port=announced or 0,
            idle_seconds=0.0,
        )
        ports = Ports(
            discoverer=SrvDiscoverer(announced),
            dialer=TcpDialer(),
            clock=Now(),
            shuffle=as_they_are,
        )
        pool = SessionPool(Now(), options)
        try:
            first, came_to = await deliver(ports, options, pool)
            following, _ = await deliver(ports, options, pool)
        finally:
            await pool.close()
        return first, following, came_to


async def all_cases(messages: int) -> dict[str | None, tuple[float, float, ImplicitTry | None]]:
    """The medians of each case; None: without implicit TLS."""
    found: dict[str | None, tuple[float, float, ImplicitTry | None]] = {}
    with tempfile.TemporaryDirectory() as folder:
        context = ServerContext.load(*authority().leaf(HOST).write(Path(folder)))
        for case in (None, *CASES):
            runs = [await measure(case, context) for _ in range(messages)]
            first, following = statistics.median(run[0] for run in runs), statistics.median(run[1] for run in runs)
            found[case] = first, following, runs[0][2]
    return found


def main() -> int:
    """Measure and print; 1 if a case is later than it may be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=5, help="of each case, the median counts")
    found = asyncio.run(all_cases(parser.parse_args().messages))
    usual_first, usual_next, _ = found[None]
    print(f"{'announced port':<16}{'came to':<14}{'first':>10}{'added':>10}{'next':>10}{'added':>10}   (milliseconds)")
    late = False
    for case, (first, following, came_to) in found.items():
        added, added_next = first - usual_first, following - usual_next
        late |= added > HEAD_START_SECONDS + TOLERATED_SECONDS or added_next > TOLERATED_SECONDS
        numbers = "".join(f"{1000 * each:>10.1f}" for each in (first, added, following, added_next))
        print(f"{case or '(off)':<16}{came_to or '':<14}{numbers}")
    return int(late)


if __name__ == "__main__":
    sys.exit(main())
