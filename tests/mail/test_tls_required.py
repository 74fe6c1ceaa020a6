"""The header field TLS-Required (RFC 8689 section 3)."""

import pytest

from letterlock.mail.tls_required import says_no


@pytest.mark.parametrize(
    ("header", "no"),
    [
        (b"TLS-Required: No\r\n", True),
        (b"tls-required:no\r\n", True),
        (b"TLS-REQUIRED: \t NO \r\n", True),
        (b"TLS-Required:\r\n No\r\n", True),
        (b"From: a@example.org\r\nTLS-Required: No\r\nTo: b@example.org\r\n", True),
        (b"TLS-Required: Yes\r\n", False),
        (b"TLS-Required: No, really\r\n", False),
        (b"TLS-Required:\r\n", False),
        (b"X-TLS-Required: No\r\n", False),
        (b"Subject: about\r\n TLS-Required: No\r\n", False),
        (b"TLS-Required: No\r\nTLS-Required: No\r\n", False),
        (b"TLS-Required: No\r\nTLS-Required: Yes\r\n", False),
        (b"", False),
    ],
)
def test_rfc8689_3_one_field_with_the_value_no(header: bytes, no: bool) -> None:
    assert says_no(header + b"\r\nBody\r\n") is no


def test_rfc8689_3_the_body_is_not_the_header() -> None:
    assert not says_no(b"Subject: hello\r\n\r\nTLS-Required: No\r\n")
    assert not says_no(b"\r\nTLS-Required: No\r\n")


def test_a_message_that_is_all_header_is_read_to_its_end() -> None:
    assert says_no(b"TLS-Required: No\r\n")


def test_a_huge_header_is_looked_at_up_to_a_limit() -> None:
    assert not says_no(b"X: " + b"a" * (1 << 19) + b"\r\nTLS-Required: No\r\n\r\n")
