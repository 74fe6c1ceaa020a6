"""Logins that were checked a short while ago: the same user with the same password is not checked again.

A check takes some 20 ms of CPU by intention, and mail programs log in anew for each message. What is remembered is a
keyed hash of the name, the stored hash and the password, under a key of this process that is never written anywhere. A
changed password or a removed user has another stored hash, or none, so it counts at once. A wrong password is always
checked in full: what is remembered shows only to those who know the password.
"""

import hashlib
import math
import secrets
from collections.abc import Callable

from letterlock.recent import Recent

MAX_REMEMBERED = 10_000  # logins: some 2 MB; of more, the oldest are forgotten
_KEY_OCTETS = 32  # 256 bits


class RememberedLogins:
    """The logins of one process. `seconds` 0.0: nothing is remembered."""

    def __init__(self, seconds: float, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._key = secrets.token_bytes(_KEY_OCTETS)
        self._known: Recent[bytes, bool] = Recent(seconds=seconds, size=MAX_REMEMBERED)

    def knows(self, name: str, stored: str, password: str) -> bool:
        """Whether this very login was checked lately."""
        return self._known.get(self._mark(name, stored, password), self._monotonic()) is not None

    def remember(self, name: str, stored: str, password: str) -> None:
        """The login was checked now; it is remembered from here on, however often it comes again."""
        self._known.put(self._mark(name, stored, password), True, since=self._monotonic(), until=math.inf)

    def _mark(self, *words: str) -> bytes:
        parts = b"".join(len(word.encode()).to_bytes(4) + word.encode() for word in words)
        return hashlib.blake2b(parts, digest_size=32, key=self._key).digest()
