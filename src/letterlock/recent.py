"""The one memory that ends: what was found out or decided lately is not found out or decided again.

For a second on the way of a message, unless the holder says otherwise.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

EVIDENCE_SECONDS = 5.0
"""How long what was found out of a destination stands, and what was decided on it: never beyond the TTL of its MX, SRV,
address and TLSA records. Chosen: at a hundred messages a second to a thousand domains, most messages to one of them are
seconds apart; and it is as long as a session with it is kept."""
RECENT_SECONDS = 1.0  # shorter than any TTL but zero, and than a message is under way: no answer outlives its record

ENDED_AT_ONCE = 2  # more than the one that comes, so that all that has ended goes; and it takes no long pause

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class Recent(Generic[_Key, _Value]):
    """Values by key, each for `seconds` at most; at most `size` of them, the one put in first being forgotten first.

    Time is an argument, in seconds of whichever clock the holder goes by. A value counts from when it was put in until
    it ends: after a clock was set back, what was put in later than now is not known. What has ended goes when others
    are put in, so that a busy holder keeps no more than what it may still give.
    """

    __slots__ = ("_known", "_seconds", "_size")

    def __init__(self, *, seconds: float = RECENT_SECONDS, size: int) -> None:
        self._seconds = seconds
        self._size = size
        self._known: dict[_Key, tuple[float, float, _Value]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: _Key, now: float) -> _Value | None:
        """The value of a key, unless it has ended."""
        found = self._known.get(key)
        return found[2] if found is not None and found[0] <= now < found[1] else None

    def put(self, key: _Key, value: _Value, *, since: float, until: float) -> None:
        """Remember a value that holds from `since` until `until`, and for `seconds` at most."""
        known = self._known
        known.pop(key, None)  # so that it is the last in order again
        for _ in range(min(ENDED_AT_ONCE, len(known))):  # those put in first
            first = next(iter(known))
            if len(known) < self._size and known[first][1] > since:
                break
            del known[first]
        end = since + self._seconds
        known[key] = since, min(end, until), value

    def forget(self, key: _Key) -> None:
        """Forget the value of a key, if there is one."""
        self._known.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        self._known.clear()
