"""The Sender Rewriting Scheme, against the published examples and their relatives."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.mail.addresses import Mailbox, parse_mailbox
from letterlock.recipients.srs import DAY_SECONDS, NotOurs, Srs
from tests.mailauth.vectors import vectors

CASES = json.loads((vectors("srs") / "cases.json").read_text())
NOW = float(CASES["now"])
SRS = Srs(tuple(secret.encode() for secret in CASES["secrets"]), CASES["local_domain"], CASES["days_valid"])


def forwarded(address: str) -> str:
    if not address or address.endswith("@" + SRS.domain):
        return "unchanged"  # the caller's decision: such mail is not rewritten at all
    found = SRS.forward(parse_mailbox(address), NOW)
    return "too long" if found is None else str(found)


def reversed_(address: str) -> str:
    mailbox = parse_mailbox(address)
    if not SRS.is_ours(mailbox):
        return "not SRS"
    try:
        return str(SRS.reverse(mailbox, NOW))
    except NotOurs:
        return "refused"


@pytest.mark.parametrize("case", CASES["cases"], ids=lambda case: f"{case['verb']}:{case['address']}"[:50])
def test_published_cases(case: dict[str, str]) -> None:
    found = forwarded(case["address"]) if case["verb"] == "forward" else reversed_(case["address"])
    expected = case["expected"]
    if case["verb"] == "reverse" and "@" in expected:
        local_part, _, domain = expected.rpartition("@")
        expected = f"{local_part}@{domain.lower()}"
    assert found == expected


LOCAL = st.text("abcdefghijklmnopqrstuvwxyz0123456789=+-_", min_size=1, max_size=20)


@given(LOCAL, st.floats(0, 4e9), st.floats(0, 20 * DAY_SECONDS))
def test_what_is_forwarded_comes_back(local_part: str, now: float, later: float) -> None:
    if local_part[:4].lower() in ("srs0", "srs1"):
        return
    sender = Mailbox(local_part, "example.net")
    rewritten = SRS.forward(sender, now)
    assert rewritten is not None
    assert SRS.reverse(rewritten, now + later) == sender


def test_a_second_forwarder_does_not_let_addresses_grow_without_end() -> None:
    other, third = Srs((b"b",), "two.example"), Srs((b"c",), "three.example")
    first = SRS.forward(Mailbox("ann", "example.net"), NOW)
    assert first is not None
    second = other.forward(first, NOW)
    assert second is not None
    assert second.local_part.startswith("SRS1=")
    again = third.forward(second, NOW)
    assert again is not None
    assert len(str(again).split("@")[0]) == len(str(second).split("@")[0])
    assert third.reverse(again, NOW) == first
    assert other.reverse(second, NOW) == first


@pytest.mark.parametrize("days", [-2, 22, 500, 1000])
def test_an_address_ends_after_its_days(days: int) -> None:
    made = SRS.forward(Mailbox("ann", "example.net"), NOW)
    assert made is not None
    with pytest.raises(NotOurs):
        SRS.reverse(made, NOW + days * DAY_SECONDS)


def test_a_former_secret_still_verifies_and_does_not_sign() -> None:
    old, new = Srs((b"old",), SRS.domain), Srs((b"new", b"old"), SRS.domain)
    made = old.forward(Mailbox("ann", "example.net"), NOW)
    assert made is not None
    assert new.reverse(made, NOW) == Mailbox("ann", "example.net")
    assert new.forward(Mailbox("ann", "example.net"), NOW) != made


def test_rfc5321_4_5_3_1_1_a_local_part_that_would_be_too_long_is_not_written() -> None:
    assert SRS.forward(Mailbox("a" * 40, "a-rather-long-domain.example.net"), NOW) is None


def test_secrets_are_not_shown() -> None:
    assert "tops3cr3t" not in repr(SRS)
