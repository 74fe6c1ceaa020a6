"""A filter decides on senders, recipients and messages; when it is away or broken, the configuration decides."""

import asyncio
from pathlib import Path

import pytest

from letterlock.milter.frames import frame
from letterlock.net.service_address import ServiceAddress
from letterlock.receive import ask_milter
from letterlock.receive.ask_milter import Milter
from letterlock.receive.options import ReceiveOptions
from letterlock.receive.profiles import Profile
from letterlock.receive.when_away import WhenAway
from tests.receive.filters import FakeMilter, running_milter
from tests.receive.world import Client, World, world

OPTIONS = ReceiveOptions(hostname="mx.example.org")
MESSAGE = b"From: ann@example.org\r\nSubject: one\r\n two\r\nX-Remove: x\r\n\r\nline\r\n..dot\r\n"


def profile(milter: FakeMilter, *, when_away: WhenAway = "tempfail", seconds: float = 10.0) -> Profile:
    return Profile(milters=(Milter(name="test", address=milter.address, seconds=seconds, when_away=when_away),))


async def converse(client: Client, *commands: bytes) -> list[bytes]:
    await client.reply()
    await client.ask(b"EHLO client.example\r\n")
    return [await client.ask(command + b"\r\n") for command in commands]


async def send(running: World, body: bytes = MESSAGE) -> list[bytes]:
    async with running.client() as client:
        replies = await converse(client, b"MAIL FROM:<ann@example.org>", b"RCPT TO:<bob@example.net>", b"DATA")
        return [*replies, await client.ask(body + b".\r\n")]


async def test_a_filter_sees_the_message_as_postfix_shows_it(tmp_path: Path) -> None:
    async with running_milter(FakeMilter(), tmp_path) as milter, world(OPTIONS, profile(milter)) as running:
        replies = await send(running)
        assert replies[-1].startswith(b"250")
    assert milter.letters.startswith("OCHMRTLLLNBE")
    assert (
        "L",
        b"Subject\0one\n two\0",
    ) in milter.seen
    assert ("B", b"line\r\n.dot\r\n") in milter.seen
    assert not [data for letter, data in milter.seen if letter == "L" and data.startswith(b"Received")]
    macros = {data[:1]: data[1:] for letter, data in milter.seen if letter == "D"}
    assert b"j\0mx.example.org\0" in macros[b"C"]
    assert b"{mail_addr}\0ann@example.org\0" in macros[b"M"]
    assert b"{rcpt_addr}\0bob@example.net\0" in macros[b"R"]
    assert b"i\0ID1\0" in macros[b"E"]


@pytest.mark.parametrize(
    ("letter", "answer", "at", "reply"),
    [
        ("C", frame("r"), 0, b"550 5.7.1"),
        ("H", frame("t"), 0, b"451 4.7.1"),
        ("M", frame("r"), 0, b"550 5.7.1"),
        ("M", frame("y", b"554 5.7.7 not you\0"), 0, b"554 5.7.7 not you"),
        ("R", frame("y", b"550 5.7.1 not wanted\0"), 1, b"550 5.7.1 not wanted"),
        ("T", frame("t"), 3, b"451 4.7.1"),
        ("L", frame("r"), 3, b"550 5.7.1"),
        ("N", frame("y", b"451 4.7.1 greylisted\0"), 3, b"451 4.7.1 greylisted"),
        ("B", frame("r"), 3, b"550 5.7.1"),
        ("E", frame("y", b"554 5.7.1 100%% spam\0"), 3, b"554 5.7.1 100% spam"),
        ("E", frame("p") + frame("p") + frame("r"), 3, b"550 5.7.1"),
    ],
)
async def test_each_command_can_be_refused(tmp_path: Path, letter: str, answer: bytes, at: int, reply: bytes) -> None:
    async with (
        running_milter(FakeMilter({letter: answer}), tmp_path) as milter,
        world(OPTIONS, profile(milter)) as running,
        running.client() as client,
    ):
        replies = await converse(client, b"MAIL FROM:<ann@example.org>", b"RCPT TO:<bob@example.net>")
        if at == 3:
            await client.ask(b"DATA\r\n")
            replies += [b"", await client.ask(MESSAGE + b".\r\n")]
        assert replies[at].startswith(reply)
        assert running.store.kept == []


