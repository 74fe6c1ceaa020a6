"""Where mail for a next hop goes, for whoever counts seats: the same place from taking a seat to giving it back.

Routes may change while deliveries go on. A delivery that took a seat at the old place gives it back there; what begins
for that next hop meanwhile is counted there too, and the new place counts as soon as the last seat was given back.
"""

from collections.abc import Callable, Iterable


class Places:
    """The place of each next hop, by the operator's routes."""

    def __init__(self, route: Callable[[str], str]) -> None:
        """`route` names the place that a next hop leads to."""
        self._route = route
        self._pinned: dict[str, str] = {}

    def of(self, next_hop: str) -> str:
        """The place that counts for a next hop."""
        return self._pinned.get(next_hop) or self._route(next_hop)

    def follow(self, route: Callable[[str], str], in_hand: Iterable[str]) -> None:
        """Take other routes from now on, but for the next hops that deliveries in hand go to."""
        self._pinned = {next_hop: self.of(next_hop) for next_hop in in_hand}
        self._route = route

    def given_back(self, next_hop: str, in_hand: Callable[[], Iterable[str]]) -> None:
        """A seat was given back: after the last one, the next hop's new place counts."""
        if next_hop in self._pinned and next_hop not in in_hand():
            del self._pinned[next_hop]
