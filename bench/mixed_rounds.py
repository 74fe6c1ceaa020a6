"""One round of `bench.relay --part mixed`: how fast mail reaches a thousand hosts, and at what cost to whom."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dns.exception
import dns.message
import dns.query

from bench.mixed_load import Behaviour, Landscape, landscape, recipient_lines, recipients
from bench.mixed_names import MixedNames, make_mixed_names, start_mixed_unbound
from bench.relay_box import CannotMeasure
from bench.relay_meter import Meter, cpu_seconds
from bench.relay_names import DNS_ADDRESS, Names
from bench.relay_peers import ADDRESS, PORT, Peer, Room, authenticated_deliveries, end, running
from bench.relay_rounds import Part, Source
from bench.relay_stamps import CLOSED, CONNECTED, DELIVERED, HANDSHAKEN, Stamp, StampReader, parts_of

LIMIT_SECONDS = 75.0  # after that a round ends, and says how much had come
START_SECONDS = 30.0  # for programs of the room, and for what warms up
POLL_SECONDS = 0.02  # the stamps carry the times
WARM_UP_MESSAGES = 200
ANYWHERE = ("ip", "route", "add", "local", "198.18.0.0/16", "dev", "lo", "src", "127.0.0.1", "quickack", "1")


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedPart:
    """What is measured."""

    name: str
    title: str
    messages: int
    domains_each: int = 1
    octets: int = 4096
    messages_per_second: float = 0.0  # 0: as fast as they are taken
    troubled: bool = True  # else the slow and the dead hosts are like the others
    tarpits: bool = False


@dataclass(slots=True, kw_only=True)
class MixedOutcome:
    """What came out of a round. Deliveries are of a message to a domain that can be reached."""

    part: str
    peer: str = ""
    wanted: int
    delivered: int
    seconds_to_90: float | None  # None: not in time
    seconds_to_all: float | None
    connections: int
    handshakes: int
    most_at_one_host: int
    cpu_seconds: float = 0.0
    dns_cpu_seconds: float = 0.0
    sink_cpu_seconds: float = 0.0
    seconds: float = 0.0  # of the whole round
    peak_octets: int = 0
    latencies: list[float] = field(default_factory=list)  # seconds from `250` to delivery at fast hosts, ascending
    slowest: float | None = None  # the most such seconds at slow hosts
    seconds_to_accepted: float | None = None  # of the last message

    @property
    def rate_to_90(self) -> float:
        """Deliveries a second until nine tenths were delivered; 0 where they were not."""
        return self.wanted * 0.9 / self.seconds_to_90 if self.seconds_to_90 else 0.0

    @property
    def rate_to_all(self) -> float:
        """Deliveries a second until all were delivered; 0 where they were not."""
        return self.wanted / self.seconds_to_all if self.seconds_to_all else 0.0


def summarise(
    part: str,
    found: Landscape,
    wanted: Sequence[Sequence[int]],
    started_at: float,
    accepted: Mapping[int, float],
    stamps: Sequence[Stamp],
) -> MixedOutcome:
    """The figures of a round, out of what source and receivers wrote."""
    due = found.deliverable(wanted)
    times: dict[tuple[int, int], float] = {}
    for stamp in stamps:
        if stamp.kind == DELIVERED and (pair := parts_of(stamp.number)) in due:
            times[pair] = min(stamp.at, times.get(pair, stamp.at))
    ends = sorted(at - started_at for at in times.values())
    ninety = -(-len(due) * 9 // 10)
    waits: dict[Behaviour, list[float]] = {kind: [] for kind in Behaviour}
    for pair, at in times.items():
        if pair[0] in accepted:
            waits[found.behaviour[pair[1]]].append(at - accepted[pair[0]])
    return MixedOutcome(
        part=part,
        wanted=len(due),
        delivered=len(times),
        seconds_to_90=ends[ninety - 1] if len(ends) >= ninety else None,
        seconds_to_all=ends[-1] if len(ends) == len(due) else None,
        connections=sum(stamp.kind == CONNECTED for stamp in stamps),
        handshakes=sum(stamp.kind == HANDSHAKEN for stamp in stamps),
        most_at_one_host=most_at_once(stamps),
        latencies=sorted(waits[Behaviour.FAST]),
        slowest=max(waits[Behaviour.SLOW], default=None),
        seconds_to_accepted=max(accepted.values()) - started_at if accepted else None,
    )


def most_at_once(stamps: Sequence[Stamp]) -> int:
    """The most connections that one host ever had. A refused one counts too, for it was made."""
    now: Counter[int] = Counter()
    most = 0
    for stamp in sorted(stamps, key=lambda stamp: stamp.at):
        if stamp.kind == CONNECTED:
            now[stamp.number] += 1
            most = max(most, now[stamp.number])
        elif stamp.kind == CLOSED:
            now[stamp.number] -= 1
    return most


class HostsSink:
    """All receivers."""

    def __init__(self, made: MixedNames, directory: Path, found: Landscape) -> None:
        lines = [f"{host.number} {host.behaviour}" for host in found.hosts.values()]
        behaviours = directory / "behaviours"
        behaviours.write_text("".join(f"{line}\n" for line in lines if not line.endswith(Behaviour.FAST)))
        command = [sys.executable, "-m", "bench.mixed_sink", str(made.pems), str(behaviours)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
        assert self.process.stdout is not None
        self._reader = StampReader(self.process.stdout.fileno())
        self.stamps: list[Stamp] = []
        self.delivered = 0

    def poll(self) -> None:
        """Read all that has come."""
        while found := [*self._reader.read()]:
            self.stamps += found
            self.delivered += sum(stamp.kind == DELIVERED for stamp in found)

    def begin(self) -> None:
        """Forget what has come."""
        self.stamps.clear()
        self.delivered = 0


class MixedBench:
    """The room with a thousand domains."""

    def __init__(self, directory: Path, names: Names) -> None:
        self._directory = directory
        folder = directory / "mixed"
        folder.mkdir()
        subprocess.run(ANYWHERE, check=True)
        self._made = make_mixed_names(folder, names, landscape())

    def relay(self, part: MixedPart, peer: Peer) -> MixedOutcome:
        """A round through a relay. Raises CannotMeasure."""
        found = landscape(troubled=part.troubled, tarpits=part.tarpits)
        wanted = recipients(landscape(), part.messages, domains_each=part.domains_each)
        room = Room(self._directory / peer.name.lower().replace(" ", "-"), self._made.names, tls=True, variant="mixed")
        with self._unbound() as unbound, self._sink(found) as sink, running(peer, room) as root:
            self._warm_up(found, sink)
            sink.begin()
            costs = _Costs(unbound.pid, sink.process.pid)
            with Meter(root, self._directory) as meter:
                source = self._send(part, wanted, sink, len(found.deliverable(wanted)))
            costs.end()
            if not authenticated_deliveries(peer, room):
                raise CannotMeasure(f"{peer.name} did not authenticate any receiver by DANE; see its log")
        outcome = summarise(part.name, found, wanted, source.started_at, source.accepted, sink.stamps)
        outcome.peer = peer.name
        outcome.cpu_seconds, outcome.peak_octets = meter.cpu_seconds, meter.peak_octets
        outcome.dns_cpu_seconds, outcome.sink_cpu_seconds, outcome.seconds = costs.dns, costs.sink, costs.seconds
        return outcome

    @contextmanager
    def _unbound(self) -> Iterator[subprocess.Popen[bytes]]:
        unbound = start_mixed_unbound(self._made)
        try:
            yield unbound
        finally:
            end(unbound)

    @contextmanager
    def _sink(self, found: Landscape) -> Iterator[HostsSink]:
        sink = HostsSink(self._made, self._directory, found)
        with ExitStack() as stack:
            stack.callback(end, sink.process)
            _wait_for_name_server()
            yield sink

    def _warm_up(self, found: Landscape, sink: HostsSink) -> None:
        """Let processes start and the receivers be found to be there, at domains that are not measured."""
        warm = [(found.warm[number % len(found.warm)].number,) for number in range(WARM_UP_MESSAGES)]
        part = MixedPart(name="warm", title="", messages=WARM_UP_MESSAGES)
        self._send(part, warm, sink, WARM_UP_MESSAGES, limit=START_SECONDS)
        if sink.delivered < WARM_UP_MESSAGES:
            raise CannotMeasure(f"of {WARM_UP_MESSAGES} messages that warm up only {sink.delivered} were delivered")

    def _send(
        self,
        part: MixedPart,
        wanted: Sequence[Sequence[int]],
        sink: HostsSink,
        deliveries: int,
        limit: float = LIMIT_SECONDS,
    ) -> Source:
        lines = self._directory / "recipients"
        lines.write_text(recipient_lines(wanted))
        load = Part(
            name=part.name,
            title=part.title,
            octets=part.octets,
            messages=part.messages,
            tls=True,
            messages_per_second=part.messages_per_second,
        )
        source = Source(load, ADDRESS, PORT, part.messages, recipients=lines)
        until = time.monotonic() + limit
        try:
            while (sink.delivered < deliveries or source.ended_at is None) and time.monotonic() < until:
                time.sleep(POLL_SECONDS)
                source.poll()
                sink.poll()
        finally:
            end(source.process)
        return source


class _Costs:
    """CPU time of the resolver and the receivers, and the time that passes."""

    def __init__(self, unbound: int, sink: int) -> None:
        self._processes = unbound, sink
        self.dns, self.sink = (-cpu_seconds(process) for process in self._processes)
        self.seconds = -time.monotonic()

    def end(self) -> None:
        """Take the difference."""
        dns, sink = (cpu_seconds(process) for process in self._processes)
        self.dns += dns
        self.sink += sink
        self.seconds += time.monotonic()


def _wait_for_name_server() -> None:
    """Until it answers for a zone of the load, which it has read last."""
    until = time.monotonic() + START_SECONDS
    query = dns.message.make_query("d0.test.", "MX")
    while time.monotonic() < until:
        try:
            if dns.query.udp(query, DNS_ADDRESS, timeout=1).answer:
                return
        except (OSError, dns.exception.DNSException):
            time.sleep(0.05)
    raise CannotMeasure("the resolver of the room does not answer")
