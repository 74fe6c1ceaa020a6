"""The Message-ID for the log: found in any header, and nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.mail.message_ids import MAX_OCTETS, MAX_SEARCHED_OCTETS, message_id_of


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"Message-ID: <1@example.org>\r\n\r\n", "<1@example.org>"),
        (b"Subject: x\r\nMessage-Id:<1@example.org>\r\n\r\nhi", "<1@example.org>"),
        (b"Subject: x\r\nMESSAGE-ID : <1@example.org> \r\n\r\nhi", "<1@example.org>"),
        (b"Message-ID:\r\n <1@example.org>\r\nSubject: x\r\n\r\n", "<1@example.org>"),
        (b"Message-ID: a\r\n b\r\n\r\n", "a b"),
        (b"Message-ID: \xff\r\n\r\n", "\\xff"),
        (b"Subject: x\r\n\r\nMessage-ID: <in-the-body@example.org>\r\n", None),
        (b"X-Message-ID: <other@example.org>\r\n\r\n", None),
        (b"", None),
    ],
)
def test_rfc5322_3_6_4_message_ids(content: bytes, found: str | None) -> None:
    assert message_id_of(content) == found


def test_a_header_that_never_ends_is_searched_so_far_and_a_long_one_is_cut() -> None:
    assert message_id_of(b"x" * MAX_SEARCHED_OCTETS + b"\r\nMessage-ID: <1@example.org>\r\n") is None
    assert message_id_of(b"Message-ID: " + b"x" * 5000 + b"\r\n\r\n") == "x" * MAX_OCTETS


@given(st.binary(max_size=300))
def test_anything_is_searched(content: bytes) -> None:
    found = message_id_of(content)
    assert found is None or "\n" not in found
