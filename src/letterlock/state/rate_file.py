"""How much somebody has sent lately, counted by all workers together, in a file of a fixed size that they all map.

Each entry is one moment: that at which what was sent so far would have been allowed evenly over time (the generic cell
rate algorithm). So an entry needs no timer and no cleaning, and forgets by itself. Time is that since the machine
started; after a restart of the machine everything is forgotten.

The file has room for 65,536 entries. When a part of it is full, the entry that is nearest to being forgotten makes
room: frequent senders stay.
"""

import fcntl
import hashlib
import mmap
import os
import secrets
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ENTRIES_IN_SET: Final = 8  # 128 bytes, two cache lines: a lookup reads no more
SETS: Final = 8192  # with 8 entries of 16 bytes each: 1 MB, as much as a thousand small messages
_ENTRY = struct.Struct("=8sd")
_SET_OCTETS: Final = ENTRIES_IN_SET * _ENTRY.size
_HEADER: Final = 4096  # one page
_SECRET_OCTETS: Final = 32  # 256 bits of chance, so that nobody can choose keys that share a set
_BOOT_OCTETS: Final = 64  # the boot id of Linux has 36 characters


class RateFile:
    """The counters. `path` None: those of this process only."""

    def __init__(self, path: Path | None, boot: str) -> None:
        """`boot`: which start of the machine this is. Raises OSError."""
        self._descriptor = -1 if path is None else os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if path is not None:
                # not as a sparse file: to write where a full disk has no room would kill the process (SIGBUS)
                os.posix_fallocate(self._descriptor, 0, _HEADER + SETS * _SET_OCTETS)
            self._map = mmap.mmap(self._descriptor, _HEADER + SETS * _SET_OCTETS)
        except OSError:
            self.close()
            raise
        with self._locked(0, _HEADER):
            self._begin(boot.encode()[:_BOOT_OCTETS].ljust(_BOOT_OCTETS, b"\0"))
        self._secret = self._map[_BOOT_OCTETS : _BOOT_OCTETS + _SECRET_OCTETS]

    def _begin(self, boot: bytes) -> None:
        """Forget what was counted before the machine started, and draw a secret, so that nobody can aim at an entry."""
        if self._map[:_BOOT_OCTETS] != boot:
            self._map[_HEADER:] = bytes(SETS * _SET_OCTETS)
            self._map[_BOOT_OCTETS : _BOOT_OCTETS + _SECRET_OCTETS] = secrets.token_bytes(_SECRET_OCTETS)
            self._map[:_BOOT_OCTETS] = boot

    def take(self, key: str, cost: float, most: float, seconds: float, now: float) -> float:
        """Count `cost` for a key, of which at most `most` may come within `seconds`; 0.0, or how long it has to wait.

        What has to wait is not counted. A cost beyond `most` counts as `most`: else it could never come.
        """
        mark, start = self._place(key)
        with self._locked(start, _SET_OCTETS):
            at, since = self._find(start, mark)
            until = max(since, now) + min(cost, most) * seconds / most
            wait = until - now - seconds
            if wait > seconds * 1e-9:  # more than what a sum of fractions is wrong by
                return wait
            _ENTRY.pack_into(self._map, at, mark, until)
        return 0.0

    def add(self, key: str, cost: float, most: float, seconds: float, now: float) -> float:
        """Count `cost` for a key in any case, up to `most`: how much is counted then. It is forgotten evenly."""
        mark, start = self._place(key)
        with self._locked(start, _SET_OCTETS):
            at, since = self._find(start, mark)
            until = min(max(since, now) + cost * seconds / most, now + seconds)
            _ENTRY.pack_into(self._map, at, mark, until)
        return (until - now) * most / seconds

    def counted(self, key: str, most: float, seconds: float, now: float) -> float:
        """How much is counted for a key at `now`, where `most` may be counted in `seconds`."""
        mark, start = self._place(key)
        with self._locked(start, _SET_OCTETS):
            _, until = self._find(start, mark)
        return max(0.0, until - now) * most / seconds

    def forget(self, key: str) -> None:
        """Nothing is counted for a key any more."""
        mark, start = self._place(key)
        with self._locked(start, _SET_OCTETS):
            at, until = self._find(start, mark)
            if until:
                _ENTRY.pack_into(self._map, at, mark, 0.0)

    def _place(self, key: str) -> tuple[bytes, int]:
        """The mark of a key, and where its set begins."""
        hashed = hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=16, key=self._secret).digest()
        return hashed[:8], _HEADER + int.from_bytes(hashed[8:], "big") % SETS * _SET_OCTETS

    def _find(self, start: int, mark: bytes) -> tuple[int, float]:
        """Where the entry is, or the one that makes room, and its moment (0.0 for a new one)."""
        oldest, oldest_until = start, float("inf")
        for at in range(start, start + _SET_OCTETS, _ENTRY.size):
            found, until = _ENTRY.unpack_from(self._map, at)
            if found == mark:
                return at, until
            if until < oldest_until:
                oldest, oldest_until = at, until
        return oldest, 0.0

    @contextmanager
    def _locked(self, start: int, octets: int) -> Iterator[None]:
        if self._descriptor < 0:
            yield
            return
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX, octets, start)
        try:
            yield
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, octets, start)

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
