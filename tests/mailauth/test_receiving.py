"""What a listener does with a verdict: a table of what was found and what the operator chose."""

from dataclasses import replace

import pytest

from letterlock.discover.mail_authentication import authenticate
from letterlock.mailauth.arc.seal import seal
from letterlock.mailauth.arc.verify import examine as examine_chain
from letterlock.mailauth.dmarc.actions import FOLLOW, OBSERVE, Action, Choice, Override
from letterlock.mailauth.mail_verdict import MailVerdict
from letterlock.mailauth.message import split
from letterlock.mailauth.receiving import MAX_REPLY_CHARACTERS, Decision, ReceivingPolicy, decide
from letterlock.mailauth.spf.request import mail_from_request
from letterlock.resolver.answer import FailureKind
from tests.mailauth.dkim.forging import KEY_NAME, MESSAGE, NOW, RECORD, ed25519_key, forged
from tests.mailauth.dns_world import FakeResolver, World

STRICT = ReceivingPolicy(
    dmarc=Choice(temperror=Action.DEFER, permerror=Action.REJECT), spf_fail=Action.REJECT, spf_temperror=Action.DEFER
)


def world(policy: str | None = "v=DMARC1; p=reject", spf: str = "v=spf1 -all") -> World:
    made = World().add(KEY_NAME, "TXT", RECORD).add("example.org", "TXT", spf)
    return made.add("_dmarc.example.org", "TXT", policy) if policy else made


async def verdict(content: bytes, made: World, policy: ReceivingPolicy) -> MailVerdict:
    requests = (mail_from_request("192.0.2.7", "ann@example.org", "out.example.org"),)
    return await authenticate(split(content), requests, FakeResolver(made), NOW, policy.dmarc)


async def test_rfc9989_7_4_without_a_choice_nothing_is_rejected() -> None:
    policy = ReceivingPolicy()
    decision = decide(await verdict(MESSAGE, world(), policy), policy)
    assert (decision.done.action, decision.reply) == (Action.ACCEPT, None)
    assert decision.done.override is Override.LOCAL_POLICY


async def test_what_the_domain_asks_for_is_done_where_the_operator_follows() -> None:
    decision = decide(await verdict(MESSAGE, world(), STRICT), STRICT)
    assert decision.done.action is Action.REJECT
    assert decision.done.override is None
    assert decision.reply is not None
    assert str(decision.reply) == (
        "550 5.7.1 DMARC: example.org asks for reject of mail that is not authenticated as its own: "
        "neither SPF nor DKIM authenticated any domain"
    )


async def test_quarantine_accepts_and_says_why() -> None:
    decision = decide(await verdict(MESSAGE, world("v=DMARC1; p=quarantine"), STRICT), ReceivingPolicy(dmarc=FOLLOW))
    assert (decision.done.action, decision.reply) == (Action.QUARANTINE, None)
    assert decision.why.startswith("DMARC: example.org asks for quarantine")


async def test_mail_that_passes_dmarc_is_accepted_whatever_spf_says() -> None:
    """RFC 9989 section 5.4: an SPF fail alone must not keep signed mail from being accepted."""
    assert decide(await verdict(forged(), world(), STRICT), STRICT).done.action is Action.ACCEPT


async def test_rfc7372_3_2_spf_fail_has_its_own_status_and_the_domains_explanation() -> None:
    made = world(None, "v=spf1 -all exp=why.example.org").add(
        "why.example.org", "TXT", "see http://example.org/?i=%{i}"
    )
    decision = decide(await verdict(MESSAGE, made, STRICT), STRICT)
    assert decision.reply is not None
    assert decision.reply.code == 550
    assert decision.reply.enhanced == "5.7.23"
    assert "example.org explains: see http://example.org/?i=192.0.2.7" in str(decision.reply)


@pytest.mark.parametrize("kind", list(FailureKind))
async def test_rfc7208_8_6_a_lookup_that_failed_defers_and_is_never_no_record(kind: FailureKind) -> None:
    made = World().add("_dmarc.example.org", "TXT", "v=DMARC1; p=none").fail("example.org", kind)
    decision = decide(await verdict(MESSAGE, made, STRICT), STRICT)
    assert decision.done.action is Action.DEFER
    assert decision.reply is not None
    assert decision.reply.transient


