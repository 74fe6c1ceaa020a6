"""What a domain publishes under a selector."""

import pytest

from letterlock.dkim import Algorithm, Reason, SigningKey, published_key
from letterlock.resolver.answer import FailureKind
from tests.mailauth.answers import failure, nxdomain, txt
from tests.mailauth.dkim.forging import KEY_NAME, RECORD, ed25519_key, rsa_key

RSA = SigningKey("example.org", "sel", rsa_key())


@pytest.mark.parametrize(("key", "text"), [(ed25519_key(), "Ed25519"), (RSA, "RSA, 2048 bits")])
def test_rfc6376_3_6_1_a_key_that_can_be_used(key: SigningKey, text: str) -> None:
    found = published_key(txt(KEY_NAME, "v=spf1 -all", key.record, RECORD))
    assert (found.algorithm, found.reason, str(found)) == (key.algorithm, None, text)
    assert found.belongs_to(key)
    assert not found.belongs_to(SigningKey("example.org", "sel", rsa_key(3072)))


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("v=DKIM1; k=rsa; p=", Reason.KEY_REVOKED),
        ("v=DKIM1; k=ed25519; p=", Reason.KEY_REVOKED),
        ("v=DKIM1; k=dsa; p=AAAA", Reason.KEY_ALGORITHM),
        ("v=spf1 -all", Reason.KEY_SYNTAX),
        (RSA.record + "; s=chat", Reason.KEY_SERVICE),
    ],
)
def test_rfc6376_3_6_1_records_without_a_key(record: str, reason: Reason) -> None:
    found = published_key(txt(KEY_NAME, record))
    assert (found.algorithm, found.key, found.reason) == (None, None, reason)
    assert "RFC 6376" in str(found)
    assert not found.belongs_to(RSA)


def test_rfc6376_6_1_2_a_failed_lookup_is_not_an_absent_key() -> None:
    assert published_key(nxdomain(KEY_NAME)).reason is Reason.KEY_ABSENT
    assert published_key(txt(KEY_NAME)).reason is Reason.KEY_ABSENT
    assert published_key(failure(KEY_NAME, FailureKind.BOGUS)).reason is Reason.KEY_BOGUS
    assert published_key(failure(KEY_NAME, FailureKind.TIMEOUT)).reason is Reason.KEY_LOOKUP_FAILED


def test_a_record_without_k_is_for_rsa() -> None:
    assert published_key(txt(KEY_NAME, RSA.record.replace("k=rsa; ", ""))).algorithm is Algorithm.RSA_SHA256
