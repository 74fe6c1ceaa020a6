"""How strong a key and a session are, for programs and for people."""

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519

from letterlock.identity.handshake import Completed
from letterlock.identity.strength import KeyFacts, Weakness, facts_of_key, session_strength
from tests.certificates import self_signed
from tests.identity.hostile_chains import looped, rsa_key, with_exponent

EC_CHAIN = self_signed("mx.example.org").chain
SHORT_CHAIN = (looped(rsa_key(1024).public_key(), rsa_key(1024), 1),)


@pytest.mark.parametrize(
    ("key", "facts", "text"),
    [
        (rsa_key(1024).public_key(), KeyFacts("RSA", 1024, 17), "RSA-1024"),
        (ec.generate_private_key(ec.SECP256R1()).public_key(), KeyFacts("EC", 256), "EC-256"),
        (ed25519.Ed25519PrivateKey.generate().public_key(), KeyFacts("Ed25519", 256), "Ed25519"),
        (ed448.Ed448PrivateKey.generate().public_key(), KeyFacts("Ed448", 448), "Ed448"),
        (dsa.generate_private_key(1024).public_key(), None, "None"),  # noqa: S505 - weak on purpose
    ],
)
def test_the_facts_of_a_key(key: object, facts: KeyFacts | None, text: str) -> None:
    assert facts_of_key(key) == facts
    assert str(facts) == text


@pytest.mark.parametrize(
    ("bits", "exponent_bits", "fault"),
    [
        (2047, 17, "is too short: RSA with 2047 bits; at least 2048 are required"),
        (2048, 17, None),
        (8192, 33, None),
        (8193, 17, "is too long: RSA with 8193 bits; at most 8192 are accepted"),
        (2048, 34, "has an RSA exponent of 34 bits; at most 33 are accepted"),
    ],
)
def test_what_no_path_may_contain(bits: int, exponent_bits: int, fault: str | None) -> None:
    assert KeyFacts("RSA", bits, exponent_bits).fault == fault


def test_curves_below_112_bits_of_security_are_weak() -> None:
    assert KeyFacts("EC", 192).fault == "is too short: EC with 192 bits; at least 224 are required"
    assert KeyFacts("EC", 224).fault is None
    assert not KeyFacts("Ed25519", 256).weak


def test_exponents_are_measured() -> None:
    facts = facts_of_key(with_exponent(rsa_key(), 2000))
    assert facts is not None
    assert facts.exponent_bits == 2000


@pytest.mark.parametrize(
    ("version", "cipher", "chain", "weaknesses"),
    [
        ("TLSv1.3", "TLS_AES_256_GCM_SHA384", EC_CHAIN, ()),
        ("TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384", EC_CHAIN, ()),
        ("TLSv1.2", "DHE-RSA-AES256-GCM-SHA384", EC_CHAIN, ()),
        ("TLSv1.2", "AES256-GCM-SHA384", EC_CHAIN, (Weakness.NO_FORWARD_SECRECY,)),
        ("TLSv1.2", "AES128-SHA", SHORT_CHAIN, (Weakness.SHORT_KEY, Weakness.NO_FORWARD_SECRECY)),
        ("TLSv1.3", "TLS_AES_256_GCM_SHA384", (b"nonsense",), ()),
        ("TLSv1.3", "TLS_AES_256_GCM_SHA384", (), ()),
    ],
)
def test_the_strength_of_a_session(
    version: str, cipher: str, chain: tuple[bytes, ...], weaknesses: tuple[Weakness, ...]
) -> None:
    found = session_strength(version, cipher, chain)
    assert found.weaknesses == weaknesses
    assert len(found.sentences) == len(weaknesses)
    assert Completed(version=version, cipher=cipher, group=None, sni=None, chain=chain).strength == found


def test_what_people_read_of_it() -> None:
    found = session_strength("TLSv1.2", "AES128-SHA", SHORT_CHAIN)
    assert found.sentences == (
        "the server's key is too short (RSA-1024): it can be broken with known means",
        (
            "no forward secrecy (TLSv1.2 AES128-SHA, RSA key transport): "
            "an attacker who gets the server's key later can read sessions recorded now"
        ),
    )
