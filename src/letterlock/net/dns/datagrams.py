"""A query over UDP: a socket of its own, and strict matching of what comes back (RFC 5452)."""

import asyncio
import socket
from collections.abc import Callable

from letterlock.net.dns.upstream import Upstream
from letterlock.net.socket_address import socket_address

MAX_DATAGRAM_OCTETS = 4096  # chosen: more than the 1,232 that we offer, for upstreams that send more
MAX_STRAYS = 64  # chosen: a guesser has then tried 64 of 65,536 ids, and the query goes over TCP instead


class Harassed(OSError):
    """So many datagrams came that do not answer the query that somebody may be guessing."""


async def ask_over_udp(
    upstream: Upstream, query: bytes, fits: Callable[[bytes], bool], stray: Callable[[], None]
) -> bytes:
    """Send a query from a port of its own, wait for the reply that fits; `stray` is called for each other one.

    There is no timeout here. Raises OSError; Harassed after MAX_STRAYS strays: then use TCP.
    """
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in upstream.address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.setblocking(False)
        # the kernel chooses the port, and drops what others send
        asking.connect(socket_address(upstream.address, upstream.port))
        await loop.sock_sendall(asking, query)
        for _ in range(MAX_STRAYS):
            reply = await loop.sock_recv(asking, MAX_DATAGRAM_OCTETS)
            if fits(reply):
                return reply
            stray()
            await asyncio.sleep(0)  # a flood is read without waiting: others want the loop, too
    raise Harassed(f"{upstream} sent {MAX_STRAYS} datagrams that do not answer the query")
