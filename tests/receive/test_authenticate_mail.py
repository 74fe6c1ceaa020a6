"""Mail from elsewhere is checked before it is accepted: what is written, refused and held, and how much work it is."""

import asyncio
import time
from dataclasses import replace

import dns.rdatatype
import pytest

from letterlock.arc import Status
from letterlock.arc import examine as examine_chain
from letterlock.discover.mail_authentication import MailJudge
from letterlock.dkim import Signer, SigningKey
from letterlock.mail.addresses import Mailbox
from letterlock.mail.checked_content import SPOOLED_OCTETS, DotlessContent, LargeContent
from letterlock.mail.envelope import BodyType, TlsDemand
from letterlock.mail.wishes import NO_WISHES
from letterlock.mailauth.dmarc.actions import Action
from letterlock.mailauth.mail_verdict import AuthenticatedMail
from letterlock.mailauth.message import split
from letterlock.mailauth.results import AuthenticationResults, parse
from letterlock.metrics.catalogue import LAYOUT
from letterlock.metrics.counting import Counting
from letterlock.metrics.numbers import Board, Numbers
from letterlock.queue.observing import Observers, Watcher
from letterlock.receive.authenticate_mail import OVERSIZED, AuthenticateMail, MailAuthenticationOptions
from letterlock.receive.options import ReceiveOptions
from letterlock.receive.pipeline import Draft, Facts, Pipeline
from letterlock.receive.profiles import Profile, Role
from letterlock.receive.steps import message_steps
from letterlock.resolver.answer import Answer, FailureKind, LookupFailure, Security
from tests.mailauth.answers import txt
from tests.mailauth.dkim.forging import KEY_NAME, MESSAGE, NOW, RECORD, ed25519_key, forged, rsa_key
from tests.mailauth.dns_world import FakeResolver, World
from tests.receive.world import world as listening

HOST = "mx.example.net"
MARKING = MailAuthenticationOptions()
CLIENT = Facts(client="192.0.2.7", client_label="unknown[192.0.2.7]", hello="out.example.org", protocol="ESMTP")
REJECTING = MailAuthenticationOptions(dmarc_reject="reject", dmarc_quarantine="quarantine", dmarc_temperror="defer")
MX = Profile(role=Role.MX, relay_networks=(), domains=frozenset({"example.net"}), authenticates=True)


class Seen(Watcher):
    """Keeps what it is shown."""

    def __init__(self) -> None:
        self.mail: list[AuthenticatedMail] = []

    def authenticated(self, mail: AuthenticatedMail) -> None:
        self.mail.append(mail)


def dns_world(policy: str = "v=DMARC1; p=reject") -> World:
    made = World(Security.SECURE).add(KEY_NAME, "TXT", RECORD).add("_dmarc.example.org", "TXT", policy)
    return made.add("example.org", "TXT", "v=spf1 ip4:192.0.2.0/24 -all").add("out.example.org", "TXT", "v=spf1 a -all")


def draft(content: bytes, sender: str | None = "ann@example.org") -> Draft:
    return Draft(
        id="ID1",
        received_at=NOW,
        reverse_path=None if sender is None else Mailbox(*sender.split("@")),
        recipients=(Mailbox("bob", "example.net"),),
        body_type=BodyType.SEVEN_BIT,
        tls_demand=TlsDemand.NONE,
        wishes=NO_WISHES,
        smtputf8=False,
        content=DotlessContent(content),
    )


def step(made: World, options: MailAuthenticationOptions = MARKING, *watchers: Watcher) -> AuthenticateMail:
    return AuthenticateMail(MailJudge(FakeResolver(made)), HOST, options, Observers(watchers))


def results(fields: bytes) -> AuthenticationResults:
    [field] = split(fields + b"\r\n").named(b"authentication-results")
    return parse(field.value.decode())


