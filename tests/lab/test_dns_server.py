"""The lab's DNS server over real sockets, and the addresses that a box takes."""

import asyncio

import dns.asyncquery
import dns.flags
import dns.message
import dns.rrset
import pytest

from letterlock.lab.dns_server import serving
from letterlock.lab.loopback import NoFreeAddresses, reserved
from letterlock.lab.namespace import response_to

ADDRESS = "127.77.3.1"


def large_answer(query: dns.message.Message) -> dns.message.Message:
    """An answer that fits no UDP message."""
    response = response_to(query)
    texts = [f'"{number:03d}{"x" * 200}"' for number in range(10)]
    response.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "TXT", *texts))
    return response


async def test_what_is_too_large_for_udp_is_truncated_and_whole_over_tcp() -> None:
    query = dns.message.make_query("big.test", "TXT", want_dnssec=True, payload=1232)
    async with serving(ADDRESS, large_answer) as port:
        short = await dns.asyncquery.udp(query, ADDRESS, port=port, timeout=5)
        whole = await dns.asyncquery.tcp(query, ADDRESS, port=port, timeout=5)
    assert short.flags & dns.flags.TC
    assert len(whole.answer[0]) == 10


async def test_several_queries_use_one_tcp_connection() -> None:
    query = dns.message.make_query("big.test", "TXT").to_wire()
    async with serving(ADDRESS, large_answer) as port:
        reader, writer = await asyncio.open_connection(ADDRESS, port)
        for _ in range(2):
            writer.write(len(query).to_bytes(2, "big") + query)
            length = int.from_bytes(await reader.readexactly(2), "big")
            assert dns.message.from_wire(await reader.readexactly(length)).answer
        writer.write(b"\x00\x03abc")
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_what_is_no_query_gets_no_answer() -> None:
    async with serving(ADDRESS, large_answer) as port:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=(ADDRESS, port))
        transport.sendto(b"nonsense")
        transport.close()
        query = dns.message.make_query("big.test", "TXT")
        assert (await dns.asyncquery.udp(query, ADDRESS, port=port, timeout=5)).flags & dns.flags.QR


def test_boxes_have_addresses_of_their_own_that_share_a_port() -> None:
    with reserved(5) as one, reserved(5) as other:
        assert one.network != other.network
        assert {berth.getsockname() for berth in one.sockets} == {(one.address(n), one.port) for n in range(5)}
    assert one.sockets[0].fileno() == -1


def test_more_addresses_than_a_network_has_are_refused() -> None:
    with pytest.raises(NoFreeAddresses, match="share ports"), reserved(300):
        pass
