"""Servers that break on an extension that they offer themselves; for a day it is not used with them.

What looks like this may also be a connection that broke by chance, or an attacker's doing. It costs a round trip or
two, and touches nothing that protects a message: only extensions that save time are ever forgotten. The same is
remembered for an hour of servers that offer PIPELINING, and lose a session where an envelope follows a content.
"""

import math

from letterlock.recent import Recent

BROKEN_SECONDS = 86_400.0  # longer than the longest usual wait between two attempts, and short enough to see a repair
BROKEN_GROUP_SECONDS = 3_600.0  # chosen: the busiest hosts lose a session by chance now and then, and gain most
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


class BrokenGroups:
    """Hosts and ports where a session was lost in a group of a content and the next envelope (RFC 2920 section 3.1)."""

    def __init__(self) -> None:
        self._broken: Recent[tuple[str, int], bool] = Recent(seconds=BROKEN_GROUP_SECONDS, size=MAX_REMEMBERED)

    def at(self, host: str, port: int, now: float) -> bool:
        """Whether nothing is to follow a content in its group there."""
        return bool(len(self._broken)) and self._broken.get((host, port), now) is not None

    def remember(self, host: str, port: int, now: float) -> None:
        """A session with the host was lost there."""
        self._broken.put((host, port), True, since=now, until=math.inf)
