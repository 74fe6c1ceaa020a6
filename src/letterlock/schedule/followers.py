"""Which waiting message follows one whose content is on its way, in its session and later in its slot.

A follower has left the waiting room and holds nothing yet: its slot is the leader's, and its lease is as it was. If it
does not go on in the leader's session, it waits again, first in line.
"""

import logging
from collections.abc import Callable
from functools import partial

from letterlock.deliver.attempt import follow
from letterlock.deliver.contents import Contents
from letterlock.deliver.following import Follower, Leader
from letterlock.deliver.pool import SessionPool
from letterlock.ports import Clock
from letterlock.queue.tasks import DeliveryTask, Lease
from letterlock.schedule.parking import Parking
from letterlock.schedule.slots import Slots
from letterlock.schedule.ways import Ways

log = logging.getLogger("letterlock.deliver")


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
        self._slots = slots
        self._parking = parking
        self._contents = contents
        self._ways = ways
        self._pool = pool
        self._clock = clock
        self._resting = resting
        self._by_leader: dict[str, Follower] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._by_leader)

    def invite(self, lease: Lease, leader: Leader) -> Follower | None:
        """The message that waits next for the same next hop, if its envelope could follow in this session. Not while
        tasks are parked: one of them may wait for this session."""
        self.release(lease)  # of a session before this one
        task = self._slots.follower(lease.next_hop)
        if task is None or task.lease.next_hop != lease.next_hop or self._parking.lines:
            return None
        try:
            follower = self._follow(task, leader)
        except Exception:  # it must not touch the leader, whose content is on its way
            log.exception("%s: internal error in following another message", task.lease.message_id)
            return None
        if follower is not None:
            self._slots.take_follower(lease.next_hop)
            self._by_leader[lease.token] = follower
        return follower

    def _follow(self, task: DeliveryTask, leader: Leader) -> Follower | None:
        body = self._contents.body(task.envelope.id)
        if body is None or task.lease.expires_at <= self._clock.now() or self._resting(task.lease.next_hop):
            return None
        ports, options = self._ways.of(task.lease.next_hop, task.envelope.sender_domain)
        if options.addresses or options.aliases is not None:  # some recipients may have routes of their own
            return None
        invite = partial(self.invite, task.lease)
        return follow(task, body, ports=ports, options=options, pool=self._pool, leader=leader, invite=invite)

    def take(self, lease: Lease) -> Follower | None:
        """The delivery of a lease has ended: who goes on in its session and has its slot. Else they wait again."""
        follower = self._by_leader.get(lease.token)
        if follower is None:  # the usual case
            return None
        on_time = follower.task.lease.expires_at > self._clock.now()
        if follower.owns_session and on_time and not self._resting(lease.next_hop):
            del self._by_leader[lease.token]
            return follower
        self.release(lease)
        return None

    def release(self, lease: Lease) -> None:
        """Have the one behind the delivery of a lease wait again, first in line: that one takes too long, or failed."""
        follower = self._by_leader.pop(lease.token, None)
        if follower is not None:
            follower.let_go()
            self._slots.wait(follower.task, always=True, first=True)

    def clear(self) -> list[DeliveryTask]:
        """Let all go; their tasks."""
        followers = [*self._by_leader.values()]
        self._by_leader.clear()
        for follower in followers:
            follower.let_go()
        return [follower.task for follower in followers]
