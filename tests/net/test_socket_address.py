"""Addresses with a zone, such as `fe80::1%eth0`, keep their interface from the text to the socket (RFC 4007)."""

import socket
import threading
from contextlib import suppress

import pytest

from letterlock.app.binding import bind
from letterlock.config.checked_values import Endpoint, endpoint
from letterlock.net.dial import TcpDialer
from letterlock.net.dns import UpstreamTransport, datagrams, parse_upstream
from letterlock.net.dns.datagrams import Datagrams
from letterlock.net.socket_address import socket_address
from letterlock.sendmail.session import SubmissionSession
from tests.net.dns_servers import query, serving, text_of

LOOPBACK = "lo"  # an address of the loopback may have its zone, and every machine has that


def test_rfc4007_11_the_zone_becomes_the_number_of_its_interface() -> None:
    number = socket.if_nametoindex(LOOPBACK)
    assert socket_address("fe80::1%lo", 53) == ("fe80::1", 53, 0, number)
    assert socket_address(f"fe80::1%{number}", 53) == ("fe80::1", 53, 0, number)
    assert socket_address("fe80::1", 53) == ("fe80::1", 53)
    assert socket_address("192.0.2.1", 53) == ("192.0.2.1", 53)


def test_an_interface_that_is_not_there_is_named() -> None:
    with pytest.raises(OSError, match="there is no network interface nowhere0"):
        socket_address("fe80::1%nowhere0", 53)


@pytest.mark.parametrize("tcp", [False, True])
async def test_an_upstream_with_a_zone_is_asked(tcp: bool) -> None:
    async with serving(host="::1") as server:
        upstream = parse_upstream(f"[::1%{LOOPBACK}]:{server.upstream.port}")
        transport = UpstreamTransport([upstream])
        try:
            assert text_of(await transport(query(), tcp)) == "good"
        finally:
            await transport.aclose()


@pytest.mark.parametrize("tcp", [False, True])
async def test_an_upstream_at_an_interface_that_is_not_there_fails_at_once(tcp: bool) -> None:
    transport = UpstreamTransport([parse_upstream("fe80::1%nowhere0")])
    with pytest.raises(OSError, match="no network interface nowhere0"):
        await transport(query(), tcp)


async def test_a_link_local_upstream_is_asked_at_its_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    connected: list[object] = []

    class Asking(socket.socket):
        def connect(self, address: object) -> None:
            connected.append(address)
            raise ConnectionRefusedError

    monkeypatch.setattr(datagrams, "nonblocking_socket", Asking)
    with pytest.raises(ConnectionRefusedError):
        await Datagrams(parse_upstream("fe80::1%lo"), query(), lambda _: True, lambda: None).reply
    assert connected == [("fe80::1", 53, 0, socket.if_nametoindex(LOOPBACK))]


async def test_a_listener_with_a_zone_is_reached_by_the_dialer() -> None:
    place = endpoint(f"[::1%{LOOPBACK}]:0")
    assert place == Endpoint(f"::1%{LOOPBACK}", 0)
    [bound] = bind([place])
    with bound:
        port = bound.getsockname()[1]
        stream = await TcpDialer().dial(f"::1%{LOOPBACK}", port)
        stream.abort()
        bound.accept()[0].close()


def test_sendmail_finds_a_listener_with_a_zone() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:

        def converse() -> None:
            with listener.accept()[0] as connection, suppress(ConnectionError):  # the session is closed without QUIT
                connection.sendall(b"220 here.example ESMTP\r\n")
                connection.recv(1000)

        server = threading.Thread(target=converse)
        server.start()
        session = SubmissionSession((f"[::1%{LOOPBACK}]:{listener.getsockname()[1]}",))
        session.close()
        server.join()