async def test_a_dmarc_lookup_that_failed_defers_or_accepts_as_chosen() -> None:
    made = World().add("example.org", "TXT", "v=spf1 ip4:192.0.2.7 -all").fail("_dmarc.example.org", FailureKind.BOGUS)
    strict = decide(await verdict(MESSAGE, made, STRICT), STRICT)
    assert (strict.reply and strict.reply.enhanced) == "4.7.0"
    lenient = ReceivingPolicy()
    assert decide(await verdict(MESSAGE, made, lenient), lenient).reply is None


async def test_mail_without_one_author_is_treated_as_chosen() -> None:
    content = b"From: a@one.test, b@two.test\r\n\r\n"
    decision = decide(await verdict(content, World().add("example.org", "TXT", "v=spf1 +all"), STRICT), STRICT)
    assert (decision.reply and decision.reply.code) == 550


async def test_a_reply_is_one_line_of_printable_ascii_whatever_the_domain_writes() -> None:
    made = world(None, "v=spf1 -all exp=why.example.org").add("why.example.org", "TXT", "a\x7f\x1b[2J" + "b" * 3000)
    reply = decide(await verdict(MESSAGE, made, STRICT), STRICT).reply
    assert reply is not None
    [line] = reply.lines
    assert all(" " <= each <= "~" for each in line)
    assert len(line) <= MAX_REPLY_CHARACTERS + len("5.7.23 ")


async def test_without_a_client_dmarc_alone_decides() -> None:
    found = await authenticate(split(MESSAGE), (), FakeResolver(world(None)), NOW, OBSERVE)
    assert decide(found, STRICT).done.action is Action.ACCEPT


SEALER = ed25519_key("lists.example", "seal")


async def sealed(results: bytes, policy: ReceivingPolicy, *, damaged: bool = False) -> Decision:
    """The decision on mail that a list changed and sealed, with these results of its own."""
    made = world().add(SEALER.record_name, "TXT", SEALER.record)
    content = forged() + b"-- \r\nfooter\r\n"
    fields = seal(split(content), examine_chain(split(content)).judge({}, NOW), results, SEALER, NOW)
    content = fields + content + (b"more\r\n" if damaged else b"")
    return decide(await verdict(content, made, policy), policy)


TRUSTING = replace(STRICT, trusted_sealers=frozenset({"lists.example"}))
FOUND = b"mx.lists.example; dmarc=pass header.from=example.org"


async def test_rfc8617_7_2_a_trusted_sealer_vouches_for_what_it_found_before_its_change() -> None:
    decision = await sealed(FOUND, TRUSTING)
    assert (decision.done.action, decision.done.override) == (Action.ACCEPT, Override.TRUSTED_FORWARDER)
    assert decision.reply is None


@pytest.mark.parametrize(
    "results",
    [
        b"mx.lists.example; dmarc=fail header.from=example.org",
        b"mx.lists.example; dmarc=pass header.from=other.test",
        b"mx.lists.example; dmarc=pass",
        b"mx.lists.example; spf=pass smtp.mailfrom=example.org",
        b"mx.lists.example; dmarc=pass header.from=example.org; dmarc=pass header.from=example.org",
        b"mx.lists.example; \xff",
    ],
)
async def test_other_findings_vouch_for_nothing(results: bytes) -> None:
    assert (await sealed(results, TRUSTING)).done.action is Action.REJECT


async def test_nobody_else_vouches_and_no_broken_chain_does() -> None:
    assert (await sealed(FOUND, STRICT)).done.action is Action.REJECT
    assert (await sealed(FOUND, replace(STRICT, trusted_sealers=frozenset({"example"})))).done.action is Action.ACCEPT
    assert (
        await sealed(FOUND, replace(STRICT, trusted_sealers=frozenset({"ts.example"})))
    ).done.action is Action.REJECT
    assert (await sealed(FOUND, TRUSTING, damaged=True)).done.action is Action.REJECT
