"""Command lines into values."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import BodyType
from letterlock.mail.replies import Reply
from letterlock.smtp.commands import BadCommand, parse_command, parse_hello, parse_mail, parse_rcpt


@pytest.mark.parametrize(
    ("argument", "mailbox"),
    [
        (b"FROM:<ann@example.org>", Mailbox("ann", "example.org")),
        (b"from:<Ann@EXAMPLE.org>", Mailbox("Ann", "example.org")),
        (b"FROM: <ann@example.org>", Mailbox("ann", "example.org")),
        (b"FROM:<>", None),
        (b"FROM:<@relay.example,@two.example:ann@example.org>", Mailbox("ann", "example.org")),
        (b'FROM:<"a b>c"@example.org>', Mailbox('"a b>c"', "example.org")),
        (b'FROM:<"a\\"b"@example.org>', Mailbox('"a\\"b"', "example.org")),
        (b"FROM:<ann@[192.0.2.1]>", Mailbox("ann", "[192.0.2.1]")),
        (b"FROM:<ann@[IPv6:2001:db8::1]>", Mailbox("ann", "[ipv6:2001:db8::1]")),
        (b"FROM:<bounce+ann=example.net@example.org>", Mailbox("bounce+ann=example.net", "example.org")),
    ],
)
def test_rfc5321_4_1_1_2_reverse_paths(argument: bytes, mailbox: Mailbox | None) -> None:
    assert parse_mail(argument).reverse_path == mailbox


@pytest.mark.parametrize(
    ("argument", "code", "status"),
    [
        (b"", 501, "5.5.4"),
        (b"ann@example.org", 501, "5.5.4"),
        (b"FROM:ann@example.org", 501, "5.5.4"),
        (b"FROM:<ann@example.org", 501, "5.5.4"),
        (b"FROM <ann@example.org>", 501, "5.5.4"),
        (b"FROM:<ann@example.org>SIZE=1", 501, "5.5.4"),
        (b"FROM:<ann@example.org> <x>", 501, "5.5.4"),
        (b"FROM:<ann>", 501, "5.1.7"),
        (b"FROM:<ann@>", 501, "5.1.7"),
        (b"FROM:<@example.org>", 501, "5.1.7"),
        (b"FROM:<ann@exa_mple..org>", 501, "5.1.7"),
        (b"FROM:<ann@[1.2.3]>", 501, "5.1.7"),
        (b"FROM:<" + b"a" * 65 + b"@example.org>", 501, "5.1.7"),
        (b"FROM:<a@" + b"a." * 130 + b"org>", 501, "5.1.7"),
        (b"FROM:<\xc3\xa4nn@example.org>", 553, "5.6.7"),
        (b"FROM:<ann@b\xfccher.example>", 501, "5.5.4"),
        (b"FROM:<> SIZE=", 501, "5.5.4"),
        (b"FROM:<> SIZE=-1", 501, "5.5.4"),
        (b"FROM:<> SIZE=1e3", 501, "5.5.4"),
        (b"FROM:<> SIZE=" + b"9" * 21, 501, "5.5.4"),
        (b"FROM:<> SIZE=1 SIZE=2", 501, "5.5.4"),
        (b"FROM:<> SIZE", 501, "5.5.4"),
        (b"FROM:<> BODY=BINARYMIME", 504, "5.6.1"),
        (b"FROM:<> SMTPUTF8=yes", 555, "5.5.4"),
        (b"FROM:<> UNKNOWN=X", 555, "5.5.4"),
    ],
)
def test_what_is_no_mail_command(argument: bytes, code: int, status: str) -> None:
    with pytest.raises(BadCommand) as caught:
        parse_mail(argument)
    assert (caught.value.reply.code, caught.value.reply.enhanced) == (code, status)


def test_rfc1870_and_rfc6152_parameters() -> None:
    mail = parse_mail(b"FROM:<> size=1000  body=8bitmime")
    assert (mail.size, mail.body_type) == (1000, BodyType.EIGHT_BIT_MIME)
    assert parse_mail(b"FROM:<>").size is None


@pytest.mark.parametrize(
    ("argument", "code", "status"),
    [
        (b"TO:<>", 501, "5.5.4"),
        (b"FROM:<ann@example.org>", 501, "5.5.4"),
        (b"TO:<ann>", 501, "5.1.3"),
        (b"TO:<ann@example.org> UNKNOWN=X", 555, "5.5.4"),
        (b"TO:<\xc3\xa4nn@example.org>", 553, "5.6.7"),
    ],
)
def test_what_is_no_rcpt_command(argument: bytes, code: int, status: str) -> None:
    with pytest.raises(BadCommand) as caught:
        parse_rcpt(argument)
    assert (caught.value.reply.code, caught.value.reply.enhanced) == (code, status)


def test_rfc5321_4_1_1_3_forward_paths() -> None:
    assert parse_rcpt(b"TO:<bob@example.net>").recipient == Mailbox("bob", "example.net")
    assert parse_rcpt(b"to:<postmaster@example.net>").recipient == Mailbox("postmaster", "example.net")


@pytest.mark.parametrize("argument", [b"TO:<postmaster>", b"TO:<Postmaster>", b"to: <POSTMASTER> NOTIFY=NEVER"])
def test_rfc5321_4_1_1_3_postmaster_needs_no_domain(argument: bytes) -> None:
    assert parse_rcpt(argument).recipient is None


@pytest.mark.parametrize("name", [b"", b"two words", b"a(b)", b"<x>", b"a\x07", b"\xc3\xa4", b"x" * 256])
def test_rfc5321_4_1_1_1_names_that_are_none(name: bytes) -> None:
    with pytest.raises(BadCommand):
        parse_hello(name)


@pytest.mark.parametrize("name", ["client.example", "[192.0.2.1]", "[IPv6:::1]", "my_laptop", "localhost"])
def test_rfc5321_4_1_4_names_are_taken_as_they_are(name: str) -> None:
    assert parse_hello(name.encode()) == name


@given(st.binary(max_size=200))
def test_any_line_is_a_command_or_a_bad_command(line: bytes) -> None:
    parsers: tuple[Callable[[bytes], object], ...] = (parse_command, parse_hello, parse_mail, parse_rcpt)
    for parse in parsers:
        reply = _refusal(parse, line)
        assert reply is None or (400 <= reply.code < 600 and str(reply).isascii() and str(reply).isprintable())


def _refusal(parse: Callable[[bytes], object], line: bytes) -> Reply | None:
    try:
        parse(line)
    except BadCommand as bad:
        return bad.reply
    return None
