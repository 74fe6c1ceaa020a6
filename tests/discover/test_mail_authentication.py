"""What `check-mail` finds and prints, over a DNS of the tests' own."""

import json

import pytest

from letterlock.app.output import json_text
from letterlock.cli.check_mail.text import draw
from letterlock.cli.check_mail.values import mail_values
from letterlock.cli.style import Style
from letterlock.discover.mail_authentication import authenticate
from letterlock.mailauth.dmarc.actions import Action
from letterlock.mailauth.mail_verdict import MailVerdict
from letterlock.mailauth.message import split
from letterlock.mailauth.results import parse
from letterlock.mailauth.spf.request import helo_request, mail_from_request
from letterlock.resolver.answer import Security
from tests.mailauth.dkim.forging import KEY_NAME, MESSAGE, NOW, RECORD, forged
from tests.mailauth.dns_world import FakeResolver, World

CLIENT = "192.0.2.7"


def world(policy: str = "v=DMARC1; p=reject") -> World:
    made = World(Security.SECURE).add(KEY_NAME, "TXT", RECORD).add("_dmarc.example.org", "TXT", policy)
    made.add("example.org", "TXT", "v=spf1 include:_spf.example.org -all")
    return made.add("_spf.example.org", "TXT", "v=spf1 ip4:192.0.2.0/24 -all")


async def found(content: bytes, made: World, client: str = CLIENT) -> MailVerdict:
    requests = (
        helo_request(client, "out.example.org"),
        mail_from_request(client, "ann@example.org", "out.example.org"),
    )
    return await authenticate(split(content), requests, FakeResolver(made), NOW)


def drawn(verdict: MailVerdict) -> str:
    return "\n".join(draw(verdict, Style(colour=False)))


async def test_an_authentic_message_is_shown_with_what_proves_it() -> None:
    verdict = await found(forged(), world())
    text = drawn(verdict)
    assert text.splitlines()[0] == "From: example.org   would be ACCEPTED, authenticated as example.org"
    assert "pass       example.org, selector sel (ed25519" in text
    assert "by example.org: include:_spf.example.org > _spf.example.org: ip4:192.0.2.0/24" in text
    assert "aligned by DKIM and SPF" in text
    assert "key proven by DNSSEC" in text


async def test_a_changed_message_from_elsewhere_is_rejected_and_says_why() -> None:
    verdict = await found(forged() + b"-- \r\nlist footer\r\n", world(), "203.0.113.9")
    assert verdict.disposition.action is Action.REJECT
    text = drawn(verdict)
    assert "would be REJECTED, not authenticated as its author" in text
    assert "the body was changed after it was signed" in text
    assert "example.org lists 203.0.113.9 under -all" in text
    assert "example.org asks for reject: neither SPF nor DKIM authenticated any domain" in text


async def test_a_domain_that_tests() -> None:
    verdict = await found(MESSAGE, world("v=DMARC1; p=reject; t=y"), "203.0.113.9")
    assert verdict.disposition.action is Action.QUARANTINE
    assert "while the domain tests, quarantine applies instead of reject" in drawn(verdict)


async def test_without_a_client_spf_is_not_checked() -> None:
    verdict = await authenticate(split(forged()), (), FakeResolver(world()), NOW)
    assert "not checked: name the client's address with --client" in drawn(verdict)
    assert verdict.disposition.action is Action.ACCEPT


async def test_everything_from_outside_is_escaped() -> None:
    evil = "\x1b[2J\u202e\x9b"
    made = (
        World().add("example.org", "TXT", b"v=spf1 -all exp=why.example.org").add("why.example.org", "TXT", "%{l} %{h}")
    )
    made.add("_dmarc.example.org", "TXT", "v=DMARC1; p=\x1b[2J; x\x9by; rua=mailto:a@b.test")
    requests = (mail_from_request("203.0.113.9", f"{evil}@example.org", evil),)
    content = f"From: ann@example.org\r\nDKIM-Signature: v=1; d={evil}\r\n\r\n".encode()
    verdict = await authenticate(split(content), requests, FakeResolver(made), NOW)
    for text in (drawn(verdict), json_text(mail_values(verdict, "mx.test"))):
        assert not any(each in text for each in evil if not each.isprintable())


@pytest.mark.parametrize("content", [forged(), MESSAGE, b"", b"From: a@b.test, c@d.test\r\n\r\n"])
async def test_the_json_form_has_every_key_in_every_state(content: bytes) -> None:
    values = json.loads(json_text(mail_values(await found(content, world()), "mx.test")))
    reference = mail_values(await found(forged(), world()), "mx.test")
    assert set(values) == set(reference)
    dmarc = reference["dmarc"]
    assert isinstance(dmarc, dict)
    assert set(values["dmarc"]) == set(dmarc)
    field = values["authentication_results"]
    assert parse(field.partition(":")[2]).authserv_id == "mx.test"