async def test_rfc8601_results_are_added_with_the_dnssec_state_of_their_answers() -> None:
    mail = draft(forged())
    assert await step(dns_world()).message(CLIENT, mail) is None
    found = results(mail.fields)
    assert found.authserv_id == HOST
    assert [(each.method, each.result) for each in found.results] == [
        ("spf", "fail"),
        ("spf", "pass"),
        ("dkim", "pass"),
        ("dmarc", "pass"),
        ("arc", "none"),
    ]
    assert all(dict(each.properties).get("policy.dnssec") == "secure" for each in found.results[:4])
    assert dict(found.results[1].properties)["smtp.mailfrom"] == "ann@example.org"
    assert dict(found.results[0].properties)["smtp.helo"] == "out.example.org"


async def test_rfc8601_5_fields_that_claim_to_be_ours_are_removed_and_others_stay() -> None:
    forgeries = (
        b"Authentication-Results: mx.example.net; dmarc=pass header.from=example.org\r\n"
        b"Authentication-Results: MX.Example.NET.; dkim=pass\r\n"
        b"Authentication-results : (comment) mx.example.net 1; spf=pass\r\n"
        b"Authentication-Results: ; dmarc=pass\r\n"
    )
    other = b"Authentication-Results: lists.example; dkim=pass header.d=example.org\r\n"
    mail = draft(forgeries + other + MESSAGE)
    assert await step(dns_world()).message(CLIENT, mail) is None
    assert bytes(mail.content) == other + MESSAGE
    assert isinstance(mail.content, DotlessContent)


async def test_the_authserv_id_can_be_the_domains_and_the_hostname_is_guarded_as_well() -> None:
    mail = draft(b"Authentication-Results: mx.example.net; dmarc=pass\r\n" + MESSAGE)
    await step(dns_world(), MailAuthenticationOptions(authserv_id="example.net")).message(CLIENT, mail)
    assert results(mail.fields).authserv_id == "example.net"
    assert bytes(mail.content) == MESSAGE


async def test_mail_that_is_not_authentic_is_refused_where_the_operator_wants_it() -> None:
    seen, facts = Seen(), Facts(client="203.0.113.9", client_label="x", hello="evil.example")
    reply = await step(dns_world(), REJECTING, seen).message(facts, draft(MESSAGE))
    assert reply is not None
    assert (reply.code, reply.enhanced) == (550, "5.7.1")
    assert [each.done.action for each in seen.mail] == [Action.REJECT]
    observation = seen.mail[0].observation
    assert observation is not None
    assert observation.row.disposition == "reject"


async def test_mail_is_held_for_the_operator_with_the_reason() -> None:
    facts, mail = Facts(client="203.0.113.9", client_label="x", hello="evil.example"), draft(MESSAGE)
    assert await step(dns_world("v=DMARC1; p=quarantine"), REJECTING).message(facts, mail) is None
    assert mail.quarantined is not None
    assert "example.org asks for quarantine" in mail.quarantined


@pytest.mark.parametrize("kind", [FailureKind.TIMEOUT, FailureKind.SERVFAIL, FailureKind.BOGUS])
async def test_a_lookup_that_failed_is_a_temperror_and_never_no_record(kind: FailureKind) -> None:
    made = World().fail("_dmarc.example.org", kind)
    reply = await step(made, REJECTING).message(CLIENT, draft(MESSAGE))
    assert reply is not None
    assert reply.code == 451
    mail = draft(MESSAGE)
    assert await step(made).message(CLIENT, mail) is None
    dmarc = next(each for each in results(mail.fields).results if each.method == "dmarc")
    assert dmarc.result == "temperror"


async def test_clients_that_may_relay_are_not_checked() -> None:
    mail, made = draft(MESSAGE), dns_world()
    facts = Facts(client="127.0.0.1", client_label="x", may_relay=True)
    assert await step(made).message(facts, mail) is None
    assert (mail.fields, made.asked) == (b"", [])


