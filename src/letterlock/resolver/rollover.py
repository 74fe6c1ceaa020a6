"""Following a zone's keys as they roll (RFC 5011): which keys may be trusted tomorrow, from what is seen today. Pure.

A new key that the trusted ones vouch for has to be seen for thirty days before it is trusted, so that whoever steals a
key cannot add his own unnoticed; a key that revokes itself is never trusted again. `TrustPoint` is everything that has
to be remembered; it goes to JSON and back.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS

from letterlock.resolver.anchors import TrustAnchor
from letterlock.resolver.budget import Budget, Spending
from letterlock.resolver.message import SignedRRset
from letterlock.resolver.signatures import (
    ALGORITHMS,
    REVOKED,
    Verified,
    digest_matches,
    key_tag,
    usable_keys,
    verify,
)

DAY = 86_400
HOLD_DOWN_SECONDS = 30 * DAY  # RFC 5011 section 2.4.1, and for removal 2.4.2
MIN_CHECK_SECONDS, MAX_CHECK_SECONDS, RETRY_SECONDS = 3_600, 15 * DAY, 3_600  # section 2.3
MAX_KEYS = 20
_SEP = 0x0001


class KeyState(StrEnum):
    """What a key is to us (RFC 5011 section 4.2)."""

    ADD_PENDING = "add-pending"
    VALID = "valid"
    MISSING = "missing"
    REVOKED = "revoked"


_TRUSTED = (KeyState.VALID, KeyState.MISSING)


@dataclass(frozen=True, slots=True)
class FollowedKey:
    """A key, its state, and since when (seconds since 1970)."""

    key: DNSKEY
    state: KeyState
    since: float

    @property
    def tag(self) -> int:
        """The key tag, for people."""
        return key_tag(self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustPoint:
    """A zone whose keys are followed. `check_at` is when to look next."""

    zone: dns.name.Name
    keys: tuple[FollowedKey, ...]
    check_at: float

    @property
    def anchors(self) -> tuple[TrustAnchor, ...]:
        """The keys that are trusted now: valid ones, and those that are only missing."""
        return tuple(TrustAnchor(self.zone, each.key) for each in self.keys if each.state in _TRUSTED)


def begin(zone: dns.name.Name) -> TrustPoint:
    """A trust point of which nothing has been seen yet."""
    return TrustPoint(zone=zone, keys=(), check_at=0.0)


def follow(point: TrustPoint, anchors: Iterable[TrustAnchor], signed: SignedRRset | None, now: float) -> TrustPoint:
    """What a look at the zone's DNSKEY RRset changes. `anchors` are the configured ones, for the first look.

    An RRset that no trusted key vouches for changes nothing but the time of the next look (RFC 5011 section 2.3).
    """
    if signed is None:
        return replace(point, check_at=now + RETRY_SECONDS)
    keys = tuple(record for record in signed.rrset if isinstance(record, DNSKEY))
    spending = Spending(Budget())
    vouched = verify(signed, point.zone, _trusted(point, anchors, keys), now, spending)
    if not isinstance(vouched, Verified):
        return replace(point, check_at=now + RETRY_SECONDS)
    seen = {_identity(key): key for key in keys if key.flags & _SEP and key.algorithm in ALGORITHMS}
    revoked = {
        name
        for name, key in seen.items()
        if key.flags & REVOKED and isinstance(verify(signed, point.zone, (key,), now, spending), Verified)
    }
    known = {_identity(each.key): each for each in _known(point, anchors, keys, now)}
    followed = [_next(each, seen.get(name), now, revoked=name in revoked) for name, each in known.items()]
    new = [key for name, key in seen.items() if name not in known and not key.flags & REVOKED]
    followed += [FollowedKey(key, KeyState.ADD_PENDING, now) for key in new]
    kept = tuple(each for each in followed if each is not None)[:MAX_KEYS]
    return TrustPoint(zone=point.zone, keys=kept, check_at=now + _interval(signed, vouched, now))


def _identity(key: DNSKEY) -> bytes:
    """A key is the same one when it is revoked."""
    return bytes((key.algorithm,)) + key.key


def _known(
    point: TrustPoint, anchors: Iterable[TrustAnchor], keys: tuple[DNSKEY, ...], now: float
) -> tuple[FollowedKey, ...]:
    """The keys that are followed already; at the first look, those that a configured anchor names."""
    if point.keys:
        return point.keys
    trusted = _trusted(point, anchors, keys)
    return tuple(FollowedKey(key, KeyState.VALID, now) for key in trusted)


def _trusted(point: TrustPoint, anchors: Iterable[TrustAnchor], keys: tuple[DNSKEY, ...]) -> tuple[DNSKEY, ...]:
    if point.keys:
        trusted = {_identity(each.key) for each in point.keys if each.state in _TRUSTED}
        return tuple(key for key in usable_keys(keys, ALGORITHMS) if _identity(key) in trusted)
    named = [anchor.record for anchor in anchors if anchor.zone == point.zone]
    return tuple(
        key for key in usable_keys(keys, ALGORITHMS) if any(_names(record, point.zone, key) for record in named)
    )


def _names(record: DS | DNSKEY, zone: dns.name.Name, key: DNSKEY) -> bool:
    return digest_matches(zone, key, record) if isinstance(record, DS) else record == key


def _next(each: FollowedKey, seen: DNSKEY | None, now: float, *, revoked: bool) -> FollowedKey | None:
    """The state table of RFC 5011 section 4.1; None when the key is forgotten."""
    match each.state:
        case _ if revoked and each.state is not KeyState.REVOKED:
            return FollowedKey(each.key, KeyState.REVOKED, now)
        case KeyState.ADD_PENDING if seen is None:
            return None
        case KeyState.ADD_PENDING if now - each.since >= HOLD_DOWN_SECONDS:
            return FollowedKey(each.key, KeyState.VALID, now)
        case KeyState.VALID if seen is None:
            return FollowedKey(each.key, KeyState.MISSING, now)
        case KeyState.MISSING if seen is not None:
            return FollowedKey(each.key, KeyState.VALID, now)
        case KeyState.REVOKED if seen is None and now - each.since >= HOLD_DOWN_SECONDS:
            return None
    return each


def _interval(signed: SignedRRset, vouched: Verified, now: float) -> float:
    """When to look again: half the TTL or half the signature's life, between an hour and fifteen days."""
    left = (vouched.signature.expiration - int(now)) % (1 << 32)
    return max(
        MIN_CHECK_SECONDS, min(MAX_CHECK_SECONDS, vouched.signature.original_ttl / 2, left / 2, signed.rrset.ttl)
    )


class DamagedState(ValueError):
    """What was stored of a trust point cannot be read."""


def to_json(point: TrustPoint) -> str:
    """A trust point as text to store."""
    keys = [
        {"key": each.key.to_text(), "tag": each.tag, "state": each.state.value, "since": each.since}
        for each in point.keys
    ]
    return json.dumps({"zone": str(point.zone), "check_at": point.check_at, "keys": keys}, indent=2) + "\n"


def from_json(text: str) -> TrustPoint:
    """A stored trust point. Raises DamagedState."""
    try:
        values = json.loads(text)
        keys = tuple(_key_from(each) for each in values["keys"])
        return TrustPoint(
            zone=dns.name.from_text(values["zone"]).canonicalize(), keys=keys, check_at=float(values["check_at"])
        )
    except (ValueError, KeyError, TypeError, dns.exception.DNSException) as error:
        raise DamagedState(f"the stored trust point cannot be read: {error!r}") from None


def _key_from(values: Mapping[str, object]) -> FollowedKey:
    record = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.DNSKEY, str(values["key"]))
    if not isinstance(record, DNSKEY):
        raise DamagedState("not a key")
    return FollowedKey(record, KeyState(str(values["state"])), float(str(values["since"])))
