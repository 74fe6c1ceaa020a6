"""Servers that break on CHUNKING or PIPELINING, though they offer them, have their mail in the next session."""

from dataclasses import replace

import pytest

from letterlock.deliver.broken_offers import BROKEN_SECONDS, MAX_REMEMBERED, BrokenOffers
from letterlock.deliver.route_settings import RouteSettings, SettingsByRoute
from letterlock.queue.tasks import OutcomeKind
from letterlock.routing.domain_table import DomainTable
from tests.deliver.test_attempt import TWO_HOSTS
from tests.deliver.test_pool import Sender, delivered
from tests.deliver.world import (
    ADDRESS,
    BODY,
    HASTY,
    OPTIONS,
    HandClock,
    HandDiscoverer,
    MemoryDialer,
    MemoryStream,
    Server,
    Wrapped,
)
from tests.schedule.hand_store import HandStore
from tests.schedule.test_deliverer import PerDomain, task_for, until, working

BOTH = ("PIPELINING", "CHUNKING", "8BITMIME")
LARGE = BODY + b"x" * 70 + b"\r\n" * 50_000
CHUNKING, PIPELINING = frozenset({"CHUNKING"}), frozenset({"PIPELINING"})


class BreaksOnBdat(Server):
    """Hangs up when BDAT comes, before or after its content."""

    def __init__(self, *extensions: str) -> None:
        super().__init__(extensions=extensions, answers={"BDAT": [b""]})


def words(server: Server) -> list[str]:
    return [line.partition(" ")[0] for line in server.clear]


@pytest.mark.parametrize("extensions", [("CHUNKING",), BOTH])
async def test_rfc3030_a_session_lost_in_answer_to_bdat_the_next_attempt_uses_data(
    dialer: MemoryDialer, extensions: tuple[str, ...]
) -> None:
    server = dialer.handlers[ADDRESS] = BreaksOnBdat(*extensions)
    sender = Sender(dialer)
    (outcome,) = (await sender.send()).outcomes
    assert (outcome.kind, outcome.in_doubt) == (OutcomeKind.DEFERRED, True), "nobody knows whether it has the message"
    assert delivered(await sender.send())
    assert server.messages == [BODY]
    assert words(server).count("BDAT") == 1
    assert delivered(await sender.send())
    assert words(server).count("BDAT") == 1, "it is remembered"
    await sender.pool.close()


async def test_silence_after_bdat_counts_like_a_lost_session(dialer: MemoryDialer) -> None:
    dialer.handlers[ADDRESS] = Server(extensions=("CHUNKING",), answers={"BDAT": [b"250-going on\r\n"]})
    sender = Sender(dialer, options=HASTY)
    assert not delivered(await sender.send())
    assert delivered(await sender.send())
    await sender.pool.close()


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
async def test_rfc2920_a_session_lost_inside_a_group_is_followed_by_one_without(
    dialer: MemoryDialer, command: str
) -> None:
    again = b"354 go\r\n" if command == "DATA" else b"250 ok\r\n"
    extensions = ("PIPELINING", "8BITMIME")
    server = dialer.handlers[ADDRESS] = Server(extensions=extensions, answers={command: [b"", again]})
    sender = Sender(dialer)
    assert delivered(await sender.send()), "nothing was sent, so nothing is in doubt, and the same host is tried again"
    assert server.messages == [BODY]
    assert dialer.dialled == [ADDRESS, ADDRESS]
    assert b"MAIL FROM:<sender@example.net>\r\nRCPT" in bytes(dialer.clients[0].written)
    assert sender.pool.broken_offers.at("mx.example.org", 25, sender.clock.now()) == PIPELINING
    await sender.pool.close()


class Intolerant(Wrapped):
    """The end of a server, or of a middlebox before it, that hangs up when a group of commands comes."""

    async def read(self, max_octets: int) -> bytes:
        data = await self.inner.read(max_octets)
        return b"" if data.startswith(b"MAIL") and data.count(b"\r\n") > 1 else data


async def test_a_server_that_only_breaks_on_groups_has_all_later_mail_command_by_command(dialer: MemoryDialer) -> None:
    server = Server(extensions=("PIPELINING", "8BITMIME"))

    async def intolerant(stream: MemoryStream) -> None:
        await server(Intolerant(stream))

    dialer.handlers[ADDRESS] = intolerant
    sender = Sender(dialer, options=replace(OPTIONS, idle_seconds=0.0))
    for _ in range(3):
        assert delivered(await sender.send())
    assert len(dialer.dialled) == 4, "it broke once"


