"""The limits of what a server or a zone can make us look at, and what lies just within them and just beyond."""

import hashlib

from letterlock.identity import certificate_names, certificates, dane, path, signers, strength, validity
from letterlock.identity.certificate_names import MAX_PRESENTED_NAMES, dns_ids, say_names
from letterlock.identity.certificates import MAX_NAMES_DESCRIBED, describe
from letterlock.identity.path import Anchors, CertificationPath, NoPath, build_path
from letterlock.identity.pkix import PkixMatch, verify_pkix
from letterlock.identity.tlsa import TLSARecord
from letterlock.identity.trust import TrustRoots
from tests.certificates import authority

NOW = 1_800_000_000.0
HOST = "mx.example.org"
ROOT = authority()


def test_the_limits_are() -> None:
    assert (dane.MAX_RECORDS, path.MAX_CHAIN_CERTIFICATES, path.MAX_PATH_DEPTH) == (50, 16, 8)
    assert (certificates.MAX_NAMES_DESCRIBED, certificate_names.MAX_PRESENTED_NAMES, path.MAX_PATHS_KEPT) == (
        20,
        1000,
        256,
    )
    assert (strength.MIN_RSA_BITS, strength.MAX_RSA_BITS, strength.MAX_RSA_EXPONENT_BITS) == (2048, 8192, 33)
    assert (signers.MAX_SIGNATURE_CHECKS, validity.MAX_NAME_COMPARISONS) == (32, 50_000)
    assert (certificates.MAX_CERTIFICATE_OCTETS, certificates.MAX_NAME_OCTETS) == (65_536, 1_024)
    assert (certificates.MAX_REMEMBERED_OCTETS, certificates.MAX_REMEMBERED_CHAIN_OCTETS) == (4_096, 8_192)


def test_of_many_names_the_first_are_described() -> None:
    leaf = ROOT.leaf(*(f"mx{number}.example.org" for number in range(MAX_NAMES_DESCRIBED + 5)))
    found = describe(leaf.der).names
    assert len(found) == MAX_NAMES_DESCRIBED
    assert found[0] == "mx0.example.org"


def test_of_many_names_a_thousand_are_looked_at() -> None:
    leaf = ROOT.leaf(*(f"mx{number}.example.org" for number in range(MAX_PRESENTED_NAMES + 1)))
    assert len(dns_ids(leaf.certificate)) == MAX_PRESENTED_NAMES


def test_of_many_tlsa_records_fifty_are_looked_at() -> None:
    leaf = ROOT.leaf(HOST)
    good = TLSARecord(3, 1, 1, hashlib.sha256(leaf.spki).digest())
    others = [TLSARecord(3, 1, 1, number.to_bytes(32)) for number in range(50)]
    assert isinstance(dane.match_dane(leaf.chain, [*others[:49], good], [], NOW), dane.DaneMatch)
    assert isinstance(dane.match_dane(leaf.chain, [*others, good], [], NOW), dane.DaneMismatch)


def test_three_names_are_said_and_the_rest_counted() -> None:
    three = ROOT.leaf("a.example", "b.example", "c.example").certificate
    four = ROOT.leaf("a.example", "b.example", "c.example", "d.example").certificate
    five = ROOT.leaf("a.example", "b.example", "c.example", "d.example", "e.example").certificate
    assert say_names(three, common_name=False) == "a.example, b.example, c.example"
    assert say_names(four, common_name=False) == "a.example, b.example, c.example and 1 more"
    assert say_names(five, common_name=False) == "a.example, b.example, c.example and 2 more"


def test_paths_that_were_found_are_forgotten_when_there_are_too_many() -> None:
    path._FOUND.clear()
    roots = TrustRoots("own", (ROOT.der,))
    first = ROOT.leaf(HOST)
    assert isinstance(verify_pkix(first.chain, [HOST], roots, NOW), PkixMatch)
    assert isinstance(verify_pkix(ROOT.leaf(HOST).chain, [HOST], roots, NOW), PkixMatch)
    assert len(path._FOUND) == 2  # one more does not drive out the others
    question, known = next(iter(path._FOUND.items()))
    leaf, others, anchors = question
    assert build_path(leaf, others, anchors, NOW) is known
    for number in range(2, path.MAX_PATHS_KEPT):
        path._FOUND[leaf, (leaf,) * number, anchors] = known
    assert len(path._FOUND) == path.MAX_PATHS_KEPT
    assert isinstance(verify_pkix(ROOT.leaf(HOST).chain, [HOST], roots, NOW), PkixMatch)
    assert len(path._FOUND) == 1
    path._FOUND.clear()


def test_eight_issuers_are_deep_enough_and_nine_too_deep() -> None:
    above = authority("Deep Root")
    anchors = Anchors([above.credential.certificate])
    for depth in range(1, path.MAX_PATH_DEPTH + 1):
        above = above.intermediate(f"Level {depth}")
        leaf = above.leaf(HOST)
        found = build_path(leaf.certificate, leaf.issuers, anchors, NOW)
        assert isinstance(found, CertificationPath), depth
    leaf = above.intermediate("Too deep").leaf(HOST)
    assert isinstance(build_path(leaf.certificate, leaf.issuers, anchors, NOW), NoPath)
