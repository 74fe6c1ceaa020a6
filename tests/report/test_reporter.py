"""The reporter: who is told of failures and delays, of whom, once; and what becomes of it when the store fails."""

import email
import email.policy
import itertools
from dataclasses import replace
from email.message import EmailMessage, Message
from typing import Any, cast

import pytest

from letterlock.dkim import Signer, examine, split
from letterlock.dsn import Report, compose
from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import BodyType, Envelope, TlsDemand
from letterlock.mail.wishes import Event, RecipientWishes, Ret, Wishes
from letterlock.policy.codes import Code
from letterlock.policy.reasons import Reason, sentence
from letterlock.queue.orders import OrderKind
from letterlock.queue.settle import RetrySchedule, settle
from letterlock.queue.store import StoreFailed
from letterlock.queue.tasks import DeliveryTask, Notice, OutcomeKind, RecipientOutcome
from letterlock.report.worker import BATCH, Reporter
from letterlock.routing.destination_rule import DestinationRule, TlsRule
from letterlock.routing.local_targets import LmtpSocket
from letterlock.routing.routes import RelayHost
from letterlock.routing.rules import Rules
from tests.bodies import octets_of
from tests.deliver.world import HandClock
from tests.mailauth.answers import txt
from tests.mailauth.dkim.forging import ed25519_key
from tests.memory_store import MemoryStore
from tests.queue.messages import ANN, BEN, SENDER, attempt, envelope, outcome
from tests.queue.orders import obey, retry

DELAY = 4 * 3_600.0
CONTENT = (
    b"Subject: Offer 4711\r\nFrom: me\r\nMessage-ID: <orig-1@x.test>\r\nReferences: <a@x.test> <b@x.test>\r\n"
    b"\r\nthe secret of this message\r\n"
)
LATER = 1_000_000.0


NO_RULES = Rules({})


class World:
    """A reporter over a store in memory; deliveries are settled by hand."""

    def __init__(self, delay: float = DELAY, rules: Rules = NO_RULES, signer: Signer | None = None) -> None:
        self.clock = HandClock()
        self.clock.time = 0.0
        self.store = MemoryStore()
        self.woken = 0
        ids = itertools.count(1)
        self.reporter = Reporter(
            self.store,
            clock=self.clock,
            hostname="mx.example.net",
            new_id=lambda: f"N{next(ids)}",
            lifetime_seconds=432_000,
            delay_notice_seconds=delay,
            wake_deliverer=self._wake,
            rules=rules,
            signer=signer,
        )

    def _wake(self) -> None:
        self.woken += 1

    async def accept(self, kept: Envelope) -> None:
        await self.store.accept(kept, CONTENT, next_attempt_at=self.clock.time)

    async def lease(self) -> DeliveryTask:
        [task] = await self.store.lease(self.clock.time, limit=10, lease_seconds=60)
        return task

    async def try_all(self, kind: OutcomeKind, text: str = "as the test says") -> None:
        """One attempt at everything that is due, all with one end."""
        now = self.clock.time
        for task in await self.store.lease(now, limit=10, lease_seconds=60):
            made = attempt(task, *(outcome(each, kind, text) for each in task.recipients), at=now)
            await self.store.settle(task.lease, settle(task, made, now=now, schedule=RetrySchedule()), made, now=now)

    async def notification(self) -> tuple[Envelope, EmailMessage]:
        """The one notification that waits to be delivered."""
        task = await self.lease()
        body = octets_of(await self.store.body(task.envelope.id))
        return task.envelope, email.message_from_bytes(body, policy=email.policy.default)


@pytest.fixture
async def world() -> World:
    return World()


def first_part(message: EmailMessage) -> str:
    return " ".join(next(message.iter_parts()).get_content().split())


async def test_rfc5321_6_1_a_failure_is_told_with_the_null_reverse_path(world: World) -> None:
    await world.accept(envelope("M1", expires_at=LATER))
    await world.try_all(OutcomeKind.FAILED, "no such user")
    assert await world.reporter.report_due()
    kept, message = await world.notification()
    assert kept.reverse_path is None
    assert kept.recipients == (SENDER,)
    assert "no such user" in first_part(message)
    assert world.woken == 1
    assert await world.store.message("M1") is None
    assert not await world.reporter.report_due()


