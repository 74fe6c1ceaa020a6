"""The addresses that connections are made from."""

import asyncio
import errno
import socket
from contextlib import closing

import pytest

from letterlock.net import sources
from letterlock.net.dial import TcpDialer
from letterlock.net.ourselves import Ourselves
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


def _without_ipv6(family: int = socket.AF_INET, *kinds: int) -> socket.socket:
    """The system call on a machine that was started without IPv6."""
    if family == socket.AF_INET6:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
    return REAL(family, *kinds)


REAL = socket.socket


def test_a_machine_without_ipv6_has_no_address_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", _without_ipv6)
    assert sources.address_towards("2001:db8::1") is None
    assert sources.usual_address_towards("2001:db8::1") is None
    assert sources.address_towards("127.0.0.1") == "127.0.0.1"
    assert not Ourselves([("::", 25)]).listens("2001:db8::1", 25)


def test_that_there_is_no_route_now_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", _without_ipv6)
        assert sources.usual_address_towards("::1") is None
    assert sources.usual_address_towards("::1") == "::1"
