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

from letterlock.resolver.rdata import RRset, SignedRRset
from letterlock.resolver.rollover import (
    DAY,
    HOLD_DOWN_SECONDS,
    DamagedState,
    KeyState,
    TrustPoint,
    begin,
    follow,
    from_json,
    merge,
    to_json,
)
from letterlock.resolver.trust_anchors import TrustAnchor

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
    assert [anchor.record for anchor in point.anchors()] == [old.record()]


def test_rfc5011_2_4_1_a_new_key_is_trusted_after_thirty_days_and_not_before(
    point: TrustPoint, old: Key, new: Key
) -> None:
    def look(point: TrustPoint, now: float) -> TrustPoint:
        return follow(point, [], published(old.record(), new.record(), by=[(old, old.record())], now=now), now)

    pending = look(point, START)
    assert states(pending)[new.record().key] is KeyState.ADD_PENDING
    assert states(look(pending, START + HOLD_DOWN_SECONDS - 1))[new.record().key] is KeyState.ADD_PENDING
    trusted = look(pending, START + HOLD_DOWN_SECONDS)
    assert {anchor.record for anchor in trusted.anchors()} == {old.record(), new.record()}


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
    assert [anchor.record for anchor in after.anchors()] == [new.record()]


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
    assert len(missing.anchors()) == 2
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


def both_trusted(point: TrustPoint, old: Key, new: Key, *, now: float) -> TrustPoint:
    """Both keys valid, as of a time."""
    for moment in (now - HOLD_DOWN_SECONDS, now):
        seen = published(old.record(), new.record(), by=[(old, old.record())], now=moment)
        point = follow(point, [], seen, moment)
    return point


def revoked_alone(key: Key, now: float) -> SignedRRset:
    record = key.record(revoked=True)
    return published(record, by=[(key, record)], now=now)


def configured(*keys: Key) -> list[TrustAnchor]:
    return [TrustAnchor(ROOT, dns.dnssec.make_ds(ROOT, key.record(), "SHA256")) for key in keys]


def test_rfc5011_2_1_a_revoked_key_needs_no_other_to_vouch_and_the_configuration_does_not_bring_it_back(
    point: TrustPoint, old: Key
) -> None:
    after = follow(point, configured(old), revoked_alone(old, START + DAY), START + DAY)
    assert states(after) == {old.record().key: KeyState.REVOKED}
    assert after.anchors(configured(old)) == ()
    assert after.anchors([TrustAnchor(ROOT, old.record())]) == ()
    again = published(old.record(), by=[(old, old.record())], now=START + 2 * DAY)
    assert follow(after, configured(old), again, START + 2 * DAY).anchors(configured(old)) == ()


def test_rfc5011_2_1_a_configured_key_that_is_revoked_at_the_first_look_is_never_trusted(old: Key, new: Key) -> None:
    gone = old.record(revoked=True)
    seen = published(gone, new.record(), by=[(new, new.record()), (old, gone)], now=START)
    after = follow(begin(ROOT), configured(old, new), seen, START)
    assert states(after) == {old.record().key: KeyState.REVOKED, new.record().key: KeyState.VALID}
    assert [anchor.record for anchor in after.anchors(configured(old, new))] == [new.record()]


def test_rfc5011_2_1_a_revoked_key_is_remembered_for_good(point: TrustPoint, old: Key, new: Key) -> None:
    now = START + HOLD_DOWN_SECONDS
    revoked = old.record(revoked=True)
    seen = published(revoked, new.record(), by=[(new, new.record()), (old, revoked)], now=now)
    after = follow(both_trusted(point, old, new, now=now - DAY), [], seen, now)
    for _ in range(12):
        now += HOLD_DOWN_SECONDS
        after = follow(after, [], published(new.record(), by=[(new, new.record())], now=now), now)
    assert states(after)[old.record().key] is KeyState.REVOKED
    back = published(new.record(), old.record(), by=[(new, new.record())], now=now)
    for _ in range(3):
        now += HOLD_DOWN_SECONDS
        after = follow(after, [], back, now)
    assert old.record() not in {anchor.record for anchor in after.anchors()}


def test_a_configured_key_that_was_not_seen_yet_is_trusted_at_once(point: TrustPoint, old: Key, new: Key) -> None:
    """KSK-2024 was shipped as an anchor before the root published it: who configured it need not wait thirty days."""
    anchors = configured(old, new)
    assert {anchor.record for anchor in point.anchors(anchors)} == {old.record(), anchors[1].record}
    seen = published(new.record(), by=[(new, new.record())], now=START + DAY)
    after = follow(point, anchors, seen, START + DAY)
    assert states(after) == {old.record().key: KeyState.MISSING, new.record().key: KeyState.VALID}


def test_a_look_that_began_before_the_last_one_changes_nothing(point: TrustPoint, old: Key, new: Key) -> None:
    later = START + DAY
    after = follow(point, [], published(old.record(), new.record(), by=[(old, old.record())], now=later), later)
    stale = published(old.record(), by=[(old, old.record())], now=later - 10)
    assert follow(after, [], stale, later - 10) == after
    assert follow(after, [], None, later - 10) == after
    assert follow(after, [], stale, START).seen_at == START, "the clock was set back: that is no look of before"


def test_of_two_records_the_later_one_holds_and_every_revocation(point: TrustPoint, old: Key, new: Key) -> None:
    now = START + HOLD_DOWN_SECONDS
    both = both_trusted(point, old, new, now=now)
    later = now + DAY
    still = follow(both, [], published(old.record(), new.record(), by=[(new, new.record())], now=later), later)
    gone = old.record(revoked=True)
    before = published(gone, new.record(), by=[(new, new.record()), (old, gone)], now=later - 10)
    revoked = follow(both, [], before, later - 10)
    for merged in (merge(still, revoked), merge(revoked, still)):
        assert states(merged) == {old.record().key: KeyState.REVOKED, new.record().key: KeyState.VALID}
        assert merged.seen_at == later
    pending = follow(point, [], published(old.record(), new.record(), by=[(old, old.record())], now=START), START)
    dropped = follow(pending, [], published(old.record(), by=[(old, old.record())], now=START + 1), START + 1)
    assert merge(dropped, pending) == merge(pending, dropped) == dropped
    assert merge(begin(ROOT), point) == point


def test_a_reply_that_costs_too_much_is_as_good_as_none(point: TrustPoint, old: Key) -> None:
    """Signatures without end by keys that share a tag (CVE-2023-50387)."""
    record = old.record()
    honest = published(record, by=[(old, record)], now=START + DAY)
    [signature] = honest.signatures
    forged = [signature.replace(signature=bytes([number]) * 64) for number in range(1, 200)]
    signatures = [each for each in (*forged, signature) if isinstance(each, RRSIG)]
    after = follow(point, [], SignedRRset(honest.rrset, tuple(signatures)), START + DAY)
    assert after.keys == point.keys
    assert after.check_at == START + DAY + 3_600


def test_the_next_look_is_due_in_time_and_when_the_clock_was_set_back(point: TrustPoint) -> None:
    assert not point.is_due(START)
    assert point.is_due(point.check_at)
    assert point.is_due(START - 365 * DAY)


def test_a_trust_point_survives_storing(point: TrustPoint) -> None:
    assert from_json(to_json(point)) == point


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"zone": ".", "check_at": 1, "keys": [{"key": "x"}]}'])
def test_damaged_state_is_told(text: str) -> None:
    with pytest.raises(DamagedState):
        from_json(text)
