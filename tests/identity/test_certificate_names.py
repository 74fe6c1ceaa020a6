"""Reference identifiers against presented ones: RFC 9525 section 6.3, RFC 7672 section 3.2.3."""

import pytest
from cryptography import x509

from letterlock.identity.certificate_names import dns_ids, match_names, name_matches, presented_names, say_names
from tests.certificates import authority

AUTHORITY = authority()


def leaf(*names: str, common_name: str | None = None) -> x509.Certificate:
    return AUTHORITY.leaf(*names, common_name=common_name).certificate


@pytest.mark.parametrize(
    ("presented", "reference"),
    [
        ("mx.example.org", "mx.example.org"),
        ("MX.Example.ORG", "mx.example.org"),
        ("mx.example.org", "MX.EXAMPLE.ORG"),
        ("mx.example.org.", "mx.example.org"),
        ("mx.example.org", "mx.example.org."),
        ("xn--mx-mka.example.org", "XN--MX-MKA.example.org"),
    ],
)
def test_rfc9525_6_3_names_match_whole_and_without_case(presented: str, reference: str) -> None:
    assert name_matches(presented, reference)


@pytest.mark.parametrize(
    ("presented", "reference"),
    [
        ("mx.example.org", "mx2.example.org"),
        ("example.org", "mx.example.org"),
        ("mx.example.org", "example.org"),
        (".example.org", "mx.example.org"),
        ("", "mx.example.org"),
        ("mx.example.org", ""),
        ("", ""),
        ("mx.example.org\0.evil.example", "mx.example.org"),
        ("müx.example.org", "müx.example.org"),
    ],
)
def test_rfc9525_6_3_other_names_do_not_match(presented: str, reference: str) -> None:
    assert not name_matches(presented, reference)


def test_rfc7672_3_2_3_a_wildcard_stands_for_exactly_one_whole_label() -> None:
    assert name_matches("*.example.org", "mx.example.org")
    assert name_matches("*.EXAMPLE.org", "mx.example.org")
    assert not name_matches("*.example.org", "example.org")
    assert not name_matches("*.example.org", ".example.org")
    assert not name_matches("*.example.org", "a.mx.example.org")
    assert not name_matches("*.example.org", "*.example.org")


@pytest.mark.parametrize(
    "presented", ["m*.example.org", "*x.example.org", "mx.*.org", "*.*.org", "*", "*.org", "**.example.org", "*."]
)
def test_rfc9525_6_3_any_other_wildcard_matches_nothing(presented: str) -> None:
    assert not name_matches(presented, "mx.example.org")
    assert not name_matches(presented, "example.org")
    assert not name_matches(presented, "org")


def test_rfc7672_3_2_3_common_name_counts_only_without_a_dns_id() -> None:
    named = leaf("other.example.org", common_name="mx.example.org")
    unnamed = leaf(common_name="mx.example.org")
    assert match_names(named, ["mx.example.org"], common_name=True) is None
    assert match_names(unnamed, ["mx.example.org"], common_name=True) == "mx.example.org"


def test_rfc9525_2_common_name_never_counts_where_only_dns_ids_do() -> None:
    assert match_names(leaf(common_name="mx.example.org"), ["mx.example.org"], common_name=False) is None


def test_an_ip_address_is_not_a_dns_id() -> None:
    certificate = leaf("192.0.2.1", common_name="mx.example.org")
    assert dns_ids(certificate) == ()
    assert presented_names(certificate, common_name=True) == ("mx.example.org",)


def test_the_first_reference_that_matches_is_told() -> None:
    certificate = leaf("example.org", "mx.example.org")
    assert match_names(certificate, ["a.example", "mx.example.org", "example.org"], common_name=False) == (
        "mx.example.org"
    )
    assert match_names(certificate, [], common_name=False) is None


def test_names_are_said_short() -> None:
    assert say_names(leaf("a.example", "b.example"), common_name=False) == "a.example, b.example"
    assert say_names(leaf(*(f"{n}.example" for n in range(5))), common_name=False).endswith("2.example and 2 more")
    assert say_names(leaf(common_name="x"), common_name=False) == "no DNS name in subjectAltName"
