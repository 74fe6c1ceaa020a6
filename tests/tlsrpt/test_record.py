"""The announcement of where TLS reports go (RFC 8460 section 3)."""

import pytest

from letterlock.mail.txt_records import Slip
from letterlock.tlsrpt import InvalidTLSRPTRecord, NoTLSRPTRecord, ReportAddresses, find_addresses


def found(*records: str) -> ReportAddresses | NoTLSRPTRecord | InvalidTLSRPTRecord:
    return find_addresses([[record.encode()] for record in records])


@pytest.mark.parametrize(
    ("record", "uris"),
    [
        ("v=TLSRPTv1; rua=mailto:tls@example.org", ("mailto:tls@example.org",)),
        ("v=TLSRPTv1;rua=mailto:tls@example.org;", ("mailto:tls@example.org",)),
        (
            "v=TLSRPTv1; rua=mailto:a@example.org,https://reports.example.org/v1",
            ("mailto:a@example.org", "https://reports.example.org/v1"),
        ),
        (
            "v=TLSRPTv1; rua=mailto:a@x.example, mailto:b@x.example",
            ("mailto:a@x.example", "mailto:b@x.example"),
        ),
        (
            "v=TLSRPTv1 \t; rua=mailto:a@x.example \t,\thttps://x.example/v1 ; later=1",
            ("mailto:a@x.example", "https://x.example/v1"),
        ),
        ("v=TLSRPTv1; later=whatever; rua=mailto:tls@example.org", ("mailto:tls@example.org",)),
        ("v=TLSRPTv1; rua=ftp://example.org,mailto:tls@example.org", ("mailto:tls@example.org",)),
    ],
)
def test_rfc8460_3_the_addresses_in_the_order_given(record: str, uris: tuple[str, ...]) -> None:
    assert found(record) == ReportAddresses(uris)


def test_rfc8460_3_the_strings_of_one_record_are_one_text() -> None:
    assert find_addresses([[b"v=TLSRPTv1; rua=mail", b"to:tls@example.org"]]) == ReportAddresses(
        ("mailto:tls@example.org",)
    )


def test_rfc8460_3_other_records_do_not_count() -> None:
    assert found() == NoTLSRPTRecord()
    assert found("v=spf1 -all", "v=TLSRPTv2; rua=mailto:a@example.org") == NoTLSRPTRecord()


@pytest.mark.parametrize(
    ("record", "slip"),
    [
        ("v=TLSRPTv1", Slip.SEMICOLON),
        ("v=TLSRPTV1; rua=mailto:a@example.org", Slip.CASE),
        (" v=TLSRPTv1; rua=mailto:a@example.org", Slip.BLANKS),
    ],
)
def test_a_record_that_is_nearly_one_is_told_of(record: str, slip: Slip) -> None:
    result = found(record)
    assert isinstance(result, NoTLSRPTRecord)
    assert result.nearly is not None
    assert result.nearly.slip is slip


def test_rfc8460_3_of_several_none_counts() -> None:
    record = "v=TLSRPTv1; rua=mailto:tls@example.org"
    assert isinstance(found(record, record), InvalidTLSRPTRecord)


@pytest.mark.parametrize(
    "record",
    [
        "v=TLSRPTv1;",
        "v=TLSRPTv1; rua=",
        "v=TLSRPTv1; rua=tls@example.org",
        "v=TLSRPTv1; rua=mailto:",
        "v=TLSRPTv1; rua=mailto:nobody",
        "v=TLSRPTv1; rua mailto:tls@example.org",
        "v=TLSRPTv1; rua=mailto:t\x00@example.org",
        "v=TLSRPTv1; rua=mailto:tls@example.org;; x",
        "v=TLSRPTv1; rua=mailto:a@example.org mailto:b@example.org",
    ],
)
def test_rfc8460_3_what_is_against_the_grammar_counts_as_none_and_says_why(record: str) -> None:
    result = found(record)
    assert isinstance(result, InvalidTLSRPTRecord)
    assert result.detail


def test_a_long_list_is_cut() -> None:
    many = ",".join(f"mailto:a{number}@example.org" for number in range(50))
    result = found(f"v=TLSRPTv1; rua={many}")
    assert isinstance(result, ReportAddresses)
    assert len(result.uris) == 10
