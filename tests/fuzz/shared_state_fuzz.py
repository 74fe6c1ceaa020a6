"""Random programs of several workers over the state that they share: MTA-STS policies, and the keys of a zone.

`python -m tests.fuzz.shared_state_fuzz --cases 100000 --seed 1`. Each case is played from its own seed: two or three
workers, each with a network of its own that an attacker may stand before, with disks that fail at times, restarts, and
a domain that changes its policy meanwhile. What must hold is at `Knowledge` and `play_anchors`.
"""

import argparse
import asyncio
import logging
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from letterlock.mtasts import Fetched, FetchFailed, Known, KnownPolicy, Mode, StsEvidence
from letterlock.ports import PolicyMemory
from letterlock.queue.store import StoreFailed
from letterlock.resolver.rollover import KeyState, TrustPoint
from tests.contract import shared_anchors
from tests.contract.interleaving import Chooser, Gate, race
from tests.contract.shared_anchors import OneMemory, prior
from tests.contract.shared_policies import DictPolicies, Side
from tests.discover.test_sts_finder import BLOCKED, DAY, DOMAIN, NOW, Clock

MODES = (Mode.ENFORCE, Mode.ENFORCE, Mode.TESTING, Mode.NONE)
LIVES = (86_400, 7 * 86_400, 30 * 86_400)


class TickingClock(Clock):
    """A clock that never shows the same moment twice."""

    def now(self) -> float:
        self.time += 0.001
        return self.time


class RandomChooser(Chooser):
    """Takes any choice."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__(())
        self._chance = chance

    def choose(self, count: int) -> int:
        return self._chance.randrange(count)


@dataclass(frozen=True, slots=True)
class Version:
    """What a domain published: the number is its id, and its MX host names it."""

    number: int
    mode: Mode
    max_age: int

    @property
    def body(self) -> Fetched:
        lines = ("version: STSv1", f"mode: {self.mode}", f"mx: mx{self.number}.example.org", f"max_age: {self.max_age}")
        return Fetched("\n".join(lines).encode())


def number_of(evidence: Known) -> int:
    return int(evidence.policy.mx[0].partition(".")[0].removeprefix("mx"))


class Faulty:
    """The way of one worker to the policies, which fails at times."""

    def __init__(self, shared: PolicyMemory, chance: random.Random) -> None:
        self._shared = shared
        self._chance = chance
        self.failing = 0.0

    def _maybe(self) -> None:
        if self._chance.random() < self.failing:
            raise StoreFailed("the disk fails")

    async def load(self, domain: str, used_at: float | None = None) -> KnownPolicy | None:
        self._maybe()
        return await self._shared.load(domain, used_at)

    async def due(self, now: float, limit: int) -> Sequence[KnownPolicy]:
        self._maybe()
        return await self._shared.due(now, limit)

    async def swap(self, domain: str, before: KnownPolicy | None, after: KnownPolicy | None, now: float) -> bool:
        self._maybe()
        return await self._shared.swap(domain, before, after, now)


class Member(Side):
    """A worker of the game: its fetches show what the domain publishes at that moment, unless somebody blocks them."""

    def __init__(self, game: "Game") -> None:
        self.game = game
        self.disk = Faulty(game.shared, game.chance)
        self.blocked = False
        super().__init__(self.disk, game.clock)

    async def fetch(self, host: str, addresses: Sequence[str]) -> Fetched | FetchFailed:
        self.outcome = BLOCKED if self.blocked else self.game.published.body
        shown = self.outcome
        await super().fetch(host, addresses)
        return shown

    def look_around(self) -> None:
        """Choose what the network shows: the truth, an older id, nothing, or failures."""
        chance, latest = self.game.chance, self.game.published.number
        view = chance.choice(("truth", "truth", "older", "hidden", "attacked"))
        self.blocked = view in {"hidden", "attacked"} or chance.random() < 0.1
        match view:
            case "truth":
                self.publish(str(latest))
            case "older":
                self.publish(str(chance.randint(1, latest)))
            case "hidden":
                self.hide()
            case "attacked":
                self.meet_attacker()


@dataclass(slots=True)
class Knowledge:
    """The newest policy that one worker was given, and that all could have read: later answers are as new, or newer.

    Until it expires, or a later version withdraws the policy.
    """

    number: int = 0
    expires_at: float = 0.0

    def learn(self, evidence: Known) -> None:
        if number_of(evidence) >= self.number:
            self.number, self.expires_at = number_of(evidence), evidence.expires_at


class Game:
    """One case: workers, a domain, and what is known."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.clock = TickingClock()
        self.shared = DictPolicies()
        self.versions = [Version(1, Mode.ENFORCE, LIVES[0])]
        self.members = [Member(self) for _ in range(chance.choice((2, 2, 3)))]
        self.common = Knowledge()

    @property
    def published(self) -> Version:
        return self.versions[-1]

    async def domain(self, gate: Gate) -> None:
        """The domain publishes new versions, and time passes."""
        for _ in range(self.chance.randint(0, 3)):
            await gate.step()
            if self.chance.random() < 0.7:
                number = self.published.number + 1
                self.versions.append(Version(number, self.chance.choice(MODES), self.chance.choice(LIVES)))
            else:
                self.clock.time += self.chance.choice((1.0, 400.0, DAY, 3 * DAY))

    async def work(self, member: Member) -> None:
        """A few deeds of one worker, each with the network and the disk as they are then."""
        own = Knowledge()
        for _ in range(self.chance.randint(1, 4)):
            await member.door.step()
            member.look_around()
            member.disk.failing = self.chance.choice((0.0, 0.0, 0.3))
            if self.chance.random() < 0.15:
                member.restarted()
                own = Knowledge()
            if self.chance.random() < 0.2:
                await member.finder.refresh_due(self.clock.time)
            else:
                await self.ask(member, own)

    async def ask(self, member: Member, own: Knowledge) -> None:
        """Ask for the policy, and check it against what was known when the question was asked."""
        floors = [Knowledge(own.number, own.expires_at)]
        if not member.disk.failing:
            floors.append(Knowledge(self.common.number, self.common.expires_at))
        evidence = await member.finder.find(DOMAIN)
        for floor in floors:
            self.check(evidence, floor)
        if isinstance(evidence, Known):
            own.learn(evidence)
        stored = self.shared.rows.get(DOMAIN)
        if stored is not None and isinstance(evidence, Known) and stored.expires_at == evidence.expires_at:
            self.common.learn(evidence)

    def check(self, evidence: StsEvidence, floor: Knowledge) -> None:
        if not floor.number or floor.expires_at <= self.clock.time:
            return
        if any(each.mode is Mode.NONE for each in self.versions[floor.number - 1 :]):
            return  # withdrawn; what a failing disk did not take of the policy before may hold until it expires
        passed = self.clock.time - NOW
        if any(each.max_age <= passed for each in self.versions[floor.number :]):
            return  # replaced by one with a shorter life, which may have ended
        assert isinstance(evidence, Known), (evidence, floor)
        assert number_of(evidence) >= floor.number, (evidence, floor)


