"""What a session that is kept for the next message takes: `python -m bench.session_memory [--octets 4096]`.

Sends a message over each of many new sessions inside TLS, proven by DANE, keeps them all, and prints what each has
allocated by malloc (mallinfo2 of glibc: OpenSSL's part, and large objects of Python) at once, and after the pool gave
back the buffers of those that are idle; and the small objects of Python.
"""

import argparse
import asyncio
import ctypes
import gc
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import uvloop
from tests.certificates import Credential, authority
from tests.deliver.world import OPTIONS

from bench.new_session import HOST, Sending, sink
from letterlock.deliver.pool import SPARING_SECONDS, SessionPool
from letterlock.deliver.session import Opened

SESSIONS = 100
LINE = b"x" * 76 + b"\r\n"
WARM_UP = 20  # sessions, whose imports and caches do not count
KEPT_SECONDS = 600.0  # longer than this takes
_FIELDS = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"  # mallinfo(3)


class _MallInfo(ctypes.Structure):
    _fields_: ClassVar[Sequence[tuple[str, type[ctypes.c_size_t]]]] = [
        (name, ctypes.c_size_t) for name in _FIELDS.split()
    ]


class OnlyNewSessions(SessionPool):
    """Keeps sessions, and never hands one out."""

    def take(self, *_: object, **__: object) -> Opened | None:
        """None, always."""
        return None


def allocated() -> int:
    """Bytes that malloc has handed out."""
    measure = ctypes.CDLL(None).mallinfo2
    measure.restype = _MallInfo
    found = measure()
    return int(found.uordblks + found.hblkhd)


async def measure(port: int, credential: Credential, sessions: int, octets: int) -> tuple[float, float, float]:
    """Bytes a session by malloc, at once and when it was idle for a while, and small objects of Python a session."""
    most = sessions + WARM_UP
    sending = Sending(
        port,
        credential,
        replace(OPTIONS, max_idle_sessions=most, max_handshakes_per_host=most, max_connections_per_host=most),
        idle_seconds=KEPT_SECONDS,
        body=LINE * (octets // len(LINE)),
        pool=OnlyNewSessions,
    )
    await sending.send(WARM_UP)
    await asyncio.sleep(2 * SPARING_SECONDS)
    before, blocks = allocated(), sys.getallocatedblocks()
    await sending.send(sessions)
    at_once = allocated()
    await asyncio.sleep(2 * SPARING_SECONDS)
    idle, small = allocated(), sys.getallocatedblocks()
    await sending.pool.close()
    return (at_once - before) / sessions, (idle - before) / sessions, (small - blocks) / sessions


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--sessions", type=int, default=SESSIONS)
    parser.add_argument("--octets", type=int, default=4096, help="of the message")
    given = parser.parse_args()
    gc.disable()
    with tempfile.TemporaryDirectory() as directory:
        credential = authority().leaf(HOST)
        pem, key = credential.write(Path(directory))
        pem.write_bytes(pem.read_bytes() + key.read_bytes())
        with sink(pem) as port:
            at_once, idle, small = uvloop.run(measure(port, credential, given.sessions, given.octets))
    print(
        f"after a message of {given.octets} bytes a session has {at_once / 1000:.1f} KB; idle for "
        f"{SPARING_SECONDS} s, {idle / 1000:.1f} KB; and {small:.0f} small objects of Python"
    )


if __name__ == "__main__":
    main()