@pytest.mark.parametrize("letter", list("MRTLNE"))
async def test_a_discarded_message_is_accepted_and_gone(tmp_path: Path, letter: str) -> None:
    async with (
        running_milter(FakeMilter({letter: frame("d")}), tmp_path) as milter,
        world(OPTIONS, profile(milter)) as running,
    ):
        assert (await send(running))[-1].startswith(b"250")
        assert running.store.kept == []


@pytest.mark.parametrize("letter", list("CHMRTLNB"))
async def test_a_message_that_is_accepted_early_is_shown_no_further(tmp_path: Path, letter: str) -> None:
    async with (
        running_milter(FakeMilter({letter: frame("a")}), tmp_path) as milter,
        world(OPTIONS, profile(milter)) as running,
    ):
        assert (await send(running))[-1].startswith(b"250")
        assert len(running.store.kept) == 1
    assert "E" not in milter.letters


async def test_a_body_that_is_skipped_still_ends(tmp_path: Path) -> None:
    async with (
        running_milter(FakeMilter({"B": frame("s")}), tmp_path) as milter,
        world(OPTIONS, profile(milter)) as running,
    ):
        await send(running, b"Subject: x\r\n\r\n" + b"line\r\n" * 30_000)
    assert milter.letters.count("B") == 1
    assert "E" in milter.letters


async def test_changes_are_made(tmp_path: Path) -> None:
    changes = (
        frame("h", b"X-Filter\0yes\0")
        + frame("i", b"\0\0\0\0X-First\0first\n second\0")
        + frame("m", b"\0\0\0\1Subject\0new\0")
        + frame("m", b"\0\0\0\1X-Remove\0\0")
        + frame("+", b"<carl@example.net>\0")
        + frame("-", b"<bob@example.net>\0")
        + frame("e", b"<dora@example.org>\0")
        + frame("b", b"new\n")
        + frame("b", b"body")
        + frame("a")
    )
    async with (
        running_milter(FakeMilter({"E": changes}), tmp_path) as milter,
        world(OPTIONS, profile(milter)) as running,
    ):
        assert (await send(running))[-1].startswith(b"250")
        [(envelope, body, _)] = running.store.kept
    assert [str(each) for each in envelope.recipients] == ["carl@example.net"]
    assert str(envelope.reverse_path) == "dora@example.org"
    header, _, rest = body.partition(b"\r\n\r\n")
    assert rest == b"new\r\nbody\r\n"
    assert header.startswith(b"Received: from ")
    assert header.index(b"\r\nX-First: first\r\n second\r\n") < header.index(b"\r\nFrom: ann")
    assert b"\r\nSubject: new\r\nX-Filter: yes" in header
    assert b"X-Remove" not in header
    assert envelope.size == len(body)


async def test_quarantine_holds_the_message(tmp_path: Path) -> None:
    held = FakeMilter({"E": frame("q", b"looks odd\0") + frame("c")})
    async with running_milter(held, tmp_path) as milter, world(OPTIONS, profile(milter)) as running:
        assert (await send(running))[-1].startswith(b"250")
        assert list(running.store.quarantined.values()) == ["looks odd"]
        assert running.delivery.taken == []


async def test_one_connection_serves_the_messages_of_a_session(tmp_path: Path) -> None:
    async with (
        running_milter(FakeMilter(), tmp_path) as milter,
        world(OPTIONS, profile(milter)) as running,
        running.client() as client,
    ):
        await converse(client)
        for _ in range(2):
            await client.ask(b"MAIL FROM:<ann@example.org>\r\n")
            await client.ask(b"RCPT TO:<bob@example.net>\r\n")
            await client.ask(b"DATA\r\n")
            assert (await client.ask(MESSAGE + b".\r\n")).startswith(b"250")
        await client.ask(b"MAIL FROM:<ann@example.org>\r\n")
        await client.ask(b"RSET\r\n")
        await client.ask(b"MAIL FROM:<eve@example.org>\r\n")
        await client.ask(b"QUIT\r\n")
        await running.empty()
        async with asyncio.timeout(10):
            await milter.left.wait()
    assert milter.connections == 1
    assert milter.letters.count("C") == 1
    assert milter.letters.endswith("MAMQ")


def _patience(script: dict[str, bytes | None]) -> float:
    """A filter that says nothing is not waited for long."""
    return 0.2 if None in script.values() else 10.0


