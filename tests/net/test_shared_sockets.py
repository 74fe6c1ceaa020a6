"""Queries to a resolver on this machine share sockets; across a network each has a port of its own."""

import asyncio
import socket

import pytest

from letterlock.net.dns import Upstream, UpstreamTransport, shared_sockets
from letterlock.net.dns.datagrams import Datagrams
from letterlock.net.dns.shared_sockets import MAX_STRAYS, SharedSocket, SharedSockets, is_local
from letterlock.resolver.answer import NoUpstream
from tests.net.dns_servers import Server, asking, good, query, reply, serving, silent, text_of


@pytest.fixture(autouse=True)
def any_port_is_privileged(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that may not listen below 1024."""
    monkeypatch.setattr(shared_sockets, "PRIVILEGED_PORTS", 1 << 16)


def numbered(count: int, first: int = 1) -> list[bytes]:
    return [query(f"n{number}.example.", "TXT", message_id=number) for number in range(first, first + count)]


async def named(wire: bytes) -> list[bytes]:
    """Answers with the id of what was asked, which tells replies apart."""
    return [reply(wire, text=str(int.from_bytes(wire[:2], "big")))]


@pytest.mark.parametrize(
    ("address", "port", "local"),
    [
        ("127.0.0.1", 53, True),
        ("127.8.9.1", 1023, True),
        ("::1", 53, True),
        ("127.0.0.1", 5353, False),
        ("192.0.2.53", 53, False),
        ("2001:db8::53", 53, False),
        ("fe80::1%lo", 53, False),
    ],
)
def test_rfc5452_4_5_only_where_nobody_can_forge_is_a_port_shared(
    monkeypatch: pytest.MonkeyPatch, address: str, port: int, local: bool
) -> None:
    monkeypatch.undo()
    assert is_local(Upstream(address, port)) is local


async def test_queries_one_after_the_other_and_at_once_share_a_socket() -> None:
    async with serving(named) as server, asking(server) as transport:
        for wire in numbered(3):
            assert text_of(await transport(wire, False)) == str(int.from_bytes(wire[:2], "big"))
        replies = await asyncio.gather(*(transport(wire, False) for wire in numbered(50)))
        assert [text_of(each) for each in replies] == [str(number) for number in range(1, 51)]
        assert len(server.ports) == 1
        assert server.streamed == []


async def test_replies_in_any_order_go_to_their_queries() -> None:
    held: list[bytes] = []

    async def backwards(wire: bytes) -> list[bytes]:
        held.append(wire)
        return [(await named(each))[0] for each in reversed(held)] if len(held) == 5 else []

    async with serving(backwards) as server, asking(server) as transport:
        replies = await asyncio.gather(*(transport(wire, False) for wire in numbered(5)))
        assert [text_of(each) for each in replies] == ["1", "2", "3", "4", "5"]


async def test_two_queries_with_one_id_do_not_share() -> None:
    async with serving(named) as server, asking(server) as transport:
        twins = [query(name, "TXT", message_id=7) for name in ("a.example.", "b.example.")]
        assert [text_of(each) for each in await asyncio.gather(*(transport(twin, False) for twin in twins))] == [
            "7"
        ] * 2
        assert len(server.ports) == 2


async def test_a_reply_to_another_question_with_the_same_id_is_a_stray() -> None:
    async def wrong_first(wire: bytes) -> list[bytes]:
        return [reply(query("other.example.", "TXT", message_id=1), text="forged"), reply(wire)]

    async with serving(wrong_first) as server, asking(server) as transport:
        assert text_of(await transport(numbered(1)[0], False)) == "good"
        assert transport.strays == 1


async def test_a_reply_that_comes_twice_is_nobodys() -> None:
    async def twice(wire: bytes) -> list[bytes]:
        return [reply(wire), reply(wire, text="late")]

    async with serving(twice) as server, asking(server) as transport:
        for wire in numbered(3):
            assert text_of(await transport(wire, False)) == "good"
        assert len(server.ports) == 1
        assert transport.strays >= 2


async def test_more_queries_than_the_sockets_take_have_sockets_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_sockets, "MAX_ASKED", 4)
    monkeypatch.setattr(shared_sockets, "MAX_SOCKETS", 2)
    come = asyncio.Event()
    count = 4 * 2 + 3

    async def when_all_are_there(wire: bytes) -> list[bytes]:
        if len(server.datagrams) == count:
            come.set()
        await come.wait()
        return await good(wire)

    async with serving(when_all_are_there) as server, asking(server) as transport:
        async with asyncio.timeout(20):  # against a test that hangs
            replies = await asyncio.gather(*(transport(wire, False) for wire in numbered(count)))
        assert {text_of(each) for each in replies} == {"good"}
        assert len(server.ports) == 2 + 3


async def test_where_nobody_listens_every_query_fails_at_once() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
    async with asking(Upstream("127.0.0.1", port)) as transport:
        async with asyncio.timeout(1):  # less than a try is given
            failed = await asyncio.gather(*(transport(wire, False) for wire in numbered(5)), return_exceptions=True)
    assert {type(each) for each in failed} == {NoUpstream}


async def test_a_resolver_that_was_restarted_is_asked_again() -> None:
    async with serving() as server, asking(server) as transport:
        assert text_of(await transport(numbered(1)[0], False)) == "good"
        [port] = server.ports
        again = numbered(1, first=2)[0]
        # as an error of the kernel's would
        for each in tuple(transport._here().local.values()):
            for sharing in tuple(each._sockets):
                sharing.give_up()
        assert text_of(await transport(again, False)) == "good"
        assert server.ports - {port}


async def test_a_query_that_nobody_waits_for_leaves_room() -> None:
    came = asyncio.Event()

    async def deaf(wire: bytes) -> list[bytes]:
        came.set()
        return await silent(wire) if b"deaf" in wire else [reply(wire)]

    async with serving(deaf) as server, asking(server) as transport:
        waiting = asyncio.create_task(transport(query("deaf.example.", "TXT", message_id=1), False))
        await came.wait()
        waiting.cancel()
        await asyncio.wait({waiting})
        assert text_of(await transport(numbered(1)[0], False)) == "good", "its id is free"
        assert len(server.ports) == 1


def test_servers_of_tests_are_local() -> None:
    """Else the tests above say nothing."""
    assert is_local(Server(Upstream("127.0.0.1", 40_000)).upstream)


def sharing_of(transport: UpstreamTransport) -> SharedSocket:
    """The one socket that is shared now."""
    [sharing] = [each for sockets in transport._here().local.values() for each in sockets._sockets]
    return sharing


async def test_an_error_of_one_query_fails_no_other() -> None:
    """An error on a socket says nothing of the other queries on it: their replies may be on their way."""
    come = asyncio.Event()

    async def when_it_has_failed(wire: bytes) -> list[bytes]:
        if len(server.ports) == 1:
            come.set()
            return []
        return await named(wire)

    async with serving(when_it_has_failed) as server, asking(server) as transport:
        waiting = [asyncio.create_task(transport(wire, False)) for wire in numbered(5)]
        await come.wait()
        sharing_of(transport).give_up()
        assert [text_of(each) for each in await asyncio.gather(*waiting)] == ["1", "2", "3", "4", "5"]


async def test_rfc5452_9_2_a_guesser_has_no_more_tries_than_at_a_port_of_its_own() -> None:
    """After so many datagrams that answer nothing, who waits asks from another port."""

    async def guessed_at(wire: bytes) -> list[bytes]:
        guesses = [reply(query("n1.example.", "TXT", message_id=1000 + each)) for each in range(MAX_STRAYS)]
        return guesses if len(server.ports) == 1 else await good(wire)

    async with serving(guessed_at) as server, asking(server) as transport:
        assert text_of(await transport(numbered(1)[0], False)) == "good"
        assert len(server.ports) == 2
        assert transport._here().local[transport.stats[0]]._sockets == []
        assert transport.strays == MAX_STRAYS


async def test_a_query_that_finds_its_socket_broken_goes_out_from_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel tells of an error at the next call, which may be for another query."""

    class Broken:
        def __init__(self, of: socket.SocketType) -> None:
            self.fileno, self.close = of.fileno, of.close

        def send(self, octets: bytes) -> int:
            raise ConnectionRefusedError(len(octets))

    async with serving(named) as server, asking(server) as transport:
        first, second = numbered(2)
        assert text_of(await transport(first, False)) == "1"
        sharing = sharing_of(transport)
        monkeypatch.setattr(sharing, "_socket", Broken(sharing._socket))
        assert text_of(await transport(second, False)) == "2"
        assert len(server.ports) == 2


async def test_a_query_for_which_the_kernel_has_no_room_gives_its_id_to_no_other() -> None:
    upstream = Upstream("127.0.0.1", 9)
    sockets = SharedSockets(upstream, lambda: None)
    sharing = sockets.socket_for(b"\0\1")
    assert sharing is not None

    class Full:
        def __init__(self, of: socket.SocketType) -> None:
            self.fileno, self.close = of.fileno, of.close

        def send(self, octets: bytes) -> int:
            raise BlockingIOError(len(octets))

    sharing._socket = Full(sharing._socket)  # type: ignore[assignment]  # as much of a socket as is needed
    lost = Datagrams(upstream, numbered(1)[0], lambda _: True, lambda: None, local=sockets)
    assert sockets.socket_for(numbered(1)[0]) is not sharing
    lost.close()
    assert sockets.socket_for(numbered(1)[0]) is sharing
    sockets.close()
