"""How many deliveries at once a place has shown that it takes: learned from its refusals, and tried again seldom.

A server that takes two connections answers the third with 421, or refuses it. Each refusal lowers the ceiling to one
less than there were at that moment, so that it ends at the number that works. It rises by one after a row of deliveries
that went well with all slots taken; where that was in vain, the next row must be twice as long.
"""

from collections import OrderedDict
from dataclasses import dataclass

MAX_REMEMBERED = 10_000  # places
FIRST_ROW = 50  # deliveries: one in fifty may be put off by the trial
LONGEST_ROW = 3200  # chosen: six doublings; then a trial costs one delivery in 3,200


@dataclass(slots=True)
class _Learned:
    most: int
    row: int = FIRST_ROW
    well: int = 0  # in a row, since it changed
    trial: bool = False  # it was raised last


class Ceilings:
    """Ceilings by place; none where nothing was refused. Data only, no clock.

    `learned` holds the places that have one, so that nothing has to be asked for the many that have none.
    """

    def __init__(self) -> None:
        self.learned: OrderedDict[str, _Learned] = OrderedDict()

    def of(self, place: str) -> int | None:
        """The most deliveries at once, if the place has one."""
        learned = self.learned.get(place)
        return learned.most if learned is not None else None

    def refused(self, place: str, taken: int) -> None:
        """A place refused one of `taken` deliveries at once. One alone says nothing of a number."""
        most = taken - 1
        learned = self.learned.get(place)
        if most < 1 or (learned is not None and most >= learned.most):
            return
        row = FIRST_ROW if learned is None else learned.row
        if learned is not None and learned.trial:
            row = min(LONGEST_ROW, row * 2)
        self.learned[place] = _Learned(most, row)
        self.learned.move_to_end(place)
        if len(self.learned) > MAX_REMEMBERED:
            self.learned.popitem(last=False)

    def went_well(self, place: str, taken: int, usual: int) -> None:
        """A delivery went well, one of `taken` at once; `usual` is how many there may be without a ceiling."""
        learned = self.learned.get(place)
        if learned is None or taken < learned.most:
            return
        learned.well += 1
        if learned.well < learned.row:
            return
        learned.most, learned.well, learned.trial = learned.most + 1, 0, True
        if learned.most >= usual:
            del self.learned[place]

    def forget(self, place: str | None) -> None:
        """Forget what a place (None: every one) has refused."""
        if place is None:
            self.learned.clear()
        else:
            self.learned.pop(place, None)