BROKEN = [
    {"O": frame("O", b"\0\0\0\7" + b"\0" * 8)},
    {"O": frame("x")},
    {"C": b""},
    {"M": b""},
    {"M": frame("?")},
    {"M": b"\xff\xff\xff\xff"},
    {"M": frame("h", b"X\0y\0")},
    {"M": frame("f")},
    {"M": None},
]


@pytest.mark.parametrize("script", BROKEN, ids=lambda script: str(script)[:40])
@pytest.mark.parametrize(
    ("when_away", "reply"), [("tempfail", b"451 4.7.1"), ("accept", b"250"), ("reject", b"550"), ("shutdown", b"421")]
)
async def test_a_broken_filter_is_as_one_that_is_away(
    tmp_path: Path, script: dict[str, bytes | None], when_away: WhenAway, reply: bytes
) -> None:
    async with (
        running_milter(FakeMilter(dict(script)), tmp_path) as milter,
        world(
            OPTIONS, profile(milter, when_away=when_away, seconds=0.2 if None in script.values() else 10.0)
        ) as running,
        running.client() as client,
    ):
        assert (await converse(client, b"MAIL FROM:<ann@example.org>"))[0].startswith(reply)


@pytest.mark.parametrize(
    "answer",
    [
        frame("h", b"X\0a\nEvil: b\0") + frame("c"),
        frame("b", b"x\0y") + frame("c"),
        frame("+", b"<a@b>\r\nDATA\0") + frame("c"),
        frame("m", b"\0\0\0\0Subject\0x\0") + frame("c"),
        b"",
    ],
)
async def test_a_change_that_cannot_be_made_never_lets_half_of_it_through(tmp_path: Path, answer: bytes) -> None:
    async with (
        running_milter(FakeMilter({"E": answer}), tmp_path) as milter,
        world(OPTIONS, profile(milter)) as running,
    ):
        assert (await send(running))[-1].startswith(b"451 4.7.1")
        assert running.store.kept == []


async def test_a_filter_that_is_not_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    away = FakeMilter(address=ServiceAddress(path=str(tmp_path / "none.sock")))
    async with world(OPTIONS, profile(away)) as running, running.client() as client:
        assert (await converse(client, b"MAIL FROM:<ann@example.org>"))[0].startswith(b"451 4.7.1 Service unavailable")
    assert "milter test: unix:" in caplog.text
    async with world(OPTIONS, profile(away, when_away="accept")) as running:
        assert (await send(running))[-1].startswith(b"250")
        assert len(running.store.kept) == 1


