"""A hostile server presents damaged certificates: nothing but a verdict, or InvalidCertificate, ever comes out."""

import random

import pytest

from letterlock.identity.certificates import InvalidCertificate, describe
from letterlock.identity.dane import DaneMatch, DaneMismatch, match_dane
from letterlock.identity.pkix import PkixMatch, PkixMismatch, verify_pkix
from letterlock.identity.tlsa import TLSARecord
from letterlock.identity.trust import TrustRoots
from tests.certificates import authority
from tests.identity.random_cases import HOST, NOW, random_case

CASES = 1500
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")


def damaged(chain: tuple[bytes, ...], chance: random.Random) -> list[bytes]:
    """One to three octets of a chain changed."""
    copies = [bytearray(der) for der in chain]
    for _ in range(chance.choice((1, 1, 2, 3))):
        victim = chance.choice(copies)
        at = chance.randrange(len(victim))
        victim[at] = chance.choice((chance.randrange(256), 0, 0x80, 0xFF, victim[at] ^ 1))
    return [bytes(copy) for copy in copies]


def test_damaged_chains_end_in_a_verdict() -> None:
    chance = random.Random(20)
    for number in range(CASES):
        case = random_case(number % 100)
        chain = damaged(case.chain, chance)
        assert isinstance(match_dane(chain, case.records, case.references, NOW), DaneMatch | DaneMismatch)
        roots = TrustRoots(f"damaged {number}", (chain[-1],))
        assert isinstance(verify_pkix(chain, case.references, roots, NOW), PkixMatch | PkixMismatch)


def test_damaged_certificates_are_described_or_refused() -> None:
    chance = random.Random(21)
    refused = 0
    for number in range(CASES):
        try:
            describe(damaged(random_case(number % 100).chain[:1], chance)[0])
        except InvalidCertificate:
            refused += 1
    assert 0 < refused < CASES


def test_rfc7672_3_1_1_dane_ee_needs_only_the_key_of_a_certificate() -> None:
    leaf = authority().leaf(HOST, common_name="Odd subject")
    broken = leaf.der.replace(b"Odd subject", b"Odd \xff\xfe\xfdject")
    with pytest.raises(InvalidCertificate):
        describe(broken)
    found = match_dane([broken], [TLSARecord(3, 1, 0, leaf.spki)], [HOST], NOW)
    assert isinstance(found, DaneMatch)