async def play_policies(chance: random.Random) -> None:
    """Policies: see `Knowledge`."""
    game, gate = Game(chance), Gate()
    workers = [(member.door, game.work(member)) for member in game.members]
    await race(RandomChooser(chance), [*workers, (gate, game.domain(gate))])
    for member in game.members:
        member.door.free = True
        member.disk.failing = 0.0
        member.blocked = True
        member.meet_attacker()
        await game.ask(member, Knowledge())


async def play_anchors(chance: random.Random) -> None:
    """Keys: a worker that dropped a revoked key never trusts it again, and in the end all agree."""
    revokes = chance.random() < 0.8
    game = shared_anchors.Race(OneMemory(prior(trusted=revokes)), revokes=revokes)

    async def work(worker: shared_anchors.Worker) -> None:
        dropped = False
        for _ in range(chance.randint(1, 4)):
            await chance.choice(shared_anchors.DEEDS)(game, worker)
            assert not (dropped and worker.trusts_old), "a revoked key came back"
            dropped = not worker.trusts_old and is_revoked(game.shared.load())

    workers = [(worker.door, work(worker)) for worker in game.workers]
    await race(RandomChooser(chance), [*workers, (game.roll_door, game.roll())])
    await game.check()


def is_revoked(point: TrustPoint) -> bool:
    """Whether it is stored that the old key is revoked; what is not stored may be lost by a restart."""
    return any(each.state is KeyState.REVOKED for each in point.keys)


def play(seed: int) -> None:
    """Play one case."""
    chance = random.Random(seed)
    asyncio.run(play_anchors(chance) if seed % 4 == 0 else play_policies(chance))


def main(arguments: Sequence[str] | None = None) -> None:
    """Play cases, each from its own seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    for seed in range(given.seed, given.seed + given.cases):
        try:
            play(seed)
        except BaseException:
            sys.stderr.write(f"case {seed} failed\n")
            raise
    sys.stdout.write(f"{given.cases} cases, nothing found\n")


if __name__ == "__main__":
    main()
