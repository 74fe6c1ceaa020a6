"""Who may be tried now: slots for all, slots for each next hop, and a bounded waiting room. Data only, no clock."""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping, Sized

from letterlock.deliver.ceilings import Ceilings
from letterlock.queue.tasks import Attempt, DeliveryTask
from letterlock.schedule.paces import Paces
from letterlock.schedule.slow_start import FIRST, SlowStart

MAX_REMEMBERED = 10_000  # places; each takes some hundred bytes
_TROUBLED_SHARE = 20  # a twentieth of the waiting room for a next hop in trouble
_HEALTHY_SHARE = 2  # half of it for one that works
_UNPROVEN_MOST = 3  # at a slow place where nothing succeeded yet, which may take no more
_RESERVED_SHARE = 4  # a quarter of all slots for places that succeeded
_ASIDE = 4  # times as many tasks as slots, if most stand aside


def _nobody(_place: str) -> bool:
    """No place rests."""
    return False


def _itself(next_hop: str) -> str:
    """Where mail goes without routes."""
    return next_hop


class Slots:
    """Which waiting task may begin, so that no next hop keeps the others waiting.

    `total` tasks may be tried at once, `each` of one next hop; `exceptions` are next hops with another limit. A next
    hop begins with `first` of them, and gets more as deliveries succeed while others wait (`slow_start.py`). One that
    failed has half its slots the next time, down to one; each success gives one back, up to as many as it takes at once
    (`ceilings.py`). `max_waiting` bounds the waiting room: one next hop may fill half of it, one in
    trouble a twentieth. A task whose next hop has a free slot may always come in, so a room full of others keeps
    nobody out. Next hops that the operator's routes lead to one place count as one (`destination_key`). A quarter of
    all slots is kept for places that succeeded the last time, so many silent hosts cannot hold them all; a task that
    takes long stands aside, which lets others begin, up to four times as many as there are slots.
    """

    def __init__(
        self,
        *,
        total: int,
        each: int,
        max_waiting: int,
        destination_key: Callable[[str], str] = _itself,
        exceptions: Mapping[str, int] | None = None,
        first: int = FIRST,
    ) -> None:
        self._total = total
        self._each = each
        self._exceptions = exceptions or {}
        self._max_waiting = max_waiting
        self._destination_key = destination_key
        self._taken: Counter[str] = Counter()
        self._taken_count = 0
        self._aside: Counter[str] = Counter()  # of those who have slots at their place, but none of the total
        self._aside_count = 0
        self._waiting: OrderedDict[str, deque[DeliveryTask]] = OrderedDict()
        self._waiting_count = 0
        self._ready: OrderedDict[str, None] = OrderedDict()  # of those, all that may have a free slot of their own
        self._unproven = 0  # slots of the total that places have which are not among the following
        self._well: OrderedDict[str, None] = OrderedDict()  # places that did well the last time
        self._ceilings = Ceilings()
        self._slow_start = SlowStart(first)
        self._paces = Paces()
        self._fewer: OrderedDict[str, int] = OrderedDict()  # next hops in trouble, and the slots that they have

    def reload(self, *, total: int, each: int, exceptions: Mapping[str, int]) -> None:
        """Take other limits and routes from now on. Slots that are too many are not given again once they are free."""
        self._total, self._each, self._exceptions = total, each, exceptions
        for task in self.clear():
            self.wait(task, always=True)

    @property
    def free(self) -> int:
        """Slots that nobody has."""
        return self._total - self._taken_count

    @property
    def waiting(self) -> int:
        """How many wait for slots."""
        return self._waiting_count

    def troubled(self, next_hop: str) -> bool:
        """Whether a next hop has lost slots."""
        return self._destination_key(next_hop) in self._fewer

    def queued(self, next_hop: str) -> int:
        """How many wait for slots of a next hop."""
        return len(self._waiting.get(self._destination_key(next_hop), ()))

    def taken(self, next_hop: str) -> int:
        """How many slots a next hop has now."""
        return self._taken[self._destination_key(next_hop)]

    def space(self, next_hop: str) -> int:
        """How many tasks for a next hop may come in."""
        place = self._destination_key(next_hop)
        share = _TROUBLED_SHARE if place in self._fewer else _HEALTHY_SHARE
        queued = len(self._waiting.get(place, ()))
        waiting = min(self._max_waiting - self._waiting_count, self._max_waiting // share - queued)
        return max(0, waiting, self._seats_of(place) - self._taken.get(place, 0) - queued)

    def room(self, next_hop: str) -> bool:
        """Whether a task for a next hop may come in."""
        if not self._fewer and self._waiting_count < self._max_waiting // _HEALTHY_SHARE:
            return True  # the usual case: not even a place for which all of them wait has its share
        return self.space(next_hop) > 0

    def wait(self, task: DeliveryTask, *, always: bool = False, first: bool = False) -> bool:
        """Let a task wait for a slot; False when there is no room for it.

        `always`: room was looked for before. `first`: before the others of its next hop.
        """
        if not always and not self.room(task.lease.next_hop):
            return False
        next_hop = self._destination_key(task.lease.next_hop)
        queue = self._waiting.setdefault(next_hop, deque())
        queue.insert(0 if first else len(queue), task)
        self._waiting_count += 1
        self._ready.setdefault(next_hop)
        return True

    def take(self, resting: Callable[[str], bool] = _nobody) -> DeliveryTask | None:
        """Give a slot to the next task that may have one, next hops in turn; None when there is none.

        `resting`: places where nothing is tried now.
        """
        if self._taken_count >= self._total or not self._ready:
            return None
        reserved = self._reserve_reached()
        full = []
        found, extra = None, False
        for place in self._ready:
            beyond = self._taken.get(place, 0) >= self._seats_of(place)
            if beyond and (self._scarce() or not self._another_pays(place)):
                full.append(place)
            elif (not reserved or place in self._well) and not resting(place):
                found, extra = place, beyond
                break
        for place in full:  # each is looked at once, and not again before it may have got a slot
            del self._ready[place]
        if found is None:
            return None
        self._taken[found] = self._taken.get(found, 0) + 1
        self._taken_count += 1
        self._count_busy(found, 1)
        # The sessions of a slow place will be free for those who wait first before another one is ready.
        return self._pop(found, last=extra)

    def follower(self, next_hop: str) -> DeliveryTask | None:
        """The task that waits next where a delivery to a next hop is in progress, if it may have that one's slot.

        Not where the place has more slots than it should, or another place waits for one of the total: it comes next.
        """
        place = self._destination_key(next_hop)
        queue = self._waiting.get(place)
        if queue is None or self._taken[place] > self._seats_with_more(place):
            return None
        if self._taken_count >= self._total and len(self._ready) > (place in self._ready):
            return None
        return queue[0]

    @property
    def slow(self) -> Sized:
        """The places where replies take long, as they are at any time."""
        return self._paces.slow

    def is_slow(self, next_hop: str) -> bool:
        """Whether replies take long at the place of a next hop."""
        return self._destination_key(next_hop) in self._paces.slow

    def take_follower(self, next_hop: str) -> None:
        """Remove that task: it is to have the slot by `hand_on`, or waits again."""
        self._pop(self._destination_key(next_hop))

    def hand_on(self, next_hop: str, *, well: bool | None, crowded: bool, made: Attempt | None) -> None:
        """A delivery has ended as in `leave`, and its follower has the slot, as it stands."""
        place = self._destination_key(next_hop)
        if well and made is not None:
            self._paces.saw(place, made)
        if well is not None:
            self._learn(place, self._taken[place], well=well, crowded=crowded)
        self._may_begin(place)

    def take_out(self, which: Callable[[str], bool], most: int) -> list[DeliveryTask]:
        """Remove the tasks that wait for some places, without a slot; at most so many."""
        found: list[DeliveryTask] = []
        for place in [each for each in self._waiting if which(each)]:
            while len(found) < most and place in self._waiting:
                found.append(self._pop(place))
        return found

    def _pop(self, place: str, *, last: bool = False) -> DeliveryTask:
        """Remove the task of a place that waited longest, or the one that came last."""
        queue = self._waiting[place]
        task = queue.pop() if last else queue.popleft()
        self._waiting_count -= 1
        if queue:
            self._waiting.move_to_end(place)
            if place in self._ready:
                self._ready.move_to_end(place)
        else:
            del self._waiting[place]
            self._ready.pop(place, None)
        return task

    def _may_begin(self, place: str) -> None:
        """A place may have got a slot: if somebody waits for one, it is looked at again."""
        if place in self._waiting:
            self._ready.setdefault(place)

    def _count_busy(self, place: str, by: int) -> None:
        """A place has more or fewer slots of the total."""
        if place not in self._well:
            self._unproven += by

    def stand_aside(self, next_hop: str) -> bool:
        """Let somebody else have the slot while the delivery goes on; whether there was room to stand."""
        if self._aside_count >= _ASIDE * self._total:
            return False
        place = self._destination_key(next_hop)
        self._aside[place] += 1
        self._aside_count += 1
        self._taken_count -= 1
        self._count_busy(place, -1)
        return True

    def pass_by(self, next_hop: str) -> None:
        """A delivery may be stuck: another one may begin beside it, even where it was the only one at first."""
        place = self._destination_key(next_hop)
        self._slow_start.stuck(place, self._most(place))
        self._may_begin(place)

    def answers_slowly(self, next_hop: str, elapsed: float, reply: float) -> None:
        """EHLO was answered late: `elapsed` seconds after the connection, `reply` seconds after the greeting."""
        place = self._destination_key(next_hop)
        self._paces.answers_slowly(place, elapsed, reply)
        self._may_begin(place)

    def park(self, next_hop: str, *, aside: bool = False) -> None:
        """Give the slot of the total back, and keep the one of the next hop: its host is busy.

        So one next hop parks no more than its slots, and however many are parked keep nobody else waiting.
        """
        if aside:
            self._aside_count -= 1
            return
        place = self._destination_key(next_hop)
        self._aside[place] += 1
        self._taken_count -= 1
        self._count_busy(place, -1)

    def unpark(self, next_hop: str) -> None:
        """Give the slot of the next hop back too."""
        place = self._destination_key(next_hop)
        self._leave_place(place, aside=True)
        self._may_begin(place)

    def _leave_place(self, place: str, *, aside: bool) -> None:
        counters = (self._taken, self._aside) if aside else (self._taken,)
        if not aside:
            self._count_busy(place, -1)
        for counter in counters:
            counter[place] -= 1
            if not counter[place]:
                del counter[place]

    def reached(self, next_hop: str) -> bool:
        """Whether a next hop did well the last time."""
        return self._destination_key(next_hop) in self._well

    def leave(
        self,
        next_hop: str,
        *,
        well: bool | None,
        aside: bool = False,
        crowded: bool = False,
        made: Attempt | None = None,
    ) -> None:
        """Give a slot back. `well`: whether the next hop was reached in good time; None when it was not tried.

        `aside`: it was given back before. `crowded`: the next hop had too many connections. `made`: how long it took.
        """
        next_hop = self._destination_key(next_hop)
        taken = self._taken[next_hop]
        if aside:
            self._aside_count -= 1
        else:
            self._taken_count -= 1
        self._leave_place(next_hop, aside=aside)
        if well and made is not None:
            self._paces.saw(next_hop, made)
        if well is not None:
            self._learn(next_hop, taken, well=well, crowded=crowded)
        self._may_begin(next_hop)

    def _learn(self, next_hop: str, taken: int, *, well: bool, crowded: bool) -> None:
        """How many slots a next hop has from now on, after it had so many."""
        self._note(next_hop, well=well)
        if well:
            self._went_well(next_hop)
            if next_hop in self._ceilings.learned:
                self._ceilings.went_well(next_hop, taken, self._exceptions.get(next_hop, self._each))
            if next_hop not in self._fewer:
                return  # it has lost none
        else:
            self._slow_start.failed(next_hop)
            self._paces.forget(next_hop)
            if crowded:
                self._ceilings.refused(next_hop, taken)
        most = self._most(next_hop)
        slots = self._fewer.pop(next_hop, most)
        slots = min(most, slots + 1) if well else max(1, slots // 2)
        if slots < most:
            self._fewer[next_hop] = slots
        while len(self._fewer) > MAX_REMEMBERED:
            self._fewer.popitem(last=False)

    def _went_well(self, place: str) -> None:
        """Its window opens when many wait, and closes when nobody does."""
        waiting = self._waiting.get(place)
        if waiting:
            self._slow_start.went_well(place, len(waiting), self._most(place))
        elif place not in self._taken:
            self._slow_start.idle(place)

    def _seats_of(self, next_hop: str) -> int:
        slots = self._fewer.get(next_hop) or self._most(next_hop)
        return min(slots, self._slow_start.of(next_hop))

    def _seats_with_more(self, place: str) -> int:
        """The same, with those that a slow place may have beyond them."""
        slow = place in self._paces.slow and place not in self._fewer
        return self._most(place) if slow else self._seats_of(place)

    def _another_pays(self, place: str) -> bool:
        """Whether a place that has all its slots is so slow that it had better have another one."""
        if place not in self._paces.slow or place in self._fewer:
            return False
        taken = self._taken.get(place, 0)
        most = self._most(place) if place in self._well else min(self._most(place), _UNPROVEN_MOST)
        return taken < most and self._paces.another_pays(place, taken, len(self._waiting.get(place, ())))

    def _most(self, next_hop: str) -> int:
        """The slots of a next hop that is in no trouble: not more than it has shown that it takes."""
        most = self._exceptions.get(next_hop, self._each)
        if next_hop not in self._ceilings.learned or (ceiling := self._ceilings.of(next_hop)) is None:
            return most
        return min(most, ceiling)

    def _reserve_reached(self) -> bool:
        """Whether those who have not proven well have all the slots that they may have."""
        return self._unproven >= self._total - self._total // _RESERVED_SHARE and bool(self._well)

    def _scarce(self) -> bool:
        """Whether too few slots are left to give places more than they need."""
        return self.free <= self._total // _RESERVED_SHARE

    def _busy(self, place: str) -> int:
        """How many slots of the total a place has."""
        return self._taken.get(place, 0) - self._aside.get(place, 0)

    def _note(self, place: str, *, well: bool) -> None:
        if well and place in self._well:  # the usual case
            self._well.move_to_end(place)
            return
        if place in self._well:
            del self._well[place]
            self._unproven += self._busy(place)
        if well:
            self._well[place] = None
            self._unproven -= self._busy(place)
            if len(self._well) > MAX_REMEMBERED:
                forgotten, _ = self._well.popitem(last=False)
                self._unproven += self._busy(forgotten)

    def forgive(self, next_hop: str | None) -> None:
        """Give a next hop (None: every one) back the slots that it has lost."""
        self._ceilings.forget(None if next_hop is None else self._destination_key(next_hop))
        if next_hop is None:
            self._fewer.clear()
        else:
            self._fewer.pop(self._destination_key(next_hop), None)
        self._ready.update(dict.fromkeys(self._waiting))

    def clear(self) -> list[DeliveryTask]:
        """Empty the waiting room; those who waited."""
        tasks = [task for queue in self._waiting.values() for task in queue]
        self._waiting.clear()
        self._ready.clear()
        self._waiting_count = 0
        return tasks
