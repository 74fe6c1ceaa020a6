"""Rules on recipients: the first that matches decides, and where none does the listener."""

import ipaddress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.mail.addresses import Mailbox, parse_mailbox
from letterlock.receive.limits import MemoryBudget
from letterlock.receive.options import ReceiveOptions
from letterlock.receive.pipeline import Facts
from letterlock.receive.profiles import Profile, Role
from letterlock.receive.recipient_rules import (
    AddressPatterns,
    FollowRules,
    RecipientRequest,
    RecipientRule,
    RuleAction,
    first_match,
)
from letterlock.receive.relay import DENIED, RefuseRelaying
from letterlock.receive.steps import Surroundings, steps_of
from letterlock.smtp.server_events import RecipientOffered
from tests.receive.test_drop import OPTIONS, Drop
from tests.receive.world import StandingClock, world

ANN, BOB = Mailbox("ann", "example.org"), Mailbox("bob", "example.net")


def rule(action: str, **conditions: object) -> RecipientRule:
    """A rule with conditions in words."""
    made: dict[str, object] = {"source": "x:1", "action": RuleAction(action)}
    if "client" in conditions:
        made["clients"] = (ipaddress.ip_network(str(conditions["client"])),)
    for name, to in (("sender", "senders"), ("to", "recipients")):
        if name in conditions:
            made[to] = patterns(str(conditions[name]))
    for name, to in (("user", "users"), ("role", "roles")):
        if name in conditions:
            made[to] = frozenset(str(conditions[name]).split())
    return RecipientRule(**made)  # type: ignore[arg-type]  # by name


def patterns(text: str) -> AddressPatterns:
    words = text.split()
    boxes = [parse_mailbox(each) for each in words if "@" in each]
    return AddressPatterns(boxes, [each for each in words if "@" not in each and each != "<>"], null="<>" in words)


def request(
    *,
    role: str = "mx",
    client: str = "192.0.2.1",
    user: str | None = None,
    sender: Mailbox | None = ANN,
    to: Mailbox = BOB,
) -> RecipientRequest:
    return RecipientRequest(role=role, client=client, user=user, sender=sender, recipient=to)


@pytest.mark.parametrize(
    ("text", "address", "covered"),
    [
        ("ann@example.org", "ANN@Example.ORG", True),
        ("ann@example.org", "ann+x@example.org", False),
        ("example.org", "any@example.org", True),
        ("example.org", "any@sub.example.org", False),
        ("*.example.org", "any@a.b.example.org", True),
        ("*.example.org", "any@example.org", False),
        ("*", "any@example.org", True),
        ("*", None, True),
        ("<>", None, True),
        ("example.org", None, False),
        ("<>", "any@example.org", False),
        ("b\u00fccher.example", "x@xn--bcher-kva.example", True),
    ],
)
def test_addresses_are_covered(text: str, address: str | None, covered: bool) -> None:
    assert patterns(text).cover(None if address is None else parse_mailbox(address)) is covered


def test_the_first_rule_that_matches_decides() -> None:
    rules = (rule("reject", sender="<>"), rule("deliver", to="example.net"), rule("reject"))
    assert first_match(rules, request(sender=None)) is rules[0]
    assert first_match(rules, request()) is rules[1]
    assert first_match(rules, request(to=ANN)) is rules[2]
    assert first_match(rules[:2], request(to=ANN)) is None


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "client": st.sampled_from(["192.0.2.0/24", "198.51.100.0/24"]),
            "user": st.sampled_from(["ann", "*", "carl"]),
            "role": st.sampled_from(["mx", "submission relay"]),
            "sender": st.sampled_from(["example.org", "other.test", "<>"]),
            "to": st.sampled_from(["bob@example.net", "other.test", "*"]),
        },
    ),
    st.sampled_from(["192.0.2.9", "198.51.100.7", "2001:db8::1", "::ffff:192.0.2.9", "fe80::1%eth0"]),
    st.sampled_from([None, "ann", "bob"]),
)
def test_all_conditions_must_hold_and_none_more(conditions: dict[str, str], client: str, user: str | None) -> None:
    made = rule("reject", **conditions)
    holds = {
        "client": ("192.0.2.9" in client and conditions.get("client") == "192.0.2.0/24")
        or (client == "198.51.100.7" and conditions.get("client") == "198.51.100.0/24"),
        "user": user is not None and conditions.get("user") in ("*", user),
        "role": conditions.get("role") == "mx",
        "sender": conditions.get("sender") == "example.org",
        "to": conditions.get("to") in ("bob@example.net", "*"),
    }
    assert made.matches(request(client=client, user=user)) is all(holds[name] for name in conditions)


