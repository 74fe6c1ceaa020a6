"""The PROXY protocol, versions 1 and 2."""

import asyncio
import contextlib
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.net.proxy_header import BadProxyHeader, Introduced, parse_block, parse_line, read_proxy_header

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V4 = struct.pack("!4s4sHH", bytes([192, 0, 2, 1]), bytes([198, 51, 100, 25]), 1000, 25)
V6 = struct.pack("!16s16sHH", socket.inet_pton(socket.AF_INET6, "2001:db8::1"), b"\0" * 15 + b"\1", 1000, 25)


def block(command: int, family: int, rest: bytes) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(rest)) + rest


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"PROXY TCP4 192.0.2.1 198.51.100.25 1000 25\r\n", Introduced("192.0.2.1", "198.51.100.25")),
        (b"PROXY TCP6 2001:db8::1 ::1 1000 25\r\n", Introduced("2001:db8::1", "::1")),
        (b"PROXY UNKNOWN\r\n", Introduced()),
        (b"PROXY UNKNOWN whatever it says\r\n", Introduced()),
        (block(0x21, 0x11, V4), Introduced("192.0.2.1", "198.51.100.25")),
        (block(0x21, 0x11, V4 + b"\x04\x00\x01x"), Introduced("192.0.2.1", "198.51.100.25")),
        (block(0x21, 0x21, V6), Introduced("2001:db8::1", "::1")),
        (block(0x20, 0x00, b""), Introduced()),
        (block(0x21, 0x00, b"ignored"), Introduced()),
        (block(0x21, 0x31, b"\0" * 216), Introduced()),
    ],
)
async def test_a_header_is_read_and_nothing_of_what_follows(header: bytes, expected: Introduced) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.sendall(header + b"EHLO client.example\r\n")
        async with asyncio.timeout(10):
            assert await read_proxy_header(ours) == expected
        assert ours.recv(100) == b"EHLO client.example\r\n"


@pytest.mark.parametrize(
    "octets",
    [
        b"EHLO client.example\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.25 1000\r\n",
        b"PROXY TCP4 2001:db8::1 ::1 1000 25\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.25 1000 70000\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 1000 25\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.25 1000 25\n",
        b"PROXY TCP4 " + b"1" * 200 + b"\r\n",
        b"PROXY",
        block(0x22, 0x11, V4),
        block(0x31, 0x11, V4),
        block(0x21, 0x11, V4[:8]),
        SIGNATURE + struct.pack("!BBH", 0x21, 0x11, 60_000),
        b"\r\n\r\n\x00\r\nQUIT\r\n!!!",
    ],
)
async def test_what_is_no_header_is_refused(octets: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        ours.setblocking(False)
        theirs.sendall(octets)
        theirs.close()
        with pytest.raises(BadProxyHeader):
            async with asyncio.timeout(10):
                await read_proxy_header(ours)


@given(st.binary(max_size=120))
def test_any_line_and_any_block_is_read_or_refused(octets: bytes) -> None:
    with contextlib.suppress(BadProxyHeader):
        parse_line(octets + b"\r\n")
    with contextlib.suppress(BadProxyHeader):
        parse_block(SIGNATURE + octets.ljust(4, b"\0"))
