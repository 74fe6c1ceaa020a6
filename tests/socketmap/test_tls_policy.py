"""Policies as text: what Postfix parses, with and without the attributes of 3.10."""

import pytest

from letterlock.socketmap.tls_policy import StsAttributes, TlsLevel, TlsPolicy, Unwritable, policy_text
from tests.socketmap.postfix_parser import Refused, parse

STS = StsAttributes(
    domain="sts-only.example",
    mode="enforce",
    mx=("mx1.sts-only.example", "*.mail.sts-only.example"),
    max_age_seconds=604_800,
)
SECURE = TlsPolicy(
    level=TlsLevel.SECURE,
    match=("mx1.sts-only.example", ".mail.sts-only.example"),
    servername="hostname",
    sts=STS,
)


def test_a_level_alone_is_one_word() -> None:
    assert policy_text(TlsPolicy(level=TlsLevel.DANE_ONLY)) == "dane-only"


def test_postfix_3_9_is_given_no_attribute_that_it_would_refuse() -> None:
    text = policy_text(SECURE)
    assert text == "secure match=mx1.sts-only.example:.mail.sts-only.example servername=hostname"
    assert parse(text, old=True)[0] == "secure"


def test_rfc8460_4_4_the_policy_string_has_a_line_for_each_field_and_postfix_reads_it() -> None:
    level, attributes = parse(policy_text(SECURE, reporting=True))
    assert level == "secure"
    assert [value for name, value in attributes if name == "policy_string"] == [
        "version: STSv1",
        "mode: enforce",
        "mx: mx1.sts-only.example",
        "mx: *.mail.sts-only.example",
        "max_age: 604800",
    ]
    assert [value for name, value in attributes if name == "mx_host_pattern"] == list(STS.mx)
    assert ("policy_type", "sts") in attributes
    assert ("policy_domain", "sts-only.example") in attributes


def test_the_attributes_of_3_10_are_what_an_older_postfix_refuses() -> None:
    with pytest.raises(Refused, match="policy_type"):
        parse(policy_text(SECURE, reporting=True), old=True)


def test_digests_are_separated_as_postfix_wants_them() -> None:
    text = policy_text(TlsPolicy(level=TlsLevel.FINGERPRINT, match=("aa:bb", "cc:dd")))
    assert text == "fingerprint match=aa:bb|cc:dd"
    assert parse(text)[1] == [("match", "aa:bb|cc:dd")]


def test_old_versions_are_left_out_by_name_which_every_postfix_reads() -> None:
    text = policy_text(TlsPolicy(level=TlsLevel.ENCRYPT, minimum_version="TLSv1.3"))
    assert text == "encrypt protocols=!SSLv2:!SSLv3:!TLSv1:!TLSv1.1:!TLSv1.2"


def test_a_path_without_blanks_is_written_as_every_postfix_reads_it() -> None:
    """Found by the lab: behind the door, Postfix 3.7 held all mail that a rule with its own `trust` is about."""
    text = policy_text(TlsPolicy(level=TlsLevel.VERIFY, match=("hostname",), tafile="/etc/own/ca.pem"))
    assert text == "verify match=hostname tafile=/etc/own/ca.pem"
    assert parse(text, old=True)[1] == [("match", "hostname"), ("tafile", "/etc/own/ca.pem")]


def test_a_path_with_blanks_is_kept_together_and_one_with_braces_is_refused() -> None:
    policy = TlsPolicy(level=TlsLevel.VERIFY, match=("hostname",), tafile="/etc/my ca.pem")
    assert parse(policy_text(policy))[1] == [("match", "hostname"), ("tafile", "/etc/my ca.pem")]
    for path in ("/etc/}evil.pem", "/etc/a\nb", "/etc/ü"):
        with pytest.raises(Unwritable):
            policy_text(TlsPolicy(level=TlsLevel.VERIFY, match=("hostname",), tafile=path))
