"""One disaster after the other, each in its turn, with the kills between them and in the midst of them."""

import contextlib
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from tests.soak.arrivals import Disasters
from tests.soak.clock import HOUR, JumpingClock
from tests.soak.disk import SYNCS, WRITES, Injection, SmallDisk, injecting
from tests.soak.victim import Victim

KILL_IN_THE_MIDST = 0.3
KILLS_A_TURN = (1, 1, 2, 3)  # once every disaster has been there
FAIR_TURNS = 6
INJECTION_SECONDS = 8.0  # a loaded machine may need them to write anything at all
HOURS_AHEAD, HOURS_BACK = 72, 12  # together far less than the five days after which mail is returned


class Blow(StrEnum):
    """A disaster."""

    NONE = "fair weather"
    SYNC_FAILS = "fsync fails (EIO)"
    WRITE_FAILS = "write fails (EIO)"
    WRITE_FULL = "write fails (ENOSPC)"
    DISK_FULL = "the disk is full"
    CLOCK_AHEAD = "the clock jumps ahead, up to three days"
    CLOCK_BACK = "the clock jumps back, up to half a day"
    CLOCK_RIGHT = "the clock is set right"


_BLOWS = {
    "disk": (Blow.SYNC_FAILS, Blow.WRITE_FAILS, Blow.WRITE_FULL),
    "full": (Blow.DISK_FULL,),
    "clock": (Blow.CLOCK_AHEAD, Blow.CLOCK_RIGHT, Blow.CLOCK_BACK, Blow.CLOCK_RIGHT),
}
FAILING_CALLS = {
    Blow.SYNC_FAILS: (SYNCS, "EIO"),
    Blow.WRITE_FAILS: (WRITES, "EIO"),
    Blow.WRITE_FULL: (WRITES, "ENOSPC"),
}


class Weather:
    """What befalls a victim. `counts`: how often; `injected`: system calls that were made to fail, by disaster."""

    def __init__(
        self,
        victim: Victim,
        directory: Path,
        disasters: Disasters,
        chance: random.Random,
        faults: frozenset[str],
        *,
        disk: SmallDisk | None,
        clock: JumpingClock | None,
    ) -> None:
        self._victim = victim
        self._directory = directory
        self._disasters = disasters
        self._chance = chance
        self._disk = disk
        self._clock = clock
        self._turns = self._endless(faults)
        self.counts: Counter[Blow] = Counter()
        self.injected: Counter[Blow] = Counter()

    def _endless(self, faults: frozenset[str]) -> Iterator[Blow]:
        """Each disaster in its turn, in another order each time; the clock's keep theirs. Between rounds it is fair."""
        kinds = [_BLOWS[fault] for fault in sorted(faults) if fault in _BLOWS]
        while True:
            rounds = [list(kind) for kind in kinds]
            while any(rounds):
                yield self._chance.choice([each for each in rounds if each]).pop(0)
            yield from (Blow.NONE for _ in range(FAIR_TURNS))

    def turn(self, most: int) -> int:
        """The next disaster, and kills in its midst or after it: how many, at least one and at most `most`."""
        kills = min(most, self._chance.choice(KILLS_A_TURN)) if self.counts[Blow.NONE] else 1
        blow = next(self._turns)
        self.counts[blow] += 1
        with self._over(blow):
            time.sleep(self._chance.uniform(0.0, 0.8))
            killed = self._chance.random() < KILL_IN_THE_MIDST or blow is Blow.NONE
            if killed:
                self._kill(kills)
        if not killed:
            if self._chance.random() < 0.5:
                time.sleep(self._chance.uniform(0.0, 0.4))
            self._kill(kills)
        return kills

    def clear_up(self) -> None:
        """Set all right again. Jump ahead, over the times that were noted while the clock was ahead."""
        if self._disk is not None:
            self._disk.empty()
        if self._clock is not None:
            self._jump((HOURS_AHEAD + 1) * HOUR)

    def kill_all(self) -> None:
        """Kill the server, whole, and start it again."""
        self._disasters.kills.append(self._victim.kill_whole())

    def _kill(self, count: int) -> None:
        for number in range(count):
            if number:
                time.sleep(self._chance.uniform(0.0, 0.3))
            self._disasters.kills.append(self._victim.kill_one(self._chance))

    @contextmanager
    def _over(self, blow: Blow) -> Iterator[None]:
        if blow in FAILING_CALLS:
            with self._failing(blow):
                yield
        elif blow is Blow.DISK_FULL:
            with self._full():
                yield
        else:
            if blow is Blow.CLOCK_AHEAD:
                self._jump(self._chance.randint(1, HOURS_AHEAD) * HOUR)
            elif blow is Blow.CLOCK_BACK:
                self._jump(-self._chance.randint(1, HOURS_BACK) * HOUR)
            elif blow is Blow.CLOCK_RIGHT:
                self._jump(0)
            yield

    def _jump(self, seconds: int) -> None:
        if self._clock is not None:
            self._clock.jump(seconds)
            self._disasters.jumps.append(time.monotonic())

    @contextmanager
    def _failing(self, blow: Blow) -> Iterator[None]:
        calls, error = FAILING_CALLS[blow]
        injection = Injection(calls, error, first=self._chance.randint(1, 6), step=self._chance.randint(1, 5))
        log = self._directory / "strace.log"
        self._victim.await_ready()
        with self._disk_fails(), injecting(self._victim.pids(), injection, log) as injected:
            injected.await_one(INJECTION_SECONDS)
            yield
        self.injected[blow] += injected.count

    @contextmanager
    def _full(self) -> Iterator[None]:
        assert self._disk is not None
        disk = self._disk
        with self._disk_fails(), contextlib.ExitStack() as stack:
            stack.callback(disk.empty)
            disk.fill(spare=self._chance.choice((0, 0, 4096, 65_536)))
            yield

    @contextmanager
    def _disk_fails(self) -> Iterator[None]:
        """Remember from when to when."""
        began = time.monotonic()
        self._disasters.disk.append((began, float("inf")))
        try:
            yield
        finally:
            self._disasters.disk[-1] = (began, time.monotonic())
