"""Outgoing TCP connections, as ports.Dialer."""

import functools
import ipaddress
import socket

from letterlock.identity.handshake import Completed, HandshakeFailed
from letterlock.net import tls
from letterlock.net.connecting import nonblocking_socket
from letterlock.net.socket_address import socket_address
from letterlock.net.sources import ANY_SOURCE, SourceAddresses
from letterlock.net.streams import TcpStream
from letterlock.ports import Stream


class TcpDialer:
    """Dials IP addresses only, never names: what was judged is what is dialled. `source`: from these addresses."""

    def __init__(self, source: SourceAddresses = ANY_SOURCE) -> None:
        self._source = source

    async def dial(self, address: str, port: int) -> Stream:
        """Connect to one address. Raises OSError; ValueError when `address` is no IP address.

        One of a family without a source address, while the other has one, is not dialled: that is an OSError too.
        """
        family = _family(address)
        if not self._source.reaches(address):
            raise OSError(f"mail is sent from {self._source} only")
        target = socket_address(address, port)
        connection = nonblocking_socket(family, socket.SOCK_STREAM)
        if (source := self._source.towards(address)) is not None:
            try:
                # the port is chosen when it connects, so that one port serves connections to several servers
                connection.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
                connection.bind(socket_address(source, 0))
            except OSError:
                connection.close()
                raise
        stream = TcpStream(connection, address)
        await stream.connect(target)
        return stream

    async def start_tls(
        self, stream: Stream, sni: str | None, *, compatible: bool = False
    ) -> tuple[Stream, Completed | HandshakeFailed]:
        """TLS over a stream that said 220 to STARTTLS; see `letterlock.net.tls.start_tls`."""
        return await tls.start_tls(stream, sni, compatible=compatible)


@functools.lru_cache(maxsize=1024)  # a few servers take most mail; 100 bytes each
def _family(address: str) -> socket.AddressFamily:
    """The family of an IP address. Raises ValueError for anything else: a name would be looked up."""
    return socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
