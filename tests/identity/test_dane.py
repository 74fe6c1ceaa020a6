"""DANE on one chain: RFC 6698 section 2, RFC 7671 sections 4, 5 and 9, RFC 7672 section 3."""

import datetime as dt
import hashlib
from collections.abc import Callable, Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from letterlock.identity.dane import (
    MAX_RECORDS,
    DaneMatch,
    DaneMismatch,
    match_dane,
    strongest_records,
    usable_records,
)
from letterlock.identity.mismatch import MismatchKind
from letterlock.identity.path import MAX_CHAIN_CERTIFICATES
from letterlock.identity.tlsa import TLSARecord
from tests.certificates import NOT_AFTER, NOT_BEFORE, Authority, Credential, authority, new_key, self_signed

NOW = 1_800_000_000.0
PAST = dt.datetime(2021, 1, 1, tzinfo=dt.UTC)
FUTURE = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
HOST = "mx.example.org"

ROOT = authority()
INTERMEDIATE = ROOT.intermediate()
LEAF = INTERMEDIATE.leaf(HOST)
WHOLE = (*LEAF.chain, ROOT.der)
STRANGER = authority("Stranger")

HASHES: dict[int, Callable[[bytes], bytes]] = {
    0: lambda data: data,
    1: lambda data: hashlib.sha256(data).digest(),
    2: lambda data: hashlib.sha512(data).digest(),
}


def record(usage: int, selector: int, matching_type: int, *, der: bytes, spki: bytes) -> TLSARecord:
    return TLSARecord(usage, selector, matching_type, HASHES[matching_type](spki if selector else der))


def for_leaf(selector: int = 1, matching_type: int = 1) -> TLSARecord:
    return record(3, selector, matching_type, der=LEAF.der, spki=LEAF.spki)


def for_root(selector: int = 0, matching_type: int = 1) -> TLSARecord:
    return record(2, selector, matching_type, der=ROOT.der, spki=ROOT.credential.spki)


def for_intermediate(selector: int = 0, matching_type: int = 1) -> TLSARecord:
    return record(2, selector, matching_type, der=INTERMEDIATE.der, spki=INTERMEDIATE.credential.spki)


def matched(
    chain: Sequence[bytes], *records: TLSARecord, references: Sequence[str] = (HOST,), now: float = NOW
) -> DaneMatch:
    found = match_dane(chain, records, references, now)
    assert isinstance(found, DaneMatch), found
    return found


def missed(
    chain: Sequence[bytes], *records: TLSARecord, references: Sequence[str] = (HOST,), now: float = NOW
) -> DaneMismatch:
    found = match_dane(chain, records, references, now)
    assert isinstance(found, DaneMismatch), found
    return found


@pytest.mark.parametrize("matching_type", [0, 1, 2])
@pytest.mark.parametrize("selector", [0, 1])
def test_rfc6698_2_1_every_selector_and_matching_type_of_dane_ee(selector: int, matching_type: int) -> None:
    found = matched(LEAF.chain, for_leaf(selector, matching_type))
    assert (found.by, found.depth, found.reference) == ("dane-ee", 0, None)
    other = self_signed(HOST)
    wrong = record(3, selector, matching_type, der=other.der, spki=other.spki)
    assert missed(LEAF.chain, wrong).kind is MismatchKind.NO_MATCH


@pytest.mark.parametrize("matching_type", [0, 1, 2])
@pytest.mark.parametrize("selector", [0, 1])
def test_rfc6698_2_1_every_selector_and_matching_type_of_dane_ta(selector: int, matching_type: int) -> None:
    found = matched(WHOLE, for_root(selector, matching_type))
    assert (found.by, found.depth, found.reference) == ("dane-ta", 2, HOST)
    assert matched(LEAF.chain, for_intermediate(selector, matching_type)).depth == 1
    wrong = record(2, selector, matching_type, der=STRANGER.der, spki=STRANGER.credential.spki)
    assert isinstance(match_dane(WHOLE, [wrong], [HOST], NOW), DaneMismatch)