async def test_a_kept_session_that_had_ended_is_no_word_against_pipelining(dialer: MemoryDialer) -> None:
    dialer.handlers[ADDRESS] = Server(extensions=("PIPELINING",), answers={"MAIL": [b"250 ok\r\n", b"", b"250 ok\r\n"]})
    sender = Sender(dialer)
    for _ in range(3):
        assert delivered(await sender.send())
    assert sender.pool.broken_offers.at("mx.example.org", 25, sender.clock.now()) == frozenset()
    await sender.pool.close()


@pytest.mark.parametrize("reply", [b"421 4.3.2 closing\r\n", b"554 5.7.1 no\r\n"])
async def test_a_server_that_says_something_has_not_broken(dialer: MemoryDialer, reply: bytes) -> None:
    dialer.handlers[ADDRESS] = Server(extensions=BOTH, answers={"BDAT": [reply]})
    sender = Sender(dialer)
    await sender.send()
    assert sender.pool.broken_offers.at("mx.example.org", 25, sender.clock.now()) == frozenset()


async def test_it_is_remembered_of_the_host_and_for_a_day(dialer: MemoryDialer) -> None:
    first = dialer.handlers[ADDRESS] = BreaksOnBdat(*BOTH)
    sender = Sender(dialer, HandDiscoverer(TWO_HOSTS))
    await sender.send()
    first.answers.clear()
    assert delivered(await sender.send())
    assert words(first).count("BDAT") == 1
    await sender.pool.close()
    sender.clock.time += BROKEN_SECONDS
    assert delivered(await sender.send())
    assert words(first).count("BDAT") == 2, "it may have been repaired"
    await sender.pool.close()


def test_the_memory_is_bounded_and_a_clock_set_back_ends_it() -> None:
    offers = BrokenOffers()
    for number in range(MAX_REMEMBERED + 1):
        offers.remember(f"mx{number}", 25, CHUNKING, 1000.0 + number)
    assert offers.at("mx0", 25, 2000.0) == frozenset(), "the oldest is forgotten"
    assert offers.at("mx1", 25, 2000.0) == CHUNKING
    assert offers.at("mx1", 26, 2000.0) == frozenset()
    assert offers.at("mx1", 25, 0.0) == frozenset()
    offers.remember("mx1", 25, PIPELINING, 2000.0)
    assert offers.at("mx1", 25, 2000.0) == CHUNKING | PIPELINING
    assert offers.at("mx1", 25, 2000.0 + BROKEN_SECONDS) == frozenset()


@pytest.mark.parametrize(("ignored", "unused"), [("CHUNKING", "BDAT"), ("SIZE", "SIZE="), ("8BITMIME", "BODY=")])
async def test_a_route_ignores_what_its_servers_offer(dialer: MemoryDialer, ignored: str, unused: str) -> None:
    store = HandStore(HandClock())
    usual, ignoring = Server(extensions=(*BOTH, "SIZE")), Server(extensions=(*BOTH, "SIZE"))
    dialer.handlers.update({"192.0.2.1": ignoring, "192.0.2.2": usual})
    route_settings = SettingsByRoute(
        routes=DomainTable({"odd.example": RouteSettings(ignore_ehlo=frozenset({ignored}))})
    )
    eight_bit = BODY if ignored == "8BITMIME" else BODY.replace(b"hello\r\n", "gr\u00fc\u00dfe\r\n".encode())
    store.bodies = {f"{domain}-1": eight_bit for domain in ("odd.example", "usual.example")}
    store.put(task_for("odd.example", 1), task_for("usual.example", 1))
    async with working(store, dialer, PerDomain(odd="192.0.2.1", usual="192.0.2.2"), route_settings=route_settings):
        await until(lambda: len(store.settled) == 2)
    assert [len(server.messages) for server in (usual, ignoring)] == [1, 1]
    assert not any(unused in line for line in ignoring.clear)
    assert ignored == "8BITMIME" or any(unused in line for line in usual.clear)


async def test_a_session_of_another_route_is_not_used_where_it_goes_by_what_is_ignored(dialer: MemoryDialer) -> None:
    server = dialer.handlers[ADDRESS] = Server(extensions=BOTH)
    sender = Sender(dialer)
    assert delivered(await sender.send())
    sender.options = replace(OPTIONS, ignore_ehlo=CHUNKING)
    assert delivered(await sender.send())
    assert len(dialer.dialled) == 2
    assert words(server).count("BDAT") == 1
    await sender.pool.close()
