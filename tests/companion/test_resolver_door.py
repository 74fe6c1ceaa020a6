"""The resolver door over real sockets: UDP, TCP, several at once, who may not ask, and clients that do not behave."""

import asyncio
import ipaddress
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from unittest.mock import Mock

import dns.flags
import dns.message
import dns.rcode
import pytest

from letterlock.companion import resolver_door
from letterlock.companion.options import ResolverDoorOptions
from letterlock.companion.resolver_door import ResolverDoor
from tests.agreement.build import build
from tests.agreement.internet import Internet
from tests.companion.dns_world import SITE, DnsWorld, query

QUERY = query("mx.s1", "A", do=True).to_wire()
SECONDS = 20.0  # a guard against hanging


@pytest.fixture(name="internet", scope="module")
def fixture_internet(tmp_path_factory: pytest.TempPathFactory) -> Internet:
    return build([SITE], tmp_path_factory.mktemp("zones"))


@asynccontextmanager
async def open_door(
    internet: Internet, options: ResolverDoorOptions | None = None, address: str = "127.0.0.1"
) -> AsyncIterator[tuple[ResolverDoor, tuple[str, int]]]:
    with socket.create_server((address, 0)) as stream, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
        place = address, stream.getsockname()[1]
        datagram.bind(place)
        for each in (stream, datagram):
            each.setblocking(False)
        door = ResolverDoor(options or ResolverDoorOptions(), DnsWorld(internet).answering)
        await door.start([datagram], [stream])
        try:
            yield door, place
        finally:
            await door.stop()


async def over_udp(place: tuple[str, int], *wires: bytes, replies: int | None = None) -> list[bytes]:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        client.connect(place)
        async with asyncio.timeout(SECONDS):
            for wire in wires:
                await loop.sock_sendall(client, wire)
            return [await loop.sock_recv(client, 65_535) for _ in range(len(wires) if replies is None else replies)]


async def over_tcp(place: tuple[str, int], *wires: bytes) -> list[bytes]:
    reader, writer = await asyncio.open_connection(*place)
    writer.write(b"".join(struct.pack("!H", len(wire)) + wire for wire in wires))
    replies = []
    async with asyncio.timeout(SECONDS):
        for _ in wires:
            [length] = struct.unpack("!H", await reader.readexactly(2))
            replies.append(await reader.readexactly(length))
    writer.close()
    return replies


async def test_udp_and_tcp_give_the_same_answer(internet: Internet) -> None:
    async with open_door(internet) as (door, place):
        wires = [*await over_udp(place, QUERY), *await over_tcp(place, QUERY)]
        assert door.responses[dns.rcode.NOERROR] == sum(door.responses) == 2
    replies = [dns.message.from_wire(each) for each in wires]
    for reply in replies:
        assert reply.rcode() == dns.rcode.NOERROR
        assert reply.flags & dns.flags.AD
        assert reply.answer == replies[0].answer


async def test_rfc7766_6_2_1_1_queries_on_one_connection_need_not_wait_for_each_other(internet: Internet) -> None:
    wires = [query(f"n{number}.wild.s1", "TXT", do=True).to_wire() for number in range(150)]  # more than at a time
    async with open_door(internet) as (_, place):
        replies = await over_tcp(place, *wires)
    assert {each[:2] for each in replies} == {each[:2] for each in wires}
    assert all(dns.message.from_wire(each).answer for each in replies)


async def test_a_burst_of_datagrams_is_answered(internet: Internet) -> None:
    wires = [query(f"n{number % 7}.wild.s1", "TXT").to_wire() for number in range(100)]
    async with open_door(internet) as (_, place):
        replies = await over_udp(place, *wires)
    assert {each[:2] for each in replies} == {each[:2] for each in wires}


async def test_who_is_not_on_the_access_list_is_refused_in_no_more_octets(internet: Internet) -> None:
    options = ResolverDoorOptions(allow=(ipaddress.ip_network("192.0.2.0/24"),))
    async with open_door(internet, options) as (door, place):
        [reply] = await over_udp(place, QUERY)
        [over_stream] = await over_tcp(place, QUERY)
        assert len(reply) <= len(QUERY)
        assert dns.message.from_wire(reply).rcode() == dns.message.from_wire(over_stream).rcode() == dns.rcode.REFUSED
        door.reload(ResolverDoorOptions())
        assert dns.message.from_wire((await over_udp(place, QUERY))[0]).answer


async def test_what_must_not_be_answered_is_not_and_the_door_stays_open(internet: Internet) -> None:
    response = bytearray(QUERY)
    response[2] |= 0x80
    async with open_door(internet) as (_, place):
        [reply] = await over_udp(place, b"", b"x", bytes(response), QUERY, replies=1)
    assert reply[:2] == QUERY[:2]


async def test_a_connection_that_sends_no_query_is_ended(internet: Internet) -> None:
    async with open_door(internet) as (door, place):
        reader, writer = await asyncio.open_connection(*place)
        writer.write(b"\0\3GET")
        async with asyncio.timeout(SECONDS):
            assert await reader.read() == b""
        writer.close()
        assert dns.message.from_wire((await over_tcp(place, QUERY))[0]).answer
        assert len(door.connections) <= 1


async def test_idle_connections_end_and_busy_ones_stay(internet: Internet) -> None:
    async with open_door(internet) as (door, place):
        reader, writer = await asyncio.open_connection(*place)
        writer.write(b"\0")
        await until(lambda: bool(door.connections))
        [connection] = door.connections
        connection.end_if_idle(asyncio.get_running_loop().time() + resolver_door.IDLE_SECONDS - 1)
        assert not writer.is_closing()
        connection.end_if_idle(asyncio.get_running_loop().time() + resolver_door.IDLE_SECONDS)
        async with asyncio.timeout(SECONDS):
            await ended(reader)
        writer.close()


async def test_connections_are_bounded(internet: Internet) -> None:
    async with open_door(internet, ResolverDoorOptions(max_connections=1)) as (_, place):
        first = await asyncio.open_connection(*place)
        first[1].write(struct.pack("!H", len(QUERY)) + QUERY)
        async with asyncio.timeout(SECONDS):
            await first[0].readexactly(2)
            second = await asyncio.open_connection(*place)
            await ended(second[0])
        for _, writer in (first, second):
            writer.close()


async def ended(reader: asyncio.StreamReader) -> None:
    """Wait for the end, whether it comes politely or with a reset: something was not read."""
    with suppress(ConnectionError):
        assert await reader.read() == b""


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another end of a socket brings about."""
    while not condition():  # noqa: ASYNC110  # the kernel's buffers have no event
        await asyncio.sleep(0.001)


async def test_a_client_that_does_not_read_is_dropped(internet: Internet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver_door, "MAX_UNREAD_OCTETS", 10_000)
    big = query("big.s1", "TXT", do=True).to_wire()
    async with open_door(internet) as (door, place):
        assert await over_tcp(place, big)
        reader, writer = await asyncio.open_connection(*place)
        for _ in range(5_000):
            writer.write(struct.pack("!H", len(big)) + big)
        async with asyncio.timeout(SECONDS):
            await until(lambda: not door.connections)
        writer.close()
        del reader


async def test_a_client_that_is_gone_again_before_it_is_accepted_is_dropped(internet: Internet) -> None:
    async with open_door(internet) as (door, _):
        transport = Mock(get_extra_info=Mock(return_value=None))
        resolver_door._TcpClient(door).connection_made(transport)
        transport.abort.assert_called_once_with()
        assert not door.connections
