"""Recipients of local domains: refused at RCPT, expanded before the queue, forwarded under a reverse-path of ours."""

import asyncio
from pathlib import Path

import pytest

from letterlock.mail.addresses import Mailbox
from letterlock.queue.store import StoreFailed
from letterlock.receive.options import ReceiveOptions
from letterlock.receive.profiles import Profile, Role
from letterlock.recipients.directory import Directory, LocalDomain
from letterlock.recipients.site import LocalSite
from letterlock.recipients.srs import Srs
from letterlock.tables.file_table import AliasFileTable
from tests.receive.world import NOW, World, world

ALIASES = """
info: ann
away: ann@example.net
both: ann, bob@example.net, carl@example.com
team: ann, bob@example.net
owner-team: ann
old: error:550 5.1.6 Moved
noreply: /dev/null
here: there
there: here
"""
PROFILE = Profile(role=Role.MX, relay_networks=(), domains=frozenset({"example.org"}))
SRS = Srs((b"0123456789abcdef",), "example.org")


def site(tmp_path: Path, *, srs: Srs | None = SRS, mailboxes: str = "ann\n") -> LocalSite:
    aliases, boxes = tmp_path / "aliases", tmp_path / "mailboxes"
    aliases.write_text(ALIASES)
    boxes.write_text(mailboxes)
    domain = LocalDomain(
        aliases=(AliasFileTable("aliases", aliases, lambda: 0.0),),
        mailboxes=(AliasFileTable("mailboxes", boxes, lambda: 0.0),),
    )
    return LocalSite(Directory({"example.org": domain}), srs)


async def rcpt(address: str, sender: str = "eve@example.net", *, options: ReceiveOptions) -> bytes:
    async with world(options, PROFILE) as running, running.client() as client:
        await client.reply()
        await client.ask(b"EHLO client.example\r\n")
        await client.ask(f"MAIL FROM:<{sender}>\r\n".encode())
        return await client.ask(f"RCPT TO:<{address}>\r\n".encode())


async def send(
    running: World, *recipients: str, sender: str = "eve@example.net", header: bytes = b"", parameters: str = ""
) -> bytes:
    async with running.client() as client:
        await client.reply()
        await client.ask(b"EHLO client.example\r\n")
        await client.ask(f"MAIL FROM:<{sender}>\r\n".encode())
        for recipient in recipients:
            assert (await client.ask(f"RCPT TO:<{recipient}>{parameters}\r\n".encode()))[:3] == b"250"
        await client.ask(b"DATA\r\n")
        return await client.ask(header + b"Subject: x\r\n\r\nhi\r\n.\r\n")


def kept(running: World) -> dict[str, list[str]]:
    """Recipients by reverse-path."""
    return {
        "" if envelope.reverse_path is None else str(envelope.reverse_path): [str(each) for each in envelope.recipients]
        for envelope, _, _ in running.store.kept
    }


def options(tmp_path: Path, made: LocalSite | None = None) -> ReceiveOptions:
    return ReceiveOptions(hostname="mx.example.org", site=made or site(tmp_path))


@pytest.mark.parametrize(
    ("address", "reply"),
    [
        ("ann@example.org", b"250"),
        ("info@example.org", b"250"),
        ("Ann+news@example.org", b"250"),
        ("noreply@example.org", b"250"),
        ("postmaster@example.org", b"250"),
        ("nobody@example.org", b"550 5.1.1 No such user here"),
        ("old@example.org", b"550 5.1.6 Moved"),
        ("here@example.org", b"451 4.3.0"),
        ("SRS0=AAAA=2W=example.net=ann@example.org", b"550 5.1.1"),
        ("bob@example.net", b"550 5.7.1 Relay access denied"),
    ],
)
async def test_rfc5321_3_3_recipients_are_decided_on_at_rcpt(tmp_path: Path, address: str, reply: bytes) -> None:
    assert (await rcpt(address, options=options(tmp_path))).startswith(reply)


async def test_a_table_that_cannot_be_read_puts_off_and_never_refuses(tmp_path: Path) -> None:
    domain = LocalDomain(mailboxes=(AliasFileTable("gone", tmp_path / "gone", lambda: 0.0),))
    reply = await rcpt("ann@example.org", options=options(tmp_path, LocalSite(Directory({"example.org": domain}))))
    assert reply.startswith(b"451 4.3.0")


async def test_an_alias_becomes_the_mailbox(tmp_path: Path) -> None:
    async with world(options(tmp_path), PROFILE) as running:
        assert (await send(running, "info@example.org"))[:3] == b"250"
        assert kept(running) == {"eve@example.net": ["ann@example.org"]}
        assert b"for <info@example.org>" in running.store.kept[0][1]