async def test_rfc5321_4_5_5_nobody_is_told_that_a_notification_failed_or_waits(world: World) -> None:
    await world.accept(envelope("M1", sender=None, expires_at=LATER))
    await world.try_all(OutcomeKind.DEFERRED)
    world.clock.time = 2 * DELAY
    assert not await world.reporter.report_due()
    await world.try_all(OutcomeKind.FAILED)
    assert await world.reporter.report_due()
    assert await world.store.messages(limit=10) == []


async def test_what_waits_for_hours_is_told_once_with_the_reason_of_the_log(world: World) -> None:
    await world.accept(envelope("M1", ANN, BEN, expires_at=LATER))
    await world.try_all(OutcomeKind.DEFERRED, "STARTTLS was not offered although TLSA records demand it")
    world.clock.time = DELAY - 1
    assert not await world.reporter.report_due()
    world.clock.time = DELAY
    assert await world.reporter.report_due()
    await retry(world.store, "M1", now=LATER)
    _, message = await world.notification()
    assert message["Subject"].startswith("Delayed")
    assert "STARTTLS was not offered although TLSA records demand it (4.2.0)" in first_part(message)
    assert "these 2 recipients" in first_part(message)
    world.clock.time = 10 * DELAY
    assert not await world.reporter.report_due()


async def test_a_delay_notice_can_be_turned_off() -> None:
    world = World(delay=0.0)
    await world.accept(envelope("M1", expires_at=LATER))
    await world.try_all(OutcomeKind.DEFERRED)
    world.clock.time = 100 * DELAY
    assert not await world.reporter.report_due()


async def test_after_the_delay_the_failure_is_told_too(world: World) -> None:
    await world.accept(envelope("M1", expires_at=2 * DELAY))
    await world.try_all(OutcomeKind.DEFERRED)
    world.clock.time = DELAY
    assert await world.reporter.report_due()
    world.clock.time = 3 * DELAY
    await retry(world.store, "M1", now=world.clock.time)
    [task] = [each for each in await world.store.lease(world.clock.time, limit=10, lease_seconds=60)
              if each.envelope.id == "M1"]  # fmt: skip
    made = attempt(task, outcome(ANN, OutcomeKind.DEFERRED), at=world.clock.time)
    final = settle(task, made, now=world.clock.time, schedule=RetrySchedule())
    await world.store.settle(task.lease, final, made, now=world.clock.time)
    assert await world.reporter.report_due()
    assert await world.store.message("M1") is None


@pytest.mark.parametrize(
    ("demand", "passed_on"),
    [
        (TlsDemand.REQUIRETLS, TlsDemand.REQUIRETLS),
        (TlsDemand.TLS_REQUIRED_NO, TlsDemand.NONE),
        (TlsDemand.NONE, TlsDemand.NONE),
    ],
)
async def test_rfc8689_5_the_notification_demands_requiretls_too_and_holds_the_header_only(
    world: World, demand: TlsDemand, passed_on: TlsDemand
) -> None:
    await world.accept(replace(envelope("M1", expires_at=LATER), tls_demand=demand))
    await world.try_all(OutcomeKind.FAILED)
    await world.reporter.report_due()
    kept, message = await world.notification()
    assert kept.tls_demand is passed_on
    assert b"the secret" not in message.as_bytes()
    assert "Subject: Offer 4711" in list(message.iter_parts())[2].get_content()


async def test_of_a_message_that_was_removed_meanwhile_nobody_is_told(world: World) -> None:
    await world.accept(envelope("M1", expires_at=LATER))
    await world.try_all(OutcomeKind.FAILED)

    class Late(MemoryStore):
        async def due_notices(self, *, limit: int) -> list[Notice]:
            notices = [*await world.store.due_notices(limit=limit)]
            await obey(world.store, OrderKind.REMOVE, "M1")
            return notices

    world.reporter._store = Late()
    assert await world.reporter.report_due()
    assert await world.store.messages(limit=10) == []
    assert world.woken == 0


async def test_a_store_that_fails_is_asked_again_later(world: World) -> None:
    class Broken(MemoryStore):
        async def due_notices(self, *, limit: int) -> list[Notice]:
            raise StoreFailed("the disk is gone")

    await world.accept(envelope("M1", expires_at=LATER))
    await world.try_all(OutcomeKind.FAILED)
    whole, world.reporter._store = world.reporter._store, Broken()
    assert not await world.reporter.report_due()
    world.reporter._store = whole
    assert await world.reporter.report_due()


