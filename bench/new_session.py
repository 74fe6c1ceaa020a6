"""What a new session and a cold destination cost: `python -m bench.new_session [--part session|destination]`.

CPU time of the side that sends; servers and the upstream resolver are processes of their own and do not count. A
message over a new session is compared with one over a kept session, and with the same exchange by hand over a blocking
socket. A destination is cold: what a resolver that knows the root and the domain above it must find out for a message.
"""

import argparse
import hashlib
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import dns.message
import uvloop
from OpenSSL import SSL
from tests.certificates import Credential, authority
from tests.deliver.world import BODY, OPTIONS, HandDiscoverer, answer, as_they_are, make_task

from bench.resolver import Served, upstream
from letterlock.deliver.attempt import attempt
from letterlock.deliver.decision_cache import DecisionCache
from letterlock.deliver.options import DeliverOptions
from letterlock.deliver.pool import SessionPool
from letterlock.deliver.session import Ports
from letterlock.discover.discoverer import Discoverer
from letterlock.discover.sts_finder import StsFinder
from letterlock.mtasts import Fetched, FetchFailed
from letterlock.net.dial import TcpDialer
from letterlock.net.dns import Upstream, UpstreamTransport
from letterlock.policy.evidence import MxHost, Origin
from letterlock.ports import Clock as PortClock
from letterlock.queue.tasks import OutcomeKind
from letterlock.resolver import Resolver, Security
from letterlock.resolver.sent_queries import BegunQuery
from letterlock.routing.routes import NextHop
from letterlock.routing.rules import Rules
from letterlock.state.shared_state import open_state

HOST, ADDRESS = "mx.example.org", "127.0.0.1"
WARM_UP = 30  # messages or destinations before the first that counts: imports, caches, the domain above


class Clock:
    """The machine's time."""

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()


@contextmanager
def sink(pem: Path | None) -> Iterator[int]:
    """A receiver in a process of its own, with STARTTLS if there is a certificate; its port."""
    with socket.create_server((ADDRESS, 0)) as probe:
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "bench.relay_sink", ADDRESS, str(port), "--processes", "1"]
    command += ["--pem", str(pem)] if pem else []
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            while True:
                with socket.socket() as trying:
                    if not trying.connect_ex((ADDRESS, port)):
                        break
                time.sleep(0.05)
            yield port
        finally:
            process.terminate()


def by_hand(port: int, context: SSL.Context | None) -> None:
    """One message over a blocking socket, without any decision: what the sockets and OpenSSL take."""
    with socket.create_connection((ADDRESS, port)) as plain:
        peer: socket.socket | SSL.Connection = plain
        plain.recv(4096)
        _say(peer, b"EHLO client.example\r\n")
        if context is not None:
            _say(peer, b"STARTTLS\r\n")
            peer = SSL.Connection(context, plain)
            peer.set_connect_state()
            peer.do_handshake()
            _say(peer, b"EHLO client.example\r\n")
        _say(peer, b"MAIL FROM:<sender@example.net>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n")
        _say(peer, BODY + b".\r\n")
        _say(peer, b"QUIT\r\n")


def _say(peer: "socket.socket | SSL.Connection", line: bytes) -> None:
    peer.send(line)
    peer.recv(4096)


class Sending:
    """Messages to one server, by what must hold in its sessions."""

    def __init__(
        self,
        port: int,
        credential: Credential | None,
        options: DeliverOptions = OPTIONS,
        *,
        idle_seconds: float,
        body: bytes = BODY,
        pool: Callable[[PortClock, DeliverOptions], SessionPool] = SessionPool,
    ) -> None:
        discoverer = HandDiscoverer(hosts={HOST: (ADDRESS,)})
        if credential is not None:
            record = f"3 1 1 {hashlib.sha256(credential.spki).hexdigest()}"
            discoverer.tlsa[HOST] = answer(f"_{port}._tcp.{HOST}", "TLSA", record, security=Security.SECURE)
        clock = Clock()
        self._ports = Ports(discoverer=discoverer, dialer=TcpDialer(), clock=clock, shuffle=as_they_are)
        self._options = replace(options, port=port, idle_seconds=idle_seconds)
        self._body = body
        self.pool = pool(clock, self._options)

    async def send(self, count: int) -> None:
        """Send so many, each as if nothing had been decided before."""
        task = make_task()
        for _ in range(count):
            ports = replace(self._ports, decision_cache=DecisionCache())
            made = await attempt(task, self._body, ports=ports, options=self._options, pool=self.pool)
            if made.outcomes[0].kind is not OutcomeKind.DELIVERED:
                raise RuntimeError(made.outcomes[0].text)


def microseconds(began: float, count: int) -> float:
    """CPU per piece since a moment of this process."""
    return (time.process_time() - began) / count * 1e6


async def sent(port: int, credential: Credential | None, given: argparse.Namespace, *, idle_seconds: float) -> float:
    """CPU per message in microseconds, the median of the rounds."""
    sending = Sending(port, credential, idle_seconds=idle_seconds)
    await sending.send(WARM_UP)
    figures = []
    for _ in range(given.rounds):
        began = time.process_time()
        await sending.send(given.count)
        figures.append(microseconds(began, given.count))
    await sending.pool.close()
    return statistics.median(figures) if not given.least else min(figures)


