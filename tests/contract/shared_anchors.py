"""Workers that share what they have seen of a zone's keys (RFC 5011), while the zone revokes one of them."""

import functools
from collections.abc import Awaitable, Callable, Iterable

import dns.name

from letterlock.discover.anchor_keeper import AnchorKeeper
from letterlock.ports import TrustPointMemory
from letterlock.queue.store import StoreFailed
from letterlock.resolver import TrustAnchor
from letterlock.resolver.rdata import SignedRRset
from letterlock.resolver.rollover import DAY, HOLD_DOWN_SECONDS, TrustPoint, begin, follow
from tests.contract.interleaving import Gate
from tests.discover.test_anchor_keeper import Clock, anchor
from tests.resolver.test_rollover import ROOT, START, Key, published

OLD, NEW = Key(), Key()
NOW = START + 2 * HOLD_DOWN_SECONDS


@functools.cache
def before() -> SignedRRset:
    """The zone with both keys."""
    return published(OLD.record(), NEW.record(), by=[(OLD, OLD.record()), (NEW, NEW.record())], now=NOW)


@functools.cache
def after() -> SignedRRset:
    """The zone when the old key is revoked."""
    revoked = OLD.record(revoked=True)
    return published(revoked, NEW.record(), by=[(OLD, revoked), (NEW, NEW.record())], now=NOW)


@functools.cache
def prior(*, trusted: bool) -> TrustPoint:
    """What was seen until now: the new key is trusted, or will be in a moment."""
    first = NOW - DAY - (HOLD_DOWN_SECONDS if trusted else HOLD_DOWN_SECONDS - DAY)
    looks = (
        (first - DAY, published(OLD.record(), by=[(OLD, OLD.record())], now=first)),
        (first, published(OLD.record(), NEW.record(), by=[(OLD, OLD.record())], now=first)),
        (NOW - DAY, published(OLD.record(), NEW.record(), by=[(OLD, OLD.record())], now=NOW - DAY)),
    )
    point = begin(ROOT)
    for moment, seen in looks:
        point = follow(point, [anchor(OLD)], seen, moment)
    return point


class OneMemory:
    """The contract of `TrustPointMemory` in its smallest form."""

    def __init__(self, point: TrustPoint) -> None:
        self.point = point

    def load(self) -> TrustPoint:
        return self.point

    def change(self, change: Callable[[TrustPoint], TrustPoint]) -> TrustPoint:
        self.point = change(self.point)
        return self.point


class Disk:
    """The way of one worker to the shared memory, which may be blocked."""

    def __init__(self, shared: TrustPointMemory) -> None:
        self._shared = shared
        self.full = False

    def load(self) -> TrustPoint:
        return self._shared.load()

    def change(self, change: Callable[[TrustPoint], TrustPoint]) -> TrustPoint:
        if self.full:
            raise StoreFailed("the disk is full")
        return self._shared.change(change)


class Worker:
    """One worker: a resolver that counts for nothing but its anchors, and the keeper of these."""

    def __init__(self, race: "Race") -> None:
        self.race = race
        self.door = Gate()
        self.disk = Disk(race.shared)
        self.anchors: tuple[TrustAnchor, ...] = (anchor(OLD),)
        self.restart()

    def restart(self) -> None:
        self.anchors = (anchor(OLD),)
        self.keeper = AnchorKeeper(self, lambda zone, given: self.disk, self.race.clock)
        self.keeper.restore()

    def trust(self, anchors: Iterable[TrustAnchor]) -> None:
        self.anchors = tuple(anchors)

    async def published_keys(self, zone: dns.name.Name) -> SignedRRset:
        await self.door.step()
        seen = self.race.zone()
        await self.door.step()
        return seen

    @property
    def trusts_old(self) -> bool:
        return any(each.record in (OLD.record(), anchor(OLD).record) for each in self.anchors)

    @property
    def trusts_new(self) -> bool:
        return any(each.record == NEW.record() for each in self.anchors)


class Race:
    """Two workers, a zone that rolls, and what must hold in the end."""

    def __init__(self, shared: TrustPointMemory, *, revokes: bool = True) -> None:
        self.shared = shared
        self.revokes = revokes
        self.clock = Clock()
        self.clock.time = NOW
        self.zone = before
        self.roll_door = Gate()
        self.workers = Worker(self), Worker(self)

    async def roll(self) -> None:
        """The zone revokes its old key, or leaves it as it is; a second passes."""
        await self.roll_door.step()
        self.zone = after if self.revokes else before
        self.clock.time += 1

    async def look(self, worker: Worker) -> None:
        """Look at the keys."""
        await worker.keeper.look(ROOT)

    async def reload(self, worker: Worker) -> None:
        """Take over what the other one has seen."""
        await worker.door.step()
        await worker.keeper.reload(ROOT)

    async def restart(self, worker: Worker) -> None:
        """Begin anew, and look."""
        await worker.door.step()
        worker.restart()
        await worker.keeper.look(ROOT)

    async def look_without_disk(self, worker: Worker) -> None:
        """Look while nothing can be stored."""
        worker.disk.full = True
        await worker.keeper.look(ROOT)
        worker.disk.full = False

    async def check(self) -> None:
        """After one more look by either, both trust the new key and no revoked one, and after a restart too."""
        for worker in self.workers:
            worker.door.free = True
        seen = {worker: not worker.trusts_old for worker in self.workers}
        for worker in self.workers:
            await worker.keeper.reload(ROOT)
            assert not (seen[worker] and worker.trusts_old), "a revoked key came back"
        self.clock.time += 1
        await self.workers[0].keeper.look(ROOT)
        await self.workers[1].keeper.reload(ROOT)
        for _ in range(2):
            for worker in self.workers:
                assert worker.trusts_new
                assert worker.trusts_old is not self.revokes
                worker.restart()


Deed = Callable[[Race, Worker], Awaitable[None]]
DEEDS: tuple[Deed, ...] = (Race.look, Race.reload, Race.restart, Race.look_without_disk)