def wishing(events: set[Event] | None, ret: Ret | None = None) -> Envelope:
    """A message to ANN whose sender has wishes."""
    wishes = RecipientWishes(None if events is None else frozenset(events), "rfc822;Ann+2Blists@one.test")
    return replace(envelope("M1", ANN, expires_at=LATER), wishes=Wishes(ret, "QQ+20314159", {ANN: wishes}))


def status(message: EmailMessage) -> list[Message]:
    return cast("list[Message]", list(message.iter_parts())[1].get_payload())


async def test_rfc3461_6_3_the_notification_names_what_the_sender_named(world: World) -> None:
    await world.accept(wishing(None))
    await world.try_all(OutcomeKind.FAILED)
    await world.reporter.report_due()
    _, message = await world.notification()
    about, ann = status(message)
    assert about["Original-Envelope-Id"] == "QQ 314159"
    assert ann["Original-Recipient"] == "rfc822; Ann+lists@one.test"
    assert ann["Final-Recipient"] == "rfc822; ann@one.test"
    assert ann["Remote-MTA"] == "dns; mx.one.test"


@pytest.mark.parametrize("events", [set(), {Event.SUCCESS}, {Event.DELAY}])
async def test_rfc3461_4_1_nobody_is_told_of_a_failure_who_did_not_ask(world: World, events: set[Event]) -> None:
    await world.accept(wishing(events))
    await world.try_all(OutcomeKind.FAILED)
    assert not await world.reporter.report_due()
    assert await world.store.messages(limit=10) == []


@pytest.mark.parametrize("events", [set(), {Event.SUCCESS}, {Event.FAILURE}])
async def test_rfc3461_4_1_nobody_is_told_of_a_delay_who_did_not_ask(world: World, events: set[Event]) -> None:
    await world.accept(wishing(events))
    await world.try_all(OutcomeKind.DEFERRED)
    world.clock.time = 2 * DELAY
    assert not await world.reporter.report_due()


async def test_rfc3461_5_2_2_relaying_is_told_where_success_was_asked_for(world: World) -> None:
    await world.accept(wishing({Event.SUCCESS}, Ret.FULL))
    await world.try_all(OutcomeKind.DELIVERED)
    assert await world.reporter.report_due()
    kept, message = await world.notification()
    assert (kept.reverse_path, kept.recipients) == (None, (SENDER,))
    assert status(message)[1]["Action"] == "relayed"
    assert b"the secret" not in message.as_bytes(), "RFC 3461 section 4.3: RET is for what failed"
    assert await world.store.message("M1") is None


async def test_rfc3461_6_1_notifications_lead_to_no_more_of_them(world: World) -> None:
    await world.accept(wishing(set(Event)))
    await world.try_all(OutcomeKind.FAILED)
    assert await world.reporter.report_due()
    await world.try_all(OutcomeKind.DELIVERED)
    assert not await world.reporter.report_due()
    assert await world.store.messages(limit=10) == []


@pytest.mark.parametrize(
    ("ret", "demand", "whole"),
    [
        (None, TlsDemand.NONE, False),
        (Ret.HDRS, TlsDemand.NONE, False),
        (Ret.FULL, TlsDemand.NONE, True),
        (Ret.FULL, TlsDemand.REQUIRETLS, False),
    ],
)
async def test_rfc3461_4_3_and_rfc8689_5_how_much_comes_back(
    world: World, ret: Ret | None, demand: TlsDemand, whole: bool
) -> None:
    await world.accept(replace(wishing(None, ret), tls_demand=demand))
    await world.try_all(OutcomeKind.FAILED)
    await world.reporter.report_due()
    _, message = await world.notification()
    assert (b"the secret" in message.as_bytes()) is whole


def _rules(
    *, sender: TlsRule | None = None, to: TlsRule | None = None, back: TlsRule | None = None, audit: bool = False
) -> Rules:
    def rule(domain: str, tls: TlsRule) -> DestinationRule:
        return DestinationRule(domain=domain, tls=tls, source="letterlock.toml:1", audit=audit)

    domains = {ANN.domain: to, SENDER.domain: back}
    return Rules(
        {domain: rule(domain, tls) for domain, tls in domains.items() if tls is not None},
        {} if sender is None else {SENDER.domain: rule(SENDER.domain, sender)},
    )


