"""Unpredictable bits, asked of the system in blocks."""

import os

BLOCK_OCTETS = 1024  # one system call for about a hundred message ids


class SecretBits:
    """Gives unpredictable random bits; a call costs a slice instead of a system call.

    Make it after the process has forked: two processes with one block would give the same bits.
    """

    def __init__(self) -> None:
        self._block = b""
        self._at = 0

    def __call__(self, bits: int) -> int:
        """A number below 2**bits, for at most 8 * BLOCK_OCTETS bits."""
        octets = bits + 7 >> 3
        start = self._at
        self._at = end = start + octets
        if end > len(self._block):
            self._block, start, self._at = os.urandom(BLOCK_OCTETS), 0, octets
            end = octets
        return int.from_bytes(self._block[start:end], "big") >> (octets << 3) - bits
