"""The resolver beside libunbound, in one run: same zones, same upstream, same machine.

`python -m bench.resolver [--part cold|many|warm|memory|exhaustion]` prints one table. Cold: a fresh cache for every
lookup; a secure TLSA in a zone three cuts deep. Many: 1,000 names of 200 zones at once, in CPU seconds of
the process. Warm: answers out of the cache. Exhaustion: what a hostile zone can make the event loop wait.
"""

import argparse
import asyncio
import json
import multiprocessing
import resource
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import dns.name
import dns.rdata
import dns.rdatatype

from bench import exhaustion
from bench.libunbound import LibUnbound
from letterlock.net.dns import Upstream, UpstreamTransport
from letterlock.resolver import Answer, Cache, Question, Resolver, Security

TLSA = 52
ROUNDS = 7
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Served:
    """A running upstream."""

    port: int
    anchor: str


@contextmanager
def upstream(delay: float, zones: int = 200, names: int = 5, *, kind: str = "names") -> Iterator[Served]:
    """An upstream in a process of its own."""
    command = [sys.executable, "-m", "bench.resolver_upstream", "--delay", str(delay)]
    command += ["--zones", str(zones), "--names", str(names), "--kind", kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        try:
            yield Served(told["port"], told["anchor"])
        finally:
            process.terminate()


def apart(work: Callable[..., _T], *arguments: object) -> _T:
    """Do work in a fresh process, so that CPU and caches are its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def cpu() -> float:
    """CPU seconds of this process, its threads included."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def fresh(served: Served) -> Resolver:
    """Our resolver, with a cold cache."""
    return Resolver(UpstreamTransport([Upstream("127.0.0.1", served.port)]), anchors=[served.anchor])


async def _cold_ours(served: Served) -> float:
    seconds = []
    for number in range(ROUNDS + 1):
        resolver = fresh(served)
        begun = time.perf_counter()
        answer = await resolver.resolve(f"_25._tcp.mx0.z{number}.bench", "TLSA")
        seconds.append(time.perf_counter() - begun)
        assert isinstance(answer, Answer)
        assert answer.security is Security.SECURE
    return statistics.median(seconds[1:])


def cold_ours(served: Served) -> float:
    """Median seconds of a cold secure lookup, ours."""
    return asyncio.run(_cold_ours(served))


def cold_theirs(served: Served) -> float:
    """Median seconds of a cold secure lookup, libunbound's."""
    seconds = []
    for number in range(ROUNDS + 1):
        unbound = LibUnbound(served.port, served.anchor)
        begun = time.perf_counter()
        assert unbound.secure(f"_25._tcp.mx0.z{number}.bench", TLSA)
        seconds.append(time.perf_counter() - begun)
        unbound.close()
    return statistics.median(seconds[1:])


def many_names() -> list[str]:
    """1,000 names of 200 zones."""
    return [f"_25._tcp.mx{host}.z{zone}.bench" for zone in range(200) for host in range(5)]


async def _many_ours(served: Served) -> int:
    resolver = fresh(served)
    answers = await asyncio.gather(*(resolver.resolve(name, "TLSA") for name in many_names()))
    return sum(isinstance(answer, Answer) and answer.secure for answer in answers)


def many_ours(served: Served) -> tuple[int, float, float]:
    """How many were secure, CPU seconds, wall seconds; ours."""
    before, begun = cpu(), time.perf_counter()
    secure = asyncio.run(_many_ours(served))
    return secure, cpu() - before, time.perf_counter() - begun


def many_theirs(served: Served) -> tuple[int, float, float]:
    """How many were secure, CPU seconds, wall seconds; libunbound's, with its worker as a thread of the process."""
    unbound = LibUnbound(served.port, served.anchor)
    unbound.in_thread()
    before, begun = cpu(), time.perf_counter()
    secure = unbound.all_secure(many_names(), TLSA)
    found = secure, cpu() - before, time.perf_counter() - begun
    unbound.close()
    return found


async def _warm(served: Served) -> float:
    resolver = fresh(served)
    await resolver.resolve("_25._tcp.mx0.z0.bench", "TLSA")
    begun = time.perf_counter()
    for _ in range(200_000):
        await resolver.resolve("_25._tcp.mx0.z0.bench", dns.rdatatype.TLSA)
    return 200_000 / (time.perf_counter() - begun)


def warm(served: Served) -> float:
    """Warm lookups a second on one core, ours."""
    return asyncio.run(_warm(served))


def memory() -> tuple[int, int, float]:
    """How many of 100,000 RRsets a cache of its default size kept, its own estimate, and what they really took."""
    tracemalloc.start()
    cache = Cache(max_octets=1 << 30)
    expires_at = time.time() + 3600
    for number in range(100_000):
        name = dns.name.from_text(f"_25._tcp.mx.z{number}.bench.")
        record = dns.rdata.from_text("IN", "TLSA", f"3 1 1 {number:064x}")
        answer = Answer(
            question=Question(name, dns.rdatatype.TLSA),
            canonical_name=name,
            records=(record,),
            absence=None,
            security=Security.SECURE,
            expires_at=expires_at,
            ttl=3600,
        )
        cache.put(answer.question, answer, time.time())
    return len(cache), cache.octets, tracemalloc.get_traced_memory()[0]


def show(rows: list[tuple[str, str, str, str]]) -> None:
    """The table."""
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def measure_cold() -> Iterator[tuple[str, str, str, str]]:
    """Cold lookups at three round trips."""
    for milliseconds in (0, 20, 100):
        with upstream(milliseconds / 1000, zones=ROUNDS + 1, names=1) as served:
            ours, theirs = apart(cold_ours, served), apart(cold_theirs, served)
        what = f"cold secure TLSA, {milliseconds} ms round trip, median of {ROUNDS}"
        yield what, f"{ours * 1000:.1f} ms", f"{theirs * 1000:.1f} ms", f"{ours / theirs:.2f}"


def measure_many() -> Iterator[tuple[str, str, str, str]]:
    """A thousand names at once."""
    with upstream(0.0) as served:
        apart(many_ours, served)  # the upstream's table is full after this
        ours, theirs = apart(many_ours, served), apart(many_theirs, served)
    assert ours[0] == theirs[0] == 1000, (ours, theirs)
    yield (
        "1,000 names of 200 zones at once, CPU",
        f"{ours[1]:.2f} s",
        f"{theirs[1]:.2f} s",
        f"{ours[1] / theirs[1]:.1f}",
    )
    yield (
        "1,000 names of 200 zones at once, wall",
        f"{ours[2]:.2f} s",
        f"{theirs[2]:.2f} s",
        f"{ours[2] / theirs[2]:.1f}",
    )


def measure_warm() -> Iterator[tuple[str, str, str, str]]:
    """Out of the cache."""
    with upstream(0.0, zones=1, names=1) as served:
        yield "warm lookups a second, one core", f"{apart(warm, served):,.0f}", "-", "-"


def measure_memory() -> Iterator[tuple[str, str, str, str]]:
    """A hundred thousand RRsets."""
    kept, estimate, real = apart(memory)
    yield f"memory for {kept:,} cached RRsets", f"{real / 1e6:.0f} MB (own estimate {estimate / 1e6:.0f} MB)", "-", "-"


PARTS = {"cold": measure_cold, "many": measure_many, "warm": measure_warm, "memory": measure_memory}
EXHAUSTION = "exhaustion"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=[*PARTS, EXHAUSTION], action="append")
    parts = parser.parse_args().part or [*PARTS, EXHAUSTION]
    rows = [("what", "letterlock", "libunbound", "ratio")]
    for part in parts:
        rows += PARTS[part]() if part != EXHAUSTION else ()
    if len(rows) > 1:
        show(rows)
    if EXHAUSTION in parts:
        exhaustion.main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
