"""What source and sink tell: who saw which message when, as records of fixed size on a pipe.

All times are of CLOCK_MONOTONIC, which the processes of one machine share.
"""

import os
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

_RECORD = struct.Struct("<cdQ")  # far below PIPE_BUF, so that writers of one pipe never mix
FIRST_BYTE, ACCEPTED, DELIVERED, FAILED = b"S", b"A", b"D", b"F"
CONNECTED, HANDSHAKEN, CLOSED = b"C", b"H", b"X"  # their numbers are of hosts
_DOMAIN_BITS = 16
MARK = b"Subject: relay "  # a message carries its number in its subject


@dataclass(frozen=True, slots=True)
class Stamp:
    """`kind` happened to message `number` at `at` seconds."""

    kind: bytes
    at: float
    number: int


def tell(descriptor: int, kind: bytes, number: int) -> None:
    """Write a stamp of this moment."""
    os.write(descriptor, _RECORD.pack(kind, time.monotonic(), number))


def delivery(number: int, domain: int) -> int:
    """A message and the domain of its recipient in one number."""
    return number << _DOMAIN_BITS | domain


def parts_of(combined: int) -> tuple[int, int]:
    """The message and the domain that `delivery` put together."""
    return combined >> _DOMAIN_BITS, combined & ((1 << _DOMAIN_BITS) - 1)


class StampReader:
    """Stamps from a descriptor that is not blocking."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._buffer = b""

    def read(self) -> Iterator[Stamp]:
        """What has come since the last time."""
        try:
            self._buffer += os.read(self._descriptor, 1 << 16)
        except BlockingIOError:
            return
        whole = len(self._buffer) // _RECORD.size * _RECORD.size
        data, self._buffer = self._buffer[:whole], self._buffer[whole:]
        for kind, at, number in _RECORD.iter_unpack(data):
            yield Stamp(kind, at, number)


def number_of(content: bytes) -> int:
    """The number in a message's subject; 0 when there is none."""
    start = content.find(MARK)
    if start < 0:
        return 0
    start += len(MARK)
    return int(content[start : content.index(b"\r\n", start)])