def test_rfc7672_3_1_1_dane_ee_ignores_names_dates_and_chain() -> None:
    leaf = ROOT.leaf("elsewhere.example", not_after=PAST)
    assert matched([leaf.der], record(3, 1, 1, der=leaf.der, spki=leaf.spki)).reference is None
    assert matched([leaf.der, b"nonsense"], record(3, 0, 1, der=leaf.der, spki=leaf.spki)).depth == 0


def test_rfc7671_5_1_dane_ee_looks_only_at_the_servers_own_certificate() -> None:
    assert missed(WHOLE, record(3, 1, 1, der=ROOT.der, spki=ROOT.credential.spki)).kind is MismatchKind.NO_MATCH


def test_rfc7671_5_2_dane_ta_never_names_the_servers_own_certificate() -> None:
    leaf = self_signed(HOST)
    for matching_type in (0, 1, 2):
        own = record(2, 0, matching_type, der=leaf.der, spki=leaf.spki)
        assert missed([leaf.der], own).kind is MismatchKind.NO_MATCH
        assert missed([leaf.der, leaf.der], own).kind is MismatchKind.NO_MATCH


def test_rfc7672_3_1_2_dane_ta_needs_the_authority_in_the_chain() -> None:
    found = missed(LEAF.chain, for_root())
    assert found.kind is MismatchKind.NO_MATCH
    assert "not in the presented chain (issuers sent: Test Intermediate)" in found.detail
    assert "issuers sent: none" in missed(LEAF.chain[:1], for_root()).detail


def test_rfc7671_5_2_3_a_full_certificate_in_the_record_may_stand_in_for_an_unsent_anchor() -> None:
    found = matched(LEAF.chain, for_root(0, 0))
    assert found.depth is None
    assert matched(LEAF.chain[:1], for_intermediate(0, 0)).depth is None
    assert missed(LEAF.chain[:1], for_root(0, 0)).kind is MismatchKind.UNTRUSTED


def test_rfc7671_5_2_2_a_bare_key_is_an_anchor_for_what_it_signed() -> None:
    assert matched(LEAF.chain, for_root(1, 0)).depth == 1
    assert matched(LEAF.chain[:1], for_intermediate(1, 0)).depth is None
    assert missed(LEAF.chain[:1], for_root(1, 0)).kind is MismatchKind.NO_MATCH
    forged = STRANGER.leaf(HOST)
    assert missed([forged.der, ROOT.der], for_root(1, 0)).kind is MismatchKind.UNTRUSTED


def test_rfc7672_3_1_2_dane_ta_needs_signatures() -> None:
    forged = STRANGER.intermediate("Test Intermediate").leaf(HOST)
    assert missed([forged.der, *WHOLE[1:]], for_root()).kind is MismatchKind.UNTRUSTED
    assert missed([forged.der, *WHOLE[1:]], for_intermediate()).kind is MismatchKind.UNTRUSTED
    assert missed([self_signed(HOST).der, ROOT.der], for_root()).kind is MismatchKind.UNTRUSTED


def test_rfc7672_3_1_2_dane_ta_needs_dates() -> None:
    expired, early = ROOT.leaf(HOST, not_after=PAST), ROOT.leaf(HOST, not_before=FUTURE)
    for leaf, words in ((expired, "expired on"), (early, "is valid only from")):
        found = missed([leaf.der, ROOT.der], for_root())
        assert found.kind is MismatchKind.EXPIRED
        assert f"the certificate of {HOST} {words}" in found.detail
    matched([expired.der, ROOT.der], for_root(), now=PAST.timestamp())
    assert missed([expired.der, ROOT.der], for_root(), now=PAST.timestamp() + 1).kind is MismatchKind.EXPIRED


def test_rfc7672_3_2_2_dane_ta_needs_one_of_the_reference_identifiers() -> None:
    found = missed(WHOLE, for_root(), references=["example.org"])
    assert found.kind is MismatchKind.WRONG_NAME
    assert found.detail == f"the certificate has {HOST}; wanted: example.org"
    assert matched(WHOLE, for_root(), references=["example.org", HOST]).reference == HOST
    assert missed(WHOLE, for_root(), references=[]).kind is MismatchKind.WRONG_NAME