async def test_forwarded_mail_leaves_under_an_address_of_ours(tmp_path: Path) -> None:
    async with world(options(tmp_path), PROFILE) as running:
        await send(running, "away@example.org")
        [(sender, recipients)] = kept(running).items()
        assert recipients == ["ann@example.net"]
        assert sender.startswith("SRS0=")
        local_part = sender.removesuffix("@example.org")
        assert SRS.reverse(Mailbox(local_part, "example.org"), NOW) == Mailbox("eve", "example.net")
        assert running.store.kept[0][1].startswith(b"Delivered-To: away@example.org\r\nReceived: ")


async def test_without_srs_the_sender_stays(tmp_path: Path) -> None:
    async with world(options(tmp_path, site(tmp_path, srs=None)), PROFILE) as running:
        await send(running, "away@example.org")
        assert kept(running) == {"eve@example.net": ["ann@example.net"]}


async def test_a_bounce_of_forwarded_mail_goes_to_its_sender(tmp_path: Path) -> None:
    bounce_to = SRS.forward(Mailbox("eve", "example.net"), NOW)
    async with world(options(tmp_path), PROFILE) as running:
        await send(running, str(bounce_to), sender="")
        assert kept(running) == {"": ["eve@example.net"]}


async def test_rfc5321_3_9_2_a_list_has_a_reverse_path_of_its_own(tmp_path: Path) -> None:
    async with world(options(tmp_path), PROFILE) as running:
        await send(running, "team@example.org", parameters=" NOTIFY=SUCCESS")
        assert set(kept(running)) == {"owner-team@example.org"}
        recipients = sorted(str(each) for envelope, _, _ in running.store.kept for each in envelope.recipients)
        assert recipients == ["ann@example.org", "bob@example.net"]
        assert all(not envelope.wishes.recipients for envelope, _, _ in running.store.kept)


async def test_a_notification_to_a_list_keeps_its_null_reverse_path(tmp_path: Path) -> None:
    async with world(options(tmp_path), PROFILE) as running:
        await send(running, "team@example.org", sender="")
        assert set(kept(running)) == {""}


async def test_rfc3461_5_2_7_3_notice_of_success_goes_on_to_one_address_only(tmp_path: Path) -> None:
    async with world(options(tmp_path), PROFILE) as running:
        await send(running, "both@example.org", parameters=" NOTIFY=SUCCESS,FAILURE")
        wishes = [wish for envelope, _, _ in running.store.kept for wish in envelope.wishes.recipients.values()]
        assert sum(wish.notify is not None and "SUCCESS" in wish.notify for wish in wishes) == 1


async def test_each_copy_has_an_id_of_its_own_and_all_are_handed_over(tmp_path: Path) -> None:
    async with world(options(tmp_path), PROFILE) as running:
        await send(running, "both@example.org", "info@example.org")
        ids = [envelope.id for envelope, _, _ in running.store.kept]
        assert len(set(ids)) == len(ids) == 2
        assert [envelope.id for envelope, _, _ in running.delivery.taken] == ids
        assert {"eve@example.net": ["ann@example.org"]}.items() <= kept(running).items()


async def test_rfc9228_a_forwarding_loop_ends(tmp_path: Path) -> None:
    async with world(options(tmp_path), PROFILE) as running:
        reply = await send(running, "away@example.org", header=b"Received: x\r\ndelivered-to:  AWAY@example.org\r\n")
        assert reply.startswith(b"554 5.4.6")
        reply = await send(running, "away@example.org", header=b"Delivered-To: other@example.org\r\n")
        assert reply.startswith(b"250")


async def test_what_is_thrown_away_is_accepted_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        async with world(options(tmp_path), PROFILE) as running:
            assert (await send(running, "noreply@example.org")).startswith(b"250")
            assert running.store.kept == []
    assert "aliases lead to /dev/null" in caplog.text


async def test_a_copy_that_cannot_be_stored_puts_the_message_off(tmp_path: Path) -> None:
    async with world(options(tmp_path), PROFILE) as running:
        running.store.fault = StoreFailed("no")
        assert (await send(running, "both@example.org", "info@example.org")).startswith(b"451 4.3.0")
        running.store.fault = None
        assert running.delivery.taken == []


async def test_many_sessions_at_once_keep_their_recipients_apart(tmp_path: Path) -> None:
    async with world(options(tmp_path), PROFILE) as running:
        replies = await asyncio.gather(*(send(running, "away@example.org", "ann@example.org") for _ in range(10)))
        assert all(reply.startswith(b"250") for reply in replies)
        assert len(running.store.kept) == 20
