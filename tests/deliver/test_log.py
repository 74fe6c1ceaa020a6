"""The log lines: Postfix's order, the reason at the end, nothing that a terminal or a parser could stumble over."""

import re
from collections import defaultdict
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from letterlock.deliver.log import MAX_PROTECTIONS, SESSION_TLS, DeliveryLog, events, lines
from letterlock.identity.handshake import Completed
from letterlock.mail.addresses import Mailbox
from letterlock.net.tls import ServerContext
from letterlock.policy.codes import Code
from letterlock.policy.decision import Achieved, Level
from letterlock.policy.reasons import Reason
from letterlock.queue.tasks import Attempt, OutcomeKind, RecipientOutcome
from tests.deliver.test_same_way import Sender
from tests.deliver.world import ADDRESS, ANN, BOB, MemoryDialer, Server, make_task

POSTFIX = re.compile(
    r"[0-9A-Za-z]+: to=<[^>]*>, relay=\S+, delay=[\d.e+]+, delays=[\d.e+]+(/[\d.e+]+){3}, "
    r"dsn=\d\.\d+\.\d+, status=(sent|deferred|bounced) \(.*\) (tls=\S+ )?protection=.*"
)
TLS = Completed(version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384", group="X25519MLKEM768", sni=None, chain=())


def outcome(
    recipient: Mailbox = ANN,
    kind: OutcomeKind = OutcomeKind.DELIVERED,
    status: str = "2.0.0",
    text: str = "250 2.0.0 Ok: queued",
    *,
    in_doubt: bool = False,
) -> RecipientOutcome:
    return RecipientOutcome(recipient=recipient, kind=kind, status=status, text=text, in_doubt=in_doubt)


def delivered(*outcomes: RecipientOutcome) -> Attempt:
    return Attempt(
        message_id="4F2A1",
        next_hop="example.org",
        started_at=100.01,
        ended_at=100.91,
        connected_at=100.3,
        ready_at=100.61,
        outcomes=outcomes or (outcome(),),
        host="mx1.example.org",
        address="192.0.2.1",
        port=25,
        achieved=Achieved(level=Level.AUTHENTICATED, by="dane-ee"),
        handshake=TLS,
        reasons=(Reason(code=Code.RFC7672_2_2_USABLE, subject="mx1.example.org"),),
    )


def held(*outcomes: RecipientOutcome, reasons: tuple[Reason, ...] = ()) -> Attempt:
    return Attempt(
        message_id="4F2B7", next_hop="example.net", started_at=100, ended_at=103, outcomes=outcomes, reasons=reasons
    )


def test_a_delivery() -> None:
    (line,) = lines(delivered(), accepted_at=100.0)
    assert line == (
        "4F2A1: to=<ann@example.org>, relay=mx1.example.org[192.0.2.1]:25, delay=0.91, delays=0.01/0/0.6/0.3, "
        "dsn=2.0.0, status=sent (250 2.0.0 Ok: queued) "
        "protection=authenticated by=dane-ee version=TLSv1.3 group=X25519MLKEM768 why=rfc7672-2.2-usable"
    )


def test_a_message_that_the_policy_holds() -> None:
    reason = Reason(code=Code.RFC7672_2_2_3_STARTTLS_REQUIRED, subject="mx.example.net")
    deferred = outcome(BOB, OutcomeKind.DEFERRED, "4.7.5", "mx.example.net: STARTTLS was not offered")
    (line,) = lines(held(deferred, reasons=(reason,)), accepted_at=100)
    assert line == (
        "4F2B7: to=<bob@example.org>, relay=none, delay=3, delays=0/0/3/0, dsn=4.7.5, status=deferred "
        "(mx.example.net: STARTTLS was not offered) protection=refused why=rfc7672-2.2.3-starttls-required"
    )


def test_no_connection_is_no_refusal() -> None:
    (line,) = lines(held(outcome(kind=OutcomeKind.DEFERRED, status="4.4.1", text="no")), accepted_at=0)
    assert line.endswith("status=deferred (no) protection=none")


def test_doubt_is_said() -> None:
    (line,) = lines(held(outcome(kind=OutcomeKind.DEFERRED, status="4.4.2", in_doubt=True)), accepted_at=0)
    assert line.endswith(" in-doubt=yes")


def test_one_line_a_recipient_in_postfix_s_order() -> None:
    found = lines(delivered(outcome(), outcome(BOB, OutcomeKind.FAILED, "5.1.1", "no such user")), accepted_at=-1e9)
    assert len(found) == 2
    assert all(POSTFIX.fullmatch(line) for line in found)
    assert "status=bounced" in found[1]


def test_remote_text_cannot_forge_a_line_or_move_a_cursor() -> None:
    evil = "550 no\r\n4F2A2: to=<x>\x1b[2J\x00\u202e\u2028end"
    (line,) = lines(delivered(outcome(text=evil)), accepted_at=100)
    assert line.isprintable()
    assert r"(550 no\r\n4F2A2: to=<x>\x1b[2J\x00\u202e\u2028end)" in line


@pytest.mark.parametrize("text", ["250 ok", "a\x1b[2Jb", "c\r\nd", "é", "x" * 5000])
def test_the_text_is_that_of_the_events(text: str) -> None:
    log = DeliveryLog()
    for made in (delivered(outcome(text=text)), delivered(outcome(text=text), outcome(BOB)), held(outcome(text=text))):
        begins: dict[str, str] = defaultdict(lambda: "mx: ")
        for _ in range(2):  # the second time with what is remembered of the session
            assert log.delivered.text(begins, made, 100.0).split("\n") == [
                f"mx: {line}" for line in lines(made, accepted_at=100.0)
            ]
            assert [str(event) for _, event in log.delivered.events(made, 100.0)] == lines(made, accepted_at=100.0)


def test_what_protected_one_session_is_not_said_of_another() -> None:
    log = DeliveryLog()
    begins: dict[str, str] = defaultdict(str)
    for number in range(2 * MAX_PROTECTIONS):
        made = delivered()
        made = replace(made, achieved=Achieved(level=Level.AUTHENTICATED, by=f"dane-{number}"))
        assert f" by=dane-{number} " in log.delivered.text(begins, made, 100.0)
    usable = made
    other = replace(made, reasons=(Reason(code=Code.RFC7672_2_2_3_STARTTLS_REQUIRED, subject="mx.example.net"),))
    assert log.delivered.text(begins, other, 100.0).endswith("why=rfc7672-2.2.3-starttls-required")
    assert log.delivered.text(begins, usable, 100.0).endswith("why=rfc7672-2.2-usable")


@given(st.floats(min_value=-1, max_value=1e6))
@example(0.0625)
@example(0.0125)
@example(0.09999)
def test_seconds_have_two_digits(value: float) -> None:
    shown = lines(replace(delivered(), ended_at=value), accepted_at=0.0)[0].partition("delay=")[2].partition(",")[0]
    if 0.01 <= value < 0.1:
        assert abs(float(shown) - value) <= 0.0005 + 1e-9  # half a millisecond goes either way
        assert shown == f"{float(shown):.2g}"
    else:
        assert shown == ("0" if value < 0.01 else f"{value:.2g}" if value < 100 else f"{value:.0f}")


def test_remote_text_is_bounded() -> None:
    (line,) = lines(delivered(outcome(text="x" * 100_000)), accepted_at=100)
    assert len(line) < 1200


def test_a_clock_that_went_back_gives_no_negative_delay() -> None:
    (line,) = lines(delivered(), accepted_at=1000)
    assert "delay=0, delays=0/0/0.6/0.3" in line


def test_the_fields_of_a_delivery_for_json() -> None:
    (event,) = events(delivered(), accepted_at=100.0)
    assert event.fields() == {
        "id": "4F2A1",
        "recipient": "ann@example.org",
        "next_hop": "example.org",
        "relay": "mx1.example.org[192.0.2.1]:25",
        "delay_seconds": 0.91,
        "dsn": "2.0.0",
        "status": "sent",
        "text": "250 2.0.0 Ok: queued",
        "in_doubt": False,
        "tls": "authenticated",
        "by": "dane-ee",
        "version": "TLSv1.3",
        "group": "X25519MLKEM768",
        "why": "rfc7672-2.2-usable",
    }


async def test_a_new_session_has_its_tls_in_the_log_and_a_kept_one_has_not(
    dialer: MemoryDialer, context: ServerContext, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "letterlock.deliver")
    dialer.handlers[ADDRESS] = Server(context)
    sender, log = Sender(dialer), DeliveryLog()
    for made in (await sender.send(), await sender.send()):
        log.attempted(make_task(), made)
    await sender.pool.close()
    first, *others = [record.getMessage() for record in caplog.records]
    assert re.match(
        r"Untrusted TLS connection established to mx\.example\.org\[192\.0\.2\.1]:25: TLSv1\.3 with cipher \w+", first
    )
    assert [bool(POSTFIX.fullmatch(line)) for line in others] == [True, True]


async def test_the_tls_of_a_session_as_text_and_for_json(dialer: MemoryDialer, context: ServerContext) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    sender = Sender(dialer)
    (session,) = (await sender.send()).sessions
    await sender.pool.close()
    session = session._replace(host="mx\x1b[2J")
    ((name, event),) = SESSION_TLS.events(session, TLS)
    assert SESSION_TLS.text({name: "mx: "}, session, TLS) == f"mx: {event}"
    assert str(event) == (
        r"Untrusted TLS connection established to mx\x1b[2J[192.0.2.1]:25: "
        "TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 key-exchange X25519MLKEM768"
    )
    shown = event.fields()
    assert shown["host"] == r"mx\x1b[2J"
    assert (shown["trust"], shown["cleared"], shown["policies"]) == ("Untrusted", True, [])
    ((_, without),) = SESSION_TLS.events(session, replace(TLS, group=None))
    assert "key-exchange" not in str(without)
