"""How fast the doors answer what they remember, and what 50,000 destinations take in memory.

    python -m bench.companion                 # policy door, resolver door, memory
    python -m bench.companion --seconds 2 --only policy

Server and clients are processes of their own. The rate is per core: answers divided by the seconds of CPU that the
server used, so that clients on the same machine do not count. Latencies are those of clients that ask one thing at a
time (`--clients` of them), as smtp(8) does; p99 counts on a quiet machine only.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from pathlib import Path

import dns.rdatatype
import uvloop
from tests.agreement.build import build
from tests.companion.dns_world import SITE, DnsWorld, query

from letterlock.companion.answer_memory import MAX_DESTINATIONS, AnswerMemory
from letterlock.companion.deciding import Decided
from letterlock.companion.options import PolicyServerOptions, ResolverDoorOptions
from letterlock.companion.policy_door import PolicyDoor
from letterlock.companion.postfix_policy import PolicyAnswer
from letterlock.companion.resolver_door import ResolverDoor
from letterlock.policy.decision import Defer
from letterlock.policy.evidence import DestinationEvidence
from letterlock.routing.routes import NextHop
from letterlock.socketmap.netstrings import netstring
from letterlock.socketmap.tls_policy import StsAttributes, TlsLevel, TlsPolicy

NAMES = 1_000  # asked for in turn by the DNS clients
LEAST = {"policy": 20_000, "dns": 10_000}  # answers per second and core
LEAST_P99_MS = 2.0


def _sts(domain: str) -> PolicyAnswer:
    mx = tuple(f"mx{number}.{domain}" for number in range(3))
    attributes = StsAttributes(domain=domain, mode="enforce", mx=mx, max_age_seconds=604_800)
    return TlsPolicy(level=TlsLevel.SECURE, match=mx, servername="hostname", sts=attributes)


async def _decide(hop: NextHop) -> Decided:
    """Every third destination has DANE, every third an MTA-STS policy of its own."""
    number = int(hop.domain.partition(".")[0].removeprefix("d"))
    answer = _sts(hop.domain) if number % 3 else TlsPolicy(level=TlsLevel.DANE_ONLY)
    evidence = DestinationEvidence(next_hop=hop, mx=None, rule=None)
    return Decided(answer, evidence, Defer(reasons=()), (), 3600.0)


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


async def _policy_server(pipe: Connection) -> None:
    memory = AnswerMemory(_decide, time.monotonic)
    before = _resident()
    for number in range(MAX_DESTINATIONS):
        await memory.find(NextHop(f"d{number}.example"))
    octets = _resident() - before
    door = PolicyDoor(PolicyServerOptions(), memory)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        await door.start([listening])
        await _serve_until_told(pipe, {"port": listening.getsockname()[1], "octets": octets, "count": len(memory)})
        await door.stop()


async def _dns_server(pipe: Connection) -> None:
    with tempfile.TemporaryDirectory() as place:
        world = DnsWorld(build([SITE], Path(place)))
    for number in range(NAMES):
        await world.resolver.resolve(f"n{number}.wild.s1", dns.rdatatype.TXT)
    door = ResolverDoor(ResolverDoorOptions(), world.answering)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
        datagram.bind(("127.0.0.1", 0))
        datagram.setblocking(False)
        await door.start([datagram], [])
        await _serve_until_told(pipe, {"port": datagram.getsockname()[1]})
        await door.stop()


async def _serve_until_told(pipe: Connection, started: dict[str, int]) -> None:
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    pipe.send(started | {"cpu": time.process_time()})
    loop.add_reader(pipe.fileno(), told.set)
    await told.wait()
    pipe.recv()
    pipe.send({"cpu": time.process_time()})


def _in_process(serve: Callable[[Connection], Awaitable[None]], pipe: Connection) -> None:
    async def main() -> None:
        await serve(pipe)

    uvloop.run(main())


def _ask_policies(port: int, seconds: float, seed: int) -> list[float]:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wires = [netstring(f"QUERY d{(seed + 37 * at) % MAX_DESTINATIONS}.example".encode()) for at in range(5_000)]
        return _timed(seconds, wires, lambda wire: (connection.send(wire), connection.recv(65_536)))


def _ask_names(port: int, seconds: float, seed: int) -> list[float]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", port))
        client.settimeout(5.0)
        names = (f"n{(seed + 7 * at) % NAMES}.wild.s1" for at in range(NAMES))
        wires = [query(name, "TXT", do=True, ad=True).to_wire() for name in names]
        for wire in wires:
            client.send(wire)
            client.recv(65_535)
        return _timed(seconds, wires, lambda wire: (client.send(wire), client.recv(65_535)))


def _timed(seconds: float, wires: list[bytes], ask: Callable[[bytes], object]) -> list[float]:
    took, end, at = list[float](), time.perf_counter() + seconds, 0
    while (began := time.perf_counter()) < end:
        ask(wires[at % len(wires)])
        took.append(time.perf_counter() - began)
        at += 1
    return took


_DOORS = {"policy": (_policy_server, _ask_policies), "dns": (_dns_server, _ask_names)}


def measure(door: str, seconds: float, clients: int) -> dict[str, float]:
    """Answers per second and core, and how long clients waited."""
    serve, ask = _DOORS[door]
    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(target=_in_process, args=(serve, there))
    server.start()
    started = here.recv()
    with multiprocessing.Pool(clients) as pool:
        begun = time.perf_counter()
        took = pool.starmap(ask, [(started["port"], seconds, 1_000 * number) for number in range(clients)])
        elapsed = time.perf_counter() - begun
    here.send("end")
    cpu = here.recv()["cpu"] - started["cpu"]
    server.join()
    all_took = sorted(each for one in took for each in one)
    found = {
        "answers": len(all_took),
        "per_second": round(len(all_took) / elapsed),
        "per_second_and_core": round(len(all_took) / cpu),
        "p50_ms": round(1000 * statistics.median(all_took), 3),
        "p99_ms": round(1000 * all_took[int(len(all_took) * 0.99)], 3),
    }
    if "octets" in started:
        found |= {"destinations": started["count"], "mib": round(started["octets"] / (1 << 20), 1)}
    return found


def main() -> int:
    """The command. Exit status 1 if a rate or a p99 is not reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    parser.add_argument("--only", choices=sorted(_DOORS))
    given = parser.parse_args()
    good = True
    for door in [given.only] if given.only else _DOORS:
        found = measure(door, given.seconds, given.clients)
        print(json.dumps({"door": door} | found))
        good &= found["per_second_and_core"] >= LEAST[door] and found["p99_ms"] <= LEAST_P99_MS
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