@pytest.mark.parametrize(
    ("rules", "whole"),
    [
        (_rules(), True),
        (_rules(sender=TlsRule.DANE_ONLY), False),
        (_rules(sender=TlsRule.DANE_ONLY, audit=True), True),
        (_rules(sender=TlsRule.DANE_ONLY, back=TlsRule.VERIFY), False),
        (_rules(sender=TlsRule.DANE_ONLY, back=TlsRule.DANE_ONLY), True),
        (_rules(sender=TlsRule.REQUIRE_TLS, back=TlsRule.VERIFY), True),
        (_rules(to=TlsRule.VERIFY), False),
        (_rules(to=TlsRule.MAY), True),
    ],
)
async def test_the_text_goes_back_only_where_the_rules_guard_it_as_well(rules: Rules, whole: bool) -> None:
    """A dane-only sender's text must not come back in opportunistic TLS, or to whoever forges the MX."""
    world = World(rules=rules)
    await world.accept(wishing(None, Ret.FULL))
    await world.try_all(OutcomeKind.FAILED)
    await world.reporter.report_due()
    _, message = await world.notification()
    assert (b"the secret" in message.as_bytes()) is whole


async def test_a_sender_whose_mail_ends_here_has_the_text_back() -> None:
    strict = DestinationRule(domain="*", tls=TlsRule.DANE_ONLY, source="letterlock.toml:1")
    here = RelayHost(domain="lmtp", source="letterlock.toml:2", is_host=True, final=LmtpSocket("/run/lmtp"))
    world = World(rules=Rules({}, {"*": strict}, {SENDER.domain: here}))
    await world.accept(wishing(None, Ret.FULL))
    await world.try_all(OutcomeKind.FAILED)
    await world.reporter.report_due()
    _, message = await world.notification()
    assert b"the secret" in message.as_bytes()


async def test_the_reasons_that_kept_it_back_stand_in_the_notification(world: World) -> None:
    await world.accept(wishing({Event.DELAY}))
    task = await world.lease()
    why = Reason(code=Code.RFC7672_2_2_3_STARTTLS_REQUIRED, subject="mx.one.test")
    made = replace(attempt(task, outcome(ANN, OutcomeKind.DEFERRED), at=1.0), reasons=(why,))
    await world.store.settle(task.lease, settle(task, made, now=1, schedule=RetrySchedule()), made, now=1)
    world.clock.time = DELAY
    assert await world.reporter.report_due()
    await retry(world.store, "M1", now=LATER)
    _, message = await world.notification()
    words = f"mx.one.test: {sentence(why)} (RFC 7672 section 2.2.3; {why.code})"
    assert first_part(message).count(sentence(why)) == 1
    assert f"- mx.one.test: RFC 7672 section 2.2.3; {why.code}" in first_part(message)
    assert "you do not need to do anything" in first_part(message)
    assert "What you can do" not in first_part(message)
    ann = status(message)[1]
    assert ann["X-Letterlock-Reason"] == words
    assert (ann["Action"], ann["Status"]) == ("delayed", "4.2.0")
    assert ann["Will-Retry-Until"] == "Mon, 12 Jan 1970 13:46:40 +0000"


async def test_rfc6533_4_a_sender_beyond_ascii_gets_a_global_notification(world: World) -> None:
    await world.accept(replace(envelope("M1", expires_at=LATER), reverse_path=Mailbox("böb", "from.test")))
    await world.try_all(OutcomeKind.FAILED)
    await world.reporter.report_due()
    kept, message = await world.notification()
    kinds = [part.get_content_type() for part in message.iter_parts()]
    assert kinds[1:] == ["message/global-delivery-status", "message/global-headers"]
    assert kept.body_type is BodyType.EIGHT_BIT_MIME


LEAKS = ("/etc/", "/run/", "/var/", ".toml", "internal", "10.0.0.5", "127.0.0.1")
ROUTE = Reason(
    code=Code.RULE_ROUTE,
    subject="one.test",
    facts=(("source", "/etc/letterlock/letterlock.toml:12"), ("domain", "*"), ("next_hop", "[relay.internal]")),
)


async def told(
    world: World, outcome_: RecipientOutcome, *reasons: Reason, host: str | None = None
) -> tuple[EmailMessage, str]:
    """The notification of a failure for ANN, and its text."""
    await world.accept(envelope("M1", ANN, expires_at=LATER))
    task = await world.lease()
    made = replace(attempt(task, outcome_, at=1.0), reasons=reasons, host=host)
    await world.store.settle(task.lease, settle(task, made, now=1, schedule=RetrySchedule()), made, now=1)
    assert await world.reporter.report_due()
    _, message = await world.notification()
    return message, first_part(message)


def failed(text: str, status: str = "5.1.1", reply: str | None = None) -> RecipientOutcome:
    return RecipientOutcome(recipient=ANN, kind=OutcomeKind.FAILED, status=status, text=text, remote_reply=reply)


