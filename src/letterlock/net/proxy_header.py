"""The PROXY protocol, versions 1 and 2 (HAProxy, proxy-protocol.txt): a proxy introduces the client.

The header is read octet for octet, so that nothing of what the client sends is taken with it.
"""

import asyncio
import ipaddress
import socket
import struct
from dataclasses import dataclass

MAX_LINE_OCTETS = 107  # version 1, section 2.1, with its CRLF
MAX_BLOCK_OCTETS = 4096  # version 2: addresses, and what proxies add about TLS; real ones have some hundred octets
_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED = struct.Struct("!12sBBH")
_SHORTEST = 15  # `PROXY UNKNOWN` and CRLF; less than the fixed part of version 2
_TCP4, _TCP6 = 0x11, 0x21
_ADDRESSES = {_TCP4: struct.Struct("!4s4sHH"), _TCP6: struct.Struct("!16s16sHH")}
_LOCAL, _PROXY = 0x20, 0x21


class BadProxyHeader(Exception):
    """The proxy does not speak the protocol; `str()` says why."""


@dataclass(frozen=True, slots=True)
class Introduced:
    """The client's IP address and the one that it came to; both None for a connection of the proxy's own."""

    source: str | None = None
    destination: str | None = None


async def read_proxy_header(connection: socket.socket) -> Introduced:
    """Read the header. The caller bounds the time. Raises BadProxyHeader, OSError."""
    loop = asyncio.get_running_loop()
    octets = await _exactly(loop, connection, _SHORTEST)
    if octets.startswith(_SIGNATURE):
        octets += await _exactly(loop, connection, _FIXED.size - _SHORTEST)
        length = _FIXED.unpack(octets)[3]
        if length > MAX_BLOCK_OCTETS:
            raise BadProxyHeader(f"a header of {length} octets")
        return parse_block(octets + await _exactly(loop, connection, length))
    while not octets.endswith(b"\n"):
        if len(octets) >= MAX_LINE_OCTETS or not octets.startswith(b"PROXY "):
            raise BadProxyHeader(f"no header, but {octets[:20]!r}")
        octets += await _exactly(loop, connection, 1)
    return parse_line(octets)


async def _exactly(loop: asyncio.AbstractEventLoop, connection: socket.socket, wanted: int) -> bytes:
    octets = b""
    while len(octets) < wanted:
        more = await loop.sock_recv(connection, wanted - len(octets))
        if not more:
            raise BadProxyHeader("the connection ended within the header")
        octets += more
    return octets


def parse_line(line: bytes) -> Introduced:
    """Version 1: a line with its CRLF. Raises BadProxyHeader."""
    if not line.endswith(b"\r\n") or line.count(b"\n") != 1:
        raise BadProxyHeader("a line without CRLF")
    words = line[:-2].decode("ascii", "replace").split(" ")
    if words[:2] == ["PROXY", "UNKNOWN"]:
        return Introduced()
    if len(words) != 6 or words[0] != "PROXY" or words[1] not in ("TCP4", "TCP6"):  # section 2.1
        raise BadProxyHeader(f"a malformed line {line[:60]!r}")
    version = int(words[1][-1])
    if not all(port.isascii() and port.isdigit() and int(port) <= 65535 for port in words[4:]):
        raise BadProxyHeader("a malformed port")
    return Introduced(_address(words[2], version), _address(words[3], version))


def parse_block(octets: bytes) -> Introduced:
    """Version 2: the fixed part, the addresses, and what may follow. Raises BadProxyHeader."""
    signature, command, family, length = _FIXED.unpack_from(octets)
    if signature != _SIGNATURE or length != len(octets) - _FIXED.size:
        raise BadProxyHeader("a malformed header")
    if command == _LOCAL:
        return Introduced()
    if command != _PROXY:
        raise BadProxyHeader(f"version and command 0x{command:02x}")
    if family not in _ADDRESSES:  # section 2.2: such a connection keeps the addresses that it really has
        return Introduced()
    addresses = _ADDRESSES[family]
    if length < addresses.size:
        raise BadProxyHeader("addresses that are cut off")
    source, destination, _, _ = addresses.unpack_from(octets, _FIXED.size)
    return Introduced(str(ipaddress.ip_address(source)), str(ipaddress.ip_address(destination)))


def _address(text: str, version: int) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        address = None
    if address is None or address.version != version or "%" in text:
        raise BadProxyHeader(f"{text!r} is no IPv{version} address")
    return str(address)