async def test_rfc7208_2_4_the_null_reverse_path_is_checked_by_the_name_in_helo() -> None:
    mail = draft(MESSAGE, sender=None)
    await step(dns_world().add("out.example.org", "A", "192.0.2.7")).message(CLIENT, mail)
    spf = [each for each in results(mail.fields).results if each.method == "spf"]
    assert [each.result for each in spf] == ["pass", "pass"]


async def test_a_header_that_nobody_can_look_through_is_refused() -> None:
    assert await step(dns_world()).message(CLIENT, draft(b"A: b\r\n" * 10_001 + b"\r\n")) == OVERSIZED


class SilentResolver:
    """Never answers."""

    def __init__(self) -> None:
        self.waiting = 0

    async def resolve(self, name: str, rdtype: dns.rdatatype.RdataType) -> Answer | LookupFailure:
        self.waiting += 1
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_silent_dns_costs_one_time_limit_for_all_lookups_together() -> None:
    judge = MailJudge(SilentResolver())
    checking = AuthenticateMail(judge, HOST, MailAuthenticationOptions(seconds=0.05))
    mail = draft(forged())
    async with asyncio.timeout(10):
        assert await checking.message(CLIENT, mail) is None
    found = results(mail.fields)
    assert {each.method: each.result for each in found.results}["dmarc"] == "temperror"
    assert [each.result for each in found.results if each.method == "spf"] == ["temperror", "temperror"]


async def test_so_many_messages_are_checked_at_once_and_others_wait() -> None:
    silent = SilentResolver()
    checking = AuthenticateMail(MailJudge(silent), HOST, MailAuthenticationOptions(max_concurrent=2))
    tasks = [asyncio.create_task(checking.message(CLIENT, draft(MESSAGE))) for _ in range(5)]
    for _ in range(20):
        await asyncio.sleep(0)
    assert silent.waiting == 2 * 2  # SPF of HELO and of MAIL FROM, for each of two messages
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_message_of_three_thousand_signatures_costs_eleven_lines_and_little_time() -> None:
    content = b"".join(forged({"s": f"s{number}"}, b"") for number in range(3_000)) + MESSAGE
    made, begun = dns_world(), time.process_time()
    mail = draft(content)
    await step(made).message(CLIENT, mail)
    assert time.process_time() - begun < 2.0
    assert len([each for each in results(mail.fields).results if each.method == "dkim"]) == 11
    assert len([each for each in made.asked if b"_domainkey" in each.name.labels]) == 10