async def test_a_refusal_names_the_message_tells_the_reply_once_and_gives_advice_that_fits(world: World) -> None:
    """Input 31."""
    reply = "550 5.1.1 No such user here"
    text = f"mx.one.test[192.0.2.1] said: {reply} (in answer to RCPT TO)"
    clear = Reason(code=Code.RFC7435_3_CLEAR, subject="mx.one.test")
    message, shown = await told(world, failed(text, reply=reply), clear, host="mx.one.test")
    assert message["Subject"] == "Not delivered: Offer 4711"
    assert message["In-Reply-To"] == "<orig-1@x.test>"
    assert message["References"].split() == ["<a@x.test>", "<b@x.test>", "<orig-1@x.test>"]
    assert "Subject: Offer 4711" in shown
    assert "Message-ID: <orig-1@x.test>" in shown
    assert shown.count("No such user here") == 1
    assert "Why: the mail server mx.one.test refused it (5.1.1)" in shown
    assert shown.count("What you can do: Check the address for mistakes") == 1
    assert "TLS" not in shown
    assert "postmaster" not in shown
    ann = status(message)[1]
    assert ann["Diagnostic-Code"] == f"smtp; {reply}"
    assert ann["Remote-MTA"] == "dns; mx.one.test"
    assert ann["X-Letterlock-Reason"] is None


@pytest.mark.parametrize(
    ("outcome_", "reasons", "host"),
    [
        (
            failed("relay.internal[10.0.0.5] said: 550 no; the route /etc/letterlock.toml:12 sends …", reply="550 no"),
            (ROUTE,),
            "relay.internal",
        ),
        (failed("/run/dovecot/lmtp: No such file or directory", "5.4.7"), (ROUTE,), "lmtp:/run/dovecot/lmtp"),
        (failed("not tried: 60 seconds ago mail to the same place failed: /run/lmtp: refused", "5.4.7"), (), None),
        (failed("/var/mail/ann: No space left on device", "5.4.7"), (ROUTE,), "maildir:/var/mail/{local}"),
        (
            failed("one.test: the rule /etc/letterlock.toml:7 demands DANE", "5.7.5"),
            (
                Reason(
                    code=Code.RFC7672_6_INSECURE_MX, subject="one.test", facts=(("source", "/etc/letterlock.toml:7"),)
                ),
            ),
            None,
        ),
        (
            failed("one.test: could not look up the MX records (timeout: 127.0.0.1:1 …)", "5.4.7"),
            (
                Reason(
                    code=Code.RFC7672_2_1_2_MX_LOOKUP_FAILED,
                    subject="one.test",
                    facts=(("kind", "timeout"), ("detail", "127.0.0.1:1: Connection refused")),
                ),
            ),
            None,
        ),
        (
            failed("relay.internal: the certificate is not trusted", "5.7.5"),
            (
                ROUTE,
                Reason(code=Code.RULE_VERIFY_UNTRUSTED, subject="relay.internal", facts=(("detail", "/etc/ca.pem"),)),
            ),
            "relay.internal",
        ),
    ],
)
async def test_nothing_of_the_operators_reaches_a_sender(
    world: World, outcome_: RecipientOutcome, reasons: tuple[Reason, ...], host: str | None
) -> None:
    message, shown = await told(world, outcome_, *reasons, host=host)
    whole = message.as_string().replace("relay.internal said", "")
    assert not [leak for leak in LEAKS if leak in whole]
    assert "Why: " in shown
    assert shown.count("What you can do: ") == 1


async def test_what_another_server_of_the_domain_said_is_told(world: World) -> None:
    _, shown = await told(world, failed("mx.one.test[192.0.2.1]: connection lost", "5.4.2"), host="mx.one.test")
    assert "Why: mx.one.test[192.0.2.1]: connection lost (5.4.2)" in shown


async def test_after_the_last_attempt_it_says_for_how_long_it_was_tried(world: World) -> None:
    text = "gave up after 5 days; the last reason: relay.internal[10.0.0.5]: timed out"
    _, shown = await told(world, failed(text, "5.4.7"), ROUTE)
    assert "Why: gave up after 5 days; the last reason: the mail server could not be reached (5.4.7)" in shown


