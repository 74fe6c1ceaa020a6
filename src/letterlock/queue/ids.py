"""Names for messages: sortable by time, unique over restarts and workers, and nothing that can be guessed."""

import re
from collections.abc import Callable

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base32: sorts like the number, no I L O U
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
TIME_DIGITS = 9  # milliseconds until the year 3084
CHANCE_DIGITS = 12  # 60 bits: nobody guesses an id, and two never meet
CHANCE_BITS = 5 * CHANCE_DIGITS
"""Several workers make ids in the same millisecond, and a queue may take over another one's messages: 20 bits, as there
were, meet after some hundred pairs of busy milliseconds; 60 bits never do."""
STEP_BITS = 40
"""How far the next id is from the last one, when the clock has not moved on (or was set back): also no guess."""
MAX_ID_CHARACTERS = 64  # chosen: ids of today have 21, and those of other versions or tests may differ
_ID = re.compile(rf"[0-9A-Za-z]{{1,{MAX_ID_CHARACTERS}}}")
_SHIFTS = range(5 * (TIME_DIGITS + CHANCE_DIGITS - 3), -1, -10)  # 5 bits a digit, two digits at a time


class IdMaker:
    """Makes ids from the time in milliseconds and 60 random bits; each is greater than the last one of its process.

    `random_bits` must be unpredictable (the system's): ids are shown to senders, and name messages in orders.
    """

    def __init__(self, now: Callable[[], float], random_bits: Callable[[int], int]) -> None:
        self._now = now
        self._random_bits = random_bits
        self._last = 0

    def __call__(self) -> str:
        """The next id, 21 characters of [0-9A-Z]."""
        number = int(self._now() * 1000) << CHANCE_BITS | self._random_bits(CHANCE_BITS)
        if number <= self._last:
            number = self._last + 1 + self._random_bits(STEP_BITS)
        self._last = number
        return _base32(number)


def _base32(number: int) -> str:
    """As many digits as there are, two at a time."""
    return _ALPHABET[number >> _SHIFTS[0] + 10 & 31] + "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])


def is_id(text: str) -> bool:
    """Whether a text can be a message's id at all."""
    return _ID.fullmatch(text) is not None
