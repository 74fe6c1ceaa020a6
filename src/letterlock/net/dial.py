"""Outgoing TCP connections, as ports.Dialer."""

import asyncio
import ipaddress
import socket

from letterlock.net import tls
from letterlock.net.streams import TcpStream
from letterlock.policy.evidence import Completed, HandshakeFailed
from letterlock.ports import Stream


class TcpDialer:
    """Dials IP addresses only, never names: what was judged is what is dialled."""

    async def dial(self, address: str, port: int) -> Stream:
        """Connect to one address. Raises OSError; ValueError when `address` is no IP address."""
        family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            await asyncio.get_running_loop().sock_connect(connection, (address, port))
            return TcpStream(connection)
        except BaseException:
            connection.close()
            raise

    async def start_tls(
        self, stream: Stream, sni: str | None, *, compatible: bool = False
    ) -> tuple[Stream, Completed | HandshakeFailed]:
        """TLS over a stream that said 220 to STARTTLS; see `letterlock.net.tls.start_tls`."""
        return await tls.start_tls(stream, sni, compatible=compatible)
