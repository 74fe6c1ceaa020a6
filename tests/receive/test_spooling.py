"""The body of a large message goes to the disk while it arrives, and leaves nothing there unless it is accepted."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from letterlock.mail.checked_content import SPOOLED_OCTETS, LargeContent
from letterlock.mail.envelope import BodyType
from letterlock.mailauth.dkim.sign import Signer
from letterlock.mailauth.dkim.verify import examine
from letterlock.mailauth.message import split
from letterlock.milter.frames import frame
from letterlock.queue.store import StoreFailed, StoreFull
from letterlock.receive.ask_milter import Milter
from letterlock.receive.options import ReceiveOptions
from letterlock.receive.profiles import Profile
from tests.mailauth.answers import txt
from tests.mailauth.dkim.forging import NOW, ed25519_key
from tests.receive.filters import FakeMilter, running_milter
from tests.receive.test_chunks import OPENING, codes, greeted
from tests.receive.world import World, world

HOSTNAME = "mx.example.org"
HEADER = b"From: ann@example.org\r\nSubject: large\r\n\r\n"
LINE = b"x" * 70 + b"\r\n"
BODY = b"..dots\r\n" + LINE * (3 * SPOOLED_OCTETS // len(LINE)) + b"\xff\r\n"
WANTED = HEADER + BODY[1:]


async def until(done: Callable[[], bool]) -> None:
    """Wait for something that happens in another task."""
    async with asyncio.timeout(10):
        while not done():  # noqa: ASYNC110  # it has no event
            await asyncio.sleep(0)


def stored(server: World) -> bytes:
    """The one content that was stored, without the field that we put on top."""
    [(_, content, _)] = server.store.kept
    return content[content.index(b"From: ann") :]


async def test_only_the_header_of_a_large_message_stays_in_memory() -> None:
    async with world() as server, server.client() as client:
        await client.start_mail()
        assert (await client.ask(HEADER + BODY + b".\r\n")).startswith(b"250 2.0.0 Ok: queued")
        assert stored(server) == WANTED
        [(envelope, whole, _)] = server.store.kept
        assert (envelope.size, envelope.body_type) == (len(whole), BodyType.EIGHT_BIT_MIME)
        [body] = server.store.bodies
        assert isinstance(body, LargeContent)
        assert body.held_octets < 1000
        assert (body.dotless, body.isascii()) == (False, False)
        [spool] = server.store.spools
        assert (spool.finished, spool.discarded) == (True, False)


async def test_a_message_that_fits_in_memory_needs_no_file() -> None:
    async with world() as server, server.client() as client:
        await client.start_mail()
        small = LINE * (SPOOLED_OCTETS // 2 // len(LINE))
        assert (await client.ask(HEADER + small + b".\r\n")).startswith(b"250")
        assert stored(server) == HEADER + small
        assert not server.store.spools


async def test_by_bdat_as_well() -> None:
    async with world() as server, server.client() as client:
        await greeted(client)
        await client.send(OPENING)
        assert await codes(client, 2) == [b"250", b"250"]
        await client.ask(b"BDAT %d\r\n" % len(HEADER) + HEADER)
        assert (await client.ask(b"BDAT %d LAST\r\n" % len(BODY) + BODY)).startswith(b"250 2.0.0 Ok: queued")
        assert stored(server) == HEADER + BODY
        assert [spool.finished for spool in server.store.spools] == [True]


async def test_rfc1870_a_message_that_is_declared_to_be_large_is_written_from_the_beginning() -> None:
    async with world() as server, server.client() as client:
        await greeted(client)
        for declared, spooled in ((b"", 0), (b" SIZE=%d" % (8 * SPOOLED_OCTETS), 1), (b" SIZE=1000", 1)):
            await client.send(
                OPENING.replace(b"MAIL FROM:<ann@example.org>", b"MAIL FROM:<ann@example.org>" + declared)
            )
            await client.send(b"DATA\r\n")
            assert await codes(client, 3) == [b"250", b"250", b"354"]
            small = LINE * (SPOOLED_OCTETS // 2 // len(LINE))
            assert (await client.ask(HEADER + small + b".\r\n")).startswith(b"250")
            assert len(server.store.spools) == spooled


@pytest.mark.parametrize("gives_up", [b"RSET\r\n", b"EHLO client.example\r\n", b"QUIT\r\n", b""])
async def test_what_the_client_gives_up_is_discarded(gives_up: bytes) -> None:
    async with world() as server:
        async with server.client() as client:
            await greeted(client)
            await client.send(OPENING)
            assert await codes(client, 2) == [b"250", b"250"]
            assert (await client.ask(b"BDAT %d\r\n" % len(BODY) + BODY)).startswith(b"250")
            await client.send(gives_up)
            if gives_up:
                await client.reply()
        await server.empty()
        assert [(spool.finished, spool.discarded) for spool in server.store.spools] == [(False, True)]
        assert not server.store.kept


async def test_two_messages_in_one_write_are_never_mixed() -> None:
    """The first one is given up in the same read that begins the second."""
    async with world() as server, server.client() as client:
        await greeted(client)
        await client.send(OPENING)
        assert await codes(client, 2) == [b"250", b"250"]
        first = HEADER + b"first\r\n" * (SPOOLED_OCTETS // 3)
        second = HEADER + b"other\r\n" * (SPOOLED_OCTETS // 3)
        await client.send(b"BDAT %d\r\n" % len(first) + first + b"RSET\r\n" + OPENING)
        await client.send(b"BDAT %d LAST\r\n" % len(second) + second)
        assert await codes(client, 5) == [b"250"] * 5
        assert stored(server) == second
        assert [spool.discarded for spool in server.store.spools] == [True, False]


@pytest.mark.parametrize(
    ("spoilt", "code"),
    [(HEADER + BODY + b"a\nb\r\n", b"554"), (HEADER + BODY + LINE * 200_000, b"552")],
)
async def test_what_is_refused_is_discarded(spoilt: bytes, code: bytes) -> None:
    options = ReceiveOptions(hostname=HOSTNAME, max_message_octets=4 * SPOOLED_OCTETS)
    async with world(options) as server, server.client() as client:
        await client.start_mail()
        assert (await client.ask(spoilt + b".\r\n")).startswith(code)
        assert (await client.ask(b"QUIT\r\n")).startswith(b"221")
        await server.empty()
        assert all(spool.discarded for spool in server.store.spools)
        assert not server.store.kept


@pytest.mark.parametrize(("fault", "code"), [(StoreFull("full"), b"452 4.3.1"), (StoreFailed("broken"), b"451 4.3.0")])
async def test_a_store_that_fails_at_the_end_leaves_nothing(fault: Exception, code: bytes) -> None:
    async with world() as server, server.client() as client:
        server.store.fault = fault
        await client.start_mail()
        assert (await client.ask(HEADER + BODY + b".\r\n")).startswith(code)
        assert [spool.discarded for spool in server.store.spools] == [True]


@pytest.mark.parametrize(("fault", "code"), [(StoreFull("full"), b"452 4.3.1"), (StoreFailed("broken"), b"451 4.3.0")])
async def test_a_disk_that_fails_on_the_way_is_answered_at_the_end(
    fault: StoreFailed, code: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world() as server, server.client() as client:
        spool = server.store.spool()
        spool.failing = fault
        monkeypatch.setattr(server.store, "spool", lambda: spool)
        await client.start_mail()
        assert (await client.ask(HEADER + BODY + b".\r\n")).startswith(code)
        assert spool.discarded
        monkeypatch.undo()
        await client.send(OPENING + b"DATA\r\n")
        assert await codes(client, 3) == [b"250", b"250", b"354"]
        assert (await client.ask(HEADER + BODY + b".\r\n")).startswith(b"250")


async def test_a_session_that_is_cut_off_while_the_store_has_the_message_leaves_it_to_the_store() -> None:
    """It may be accepted all the same: its file is the store's."""
    async with world() as server:
        server.store.gate = asyncio.Event()
        async with server.client() as client:
            await client.start_mail()
            await client.send(HEADER + BODY + b".\r\n")
            await server.store.entered.wait()
            await server.listener.stop(0)
        assert [(spool.finished, spool.discarded) for spool in server.store.spools] == [(True, False)]


