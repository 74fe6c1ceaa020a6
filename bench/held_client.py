"""Clients of `bench.held`: one that sends, and very many that say nothing."""

import resource
import selectors
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from bench.held_server import Server
from bench.relay_source import RECIPIENT, Load, Sender, content

PACE_SECONDS = 0.02
OPENING_SECONDS = 120.0
AT_ONCE = 200  # connections in the making
SPARE_DESCRIPTORS = 100


def send(server: Server, recipient: str, numbers: Sequence[int], octets: int = 4096) -> dict[int, float]:
    """Send messages on one connection, one after the other, at an easy pace; when each was answered 250."""
    sender = Sender(Load(server.address, server.port, octets, tls=False, messages_per_second=0))
    sender.open()
    answered = {}
    for number in numbers:
        sender.ask(b"MAIL FROM:<ann@source.test>\r\n", b"250")
        sender.ask(f"RCPT TO:<{recipient}>\r\n".encode(), b"250")
        sender.ask(b"DATA\r\n", b"354")
        sender.ask(content(number, octets).replace(RECIPIENT, recipient.encode()), b"250")
        answered[number] = time.monotonic()
        time.sleep(PACE_SECONDS)
    sender.close()
    return answered


class NoDescriptors(Exception):
    """This process may not open so many connections."""


@contextmanager
def idling(server: Server, sources: Sequence[str], connections: int) -> Iterator[int]:
    """So many connections that have said EHLO and then nothing; yields how many were let in. Raises NoDescriptors."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < connections + SPARE_DESCRIPTORS:
        raise NoDescriptors(
            f"{connections} connections need RLIMIT_NOFILE of as much and more; the hard limit is {hard}"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with ExitStack() as stack:
        greeted = 0
        for first in range(0, connections, AT_ONCE):
            count = min(AT_ONCE, connections - first)
            greeted += _open(server, sources[first // AT_ONCE % len(sources)], count, stack)
        yield greeted


def _open(server: Server, source: str, count: int, stack: ExitStack) -> int:
    """Connect from one address, and bring each connection behind its EHLO; how many got there."""
    with selectors.DefaultSelector() as selector:
        for _ in range(count):
            connection = stack.enter_context(
                socket.create_connection((server.address, server.port), 30, source_address=(source, 0))
            )
            connection.setblocking(False)
            selector.register(connection, selectors.EVENT_READ, [b"220", b"250 "])
        deadline, ready = time.monotonic() + OPENING_SECONDS, 0
        while selector.get_map() and time.monotonic() < deadline:
            for key, _ in selector.select(1.0):
                assert isinstance(key.fileobj, socket.socket)
                expected = key.data
                if expected.pop(0) not in key.fileobj.recv(4096):
                    selector.unregister(key.fileobj)
                elif expected:
                    key.fileobj.send(b"EHLO idle.test\r\n")
                else:
                    ready += 1
                    selector.unregister(key.fileobj)
    return ready
