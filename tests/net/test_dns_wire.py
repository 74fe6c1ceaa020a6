"""Matching replies to queries (RFC 5452 section 9.1), and 0x20."""

import dns.message
import hypothesis.strategies as st
import pytest
from hypothesis import given

from letterlock.net.dns.message_header import answers, mix_case, poor, question, restored, with_id
from tests.net.dns_servers import query, reply

NAMES = st.lists(st.text("abcXYZ019-_", min_size=1, max_size=20), max_size=6).map(
    lambda labels: ".".join([*labels, ""])
)


def changed(wire: bytes, at: int, octet: int) -> bytes:
    return wire[:at] + bytes([octet]) + wire[at + 1 :]


def test_rfc5452_9_1_only_the_answer_to_this_query_fits() -> None:
    asked = query("www.example.", "A")
    good = reply(asked)
    assert answers(good, asked)
    assert answers(reply(query("WWW.example.", "A")), asked)
    assert not answers(reply(query("WWW.example.", "A")), asked, exact_case=True)
    for wrong in (
        b"",
        good[:11],
        asked,  # not a response
        with_id(good, 4712),
        changed(good, 2, good[2] | 0x20),  # another opcode
        changed(good, 5, 0),  # no question
        reply(query("ftp.example.", "A")),
        reply(query("www.example.", "AAAA")),
        good[:20],
    ):
        assert not answers(wrong, asked)


def test_what_a_reply_says_of_the_upstream() -> None:
    assert not poor(reply(query()))
    assert not poor(reply(query(), rcode=dns.rcode.NXDOMAIN))
    assert poor(reply(query(), rcode=dns.rcode.SERVFAIL))


@given(NAMES, st.integers(0, (1 << 256) - 1))
def test_0x20_changes_case_alone_and_is_undone(name: str, bits: int) -> None:
    asked = query(name or ".")
    mixed = mix_case(asked, lambda _: bits)
    assert mixed.lower() == asked.lower()
    assert dns.message.from_wire(mixed).question == dns.message.from_wire(asked).question
    back = restored(reply(mixed), asked)
    assert question(back) == question(asked)
    assert answers(back, asked, exact_case=True)


def test_a_query_without_question_is_ours_to_avoid() -> None:
    with pytest.raises(ValueError, match="no question"):
        question(b"\0" * 12)