def test_rfc7672_3_2_3_dane_ta_takes_a_common_name_and_a_wildcard() -> None:
    for leaf in (ROOT.leaf(common_name=HOST), ROOT.leaf("*.example.org")):
        assert matched([leaf.der, ROOT.der], for_root()).reference == HOST


def test_a_leaf_is_no_authority() -> None:
    below = ROOT.leaf("other.example.org")
    child = self_signed(HOST)
    named = record(2, 0, 1, der=below.der, spki=below.spki)
    assert missed([child.der, below.der, ROOT.der], named).kind is MismatchKind.UNTRUSTED


def test_rfc7672_3_1_3_usages_0_and_1_are_unusable() -> None:
    assert usable_records([TLSARecord(0, 0, 1, bytes(32)), TLSARecord(1, 1, 1, bytes(32))]) == ()


@pytest.mark.parametrize(
    "broken",
    [
        TLSARecord(4, 1, 1, bytes(32)),
        TLSARecord(255, 1, 1, bytes(32)),
        TLSARecord(3, 2, 1, bytes(32)),
        TLSARecord(3, 1, 3, bytes(32)),
        TLSARecord(3, 1, 1, bytes(31)),
        TLSARecord(3, 1, 1, bytes(33)),
        TLSARecord(3, 1, 1, b""),
        TLSARecord(3, 1, 2, bytes(32)),
        TLSARecord(3, 0, 0, b""),
        TLSARecord(3, 0, 0, LEAF.der[:-1]),
        TLSARecord(3, 0, 0, LEAF.der + b"\0"),
        TLSARecord(2, 1, 0, LEAF.der),
        TLSARecord(2, 0, 0, ROOT.credential.spki),
    ],
)
def test_rfc6698_2_1_a_record_that_cannot_be_used_is_unusable_by_itself(broken: TLSARecord) -> None:
    assert usable_records([broken]) == ()
    assert usable_records([broken, for_leaf()]) == (for_leaf(),)
    matched(LEAF.chain, broken, for_leaf())
    found = missed(LEAF.chain, broken)
    assert (found.kind, found.detail) == (MismatchKind.NO_MATCH, "none of the TLSA records is usable")


def test_records_are_bounded_and_each_is_tried_once() -> None:
    assert usable_records([for_leaf(), for_leaf()]) == (for_leaf(),)
    many = [TLSARecord(3, 1, 1, number.to_bytes(32, "big")) for number in range(MAX_RECORDS + 10)]
    assert len(usable_records(many)) == MAX_RECORDS
    assert missed(LEAF.chain, *many, for_leaf()).kind is MismatchKind.NO_MATCH


def test_the_chain_is_bounded() -> None:
    padding = [STRANGER.der] * (MAX_CHAIN_CERTIFICATES - 2)
    matched([LEAF.der, *padding, INTERMEDIATE.der], for_intermediate())
    missed([LEAF.der, STRANGER.der, *padding, INTERMEDIATE.der], for_intermediate())


def test_rfc7671_9_of_several_digests_only_the_strongest_counts() -> None:
    wrong_strong = TLSARecord(3, 1, 2, bytes(64))
    assert strongest_records([for_leaf(), wrong_strong]) == (wrong_strong,)
    assert missed(LEAF.chain, for_leaf(), wrong_strong).kind is MismatchKind.NO_MATCH


def test_rfc7671_9_full_and_other_groups_are_not_touched_by_agility() -> None:
    strong = TLSARecord(3, 1, 2, bytes(64))
    records = (for_leaf(1, 0), for_leaf(0, 1), for_root(1, 1), for_leaf(1, 1), strong)
    assert strongest_records(records) == (for_leaf(1, 0), for_leaf(0, 1), for_root(1, 1), strong)
    matched(LEAF.chain, for_leaf(1, 0), strong)


def test_rfc7672_5_malformed_records_are_dropped_before_agility() -> None:
    malformed_strong = TLSARecord(3, 1, 2, bytes(63))
    matched(LEAF.chain, malformed_strong, for_leaf())


def test_rfc7672_5_the_order_of_digests_can_be_chosen() -> None:
    strong = TLSARecord(3, 1, 2, bytes(64))
    assert strongest_records([for_leaf(), strong], order=(1, 2)) == (for_leaf(),)