async def test_the_reasons_for_one_recipient_are_not_told_of_another(world: World) -> None:
    """The server refuses one recipient; what the policy had against another host has nothing to do with that."""
    held = Reason(code=Code.RFC7672_2_2_3_STARTTLS_REQUIRED, subject="mx2.one.test")
    message, shown = await told(world, failed("mx said: 550 no", reply="550 no"), held, host="mx.one.test")
    assert "STARTTLS" not in shown
    assert status(message)[1]["X-Letterlock-Reason"] is None


async def test_a_notification_that_cannot_be_composed_goes_out_without_its_words(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One message must not stop the server, nor leave its sender without a word."""

    def picky(report: Report, content: bytes, **settings: Any) -> bytes:
        if content or any(each.remote_reply for each in report.recipients):
            raise KeyError("secret")  # not to be taken for a message that was removed
        return compose(report, content, **settings)

    monkeypatch.setattr("letterlock.report.worker.compose", picky)
    await world.accept(wishing(None))
    await world.try_all(OutcomeKind.FAILED)
    assert await world.reporter.report_due()
    kept, message = await world.notification()
    assert kept.recipients == (SENDER,)
    assert "could not be delivered" in first_part(message)
    assert "M1: internal error in the notification" in caplog.text


async def test_what_cannot_be_said_at_all_keeps_nobody_else_waiting(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken_for_ann(report: Report, content: bytes, **settings: Any) -> bytes:
        if any(each.recipient == ANN for each in report.recipients):
            raise RuntimeError("secret")
        return compose(report, content, **settings)

    monkeypatch.setattr("letterlock.report.worker.compose", broken_for_ann)
    await world.accept(envelope("M1", ANN))
    await world.accept(envelope("M2", BEN))
    for _ in range(2):
        await world.try_all(OutcomeKind.FAILED)
    assert await world.reporter.report_due(), "M2 was told of"
    assert not await world.reporter.report_due(), "what remains waits for the next look, and does not spin"
    assert "M1: internal error in the notification without its words" in caplog.text


async def test_many_that_cannot_be_said_keep_nobody_else_waiting_either(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch of those came first at each look, and no other sender was notified of anything."""
    tries: list[Mailbox] = []

    def broken_for_ann(report: Report, content: bytes, **settings: Any) -> bytes:
        tries.append(report.recipients[0].recipient)
        if tries[-1] == ANN:
            raise RuntimeError("secret")
        return compose(report, content, **settings)

    monkeypatch.setattr("letterlock.report.worker.compose", broken_for_ann)
    for number in range(2 * BATCH):
        await world.accept(envelope(f"M{number:03}", ANN))
    await world.accept(envelope("M999", BEN))
    for _ in range(2 * BATCH // 10 + 1):
        await world.try_all(OutcomeKind.FAILED)
    told = [await world.reporter.report_due() for _ in range(3)]
    assert (told, BEN in tries) == ([False, False, True], True)
    assert len(tries) == 2 * (2 * BATCH) + 1, "each was tried twice, and not at each look"


async def test_a_delay_of_a_message_accepted_by_a_wrong_clock_is_told_with_a_time_to_come(world: World) -> None:
    await world.accept(envelope("M1", expires_at=LATER))
    await world.try_all(OutcomeKind.DEFERRED)
    world.clock.time = 1_800_000_000.0
    assert await world.reporter.report_due()
    await retry(world.store, "M1", now=2e9)
    _, message = await world.notification()
    said = [part["Will-Retry-Until"] for part in status(message) if part["Will-Retry-Until"]]
    assert said
    assert all("2027" in each for each in said)


@pytest.mark.parametrize("domain", ["mx.example.net", "example.net"])
async def test_notifications_are_signed_by_the_domain_of_their_from(domain: str) -> None:
    key = ed25519_key(domain)
    world = World(signer=Signer([key]))
    await world.accept(envelope("M1", expires_at=LATER))
    await world.try_all(OutcomeKind.FAILED, "no such user")
    assert await world.reporter.report_due()
    body = octets_of(await world.store.body((await world.lease()).envelope.id))
    examination = examine(split(body))
    [verdict] = examination.judge({key.record_name: txt(key.record_name, key.record)}, 0.0)
    assert verdict.passed, str(verdict)


async def test_without_a_key_for_the_hostname_notifications_go_unsigned() -> None:
    world = World(signer=Signer([ed25519_key("example.org")]))
    await world.accept(envelope("M1", expires_at=LATER))
    await world.try_all(OutcomeKind.FAILED)
    assert await world.reporter.report_due()
    assert b"DKIM-Signature" not in octets_of(await world.store.body((await world.lease()).envelope.id))
