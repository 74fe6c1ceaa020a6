"""Queries that are odd: each gets the error that its standard names, or no answer."""

import struct

import dns.flags
import dns.message
import dns.rcode
import pytest

from letterlock.companion.dns_query import BadQuery, Query, read_query
from tests.companion.dns_world import query

GOOD = query("mx.example.org", "A", do=True, ad=True).to_wire()
PLAIN = query("mx.example.org", "A", edns=False).to_wire()
OPT = GOOD[len(PLAIN) :]


def header(wire: bytes, **fields: int) -> bytes:
    """The same message with other values in its header."""
    names = ("id", "flags", "questions", "answers", "authorities", "extra")
    values = dict(zip(names, struct.unpack_from("!6H", wire), strict=True)) | fields
    return struct.pack("!6H", *(values[name] for name in names)) + wire[12:]


def rcode(wire: bytes) -> int | None:
    found = read_query(wire)
    return found.rcode if isinstance(found, BadQuery) else None


def test_a_query_is_read() -> None:
    found = read_query(GOOD)
    assert isinstance(found, Query)
    assert (found.name, found.rdtype, found.do, found.wants_ad, found.cd) == (
        b"\x02mx\x07example\x03org\x00", 1, True, True, False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        (header(GOOD, questions=0), dns.rcode.FORMERR),
        (header(GOOD, questions=2), dns.rcode.FORMERR),  # RFC 9619
        (header(GOOD, answers=1), dns.rcode.FORMERR),
        (header(GOOD, extra=2), dns.rcode.FORMERR),
        (header(GOOD, extra=65_535), dns.rcode.FORMERR),
        (header(GOOD + OPT, extra=2), dns.rcode.FORMERR),  # RFC 6891 section 6.1.1: one OPT
        (GOOD + b"x", dns.rcode.FORMERR),
        (GOOD[:-1], dns.rcode.FORMERR),
        (PLAIN[:-1], dns.rcode.FORMERR),
        (PLAIN[:13], dns.rcode.FORMERR),
        (PLAIN[:12] + b"\xc0\x0c" + PLAIN[-4:], dns.rcode.FORMERR),  # a pointer to itself
        (PLAIN[:12] + (b"\x3f" + b"a" * 63) * 5 + b"\0" + PLAIN[-4:], dns.rcode.FORMERR),  # 321 octets
        (header(GOOD, flags=0x0100 | 1 << 11), dns.rcode.NOTIMP),  # IQUERY
        (header(GOOD, flags=0x0100 | 5 << 11), dns.rcode.NOTIMP),  # UPDATE
        (header(GOOD, flags=0), dns.rcode.REFUSED),  # RD is clear
        (PLAIN[:-2] + b"\0\3", dns.rcode.REFUSED),  # class CH
        (PLAIN[:-2] + b"\0\xff", dns.rcode.REFUSED),  # class ANY
        (GOOD.replace(OPT, OPT[:6] + b"\1" + OPT[7:]), dns.rcode.BADVERS),  # EDNS version 1
        (GOOD.replace(OPT, b"\1a" + OPT), dns.rcode.FORMERR),  # OPT of another owner
    ],
)
def test_what_is_odd_gets_the_error_that_says_so(wire: bytes, expected: int) -> None:
    assert rcode(wire) == expected


def test_the_longest_name_is_a_name() -> None:
    name = (b"\x3f" + b"a" * 63) * 3 + b"\x3d" + b"a" * 61 + b"\0"
    assert len(name) == 255
    assert isinstance(read_query(PLAIN[:12] + name + PLAIN[-4:]), Query)


def test_a_response_and_less_than_a_header_are_nothing() -> None:
    assert read_query(header(GOOD, flags=0x8100)) is None
    assert read_query(GOOD[:11]) is None


def test_dnspython_reads_what_we_read() -> None:
    message = dns.message.from_wire(GOOD)
    found = read_query(GOOD)
    assert isinstance(found, Query)
    assert found.message_id == message.id
    assert bool(found.flags & dns.flags.RD)