def test_any_one_record_suffices() -> None:
    others = [TLSARecord(3, 1, 1, bytes(32)), for_intermediate()]
    assert matched(LEAF.chain, *others).by == "dane-ta"
    assert matched(LEAF.chain, for_leaf(), *others).by == "dane-ee"
    assert matched(LEAF.chain, for_intermediate(), for_leaf()).by == "dane-ee"


def test_the_mismatch_says_what_was_wanted_and_what_was_presented() -> None:
    other = record(3, 1, 1, der=ROOT.der, spki=ROOT.credential.spki)
    found = missed(LEAF.chain, other, for_root())
    presented = hashlib.sha256(LEAF.spki).hexdigest()
    assert found.presented_spki == presented
    assert [miss.record for miss in found.records] == [other, for_root()]
    assert found.records[0].detail == (
        f"wanted the server's key with SHA2-256 {other.data.hex()}; presented: {presented}"
    )


def test_the_mismatch_shows_certificates_and_sha512_and_full_records_as_digests() -> None:
    other = self_signed("other.example")
    by_certificate = missed(LEAF.chain, record(3, 0, 2, der=other.der, spki=other.spki)).detail
    assert by_certificate.startswith("wanted the server's certificate with SHA2-512 ")
    assert by_certificate.endswith(hashlib.sha512(LEAF.der).hexdigest())
    full = missed(LEAF.chain, record(3, 1, 0, der=other.der, spki=other.spki)).detail
    assert f"SHA2-256 {hashlib.sha256(other.spki).hexdigest()};" in full


def test_the_nearest_miss_gives_the_kind() -> None:
    far = TLSARecord(3, 1, 1, bytes(32))
    assert missed(WHOLE, far, for_root(), references=["x.example"]).kind is MismatchKind.WRONG_NAME
    assert missed(WHOLE, for_root(), far, references=["x.example"]).kind is MismatchKind.WRONG_NAME


def test_rfc7672_8_2_no_certificate_is_a_mismatch() -> None:
    found = missed((), for_leaf())
    assert (found.kind, found.presented_spki, found.records) == (MismatchKind.NO_CERTIFICATE, None, ())


def test_a_certificate_that_cannot_be_read_matches_only_by_its_octets() -> None:
    nonsense = b"no certificate at all"
    matched([nonsense], TLSARecord(3, 0, 1, HASHES[1](nonsense)))
    assert missed([nonsense], for_leaf()).detail.endswith("presented: one that cannot be read")
    found = missed([nonsense, ROOT.der], for_root())
    assert (found.kind, found.presented_spki) == (MismatchKind.MALFORMED, None)


def test_a_match_is_said_short() -> None:
    assert str(matched(LEAF.chain, for_leaf())) == for_leaf().short
    assert str(matched(WHOLE, for_root())) == f"{for_root().short} for {HOST}"


def test_rfc5280_4_2_1_10_a_common_name_does_not_get_around_name_constraints() -> None:
    key = new_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Constrained")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(NOT_BEFORE).not_valid_after(NOT_AFTER)
    builder = builder.add_extension(x509.BasicConstraints(True, None), True)
    only = x509.NameConstraints([x509.DNSName("example.net")], None)
    for constraints, accepted in (([], True), ([only], False)):
        built = builder
        for one in constraints:
            built = built.add_extension(one, True)
        root = Authority(Credential(certificate=built.sign(key, hashes.SHA256()), key=key))
        leaf = root.leaf(common_name=HOST)
        anchor = record(2, 0, 1, der=root.der, spki=root.credential.spki)
        assert isinstance(match_dane([leaf.der, root.der], [anchor], [HOST], NOW), DaneMatch) is accepted


def test_rfc7672_4_while_keys_change_either_of_two_records_will_do() -> None:
    """Old and new record stand side by side until every cache has both (RFC 7671 section 8.1)."""
    new = INTERMEDIATE.leaf(HOST)
    both = for_leaf(), record(3, 1, 1, der=new.der, spki=new.spki)
    assert matched((LEAF.der,), *both).record == both[0]
    assert matched((new.der,), *both).record == both[1]
    missed((STRANGER.leaf(HOST).der,), *both)
