"""Following a zone's keys (RFC 5011), with a clock of our own."""

import dns.dnssec
import dns.dnssectypes
import dns.name
import dns.rdatatype
import dns.rrset
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.RRSIG import RRSIG

from letterlock.resolver.anchors import TrustAnchor
from letterlock.resolver.message import SignedRRset
from letterlock.resolver.rdata import RRset
from letterlock.resolver.rollover import (
    DAY,
    HOLD_DOWN_SECONDS,
    DamagedState,
    KeyState,
    TrustPoint,
    begin,
    follow,
    from_json,
    to_json,
)

ROOT = dns.name.root
START = 1_800_000_000.0


class Key:
    """A key-signing key, whole or revoked."""

    def __init__(self) -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())

    def record(self, *, revoked: bool = False) -> DNSKEY:
        flags = 0x0101 | (0x0080 if revoked else 0)
        key = dns.dnssec.make_dnskey(self.private.public_key(), dns.dnssectypes.Algorithm.ECDSAP256SHA256, flags)
        assert isinstance(key, DNSKEY)
        return key


def published(*keys: DNSKEY, by: list[tuple[Key, DNSKEY]], now: float) -> SignedRRset:
    """The zone's DNSKEY RRset, signed by some of its keys, as seen at a time."""
    rrset = dns.rrset.from_rdata_list(ROOT, 172_800, keys)
    signatures = []
    for key, record in by:
        made = dns.dnssec.sign(
            rrset, key.private, ROOT, record, inception=int(now) - DAY, expiration=int(now) + 14 * DAY, verify=False
        )
        assert isinstance(made, RRSIG)
        signatures.append(made)
    return SignedRRset(RRset.of(rrset), tuple(signatures))


def states(point: TrustPoint) -> dict[bytes, KeyState]:
    return {each.key.key: each.state for each in point.keys}


@pytest.fixture
def old() -> Key:
    return Key()


@pytest.fixture
def new() -> Key:
    return Key()


@pytest.fixture
def point(old: Key) -> TrustPoint:
    """A trust point that has seen the old key, named by a DS record."""
    record = old.record()
    ds = dns.dnssec.make_ds(ROOT, record, "SHA256")
    seen = published(record, by=[(old, record)], now=START)
    return follow(begin(ROOT), [TrustAnchor(ROOT, ds)], seen, START)


def test_the_first_look_takes_the_key_that_the_anchor_names(point: TrustPoint, old: Key) -> None:
    assert states(point) == {old.record().key: KeyState.VALID}
    assert [anchor.record for anchor in point.anchors] == [old.record()]


def test_rfc5011_2_4_1_a_new_key_is_trusted_after_thirty_days_and_not_before(
    point: TrustPoint, old: Key, new: Key
) -> None:
    def look(point: TrustPoint, now: float) -> TrustPoint:
        return follow(point, [], published(old.record(), new.record(), by=[(old, old.record())], now=now), now)

    pending = look(point, START)
    assert states(pending)[new.record().key] is KeyState.ADD_PENDING
    assert states(look(pending, START + HOLD_DOWN_SECONDS - 1))[new.record().key] is KeyState.ADD_PENDING
    trusted = look(pending, START + HOLD_DOWN_SECONDS)
    assert {anchor.record for anchor in trusted.anchors} == {old.record(), new.record()}


def test_rfc5011_2_2_a_new_key_that_goes_away_again_starts_anew(point: TrustPoint, old: Key, new: Key) -> None:
    pending = follow(point, [], published(old.record(), new.record(), by=[(old, old.record())], now=START), START)
    gone = follow(pending, [], published(old.record(), by=[(old, old.record())], now=START), START + DAY)
    assert new.record().key not in states(gone)


def test_rfc5011_2_1_a_key_that_revokes_itself_is_never_trusted_again(point: TrustPoint, old: Key, new: Key) -> None:
    both = follow(point, [], published(old.record(), new.record(), by=[(old, old.record())], now=START), START)
    later = START + HOLD_DOWN_SECONDS
    both = follow(both, [], published(old.record(), new.record(), by=[(old, old.record())], now=later), later)
    revoked = old.record(revoked=True)
    seen = published(revoked, new.record(), by=[(new, new.record()), (old, revoked)], now=later)
    after = follow(both, [], seen, later)
    assert states(after) == {old.record().key: KeyState.REVOKED, new.record().key: KeyState.VALID}
    assert [anchor.record for anchor in after.anchors] == [new.record()]


def test_rfc5011_2_1_a_revocation_that_the_key_did_not_sign_is_ignored(point: TrustPoint, old: Key, new: Key) -> None:
    later = START + HOLD_DOWN_SECONDS
    both = follow(point, [], published(old.record(), new.record(), by=[(old, old.record())], now=START), START)
    both = follow(both, [], published(old.record(), new.record(), by=[(old, old.record())], now=later), later)
    forged = published(old.record(revoked=True), new.record(), by=[(new, new.record())], now=later)
    assert states(follow(both, [], forged, later))[old.record().key] is not KeyState.REVOKED


def test_a_missing_key_stays_trusted_and_returns(point: TrustPoint, old: Key, new: Key) -> None:
    later = START + HOLD_DOWN_SECONDS
    both = follow(point, [], published(old.record(), new.record(), by=[(old, old.record())], now=START), START)
    both = follow(both, [], published(old.record(), new.record(), by=[(old, old.record())], now=later), later)
    missing = follow(both, [], published(new.record(), by=[(new, new.record())], now=later), later)
    assert states(missing)[old.record().key] is KeyState.MISSING
    assert len(missing.anchors) == 2
    back = follow(missing, [], published(old.record(), new.record(), by=[(old, old.record())], now=later), later)
    assert states(back)[old.record().key] is KeyState.VALID


def test_an_rrset_that_no_trusted_key_signed_changes_nothing(point: TrustPoint, new: Key) -> None:
    forged = published(new.record(), by=[(new, new.record())], now=START)
    after = follow(point, [], forged, START + DAY)
    assert after.keys == point.keys
    assert after.check_at == START + DAY + 3_600


def test_no_answer_is_asked_for_again_in_an_hour(point: TrustPoint) -> None:
    after = follow(point, [], None, START)
    assert (after.keys, after.check_at) == (point.keys, START + 3_600)


def test_rfc5011_2_3_the_next_look_comes_in_time(point: TrustPoint) -> None:
    assert START + 3_600 <= point.check_at <= START + 15 * DAY


def test_a_trust_point_survives_storing(point: TrustPoint) -> None:
    assert from_json(to_json(point)) == point


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"zone": ".", "check_at": 1, "keys": [{"key": "x"}]}'])
def test_damaged_state_is_told(text: str) -> None:
    with pytest.raises(DamagedState):
        from_json(text)
