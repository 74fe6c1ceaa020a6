"""Servers that break on an extension that they offer themselves; for a day it is not used with them.

What looks like this may also be a connection that broke by chance, or an attacker's doing. It costs a round trip or
two, and touches nothing that protects a message: only extensions that save time are ever forgotten.
"""

import math

from letterlock.recent import Recent

BROKEN_SECONDS = 86_400.0  # longer than the longest usual wait between two attempts, and short enough to see a repair
MAX_REMEMBERED = 1000  # hosts; a handful in the world are broken in this way, and each takes some hundred bytes
NOTHING: frozenset[str] = frozenset()


class BrokenOffers:
    """EHLO keywords by host and port; beyond MAX_REMEMBERED hosts, the one that broke longest ago is forgotten."""

    def __init__(self) -> None:
        self._broken: Recent[tuple[str, int], frozenset[str]] = Recent(seconds=BROKEN_SECONDS, size=MAX_REMEMBERED)

    def at(self, host: str, port: int, now: float) -> frozenset[str]:
        """The keywords that a host is not to be believed."""
        if not len(self._broken):  # the usual case, for each session
            return NOTHING
        return self._broken.get((host, port), now) or NOTHING

    def remember(self, host: str, port: int, keywords: frozenset[str], now: float) -> None:
        """A session with the host was lost where these were used."""
        self._broken.put((host, port), keywords | self.at(host, port, now), since=now, until=math.inf)
