"""Signing with DKIM as a step: whose mail is signed, and what the signature covers."""

import pytest

from letterlock.mail.checked_content import DotlessContent
from letterlock.mail.envelope import BodyType
from letterlock.mailauth.dkim.sign import Signer
from letterlock.mailauth.dkim.signing_key import SigningKey
from letterlock.mailauth.dkim.verify import DkimVerdict, examine
from letterlock.mailauth.message import MAX_FIELDS, split
from letterlock.receive.options import ReceiveOptions
from letterlock.receive.pipeline import Draft, Facts, Pipeline
from letterlock.receive.profiles import Profile, Role
from letterlock.receive.sign_dkim import MAX_OCTETS_AT_ONCE
from letterlock.receive.steps import message_steps
from letterlock.smtp.server_events import MessageReceived
from tests.bodies import octets_of
from tests.mailauth.answers import txt
from tests.mailauth.dkim.forging import NOW, ed25519_key, rsa_key
from tests.receive.world import ENVELOPE, world

KEYS = (ed25519_key(), SigningKey("example.org", "rsa", rsa_key()))
OPTIONS = ReceiveOptions(hostname="mx.example.org", signer=Signer(KEYS))
CONTENT = b"From: Ann <ann@example.org>\r\nSubject: x\r\n\r\nhi\r\n"


async def signed(content: bytes = CONTENT, *, may_relay: bool = True, role: Role = Role.RELAY) -> bytes:
    """The body to store, after the message steps of a listener."""
    message = MessageReceived(
        reverse_path=None, recipients=(), body_type=BodyType.SEVEN_BIT, content=DotlessContent(content)
    )
    draft = Draft.of(message, "ID1", NOW)
    facts = Facts(client="192.0.2.1", client_label="unknown[192.0.2.1]", may_relay=may_relay)
    assert await Pipeline(message_steps(Profile(role=role), OPTIONS)).message.run_waiting(facts, draft) is None
    return octets_of(draft.finish("unknown[192.0.2.1]", 60)[1])


def verified(message: bytes) -> tuple[DkimVerdict, ...]:
    return examine(split(message)).judge({key.record_name: txt(key.record_name, key.record) for key in KEYS}, NOW)


@pytest.mark.parametrize("octets", [0, MAX_OCTETS_AT_ONCE])
async def test_rfc6376_5_6_the_signatures_are_on_top_and_hold(octets: int) -> None:
    body = await signed(CONTENT + (b"x" * 70 + b"\r\n") * (octets // 72 + 1))
    assert body.startswith(b"DKIM-Signature: ")
    assert body.count(b"DKIM-Signature: ") == 2
    assert [each.passed for each in verified(body)] == [True, True]


@pytest.mark.parametrize("content", [b"From: a@example.org\r\n\r\n", b"From: a@example.org\r\n"])
async def test_rfc6409_8_fields_that_submission_adds_are_signed(content: bytes) -> None:
    body = await signed(content, role=Role.SUBMISSION)
    assert [each.passed for each in verified(body)] == [True, True]
    assert [each.passed for each in verified(body.replace(b"Message-ID: <ID1", b"Message-ID: <ID2"))] == [False, False]


async def test_mail_of_strangers_is_not_ours_to_sign() -> None:
    assert b"DKIM-Signature" not in await signed(may_relay=False)


@pytest.mark.parametrize(
    "content",
    [CONTENT.replace(b".org", b".net"), b"Subject: x\r\n\r\nhi\r\n", CONTENT.replace(b">", b">, <b@example.net>")],
)
async def test_mail_of_other_domains_stays_unsigned(content: bytes) -> None:
    assert b"DKIM-Signature" not in await signed(content)


async def test_a_header_bomb_is_queued_unsigned_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    body = await signed(CONTENT.replace(b"\r\n\r\n", b"\r\n" + b"A: b\r\n" * MAX_FIELDS + b"\r\n"))
    assert b"DKIM-Signature" not in body
    assert f"ID1: not signed with DKIM: the header section has more than {MAX_FIELDS} fields" in caplog.text


def test_it_costs_nothing_where_it_is_off() -> None:
    def steps(profile: Profile, options: ReceiveOptions) -> list[str]:
        return [type(step).__name__ for step in message_steps(profile, options)]

    unsigned = ReceiveOptions(hostname="mx.example.org")
    assert "SignDkim" in steps(Profile(), OPTIONS)
    assert "SignDkim" not in steps(Profile(), unsigned)
    assert "SignDkim" not in steps(Profile(role=Role.MX, relay_networks=()), OPTIONS)
    assert not Pipeline(message_steps(Profile(), unsigned)).message.waits


async def test_a_listener_signs_what_it_queues() -> None:
    async with world(OPTIONS) as server, server.client() as client:
        await client.reply()
        await client.ask(b"EHLO client.example\r\n")
        await client.send(ENVELOPE)
        for _ in range(3):
            await client.reply()
        assert (await client.ask(CONTENT + b".\r\n")).startswith(b"250 ")
    envelope, body, _ = server.store.kept[0]
    assert envelope.size == len(body)
    assert body.count(b"DKIM-Signature: ") == 2
