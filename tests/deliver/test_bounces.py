"""What bounces at once, and what waits because an attacker could have caused it."""

from dataclasses import replace

import pytest

from letterlock.deliver.attempt import attempt
from letterlock.deliver.reply_hints import asks_for_tls
from letterlock.mail.addresses import Mailbox
from letterlock.mail.replies import Reply
from letterlock.mtasts import Known, Mode, StsPolicy
from letterlock.net.tls import ServerContext
from letterlock.policy.evidence import DestinationEvidence
from letterlock.queue.age import Age
from letterlock.queue.settle import RetrySchedule, settle
from letterlock.queue.tasks import Attempt, OutcomeKind
from letterlock.resolver.answer import Absence, Answer, Security
from letterlock.routing.routes import NextHop
from tests.deliver.world import (
    ADDRESS,
    ANN,
    BODY,
    OPTIONS,
    HandDiscoverer,
    MemoryDialer,
    Server,
    answer,
    make_ports,
    make_task,
)

DELIVERED, DEFERRED, FAILED = OutcomeKind.DELIVERED, OutcomeKind.DEFERRED, OutcomeKind.FAILED
TWO_HOSTS = {"mx1.example.org": (ADDRESS,), "mx2.example.org": ("192.0.2.2",)}
WANT_TLS = (
    b"530 5.7.0 Must issue a STARTTLS command first\r\n",
    b"530 encryption needed\r\n",
    b"550 5.7.10 Encryption needed\r\n",
    b"554 5.7.11 no\r\n",
    b"550 5.7.1 TLS required by policy\r\n",
    b"554 unencrypted sessions are not welcome\r\n",
)
NO_TLS = {
    "refused": {"starttls_answer": b"454 4.7.0 TLS not available\r\n", "extensions": ("STARTTLS", "PIPELINING")},
    "broken": {"starttls_answer": b"220 go\r\n", "extensions": ("STARTTLS",)},
    "stripped": {"extensions": ("PIPELINING",)},
}


async def make(
    dialer: MemoryDialer, discoverer: HandDiscoverer | None = None, body: bytes = BODY, to: Mailbox = ANN
) -> Attempt:
    task = make_task(to)
    task = replace(task, envelope=replace(task.envelope, smtputf8=True))
    return await attempt(task, body, ports=make_ports(dialer, discoverer), options=OPTIONS)


def kinds(made: Attempt) -> list[OutcomeKind]:
    return [outcome.kind for outcome in made.outcomes]


@pytest.mark.parametrize("how", NO_TLS)
@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA", "."])
@pytest.mark.parametrize("reply", WANT_TLS)
async def test_rfc3207_4_a_server_that_wants_tls_gets_another_try(
    dialer: MemoryDialer, how: str, command: str, reply: bytes
) -> None:
    server = Server(**NO_TLS[how], answers={command: [reply]})  # type: ignore[arg-type] # fields by name
    dialer.handlers[ADDRESS] = server
    made = await make(dialer)
    assert kinds(made) == [DEFERRED]
    assert made.outcomes[0].status.startswith("4.")
    assert "TLS is tried again" in made.outcomes[0].text


async def test_rfc3207_4_another_host_may_have_the_mail_meanwhile(dialer: MemoryDialer, context: ServerContext) -> None:
    dialer.handlers[ADDRESS] = Server(answers={"MAIL": [WANT_TLS[0]]}, extensions=())
    second = dialer.handlers["192.0.2.2"] = Server(context)
    assert kinds(await make(dialer, HandDiscoverer(TWO_HOSTS))) == [DELIVERED]
    assert second.messages == [BODY]


async def test_inside_tls_the_same_refusal_is_for_good(dialer: MemoryDialer, context: ServerContext) -> None:
    dialer.handlers[ADDRESS] = Server(context, answers={"MAIL": [b"550 5.7.10 Encryption needed\r\n"]})
    assert kinds(await make(dialer)) == [FAILED]


@pytest.mark.parametrize("how", NO_TLS)
async def test_in_clear_another_refusal_is_for_good(dialer: MemoryDialer, how: str) -> None:
    """Where nothing proves the server, whoever answers may say that there is no such user; the README says so."""
    server = Server(**NO_TLS[how], answers={"RCPT": [b"550 5.1.1 no such user\r\n"]})  # type: ignore[arg-type] # as above
    dialer.handlers[ADDRESS] = server
    assert kinds(await make(dialer)) == [FAILED]


@pytest.mark.parametrize(
    ("reply", "wanted"),
    [
        (Reply(530, ("5.7.0 Must issue a STARTTLS command first",)), True),
        (Reply(538, ("Encryption required",)), True),
        (Reply(550, ("5.7.1 Session encryption is required",)), True),
        (Reply(550, ("SSL or TLS please",)), True),
        (Reply(550, ("5.1.1 <tls@example.org>: no such user",)), False),
        (Reply(550, ("unknown user tls@example.org",)), False),
        (Reply(550, ("5.1.1 tls: no such user",)), False),
        (Reply(550, ("5.7.1 see https://example.org/tls for our rules",)), False),
        (Reply(550, ("5.7.1 the restless are not welcome",)), False),
        (Reply(450, ("4.7.1 TLS please",)), False),
    ],
)
def test_which_replies_ask_for_tls(reply: Reply, wanted: bool) -> None:
    assert asks_for_tls(reply) is wanted


