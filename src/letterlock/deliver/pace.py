"""How many deliveries a second a place has taken of late. Data only, no clock."""

import math
from collections import OrderedDict

SPAN_SECONDS = 10.0
MAX_PLACES = 10_000


class Pace:
    """A rate by place that forgets: what is `SPAN_SECONDS` old counts for a third."""

    def __init__(self) -> None:
        self._rates: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def note(self, place: str, now: float) -> None:
        """A delivery ended at `now` (seconds)."""
        self._rates[place] = self.per_second(place, now) + 1 / SPAN_SECONDS, now
        self._rates.move_to_end(place)
        if len(self._rates) > MAX_PLACES:
            self._rates.popitem(last=False)

    def per_second(self, place: str, now: float) -> float:
        """The rate as it stands now; 0.0 where nothing is known."""
        rate, at = self._rates.get(place, (0.0, now))
        return rate * math.exp(-max(0.0, now - at) / SPAN_SECONDS)