async def test_filters_are_asked_in_their_order(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    adds = [FakeMilter({"E": frame("h", b"X-" + name + b"\0v\0") + frame("c")}) for name in (b"One", b"Two")]
    async with running_milter(adds[0], one) as first, running_milter(adds[1], two) as second:
        both = Profile(milters=(*profile(first).milters, *profile(second).milters))
        async with world(OPTIONS, both) as running:
            await send(running)
            body = running.store.kept[0][1]
    assert body.index(b"X-One: v") < body.index(b"X-Two: v")
    assert ("L", b"X-One\0v\0") in second.seen


@pytest.mark.parametrize(
    ("letter", "answer", "result"),
    [
        ("E", frame("c"), "passed"),
        ("E", frame("r"), "rejected"),
        ("E", frame("t"), "put_off"),
        ("E", frame("d"), "discarded"),
        ("E", frame("q", b"look at it\0") + frame("c"), "quarantined"),
        ("E", frame("?"), "failed"),
    ],
)
async def test_each_answer_is_counted_by_what_came_of_it(
    tmp_path: Path, letter: str, answer: bytes, result: str
) -> None:
    async with (
        running_milter(FakeMilter({letter: answer}), tmp_path) as milter,
        world(OPTIONS, profile(milter)) as running,
    ):
        await send(running)
        found = running.listener.counts.filters.found
    before = {("milter", "passed"): 2}  # the sender and the recipient
    assert found == before | {("milter", result): before.get(("milter", result), 0) + 1}


async def test_a_filter_that_comes_back_learns_the_sender_and_the_recipients_before(tmp_path: Path) -> None:
    """Without MAIL it would judge a message without a sender; a session of its own begins with all of it."""
    milter = FakeMilter()
    async with running_milter(milter, tmp_path), world(OPTIONS, profile(milter)) as running, running.client() as client:
        await converse(client, b"MAIL FROM:<ann@example.org>", b"RCPT TO:<one@example.net>")
        milter.script["R"] = b""
        assert (await client.ask(b"RCPT TO:<two@example.net>\r\n")).startswith(b"451 4.7.1")
        del milter.script["R"]
        milter.seen.clear()
        assert (await client.ask(b"RCPT TO:<three@example.net>\r\n")).startswith(b"250")
        await client.ask(b"DATA\r\n")
        assert (await client.ask(MESSAGE + b".\r\n")).startswith(b"250")
    asked = [(letter, data) for letter, data in milter.seen if letter in "MR"]
    assert asked == [
        ("M", b"<ann@example.org>\0"),
        ("R", b"<one@example.net>\0"),
        ("R", b"<three@example.net>\0"),
    ]


async def test_a_filter_that_failed_between_recipients_and_content_sees_the_whole_envelope(tmp_path: Path) -> None:
    milter = FakeMilter()
    async with (
        running_milter(milter, tmp_path),
        world(OPTIONS, profile(milter, when_away="accept")) as running,
        running.client() as client,
    ):
        await converse(client, b"MAIL FROM:<ann@example.org>", b"RCPT TO:<one@example.net>")
        milter.script["R"] = b""
        assert (await client.ask(b"RCPT TO:<two@example.net>\r\n")).startswith(b"250")
        del milter.script["R"]
        milter.seen.clear()
        await client.ask(b"DATA\r\n")
        assert (await client.ask(MESSAGE + b".\r\n")).startswith(b"250")
    assert "MRRT" in milter.letters


@pytest.mark.parametrize("letter", list("CH"))
async def test_a_filter_cannot_discard_a_client_and_is_as_one_that_is_away(tmp_path: Path, letter: str) -> None:
    """As in Postfix: discarding is for messages. It was taken for leave to deliver all that the client sent."""
    async with (
        running_milter(FakeMilter({letter: frame("d")}), tmp_path) as milter,
        world(OPTIONS, profile(milter)) as running,
        running.client() as client,
    ):
        assert (await converse(client, b"MAIL FROM:<ann@example.org>"))[0].startswith(b"451 4.7.1")


async def test_half_of_the_changes_are_never_made_even_where_mail_passes_without_the_filter(tmp_path: Path) -> None:
    changes = frame("-", b"<bob@example.net>\0") + frame("h", b"X-Filter\0yes\0") + frame("b", b"x\0y") + frame("c")
    async with (
        running_milter(FakeMilter({"E": changes}), tmp_path) as milter,
        world(OPTIONS, profile(milter, when_away="accept")) as running,
    ):
        assert (await send(running))[-1].startswith(b"250 2.0.0 Ok: queued")
        [(envelope, body, _)] = running.store.kept
    assert [str(each) for each in envelope.recipients] == ["bob@example.net"]
    assert b"X-Filter" not in body


@pytest.mark.parametrize(("why", "shown"), [(b"", "milter test"), (b"a\x1b[2J\n", "a\\x1b[2J\\n")])
async def test_the_reason_of_a_quarantine_is_one_printable_line(tmp_path: Path, why: bytes, shown: str) -> None:
    held = FakeMilter({"E": frame("q", why + b"\0") + frame("c")})
    async with running_milter(held, tmp_path) as milter, world(OPTIONS, profile(milter)) as running:
        assert (await send(running))[-1].startswith(b"250")
        assert list(running.store.quarantined.values()) == [shown]


async def test_the_log_names_the_filter_that_discarded_a_message(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with (
        running_milter(FakeMilter({"E": frame("d")}), tmp_path) as milter,
        world(OPTIONS, profile(milter)) as running,
    ):
        assert (await send(running))[-1].startswith(b"250")
    assert "ID1: discarded, from unknown[127.0.0.1]: by milter test" in caplog.messages


async def test_a_filter_that_takes_its_time_at_each_field_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each answer had its time-out, and a header section may have thousands of fields."""
    monkeypatch.setattr(ask_milter, "MAX_PROGRESS_SECONDS", 0.05)
    async with (
        running_milter(FakeMilter({"N": None}), tmp_path) as milter,
        world(OPTIONS, profile(milter)) as running,
    ):
        assert (await send(running))[-1].startswith(b"451 4.7.1")
        assert running.store.kept == []
