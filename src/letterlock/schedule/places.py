"""Where mail for a next hop goes, for counting slots: the same place from taking a slot to giving it back.

Routes may change while deliveries go on. A delivery that took a slot at the old place gives it back there; what begins
for that next hop meanwhile is counted there too, and the new place counts as soon as the last slot was given back.
"""

from collections.abc import Callable, Iterable

MAX_REMEMBERED = 1000  # next hops besides the pinned ones: finding a route again costs microseconds


class _Remembered(dict[str, str]):
    """Places by next hop; one that is not known yet is found by the routes."""

    def __init__(self, route: Callable[[str], str]) -> None:
        super().__init__()
        self._route = route
        self.pinned: dict[str, str] = {}

    def __missing__(self, next_hop: str) -> str:
        if len(self) >= MAX_REMEMBERED + len(self.pinned):
            self.follow(self._route, self.pinned)
        place = self[next_hop] = self._route(next_hop)
        return place

    def follow(self, route: Callable[[str], str], pinned: dict[str, str]) -> None:
        """Forget all but the pinned ones, and find the others by these routes."""
        self.clear()
        self.update(pinned)
        self._route, self.pinned = route, pinned


class Places:
    """The place of each next hop, by the operator's routes, which stay as they are until `follow` brings others.

    `of(next_hop)` is the place that counts for a next hop: a look into a dictionary, for it is asked several times per
    message.
    """

    def __init__(self, route: Callable[[str], str]) -> None:
        """`route` names the place that a next hop leads to."""
        self._places = _Remembered(route)
        self.of: Callable[[str], str] = self._places.__getitem__

    def follow(self, route: Callable[[str], str], in_hand: Iterable[str]) -> None:
        """Take other routes from now on, but for the next hops that deliveries in hand go to."""
        self._places.follow(route, {next_hop: self.of(next_hop) for next_hop in in_hand})

    def given_back(self, next_hop: str, in_hand: Callable[[], Iterable[str]]) -> None:
        """A slot was given back: after the last one, the next hop's new place counts."""
        pinned = self._places.pinned
        if next_hop in pinned and next_hop not in in_hand():
            del pinned[next_hop], self._places[next_hop]
