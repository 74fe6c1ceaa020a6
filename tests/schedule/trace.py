"""The load of `bench.relay --part mixed` played against the real slots, in a time that only events move.

What happens is what the benchmark's receivers do, without programs, connections and CPU time: a new session takes five
replies before its first message, a message two, or one behind another's content, and each host answers as late as
there. Who may begin is decided by `Slots`; a message takes an open session if one is idle, and is parked where too many
are being set up.
"""

import heapq
import itertools
import random
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from bench.mixed_load import Behaviour, landscape, recipients

from bench import mixed_load
from letterlock.queue.tasks import Attempt, DeliveryTask
from letterlock.schedule.slots import Slots
from letterlock.schedule.slow_watch import ASIDE_SECONDS, SLOW_REPLY_SECONDS
from tests.deliver.world import make_task

SETUP_REPLIES, MESSAGE_REPLIES = 5, 2  # greeting, EHLO, STARTTLS, handshake, EHLO; MAIL with RCPT and DATA, content
REPLIES_TO_EHLO = 2
DELAYS = {Behaviour.FAST: mixed_load.REPLY_SECONDS, Behaviour.SLOW: mixed_load.SLOW_REPLY_SECONDS}
WORKERS = 2
TOTAL, EACH, HANDSHAKES, IDLE_SECONDS = 500, 5, 4, 5.0  # as the defaults give each of two workers


@dataclass(eq=False)
class Worker:
    """What one of the workers has: its slots, idle sessions by host, sessions in the making, and who is parked."""

    slots: Slots = field(default_factory=lambda: Slots(total=TOTAL, each=EACH, max_waiting=5_000))
    idle: defaultdict[int, deque[float]] = field(default_factory=lambda: defaultdict(deque))
    making: Counter[int] = field(default_factory=Counter)
    parked: defaultdict[int, deque[DeliveryTask]] = field(default_factory=lambda: defaultdict(deque))


@dataclass(eq=False)
class Delivery:
    """One that goes on."""

    worker: Worker
    task: DeliveryTask
    host: int
    began: float
    ready: float
    connected: float
    aside: bool = False
    follower: DeliveryTask | None = None


