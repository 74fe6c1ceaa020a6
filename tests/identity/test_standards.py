"""RFC 6698 and RFC 7671, section by section, on one chain: a root, an intermediate, and the server's certificate."""

import datetime as dt
from collections.abc import Callable

import pytest

from letterlock.identity.dane import DaneMatch, match_dane, usable_records
from letterlock.identity.mismatch import MismatchKind
from letterlock.identity.tlsa import TLSARecord
from tests.identity.test_dane import (
    HOST,
    INTERMEDIATE,
    LEAF,
    NOW,
    ROOT,
    WHOLE,
    for_intermediate,
    for_leaf,
    for_root,
    matched,
    missed,
    record,
)

DIGEST = bytes(32)
PAST = dt.datetime(2021, 1, 1, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("make", "known"),
    [
        (lambda usage: TLSARecord(usage, 1, 1, DIGEST), {2, 3}),
        (lambda selector: TLSARecord(3, selector, 1, DIGEST), {0, 1}),
        (lambda matching_type: TLSARecord(3, 1, matching_type, DIGEST), {1}),
    ],
    ids=["2.1.1 usage", "2.1.2 selector", "2.1.3 matching type"],
)
def test_rfc6698_2_1_1_to_2_1_3_every_value_of_every_field(make: Callable[[int], TLSARecord], known: set[int]) -> None:
    """Usages 0 and 1 are known, and still of no use here (RFC 7672 section 3.1.3); a SHA2-256 digest has 32 octets."""
    assert {value for value in range(256) if usable_records([make(value)])} == known


@pytest.mark.parametrize(("matching_type", "octets"), [(1, 32), (2, 64)])
def test_rfc6698_2_1_4_a_digest_has_its_length(matching_type: int, octets: int) -> None:
    lengths = {length for length in range(130) if usable_records([TLSARecord(3, 1, matching_type, bytes(length))])}
    assert lengths == {octets}


def test_rfc7671_4_1_usages_0_and_1_match_nothing_and_hide_nothing() -> None:
    ca, ee = record(0, 0, 1, der=ROOT.der, spki=b""), record(1, 1, 1, der=b"", spki=LEAF.spki)
    assert missed(WHOLE, ca, ee).kind is MismatchKind.NO_MATCH
    assert matched(WHOLE, ca, ee, for_leaf()).by == "dane-ee"


@pytest.mark.parametrize("chain", [WHOLE, LEAF.chain, LEAF.chain[:1]], ids=["whole", "without the root", "alone"])
@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching_type", [0, 1, 2])
def test_rfc7671_5_2_1_what_the_server_must_send_for_dane_ta(
    chain: tuple[bytes, ...], selector: int, matching_type: int
) -> None:
    """The authority itself, unless the record holds it whole: as a certificate, or as the key that signed."""
    found = match_dane(chain, [for_intermediate(selector, matching_type)], [HOST], NOW)
    assert isinstance(found, DaneMatch) is (len(chain) > 1 or matching_type == 0)


@pytest.mark.parametrize(
    "records",
    [
        (for_leaf(), TLSARecord(3, 1, 1, DIGEST)),
        (TLSARecord(3, 1, 1, DIGEST), for_leaf()),
        (TLSARecord(2, 0, 1, DIGEST), for_leaf()),
        (for_root(), TLSARecord(3, 1, 1, DIGEST)),
        (for_root(), TLSARecord(2, 0, 1, DIGEST)),
    ],
    ids=["old key", "new key", "from authority to key", "from key to authority", "another authority"],
)
def test_rfc7671_8_during_a_change_the_record_that_fits_will_do(records: tuple[TLSARecord, ...]) -> None:
    """Sections 8.1 to 8.4: the old and the new record stand side by side until every cache has dropped the old set."""
    matched(WHOLE, *records)


def test_rfc7671_8_1_a_digest_that_only_one_of_two_keys_has_spoils_the_change() -> None:
    """Why section 9 wants the same digests for every record of a set: the weaker one is not looked at."""
    assert missed(WHOLE, for_leaf(1, 1), TLSARecord(3, 1, 2, bytes(64))).kind is MismatchKind.NO_MATCH


@pytest.mark.parametrize(
    ("names", "fits"),
    [((HOST,), True), (("*.example.org",), True), (("other.example.org",), False), (("*.mx.example.org",), False)],
)
def test_rfc7671_10_2_names_count_for_dane_ta_and_not_for_dane_ee(names: tuple[str, ...], *, fits: bool) -> None:
    leaf = INTERMEDIATE.leaf(*names)
    found = match_dane((*leaf.chain, ROOT.der), [for_root()], [HOST], NOW)
    assert isinstance(found, DaneMatch) is fits
    matched(leaf.chain, record(3, 1, 1, der=leaf.der, spki=leaf.spki))


def test_rfc7671_5_1_dates_count_for_dane_ta_and_not_for_dane_ee() -> None:
    leaf = INTERMEDIATE.leaf(HOST, not_after=PAST)
    assert missed((*leaf.chain, ROOT.der), for_root()).kind is MismatchKind.EXPIRED
    matched(leaf.chain, record(3, 1, 1, der=leaf.der, spki=leaf.spki))


def test_rfc7672_3_1_2_an_anchor_that_only_the_record_holds_still_needs_names_and_dates() -> None:
    matched(LEAF.chain, for_root(0, 0))
    assert missed(LEAF.chain, for_root(0, 0), references=("other.example.org",)).kind is MismatchKind.WRONG_NAME
    late = INTERMEDIATE.leaf(HOST, not_after=PAST)
    assert missed(late.chain, for_root(0, 0)).kind is MismatchKind.EXPIRED
