"""Names for messages: short, sortable by time, unique over restarts."""

from collections.abc import Callable

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base32: sorts like the number, no I L O U
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_TIME_DIGITS = 9  # milliseconds until the year 3084
_CHANCE_DIGITS = 4
_SHIFTS = range(5 * (_TIME_DIGITS + _CHANCE_DIGITS - 3), -1, -10)


class IdMaker:
    """Makes ids from the time in milliseconds and 20 random bits; never the same one twice in a process."""

    def __init__(self, now: Callable[[], float], random_bits: Callable[[int], int]) -> None:
        self._now = now
        self._random_bits = random_bits
        self._last = 0

    def __call__(self) -> str:
        """The next id, 13 characters of [0-9A-Z]."""
        number = int(self._now() * 1000) << 20 | self._random_bits(20)
        self._last = max(number, self._last + 1)
        return _base32(self._last)


def _base32(number: int) -> str:
    """As many digits as there are, two at a time."""
    return _ALPHABET[number >> _SHIFTS[0] + 10 & 31] + "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])
