"""The addresses that connections are made from."""

import asyncio
import socket
from contextlib import closing

import pytest

from letterlock.net.dial import TcpDialer
from letterlock.net.sources import ANY_SOURCE, SourceAddresses, parse_sources, unusable


def test_one_of_each_family_at_most() -> None:
    assert parse_sources([]) == ANY_SOURCE
    assert parse_sources(["192.0.2.1"]) == SourceAddresses(ipv4="192.0.2.1")
    both = parse_sources(["2001:DB8::1", "192.0.2.1"])
    assert both == SourceAddresses("192.0.2.1", "2001:db8::1")
    assert str(both) == "192.0.2.1 and 2001:db8::1"
    with pytest.raises(ValueError, match="both IPv6"):
        parse_sources(["::1", "::2"])


def test_the_family_without_an_address_is_left_out_unless_neither_has_one() -> None:
    assert ANY_SOURCE.reaches("192.0.2.9")
    assert ANY_SOURCE.reaches("2001:db8::9")
    only = SourceAddresses(ipv6="2001:db8::1")
    assert not only.reaches("192.0.2.9")
    assert only.towards("2001:db8::9") == "2001:db8::1"


def test_an_address_of_this_machine_can_be_used_and_another_not() -> None:
    assert unusable("127.0.0.1") is None
    assert unusable("192.0.2.1") == "Cannot assign requested address"


@pytest.mark.parametrize(("host", "source"), [("127.0.0.1", "127.77.1.9"), ("::1", "::1")])
async def test_the_server_sees_the_source_address(host: str, source: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.create_server((host, 0), family=family)) as listener:
        stream = await TcpDialer(parse_sources([source])).dial(host, listener.getsockname()[1])
        connection, seen = await asyncio.to_thread(listener.accept)
        connection.close()
        await stream.close()
    assert seen[0] == source


async def test_the_other_family_is_not_dialled() -> None:
    with pytest.raises(OSError, match=r"mail is sent from 127\.0\.0\.1 only"):
        await TcpDialer(SourceAddresses(ipv4="127.0.0.1")).dial("::1", 25)


async def test_an_address_that_went_away_is_an_error_of_the_connection() -> None:
    with pytest.raises(OSError, match="Cannot assign"):
        await TcpDialer(SourceAddresses(ipv4="192.0.2.1")).dial("127.0.0.1", 25)