class Trace:
    """The load, and what came of it. `learn`: whether the slots are shown how long deliveries took."""

    def __init__(self, *, messages: int, domains_each: int, per_second: float, learn: bool, seed: int = 0) -> None:
        self.accepted: dict[tuple[int, int], float] = {}
        self.delivered: dict[tuple[int, int], float] = {}
        self.sessions: Counter[Behaviour] = Counter()
        self.most_open: Counter[Behaviour] = Counter()
        self._open: Counter[int] = Counter()
        self._learn = learn
        self._land = landscape()
        self._host = {domain.number: domain.host.number for domain in self._land.domains}
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._count = itertools.count()
        chance = random.Random(seed)
        workers = [Worker() for _ in range(WORKERS)]
        wanted = recipients(self._land, messages, domains_each=domains_each)
        due = self._land.deliverable(wanted)
        for number, domains in enumerate(wanted, 1):
            worker, at = chance.choice(workers), number * domains_each / per_second
            for domain in (each for each in domains if (number, each) in due):
                self.accepted[number, domain] = at
                self._at(at, partial(self._arrive, worker, number, domain))
        while self._events:
            now, _, event = heapq.heappop(self._events)
            event(now)

    def waits(self, behaviour: Behaviour) -> list[float]:
        """Seconds from the acceptance to the delivery, ascending."""
        pairs = (pair for pair in self.accepted if self._land.behaviour[pair[1]] is behaviour)
        return sorted(self.delivered[pair] - self.accepted[pair] for pair in pairs)

    @property
    def tail_seconds(self) -> float:
        """From the last acceptance to the last delivery."""
        return max(self.delivered.values()) - max(self.accepted.values())

    def _at(self, when: float, event: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (when, next(self._count), event))

    def _arrive(self, worker: Worker, number: int, domain: int, now: float) -> None:
        worker.slots.wait(make_task(message_id=f"{number}", next_hop=f"{domain}"), always=True)
        self._begin(now, worker)

    def _begin(self, now: float, worker: Worker) -> None:
        while (task := worker.slots.take()) is not None:
            self._deliver(now, worker, task)

    def _deliver(self, now: float, worker: Worker, task: DeliveryTask) -> None:
        domain = int(task.lease.next_hop)
        host, behaviour = self._host[domain], self._land.behaviour[domain]
        delay, idle, connected = DELAYS[behaviour], worker.idle[host], -1.0
        while idle and idle[0] < now - IDLE_SECONDS:
            idle.popleft()
            self._open[host] -= 1
        ready = now
        if idle:
            idle.pop()
        elif worker.making[host] >= HANDSHAKES:
            worker.slots.park(task.lease.next_hop)
            worker.parked[host].append(task)
            return
        else:
            ready, connected = now + SETUP_REPLIES * delay, now
            worker.making[host] += 1
            self._at(now + REPLIES_TO_EHLO * delay, partial(self._answered, worker, task.lease.next_hop, delay))
            self._at(ready, partial(self._made, worker, host))
            self._count_session(host, behaviour)
        delivery = Delivery(worker, task, host, now, ready, connected)
        if ready + MESSAGE_REPLIES * delay > now + ASIDE_SECONDS:
            self._at(now + ASIDE_SECONDS, partial(self._stand_aside, delivery))
        self._at(ready + delay, partial(self._send_content, delivery))

    def _count_session(self, host: int, behaviour: Behaviour) -> None:
        self.sessions[behaviour] += 1
        self._open[host] += 1
        self.most_open[behaviour] = max(self.most_open[behaviour], self._open[host])

    def _answered(self, worker: Worker, next_hop: str, delay: float, now: float) -> None:
        if self._learn and delay >= SLOW_REPLY_SECONDS:
            worker.slots.answers_slowly(next_hop, REPLIES_TO_EHLO * delay, delay)
            self._begin(now, worker)

    def _made(self, worker: Worker, host: int, now: float) -> None:
        worker.making[host] -= 1
        self._call_parked(now, worker, host)

    def _call_parked(self, now: float, worker: Worker, host: int) -> None:
        if worker.parked[host]:
            task = worker.parked[host].popleft()
            worker.slots.unpark(task.lease.next_hop)
            worker.slots.wait(task, always=True, first=True)
            self._begin(now, worker)

    def _stand_aside(self, delivery: Delivery, now: float) -> None:
        delivery.aside = delivery.worker.slots.stand_aside(delivery.task.lease.next_hop)
        self._begin(now, delivery.worker)

    def _send_content(self, delivery: Delivery, now: float) -> None:
        """The content goes out, and with it the envelope of the message that waits next there."""
        next_hop, slots = delivery.task.lease.next_hop, delivery.worker.slots
        domain = int(next_hop)
        self.delivered[int(delivery.task.lease.message_id), domain] = now
        if not delivery.worker.parked[delivery.host] and (task := slots.follower(next_hop)) is not None:
            slots.take_follower(next_hop)
            delivery.follower = task
        self._at(now + DELAYS[self._land.behaviour[domain]], partial(self._end, delivery))

    def _end(self, delivery: Delivery, now: float) -> None:
        worker, next_hop = delivery.worker, delivery.task.lease.next_hop
        made: Attempt | None = Attempt(
            message_id=delivery.task.lease.message_id,
            next_hop=next_hop,
            started_at=delivery.began,
            ended_at=now,
            outcomes=(),
            connected_at=delivery.connected,
            ready_at=delivery.ready,
        )
        if not self._learn:
            made = None
        if delivery.follower is not None:
            worker.slots.hand_on(next_hop, well=True, crowded=False, made=made)
            behind = Delivery(worker, delivery.follower, delivery.host, now, now, -1.0, delivery.aside)
            self._send_content(behind, now)
        else:
            worker.idle[delivery.host].append(now)
            self._call_parked(now, worker, delivery.host)
            worker.slots.leave(next_hop, well=True, aside=delivery.aside, made=made)
        self._begin(now, worker)