def offer(to: Mailbox = BOB, *, postmaster: bool = False) -> RecipientOffered:
    return RecipientOffered(ANN, to, postmaster=postmaster)


def test_the_step_says_what_the_rule_says_and_else_what_the_listener_says() -> None:
    facts = Facts(client="192.0.2.1", client_label="x")
    step = FollowRules(
        (rule("defer", to="late.test"), rule("deliver", to="example.net"), rule("reject", to="own.test")),
        "mx",
        RefuseRelaying(frozenset({"own.test", "also.test"})),
    )
    assert str(step.recipient(facts, offer(Mailbox("a", "late.test")))) == "450 4.7.1 Not accepted here"
    assert step.recipient(facts, offer()) is None
    assert str(step.recipient(facts, offer(Mailbox("a", "own.test")))) == "550 5.7.1 Not accepted here"
    assert step.recipient(facts, offer(Mailbox("a", "also.test"))) is None
    assert step.recipient(facts, offer(Mailbox("a", "elsewhere.test"))) is DENIED


def test_rfc5321_4_5_1_everybody_may_write_to_the_postmaster() -> None:
    step = FollowRules((rule("reject"),), "mx", RefuseRelaying())
    facts = Facts(client="192.0.2.1", client_label="x")
    assert step.recipient(facts, offer(postmaster=True)) is None


async def test_a_server_follows_its_rules() -> None:
    options = ReceiveOptions(
        hostname="mx.example.org",
        recipient_rules=(
            rule("reject", sender="spam.test"),
            rule("deliver", to="example.org", role="mx"),
            rule("relay", client="127.0.0.0/8", to="partner.test"),
        ),
    )
    profile = Profile(role=Role.MX, relay_networks=())
    async with world(options, profile) as running, running.client() as client:
        await client.reply()
        await client.ask(b"EHLO client.example\r\n")

        async def said(sender: bytes, recipient: bytes) -> bytes:
            await client.ask(b"MAIL FROM:<%b>\r\n" % sender)
            reply = await client.ask(b"RCPT TO:<%b>\r\n" % recipient)
            await client.ask(b"RSET\r\n")
            return reply[:9]

        assert await said(b"a@b.test", b"ann@example.org") == b"250 2.1.5"
        assert await said(b"a@spam.test", b"ann@example.org") == b"550 5.7.1"
        assert await said(b"", b"x@partner.test") == b"250 2.1.5"
        assert await said(b"a@b.test", b"x@elsewhere.test") == b"550 5.7.1"


def surroundings() -> Surroundings:
    return Surroundings(memory=MemoryBudget(1), has_room_on_disk=lambda _: True, clock=StandingClock())


def test_without_rules_nothing_is_asked() -> None:
    """What is off costs nothing: the step is the one that there was before."""
    steps = steps_of(Profile(), ReceiveOptions(hostname="h"), surroundings())
    assert [each for each in steps if isinstance(each, FollowRules)] == []


async def test_mail_of_local_users_follows_the_rules_too(tmp_path: Path) -> None:
    refusing = rule("reject", to="x.test", client="127.0.0.0/8")
    drop = Drop(tmp_path / "drop", replace(OPTIONS, recipient_rules=(refusing,)))
    drop.leave("bob@x.test", "bob@y.test")
    await drop.collect()
    drop.directory.close()
    accepted = {str(each) for envelope, _ in drop.store.accepted for each in envelope.recipients}
    assert accepted == {"bob@y.test", "ann@example.org"}  # who sent it is notified of the other