async def test_a_listener_accepts_marks_and_holds() -> None:
    options = ReceiveOptions(hostname=HOST, mail_authentication=REJECTING)
    made = World().add("_dmarc.example.org", "TXT", "v=DMARC1; p=quarantine").add("example.org", "TXT", "v=spf1 -all")
    async with listening(options, MX, judge=MailJudge(FakeResolver(made))) as server, server.client() as client:
        await client.reply()
        await client.ask(b"EHLO client.example\r\n")
        await client.send(b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n")
        for _ in range(3):
            await client.reply()
        assert (await client.ask(MESSAGE + b".\r\n")).startswith(b"250 ")
    envelope, body, _ = server.store.kept[0]
    assert "asks for quarantine" in server.store.quarantined[envelope.id]
    assert not server.delivery.taken
    assert body.startswith(b"Authentication-Results: mx.example.net;")
    assert body.index(b"Authentication-Results") < body.index(b"Received: from client.example")


async def test_a_listener_answers_5xx_after_the_message_and_keeps_nothing() -> None:
    options = ReceiveOptions(hostname=HOST, mail_authentication=REJECTING)
    made = World().add("_dmarc.example.org", "TXT", "v=DMARC1; p=reject").add("example.org", "TXT", "v=spf1 -all")
    async with listening(options, MX, judge=MailJudge(FakeResolver(made))) as server, server.client() as client:
        await client.reply()
        await client.ask(b"EHLO client.example\r\n")
        await client.send(b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n")
        for _ in range(3):
            await client.reply()
        assert (await client.ask(MESSAGE + b".\r\n")).startswith(b"550 5.7.1 DMARC: ")
        assert (await client.ask(b"NOOP\r\n")).startswith(b"250")
    assert not server.store.kept


def test_it_costs_nothing_where_it_is_off() -> None:
    options = ReceiveOptions(hostname=HOST)
    judge = MailJudge(FakeResolver(World()))
    steps = [type(each).__name__ for each in message_steps(Profile(), options, judge)]
    assert steps == ["HeedTlsRequiredNo", "AddReceived"]
    assert not Pipeline(message_steps(Profile(role=Role.MX), options, judge)).message.waits


async def test_rfc8601_5_users_cannot_submit_results_in_our_name() -> None:
    mail = draft(b"Authentication-Results: mx.example.net; dmarc=pass\r\n" + MESSAGE)
    profile = Profile(role=Role.SUBMISSION, relay_networks=())
    stage = Pipeline(message_steps(profile, ReceiveOptions(hostname=HOST))).message
    assert await stage.run_waiting(CLIENT, mail) is None
    assert b"authentication-results" not in bytes(mail.content).lower()


SEAL_KEY = SigningKey("example.net", "seal", rsa_key())


def sealing(made: World) -> Pipeline:
    profile = Profile(role=Role.MX, relay_networks=(), authenticates=True, seals_as="example.net")
    options = ReceiveOptions(hostname=HOST, signer=Signer([SEAL_KEY]))
    return Pipeline(message_steps(profile, options, MailJudge(FakeResolver(made))))


async def test_rfc8617_5_1_what_goes_on_is_sealed_with_what_was_found() -> None:
    mail = draft(forged())
    assert await sealing(dns_world()).message.run_waiting(CLIENT, mail) is None
    sent = split(mail.fields + mail.content)
    verdict = examine_chain(sent).judge({SEAL_KEY.record_name: txt(SEAL_KEY.record_name, SEAL_KEY.record)}, NOW)
    assert verdict.status is Status.PASS, str(verdict)
    [field] = sent.named(b"arc-authentication-results")
    assert b"dmarc=pass" in field.value
    assert mail.fields.startswith(b"ARC-Seal: ")


async def test_a_second_server_seals_the_chain_of_the_first() -> None:
    made = dns_world().add(SEAL_KEY.record_name, "TXT", SEAL_KEY.record)
    first = draft(forged())
    await sealing(made).message.run_waiting(CLIENT, first)
    second = draft(first.fields + first.content)
    await sealing(made).message.run_waiting(CLIENT, second)
    sent = split(second.fields + second.content)
    verdict = examine_chain(sent).judge({SEAL_KEY.record_name: txt(SEAL_KEY.record_name, SEAL_KEY.record)}, NOW)
    assert (verdict.status, len(verdict.sets)) == (Status.PASS, 2)


async def test_rfc8617_5_2_1_a_chain_that_could_not_be_checked_is_not_sealed_as_failed() -> None:
    first = draft(forged())
    await sealing(dns_world()).message.run_waiting(CLIENT, first)
    second = draft(first.fields + first.content)
    await sealing(dns_world().fail(SEAL_KEY.record_name)).message.run_waiting(CLIENT, second)
    assert b"ARC-Seal" not in second.fields


async def test_mail_that_was_not_checked_is_not_sealed() -> None:
    mail = draft(MESSAGE)
    facts = Facts(client="127.0.0.1", client_label="x", may_relay=True)
    await sealing(dns_world()).message.run_waiting(facts, mail)
    assert b"ARC-Seal" not in mail.fields


ARC_SET = (
    b"ARC-Seal: i=%d; a=rsa-sha256; cv=pass; d=example.org; s=sel; b=AAAA\r\n"
    b"ARC-Message-Signature: i=%d; a=rsa-sha256; d=example.org; s=sel; h=from; bh=AAAA; b=AAAA\r\n"
    b"ARC-Authentication-Results: i=%d; a.test; none\r\n"
)
HOSTILE = {
    "ten thousand results in our name": b"Authentication-Results: mx.example.net; dkim=pass\r\n" * 9_900 + MESSAGE,
    "comments without end": (b"Authentication-Results: " + b"(c)" * 10_000 + b" mx.example.net; none\r\n") * 30
    + MESSAGE,
    "comments in comments": (b"Authentication-Results: " + b"((c))" * 6_000 + b" mx.example.net; none\r\n") * 30
    + MESSAGE,
    "ten thousand fields": b"X-A: b\r\n" * 9_900 + MESSAGE,
    "five hundred authors": b"From: " + b"a@example.org, " * 500 + b"\r\n\r\n",
    "signatures over all of a large header": forged({}, b"") * 4 + b"Subject: x\r\n" * 9_000 + MESSAGE,
    "fifty sets": b"".join(ARC_SET % (number, number, number) for number in range(1, 51)) + MESSAGE,
    "nine thousand seals of one number": b"ARC-Seal: i=1; d=example.org\r\n" * 9_000 + MESSAGE,
    "fifty thousand tags": forged({f"x{number}": "1" for number in range(50_000)}),
    "a thousand names": forged({"h": ":".join(["from", *["x"] * 1_000])}),
    "an author behind comments": b"From: " + b"(" * 8_000 + b"a@example.org\r\n\r\n",
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_mail_is_bounded_and_loses_what_claims_to_be_ours(name: str) -> None:
    mail, begun = draft(HOSTILE[name]), time.process_time()
    assert await step(dns_world()).message(CLIENT, mail) is None
    assert time.process_time() - begun < 1.0  # the dearest takes 0.05 s here
    assert not split(mail.content).named(b"authentication-results")
    assert results(mail.fields).results


async def test_a_large_message_is_checked_and_sealed_from_the_disk() -> None:
    options = ReceiveOptions(hostname=HOST, signer=Signer([SEAL_KEY]))
    profile = replace(MX, seals_as="example.net")
    line = b"x" * 70 + b"\r\n"
    body = line * (3 * SPOOLED_OCTETS // len(line))
    author = ed25519_key()
    plain = MESSAGE.replace(b"Hi there\r\n", body)
    signed = Signer([author]).sign(split(plain), NOW) + plain
    async with (
        listening(options, profile, judge=MailJudge(FakeResolver(dns_world()))) as server,
        server.client() as client,
    ):
        await client.reply()
        await client.ask(b"EHLO out.example.org\r\n")
        await client.send(b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n")
        for _ in range(3):
            await client.reply()
        assert (await client.ask(signed + b".\r\n")).startswith(b"250 ")
    [stored] = server.store.bodies
    assert isinstance(stored, LargeContent)
    assert stored.held_octets < 10_000
    [(_, content, _)] = server.store.kept
    sent = split(content)
    assert bytes(sent.body) == body
    assert b"dkim=pass" in sent.named(b"authentication-results")[0].value
    answers = {key.record_name: txt(key.record_name, key.record) for key in (SEAL_KEY, author)}
    assert examine_chain(sent).judge(answers, NOW).status is Status.PASS


async def test_what_is_found_and_done_is_counted() -> None:
    numbers = Numbers(LAYOUT, Board(LAYOUT.size))
    checking = step(dns_world(), MARKING, Counting(numbers))
    for content in (forged(), MESSAGE):
        await checking.message(CLIENT, draft(content))
    places = LAYOUT.families["letterlock_mail_authentication_results_total"].places
    counted = {labels: numbers.values[place] for labels, place in places.items() if numbers.values[place]}
    dkim = {("dkim", "pass"): 1, ("dkim", "none"): 1}
    assert counted == dkim | {("spf", "pass"): 2, ("dmarc", "pass"): 2, ("arc", "none"): 2}
    assert numbers.values[LAYOUT.place("letterlock_mail_authentication_actions_total", "accept")] == 2