async def test_without_memory_a_message_goes_to_the_disk_early_instead_of_being_refused() -> None:
    large = HEADER + LINE * (SPOOLED_OCTETS * 7 // 8 // len(LINE))
    options = ReceiveOptions(hostname=HOSTNAME, max_message_octets=len(large), max_inflight_octets=1)
    async with world(options) as server, server.client() as first, server.client() as second:
        await first.start_mail()
        await first.send(large)
        await until(lambda: sum(each._held_octets for each in server.listener._sessions.values()) > len(large) - 1000)
        await second.start_mail()
        assert (await second.ask(large + b".\r\n")).startswith(b"250")
        assert (await first.ask(b".\r\n")).startswith(b"250")
        assert server.store.spools


async def test_rfc6376_3_7_a_signature_covers_the_body_on_the_disk() -> None:
    key = ed25519_key()
    options = ReceiveOptions(hostname=HOSTNAME, signer=Signer([key]))
    async with world(options) as server, server.client() as client:
        await client.start_mail()
        assert (await client.ask(HEADER + BODY + b".\r\n")).startswith(b"250")
        [(_, content, _)] = server.store.kept
        assert server.store.spools[0].finished
    [verdict] = examine(split(content)).judge({key.record_name: txt(key.record_name, key.record)}, NOW)
    assert verdict.result == "pass"


async def test_clients_that_send_little_at_a_time_are_held_in_bounds() -> None:
    async with world() as server, server.client() as client:
        await client.start_mail()
        content = HEADER + BODY
        for at in range(0, len(content), 5000):
            await client.send(content[at : at + 5000])
        assert (await client.ask(b".\r\n")).startswith(b"250")
        assert stored(server) == WANTED
        assert server.store.spools[0].finished


@pytest.mark.parametrize(
    ("script", "wanted"), [({}, WANTED), ({"E": frame("b", b"new\r\n") + frame("a")}, HEADER + b"new\r\n")]
)
async def test_a_filter_sees_a_large_body_and_its_own_one_needs_no_file(
    tmp_path: Path, script: dict[str, bytes | None], wanted: bytes
) -> None:
    """What was on the disk is discarded when a filter puts another body in its place."""
    milter = FakeMilter(script)
    async with running_milter(milter, tmp_path):
        listens = Profile(milters=(Milter(name="test", address=milter.address),))
        async with world(profile=listens) as server, server.client() as client:
            await client.start_mail()
            assert (await client.ask(HEADER + BODY + b".\r\n")).startswith(b"250")
            assert stored(server) == wanted
            assert [spool.discarded for spool in server.store.spools] == [wanted != WANTED]
    assert b"".join(data for letter, data in milter.seen if letter == "B") == WANTED[len(HEADER) :]