@pytest.mark.parametrize(
    ("extensions", "body", "to", "status"),
    [
        ((), b"Subject: x\r\n\r\ncaf\xc3\xa9\r\n", ANN, "6.3"),
        (("8BITMIME", "SIZE 10"), BODY, ANN, "3.4"),
        (("8BITMIME",), BODY, Mailbox("j\u00f6rg", "example.org"), "6.7"),
    ],
)
@pytest.mark.parametrize("secure", [True, False])
async def test_what_a_server_does_not_offer_in_clear_may_have_been_removed(
    dialer: MemoryDialer,
    context: ServerContext,
    extensions: tuple[str, ...],
    body: bytes,
    to: Mailbox,
    status: str,
    secure: bool,
) -> None:
    dialer.handlers[ADDRESS] = Server(context if secure else None, extensions=extensions)
    made = await make(dialer, None, body, to)
    assert [(outcome.kind, outcome.status) for outcome in made.outcomes] == [
        (FAILED, f"5.{status}") if secure else (DEFERRED, f"4.{status}")
    ]


async def test_on_the_loopback_nobody_can_have_removed_it(dialer: MemoryDialer) -> None:
    dialer.handlers["127.0.0.1"] = Server(extensions=("SIZE 10",))
    assert kinds(await make(dialer, HandDiscoverer({"filter.example": ("127.0.0.1",)}))) == [FAILED]


async def test_one_host_in_clear_is_enough_to_wait(dialer: MemoryDialer, context: ServerContext) -> None:
    dialer.handlers[ADDRESS] = Server(context, extensions=("SIZE 10",))
    dialer.handlers["192.0.2.2"] = Server(extensions=("SIZE 10",))
    assert kinds(await make(dialer, HandDiscoverer(TWO_HOSTS))) == [DEFERRED]


async def test_it_bounces_when_the_time_is_over(dialer: MemoryDialer) -> None:
    dialer.handlers[ADDRESS] = Server(answers={"MAIL": [WANT_TLS[0]]}, extensions=())
    made, task = await make(dialer), replace(make_task(), attempts=9, age=Age(1e9))
    settled = settle(task, made, now=task.envelope.expires_at, schedule=RetrySchedule())
    assert [outcome.status for outcome in settled.failed] == ["5.7.0"]


def sts(mode: Mode) -> Known:
    policy = StsPolicy(mode=mode, mx=("mx.example.org",), max_age_seconds=86400)
    return Known(policy=policy, id="1", fetched_at=0.0, expires_at=2e9, from_cache=True)


class Vanished(HandDiscoverer):
    """A domain that DNS says is not there, in one of four ways."""

    def __init__(self, how: str, security: Security, known: Known | None, expected_by: str | None) -> None:
        super().__init__(hosts={} if how != "no address" else {"mx.example.org": ()}, sts=known)
        self._expected_by = expected_by
        name = "example.org"
        forged: dict[str, Answer] = {
            "no domain": answer(name, "MX", security=security, absence=Absence.NXDOMAIN),
            "null MX": answer(name, "MX", "0 .", security=security),
            "no data": answer(name, "MX", security=security),
        }
        self.mx = forged.get(how, answer(name, "MX", "10 mx.example.org.", security=security))
        if how == "no data":
            self.hosts = {name: ()}

    async def destination(self, next_hop: NextHop, sender: str | None = None) -> DestinationEvidence:
        return replace(await super().destination(next_hop, sender), expected_by=self._expected_by)


@pytest.mark.parametrize("how", ["no domain", "null MX", "no data", "no address"])
@pytest.mark.parametrize(
    ("known", "rule", "code"),
    [
        (sts(Mode.ENFORCE), None, "rfc8461-10.2-vanished"),
        (sts(Mode.TESTING), None, "rfc8461-10.2-vanished"),
        (None, 'letterlock.toml:3: domain."example.org"', "rule-vanished"),
    ],
)
async def test_rfc8461_10_2_unsigned_dns_cannot_make_a_domain_vanish_that_is_known(
    dialer: MemoryDialer, how: str, known: Known | None, rule: str | None, code: str
) -> None:
    made = await make(dialer, Vanished(how, Security.INSECURE, known, rule))
    assert kinds(made) == [DEFERRED]
    assert code in {reason.code for reason in made.reasons}
    assert made.outcomes[0].status.startswith("4.")


@pytest.mark.parametrize("how", ["no domain", "null MX"])
async def test_rfc4035_3_2_3_what_is_proven_is_believed(dialer: MemoryDialer, how: str) -> None:
    made = await make(dialer, Vanished(how, Security.SECURE, sts(Mode.ENFORCE), "letterlock.toml:3"))
    assert kinds(made) == [FAILED]


@pytest.mark.parametrize("how", ["no domain", "null MX", "no data", "no address"])
@pytest.mark.parametrize("known", [None, sts(Mode.NONE)])
async def test_a_mistyped_domain_that_nobody_speaks_for_bounces_at_once(
    dialer: MemoryDialer, how: str, known: Known | None
) -> None:
    assert kinds(await make(dialer, Vanished(how, Security.INSECURE, known, None))) == [FAILED]
