"""One run of the soak: what is planned, how it goes, and what came out."""

import json
import random
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.interop.letterlock import letterlock
from tests.interop.nameservers import Place
from tests.interop.programs import loopback_prefix
from tests.soak.arrivals import Disasters, Doubt, Duplicates, explain_all
from tests.soak.clock import JumpingClock
from tests.soak.disk import SmallDisk
from tests.soak.faults import Kind, Mischief, Step
from tests.soak.senders import Ledger, Sender
from tests.soak.sink import Sink
from tests.soak.strangers import DNS_PORT, Strangers, StrangersSender
from tests.soak.victim import START_SECONDS, Victim
from tests.soak.weather import Blow, Weather

DRAIN_SECONDS = 120.0
STANDSTILL_SECONDS = 60.0
MAX_BACKLOG = 400
NEXT_HOPS = 6
STRANGERS_SENDERS = 3
MISCHIEF_RATE = 0.01  # at each step of the protocol
AWAIT_SHARE = 0.8  # of the turns begin with a server that is up; the others hit it as it starts
ORDERLY_END_SECONDS = (
    8.0  # between a worker that cannot start for the disk and the end of the others, on a busy machine
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do. `faults` beside kills: some of receiver, disk, full, clock, strangers."""

    kills: int
    connections: int
    seed: int
    pause_seconds: float
    workers: int = 1
    faults: frozenset[str] = frozenset()
    mischief_rate: float = MISCHIEF_RATE


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run showed."""

    plan: Plan
    ledger: Ledger
    arrived: Counter[str]
    damaged: tuple[str, ...]
    bounced: Counter[str]
    refused_for_good: frozenset[str]
    duplicates: Duplicates
    mischief: Counter[tuple[Step, Kind]]
    blows: Counter[Blow]
    injected: Counter[Blow]
    stops: tuple[str, ...]
    unexpected_stops: tuple[str, ...]
    idle_refusals: tuple[str, ...]
    tracebacks: int
    stalls: tuple[str, ...]
    strangers: "StrangersMail"
    seconds: float

    @property
    def lost(self) -> list[str]:
        """Answered 250, and neither arrived nor returned."""
        return sorted(self.ledger.accepted - self.arrived.keys() - self.bounced.keys())

    @property
    def returned_for_nothing(self) -> list[str]:
        """Returned though nobody had refused them for good."""
        return sorted(self.bounced.keys() - self.refused_for_good)

    @property
    def good(self) -> bool:
        """Whether the server kept its word."""
        return bool(self.ledger.accepted) and not any(self.problems())

    def problems(self) -> list[str]:
        """Everything that must not be."""
        found = [f"lost: {each}, taken as {self.ledger.ids[each]}" for each in self.lost]
        found += [f"damaged: {each}" for each in self.damaged]
        found += [f"returned for nothing: {each}" for each in self.returned_for_nothing]
        found += [f"surprise: {each}" for each in self.ledger.surprises]
        found += [f"refused for no reason: {each}" for each in self.idle_refusals]
        found += [f"ended by itself: {each}" for each in self.unexpected_stops]
        found += self.duplicates.unexplained
        if "disk" not in self.plan.faults:  # strace holds a traced process for seconds
            found += [f"stood still: {each}" for each in self.stalls]
        found += self.strangers.problems(self.bounced)
        return found + ([f"{self.tracebacks} tracebacks in the log"] if self.tracebacks else [])

    def rows(self) -> Iterator[tuple[str, str]]:
        """The table."""
        kept_though_refused = len(self.ledger.refused.keys() & self.arrived.keys())
        yield "processes killed", f"{self.plan.kills:,}"
        for blow in Blow:
            if blow is not Blow.NONE and self.blows[blow]:
                calls = f", {self.injected[blow]:,} calls failed" if self.injected[blow] else ""
                yield str(blow.value), f"{self.blows[blow]:,} times{calls}"
        for kind in Kind:
            steps = {step: count for (step, each), count in self.mischief.items() if each is kind}
            if steps:
                where = ", ".join(f"{step.value} {steps[step]}" for step in Step if step in steps)
                yield f"the receiver: {kind.value}", where
        yield from self.strangers.rows()
        yield "the event loop stood still", f"{len(self.stalls):,} times"
        yield "ended by itself (disk), and was started again", f"{len(self.stops):,}"
        yield "messages begun", f"{self.ledger.begun:,}"
        yield "refused with 451 or 452", f"{len(self.ledger.refused):,}, of which arrived {kept_though_refused:,}"
        yield "answered 250", f"{len(self.ledger.accepted):,}"
        yield "  of those arrived", f"{len(self.ledger.accepted & self.arrived.keys()):,}"
        yield "  of those returned to their sender (refused with 5yz)", f"{len(self.bounced):,}"
        yield "  of those lost", f"{len(self.lost):,}"
        yield "damaged", f"{len(self.damaged):,}"
        yield "arrived again", f"{self.arrived.total() - len(self.arrived):,}"
        for doubt, count in sorted(self.duplicates.reasons.items()):
            gaps = f": {_spread(self.duplicates.gaps)}" if doubt is Doubt.KILLED else ""
            yield f"  {doubt.value}", f"{count:,}{gaps}"
        yield "  for no reason", f"{len(self.duplicates.unexplained):,}"
        yield "seconds", f"{self.seconds:.0f}"


@dataclass(slots=True)
class StrangersMail:
    """Mail to hostile strangers: it waits in the end, or has come back; nobody has it, and none is lost."""

    strangers: Strangers
    ledger: Ledger
    waiting: frozenset[str] = frozenset()

    def problems(self, bounced: Counter[str]) -> list[str]:
        """Everything that must not be."""
        lost = self.ledger.accepted - self.waiting - bounced.keys()
        found = [f"lost on the way to a stranger: {each}, taken as {self.ledger.ids[each]}" for each in sorted(lost)]
        found += [f"sent to the host with the wrong chain: {each!r}" for each in self.strangers.leaked]
        return found + [f"surprise: {each}" for each in self.ledger.surprises]

    def rows(self) -> Iterator[tuple[str, str]]:
        """Their part of the table."""
        if self.ledger.begun:
            yield "hostile strangers: DNS queries answered", f"{self.strangers.queries:,}"
            yield "hostile strangers: handshakes with the dear chain", f"{self.strangers.handshakes:,}"
            waiting = len(self.ledger.accepted & self.waiting)
            yield (
                "mail to strangers answered 250",
                f"{len(self.ledger.accepted):,}, of which {waiting:,} wait",
            )


def _spread(seconds: list[float]) -> str:
    return f"half of them within {statistics.median(seconds) * 1000:.0f} ms, all within {max(seconds) * 1000:.0f} ms"


def soak(directory: Path, plan: Plan) -> Outcome:
    """One run; the server's log, what was left of its queue, and what befell it when, stay in the directory.

    Raises AssertionError when the server does not come up again, Unusable when something is missing.
    """
    started = time.monotonic()
    chance, prefix = random.Random(plan.seed), loopback_prefix()
    disk = SmallDisk(directory / "queue") if "full" in plan.faults else None
    clock = JumpingClock(directory) if "clock" in plan.faults else None
    place, ledger, disasters = Place.free(f"{prefix}.1"), Ledger(), Disasters()
    addresses = [f"{prefix}.{number}" for number in range(2, 2 + NEXT_HOPS)]
    mischief = Mischief(plan.seed, plan.mischief_rate if "receiver" in plan.faults else 0.0)
    hostile = "strangers" in plan.faults
    with Sink(*addresses, mischief=mischief) as sink, Strangers(prefix, directory) as strangers:
        victim = Victim(
            directory,
            place,
            sink.port,
            plan.workers,
            clock.environment if clock else None,
            upstream=f"{strangers.dns}:{DNS_PORT}" if hostile else "127.0.0.1:9",
            rules=strangers.begin(sink.port).rules if hostile else "",
        )
        weather = Weather(victim, directory, disasters, chance, plan.faults, disk=disk, clock=clock)
        senders = [Sender(n, place, addresses, ledger, plan.seed, plan.pause_seconds) for n in range(plan.connections)]
        mail = StrangersMail(strangers, Ledger())
        if hostile:
            numbers = range(plan.connections, plan.connections + STRANGERS_SENDERS)
            back = addresses[0]
            senders += [StrangersSender(n, place, back, strangers, mail.ledger, plan.seed) for n in numbers]
        try:
            for sender in senders:
                sender.start()
            kills = 0
            while kills < plan.kills:
                if chance.random() < AWAIT_SHARE:
                    victim.await_ready()
                kills += weather.turn(plan.kills - kills)
                _throttle(senders, ledger, sink)
            _calm_down(weather, mischief, victim)
            _finish(senders)
            _drain(sink, ledger, victim)
            mail.waiting = _waiting(victim) if hostile else frozenset()
        finally:
            _finish(senders)
            weather.clear_up()
            victim.kill()
            if disk is not None:
                disk.close(directory / "queue-in-the-end")
    events = "\n".join(map(str, (*disasters.kills, *disasters.jumps, *disasters.disk, *sink.arrivals)))
    (directory / "events").write_text(f"monotonic and wall time: {time.monotonic()} {time.time()}\n{events}\n")
    return _outcome(plan, ledger, sink, disasters, weather, victim, mail, time.monotonic() - started)


def _outcome(
    plan: Plan,
    ledger: Ledger,
    sink: Sink,
    disasters: Disasters,
    weather: Weather,
    victim: Victim,
    mail: "StrangersMail",
    seconds: float,
) -> Outcome:
    return Outcome(
        plan=plan,
        ledger=ledger,
        arrived=sink.arrived,
        damaged=tuple(sink.damaged),
        bounced=sink.bounced,
        refused_for_good=frozenset(sink.refused) | mail.ledger.accepted,
        duplicates=explain_all(sink.arrivals, disasters),
        mischief=sink.mischief.counts,
        blows=weather.counts,
        injected=weather.injected,
        stops=tuple(words for _, words in victim.stops),
        unexpected_stops=tuple(
            words
            for at, words in victim.stops
            if not (disasters.disk_failed_at(at) or disasters.disk_failed_at(at - ORDERLY_END_SECONDS))
        ),
        idle_refusals=tuple(
            f"{number}: {reply!r}" for number, (at, reply) in ledger.refused.items() if not disasters.disk_failed_at(at)
        ),
        tracebacks=victim.text().count("Traceback"),
        stalls=tuple(line for line in victim.text().splitlines() if "has stood still for" in line),
        strangers=mail,
        seconds=seconds,
    )


def _throttle(senders: list[Sender], ledger: Ledger, sink: Sink) -> None:
    """Hold the senders back while the queue is long, so that the end of the run is not all waiting."""
    backlog = len(ledger.accepted) - len(sink.arrived) - len(sink.bounced)
    for sender in senders:
        if backlog > MAX_BACKLOG:
            sender.hold.set()
        else:
            sender.hold.clear()


def _calm_down(weather: Weather, mischief: Mischief, victim: Victim) -> None:
    """No more faults: from here on all must arrive. One more kill: a supervisor lets a worker that died often wait."""
    weather.clear_up()
    mischief.rate = 0.0
    weather.kill_all()
    victim.await_ready()


def _waiting(victim: Victim) -> frozenset[str]:
    """The numbers of the messages that wait in the queue, by their senders."""
    done = letterlock("queue", "list", "--config", str(victim.config), "--json")
    senders = [str(message["sender"]) for message in json.loads(done.stdout)["messages"]]
    return frozenset(sender.partition("@")[0].removeprefix("s-") for sender in senders)


def _finish(senders: list[Sender]) -> None:
    for sender in senders:
        sender.stop()
    for sender in senders:
        if sender.is_alive():
            sender.join(START_SECONDS)


def _drain(sink: Sink, ledger: Ledger, victim: Victim) -> None:
    """Wait until all is there, or nothing has come for a while."""
    deadline = time.monotonic() + DRAIN_SECONDS
    missing = left = ledger.accepted - sink.arrived.keys() - sink.bounced.keys()
    standstill = time.monotonic() + STANDSTILL_SECONDS
    while left and time.monotonic() < min(deadline, standstill):
        time.sleep(0.1)
        victim.look_after()
        left = left - sink.arrived.keys() - sink.bounced.keys()
        if len(left) < len(missing):
            missing, standstill = left, time.monotonic() + STANDSTILL_SECONDS
