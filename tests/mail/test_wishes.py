"""NOTIFY, ORCPT, RET and ENVID as values (RFC 3461 section 4)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.mail.addresses import Mailbox
from letterlock.mail.wishes import (
    MAX_ENVID_OCTETS,
    MAX_ORCPT_OCTETS,
    NOTHING_SAID,
    Event,
    NotRfc3461,
    RecipientWishes,
    Ret,
    Wishes,
    decode_xtext,
    parse_envid,
    parse_notify,
    parse_orcpt,
    read_orcpt,
    write_notify,
)

ANN, BEN = Mailbox("ann", "one.test"), Mailbox("ben", "one.test")


@pytest.mark.parametrize(
    ("text", "events"),
    [
        ("NEVER", set()),
        ("never", set()),
        ("SUCCESS", {Event.SUCCESS}),
        ("success,Failure", {Event.SUCCESS, Event.FAILURE}),
        ("DELAY,FAILURE,SUCCESS", set(Event)),
    ],
)
def test_rfc3461_4_1_notify_is_never_or_some_of_three(text: str, events: set[Event]) -> None:
    assert parse_notify(text) == events


@pytest.mark.parametrize("text", ["", "NEVER,SUCCESS", "SUCCESS,NEVER", "SUCCESS,", ",", "ALWAYS", "SUCCESS FAILURE"])
def test_rfc3461_4_1_what_is_no_notify(text: str) -> None:
    with pytest.raises(NotRfc3461):
        parse_notify(text)


@given(st.frozensets(st.sampled_from(Event)))
def test_rfc3461_4_1_notify_goes_on_as_it_came(events: frozenset[Event]) -> None:
    assert parse_notify(write_notify(events)) == events


@pytest.mark.parametrize(
    ("wishes", "wanted"),
    [
        (NOTHING_SAID, {Event.FAILURE, Event.DELAY}),
        (RecipientWishes(frozenset()), set()),
        (RecipientWishes(frozenset({Event.SUCCESS})), {Event.SUCCESS}),
        (RecipientWishes(frozenset({Event.FAILURE})), {Event.FAILURE}),
    ],
)
def test_rfc3461_4_1_who_is_told_of_what(wishes: RecipientWishes, wanted: set[Event]) -> None:
    assert {event for event in Event if wishes.wants(event)} == wanted


@pytest.mark.parametrize(
    ("text", "decoded"), [("plain", "plain"), ("a+2Bb+3Dc", "a+b=c"), ("QQ+20314159", "QQ 314159"), ("+5C", "\\")]
)
def test_rfc3461_4_xtext_is_decoded(text: str, decoded: str) -> None:
    assert decode_xtext(text) == decoded


@pytest.mark.parametrize("text", ["", "a=b", "a+", "a+2", "a+2b", "a b", "+0D+0A", "+00", "+7F", "+E9", "\u00e9"])
def test_rfc3461_4_what_is_no_xtext_or_would_forge_a_line(text: str) -> None:
    with pytest.raises(NotRfc3461):
        decode_xtext(text)


def test_rfc3461_4_2_the_original_recipient_has_a_type() -> None:
    assert read_orcpt("rfc822;Bob+2Blists@example.com") == ("rfc822", "Bob+lists@example.com")
    assert parse_orcpt("rfc822;Bob+2Blists@example.com") == "rfc822;Bob+2Blists@example.com"


@pytest.mark.parametrize(
    "text", ["", "bob@example.com", ";bob", "rfc 822;bob", "rfc822;", "rfc822;a=b", "rfc822;" + "x" * MAX_ORCPT_OCTETS]
)
def test_rfc3461_4_2_what_is_no_orcpt(text: str) -> None:
    with pytest.raises(NotRfc3461):
        parse_orcpt(text)


def test_rfc3461_4_4_an_envelope_id_has_100_octets_at_most() -> None:
    assert parse_envid("x" * MAX_ENVID_OCTETS) == "x" * MAX_ENVID_OCTETS
    with pytest.raises(NotRfc3461):
        parse_envid("x" * (MAX_ENVID_OCTETS + 1))


def test_parameters_are_written_only_where_something_was_said() -> None:
    asked = RecipientWishes(frozenset({Event.DELAY, Event.SUCCESS}), "rfc822;x@y")
    wishes = Wishes(Ret.HDRS, "QQ+20", {ANN: asked})
    assert wishes.parameters == " RET=HDRS ENVID=QQ+20"
    assert wishes.of(ANN).parameters == " NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x@y"
    assert (wishes.of(BEN).parameters, Wishes().parameters) == ("", "")
