"""Mailboxes as MAIL FROM and RCPT TO give them."""

import pytest
from hypothesis import given as given_any
from hypothesis import strategies as st

from letterlock.mail.addresses import InvalidAddress, parse_mailbox


@pytest.mark.parametrize(
    ("given", "local_part", "domain"),
    [
        ("ann@Example.org", "ann", "example.org"),
        ("Ann.B+tag@example.org", "Ann.B+tag", "example.org"),
        ('"a b"@example.org', '"a b"', "example.org"),
        ('"a@b"@example.org', '"a@b"', "example.org"),
        ("ann@[192.0.2.1]", "ann", "[192.0.2.1]"),
        ("ann@[IPv6:2001:db8::1]", "ann", "[ipv6:2001:db8::1]"),
        ("@a.test,@b.test:ann@example.org", "ann", "example.org"),
        ("jürgen@bücher.example", "jürgen", "xn--bcher-kva.example"),
    ],
)
def test_rfc5321_4_1_2_mailboxes(given: str, local_part: str, domain: str) -> None:
    mailbox = parse_mailbox(given)
    assert (mailbox.local_part, mailbox.domain) == (local_part, domain)


@pytest.mark.parametrize(
    "given",
    [
        "",
        "ann",
        "@example.org",
        "ann@",
        "a b@example.org",
        ".@example.org",
        "..@example.org",
        "a..b c@example.org",
        "ann@[192.0.2]",
        "ann@exa mple.org",
        "a" * 65 + "@example.org",
        "ann@-example.org",
        "ann>@example.org",
        "a\r\nb@example.org",
        '"a@example.org',
    ],
)
def test_rfc5321_4_1_2_what_is_not_a_mailbox_is_refused(given: str) -> None:
    with pytest.raises(InvalidAddress):
        parse_mailbox(given)


def test_rfc5321_4_5_3_1_3_a_path_has_254_octets_at_most() -> None:
    domain = ".".join(["d" * 60] * 3 + ["test"])
    with pytest.raises(InvalidAddress, match="longer than 254"):
        parse_mailbox("a" * 64 + "@" + domain + ".x" * 10)


def test_rfc6531_3_3_a_local_part_beyond_ascii_needs_smtputf8() -> None:
    assert parse_mailbox("jürgen@a.test").needs_smtputf8
    assert not parse_mailbox("jurgen@bücher.example").needs_smtputf8


@pytest.mark.parametrize("local_part", ["a..b", "a.", ".a", "..a...b..", "jürgen."])
def test_rfc5321_4_1_2_dots_that_the_grammar_does_not_have_are_quoted(local_part: str) -> None:
    mailbox = parse_mailbox(f"{local_part}@docomo.test")
    assert str(mailbox) == f'"{local_part}"@docomo.test'
    assert parse_mailbox(str(mailbox)) == mailbox


def test_rfc5321_4_5_3_1_1_our_quotes_do_not_count() -> None:
    mailbox = parse_mailbox("a" * 63 + ".@example.org")
    assert parse_mailbox(str(mailbox)) == mailbox
    with pytest.raises(InvalidAddress):
        parse_mailbox("a" * 64 + ".@example.org")


@given_any(st.text(alphabet='ab.+"\\ @é<>', max_size=20))
def test_whatever_is_accepted_is_read_again_as_the_same(local_part: str) -> None:
    """The queue keeps addresses as text: what was accepted must not be damaged when it is read back."""
    try:
        mailbox = parse_mailbox(f"{local_part}@example.org")
    except InvalidAddress:
        return
    assert parse_mailbox(str(mailbox)) == mailbox
    assert mailbox.local_part in (local_part, f'"{local_part}"') or local_part.startswith("@")