def sent_by_hand(port: int, context: SSL.Context | None, given: argparse.Namespace) -> float:
    """The same by hand."""
    figures = []
    for _ in range(given.rounds + 1):
        began = time.process_time()
        for _ in range(given.count):
            by_hand(port, context)
        figures.append(microseconds(began, given.count))
    return statistics.median(figures[1:]) if not given.least else min(figures)


def sessions(given: argparse.Namespace, directory: Path) -> None:
    """Print what new sessions cost, in clear, inside TLS, and proven by DANE."""
    credential = authority().leaf(HOST)
    pem, key = credential.write(directory)
    pem.write_bytes(pem.read_bytes() + key.read_bytes())
    kinds: tuple[tuple[str, Path | None, Credential | None], ...] = (
        ("in clear", None, None),
        ("STARTTLS", pem, None),
        ("STARTTLS, DANE", pem, credential),
    )
    for what, certificate, proven in kinds:
        with sink(certificate) as port:
            context = SSL.Context(SSL.TLS_CLIENT_METHOD) if certificate else None
            new, kept, hand = (
                uvloop.run(sent(port, proven, given, idle_seconds=0)),
                uvloop.run(sent(port, proven, given, idle_seconds=60)),
                sent_by_hand(port, context, given),
            )
        print(
            f"{what:15} a message over a new session {new:6.0f} µs, over a kept one {kept:5.0f} µs: "
            f"the session {new - kept:6.0f} µs; all of it by hand {hand:5.0f} µs",
            flush=True,
        )


class Counted:
    """A transport that counts what is asked."""

    def __init__(self, transport: UpstreamTransport) -> None:
        self._transport = transport
        self.queries: list[bytes] = []

    async def __call__(self, wire: bytes, tcp: bool) -> bytes:
        """Ask."""
        self.queries.append(wire)
        return await self._transport(wire, tcp)

    def begin(self, wire: bytes, done: Callable[[bytes | None], None]) -> BegunQuery | None:
        """Ask as nearly all queries are asked."""
        self.queries.append(wire)
        return self._transport.begin(wire, done)


async def no_policy(domain: str, _addresses: Sequence[str]) -> Fetched | FetchFailed:
    """Nobody publishes a policy here."""
    raise RuntimeError(f"{domain} has no record that leads to a policy")


async def found(served: Served, domains: list[str], given: argparse.Namespace) -> tuple[float, float]:
    """CPU per cold destination in microseconds, the median of the rounds, and queries per destination."""
    transport = UpstreamTransport([Upstream(ADDRESS, served.port)])
    counted = Counted(transport)
    clock, state = Clock(), open_state("sqlite", None)
    resolver = Resolver(counted, anchors=[served.anchor])
    finder = StsFinder(resolver, no_policy, state.policies(), clock, random.random)
    discoverer = Discoverer(resolver, Rules({}), clock=clock, sts=finder)
    for domain in domains[:WARM_UP]:
        await look(discoverer, domain)
    counted.queries.clear()
    figures, counting = [], domains[WARM_UP:]
    for number in range(given.rounds):
        share = counting[number :: given.rounds]
        began = time.process_time()
        for domain in share:
            await look(discoverer, domain)
        figures.append(microseconds(began, len(share)))
    await finder.close()
    await state.close()
    await transport.aclose()
    if given.show:
        print(*sorted(str(dns.message.from_wire(wire).question[0]) for wire in counted.queries[:40]), sep="\n")
    return (min(figures) if given.least else statistics.median(figures)), len(counted.queries) / len(counting)


async def look(discoverer: Discoverer, domain: str) -> None:
    """What one message needs to know of its destination."""
    evidence = await discoverer.destination(NextHop(domain, 25))
    mx = MxHost(name=f"mx.{domain}", origin=Origin.MX, preference=10, secure=domain.startswith("s"))
    host = await discoverer.host(mx, 25)
    if not host.addresses or evidence.mx is None:
        raise RuntimeError(f"{domain} was not found: {evidence.mx} {host.address_lookups}")


def destinations(given: argparse.Namespace) -> None:
    """Print what cold destinations cost, unsigned and signed."""
    count = WARM_UP + given.count * given.rounds
    with upstream(0.0, count, 1, kind="destinations") as served:
        for what, letter in (("unsigned", "u"), ("signed, with TLSA", "s")):
            domains = [f"{letter}{number}.bench" for number in range(count)]
            uvloop.run(found(served, domains, given))  # the upstream has made its replies after this
            cost, queries = uvloop.run(found(served, domains, given))
            print(f"{what:18} a cold destination {cost:6.0f} µs in {queries:.1f} queries", flush=True)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--part", choices=("session", "destination"), action="append")
    parser.add_argument("--count", type=int, default=200, help="messages, or destinations, in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--least", action="store_true", help="the best round instead of the median: on a busy machine")
    parser.add_argument("--show", action="store_true", help="also print some queries")
    given = parser.parse_args()
    parts = given.part or ["session", "destination"]
    if "session" in parts:
        with tempfile.TemporaryDirectory() as directory:
            sessions(given, Path(directory))
    if "destination" in parts:
        destinations(given)
    return 0


if __name__ == "__main__":
    sys.exit(main())
