"""Which waiting message follows one whose content is on its way, in its session and later in its slot.

A follower has left the waiting room and holds nothing yet: its slot is the leader's, and its lease is as it was. If it
does not go on in the leader's session, it waits again, first in line.
"""

import asyncio
import logging
from collections.abc import Callable

from letterlock.deliver.attempt import follow
from letterlock.deliver.contents import MEMORY, Contents
from letterlock.deliver.decision_cache import DeliveryPath
from letterlock.deliver.following import Follower, Invite, Leader, look_ahead
from letterlock.deliver.handshake_slots import address_key
from letterlock.deliver.pool import PoolKey, SessionPool
from letterlock.ports import Clock
from letterlock.queue.tasks import DeliveryTask, Lease
from letterlock.recent import Recent
from letterlock.schedule.parking import Parking
from letterlock.schedule.slots import Slots
from letterlock.schedule.ways import Ways

log = logging.getLogger("letterlock.deliver")

AHEAD_SECONDS = 5.0  # chosen: two replies of a very slow host; an attempt that must connect goes by older evidence
MAX_AHEAD = 1000  # messages: one for each session with a slow host, and each takes some hundred bytes


class _Behind:
    """Followers of one delivery, as deliver.following.Invite."""

    __slots__ = ("_followers", "_lease", "_next")

    def __init__(self, followers: "Followers", lease: Lease) -> None:
        self._followers = followers
        self._lease = lease
        self._next: DeliveryTask | None = None

    def expect(self) -> None:
        """See Followers."""
        if self._followers.slow:  # mostly no place is
            self._followers.expect(self._lease)

    def somebody_waits(self) -> bool:
        """Whether there is a task that may follow."""
        self._next = self._followers.next(self._lease)
        return self._next is not None

    def invite(self, leader: Leader) -> Follower | None:
        """See Followers."""
        return None if self._next is None else self._followers.invite(self._lease, self._next, leader)


class Followers:
    """The followers, by the lease of the delivery that leads."""

    def __init__(
        self,
        slots: Slots,
        parking: Parking,
        contents: Contents,
        ways: Ways,
        pool: SessionPool,
        clock: Clock,
        resting: Callable[[str], bool],
    ) -> None:
        """`resting`: next hops at whose place nothing is tried now."""
        self.slow = slots.slow
        self._closed = False
        self._slots = slots
        self._parking = parking
        self._contents = contents
        self._ways = ways
        self._pool = pool
        self._clock = clock
        self._resting = resting
        self._by_leader: dict[str, Follower] = {}
        self._stuck: set[str] = set()  # leases of deliveries behind which nobody is to wait
        self._looking: dict[str, asyncio.Task[None]] = {}  # ahead, by the lease of the task that waits
        self._ahead: Recent[str, tuple[DeliveryPath, ...]] = Recent(seconds=AHEAD_SECONDS, size=MAX_AHEAD)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._by_leader)

    def behind(self, lease: Lease) -> Invite:
        """Who may follow the delivery of a lease."""
        return _Behind(self, lease)

    def expect(self, lease: Lease) -> None:
        """At a slow host, find out how the message would go that waits next: what was found for the one before it may
        be too old when that one's content goes out."""
        if not self._slots.is_slow(lease.next_hop) or (task := self.next(lease)) is None:
            return
        token, now = task.lease.token, self._clock.now()
        if token not in self._looking and self._ahead.get(token, now) is None:
            self._looking[token] = looking = asyncio.create_task(self._look_ahead(task, now))
            looking.add_done_callback(lambda _: self._looking.pop(token, None))

    async def _look_ahead(self, task: DeliveryTask, now: float) -> None:
        ports, options = self._ways.of(task.lease.next_hop, task.envelope.sender_domain)
        try:
            found = await look_ahead(task, ports=ports, options=options)
        except Exception:  # the message's own attempt meets it again, and says what becomes of the message
            log.exception("%s: internal error in looking ahead", task.lease.message_id)
        else:
            self._ahead.put(task.lease.token, found.ways, since=now, until=found.ends_at)

    def next(self, lease: Lease) -> DeliveryTask | None:
        """The task that may follow, which is for the same next hop."""
        task = self._slots.follower(lease.next_hop)
        if task is None or task.lease.next_hop != lease.next_hop or self._closed:
            return None
        return task

    def invite(self, lease: Lease, task: DeliveryTask, leader: Leader) -> Follower | None:
        """Have the next task follow the delivery of a lease, if its envelope can follow in this session."""
        if lease.token in self._by_leader or lease.token in self._stuck:  # one follows in a session before this one
            return None
        if self._parking.lines and self._somebody_is_parked_for(leader.server):
            return None
        try:
            follower = self._follow(task, leader)
        except Exception:  # it must not touch the leader, whose content is on its way
            log.exception("%s: internal error in following another message", task.lease.message_id)
            return None
        if follower is not None:
            self._slots.take_follower(lease.next_hop)
            self._by_leader[lease.token] = follower
            if self.slow:
                self.expect(lease)
        return follower

    def _somebody_is_parked_for(self, server: PoolKey) -> bool:
        """Whether tasks are parked that may need the session itself, its end, or the memory: they come first."""
        return not self._parking.lines.keys().isdisjoint(
            (MEMORY, server.host, address_key(server.address, server.port))
        )

    def _follow(self, task: DeliveryTask, leader: Leader) -> Follower | None:
        body, now = self._contents.body(task.envelope.id), self._clock.now()
        if body is None or task.lease.expires_at <= now or self._resting(task.lease.next_hop):
            return None
        ports, options = self._ways.of(task.lease.next_hop, task.envelope.sender_domain)
        if options.addresses or options.aliases is not None:  # some recipients may have routes of their own
            return None
        return follow(
            task,
            body,
            ports=ports,
            options=options,
            pool=self._pool,
            leader=leader,
            invite=self.behind(task.lease),
            ahead=(self._ahead.get(task.lease.token, now) if self.slow else None) or (),
        )

    def take(self, lease: Lease) -> Follower | None:
        """The delivery of a lease has ended: who goes on in its session and has its slot. Else they wait again."""
        if self._stuck:
            self._stuck.discard(lease.token)
        follower = self._by_leader.get(lease.token)
        if follower is None:
            return None
        on_time = follower.task.lease.expires_at > self._clock.now()
        if follower.owns_session and on_time and not self._resting(lease.next_hop):
            del self._by_leader[lease.token]
            return follower
        self.release(lease)
        return None

    def pass_by(self, lease: Lease) -> None:
        """A delivery takes very long: nobody follows it, now or later."""
        self._stuck.add(lease.token)
        self.release(lease)

    def release(self, lease: Lease) -> None:
        """Have the one behind the delivery of a lease wait again, first in line."""
        follower = self._by_leader.pop(lease.token, None)
        if follower is not None:
            follower.let_go()
            self._slots.wait(follower.task, always=True, first=True)

    def clear(self) -> list[DeliveryTask]:
        """Let all go, and look for none any more; their tasks."""
        self._closed = True
        for looking in self._looking.values():
            looking.cancel()
        followers = [*self._by_leader.values()]
        self._by_leader.clear()
        for follower in followers:
            follower.let_go()
        return [follower.task for follower in followers]
