"""Following a zone's keys as they roll (RFC 5011): which keys may be trusted tomorrow, from what is seen today. Pure.

A new key that the trusted ones vouch for has to be seen for thirty days before it is trusted, so that a thief of a
key cannot add one of their own unnoticed; a key that revokes itself is never trusted again, whatever the configuration
says. `TrustPoint` is everything that has to be remembered; it goes to JSON and back.

Several processes follow the same zone and share what they have seen. A look that began before the last one counts for
nothing (`follow`), and of two records of what was seen the later one holds, but a revocation in either of them always
does (`merge`).
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import cast

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS

from letterlock.resolver.budget import Budget, OutOfBudget, Spending
from letterlock.resolver.known_names import from_text
from letterlock.resolver.rdata import SignedRRset
from letterlock.resolver.signatures import (
    ALGORITHMS,
    REVOKED,
    Verified,
    digest_matches,
    key_tag,
    usable_keys,
    verify,
)
from letterlock.resolver.trust_anchors import TrustAnchor

DAY = 86_400  # seconds
HOLD_DOWN_SECONDS = 30 * DAY  # RFC 5011 section 2.4.1
MIN_CHECK_SECONDS, MAX_CHECK_SECONDS, RETRY_SECONDS = 3_600, 15 * DAY, 3_600  # section 2.3
MAX_KEYS = 20  # that are not revoked; a root zone in the middle of a roll has three
MAX_REVOKED_KEYS = 100  # remembered for good, so that none of them is ever trusted again: centuries of rolls
LOOK_SECONDS = 3_600.0  # more than a look takes: one that is older still means that the clock was set back
_SEP = 0x0001  # the secure entry point flag of a DNSKEY (RFC 4034 section 2.1.1)


class KeyState(StrEnum):
    """The state of a key (RFC 5011 section 4.2)."""

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
    """A zone whose keys are followed.

    `check_at` is when to look next, `seen_at` when the last look that counted began (0: none yet).
    """

    zone: dns.name.Name
    keys: tuple[FollowedKey, ...]
    check_at: float
    seen_at: float = 0.0

    def anchors(self, configured: Iterable[TrustAnchor] = ()) -> tuple[TrustAnchor, ...]:
        """The keys trusted now: valid ones, those that are only missing, and configured ones that were never seen.

        There may be none: when every key was revoked, the configured anchors that name them are not trusted either
        (RFC 5011 section 2.1).
        """
        followed = tuple(TrustAnchor(self.zone, each.key) for each in self.keys if each.state in _TRUSTED)
        return followed + tuple(
            anchor
            for anchor in configured
            if anchor.zone == self.zone and not any(_names(anchor.record, self.zone, each.key) for each in self.keys)
        )

    def is_due(self, now: float) -> bool:
        """Whether it is time to look, or the clock was set back since the time was chosen."""
        return not now < self.check_at <= now + MAX_CHECK_SECONDS


def begin(zone: dns.name.Name) -> TrustPoint:
    """A trust point of which nothing has been seen yet."""
    return TrustPoint(zone=zone, keys=(), check_at=0.0)


def follow(point: TrustPoint, anchors: Iterable[TrustAnchor], signed: SignedRRset | None, now: float) -> TrustPoint:
    """The new state after a look at the zone's DNSKEY RRset that began `now`. `anchors` are the configured ones.

    A key that revokes itself needs no other key to vouch for that (RFC 5011 section 2.1). All else in an RRset that no
    trusted key vouches for counts for nothing, and one that was asked for before the last look changes nothing at all.
    """
    if 0 < point.seen_at - now < LOOK_SECONDS:
        return point
    retry = replace(point, check_at=now + RETRY_SECONDS)
    if signed is None:
        return retry
    try:
        return _follow(retry, tuple(anchors), signed, now)
    except OutOfBudget:  # made to cost much: as good as no answer
        return retry


def _follow(point: TrustPoint, anchors: tuple[TrustAnchor, ...], signed: SignedRRset, now: float) -> TrustPoint:
    """Raises OutOfBudget."""
    keys = tuple(record for record in signed.rrset if isinstance(record, DNSKEY))
    spending = Spending(Budget())
    point = _with_revocations(point, anchors, signed, keys, now, spending)
    vouched = verify(signed, point.zone, _named(point.zone, point.anchors(anchors), keys), now, spending)
    if not isinstance(vouched, Verified):
        return point
    seen = {_identity(key): key for key in keys if _is_followed(key) and not key.flags & REVOKED}
    known = {_identity(each.key) for each in point.keys}
    configured = {_identity(key) for key in _named(point.zone, anchors, keys)}
    followed = [_next(each, seen.get(_identity(each.key)), now) for each in point.keys]
    followed += [
        FollowedKey(key, KeyState.VALID if name in configured else KeyState.ADD_PENDING, now)
        for name, key in seen.items()
        if name not in known
    ]
    kept = _bounded([each for each in followed if each is not None])
    return TrustPoint(zone=point.zone, keys=kept, check_at=now + _interval(signed, vouched, now), seen_at=now)


def _with_revocations(
    point: TrustPoint,
    anchors: tuple[TrustAnchor, ...],
    signed: SignedRRset,
    keys: tuple[DNSKEY, ...],
    now: float,
    spending: Spending,
) -> TrustPoint:
    """The keys that were followed or configured, and that revoke themselves in an RRset that they signed."""
    held = {_identity(each.key): each for each in point.keys}
    revoked = {}
    for key in keys:
        if not (key.flags & REVOKED and _is_followed(key)):
            continue
        name, whole = _identity(key), _unrevoked(key)
        if name in held and held[name].state is KeyState.REVOKED:
            continue
        ours = name in held or any(_names(each.record, point.zone, whole) for each in anchors)
        if ours and isinstance(verify(signed, point.zone, (key,), now, spending), Verified):
            revoked[name] = FollowedKey(whole, KeyState.REVOKED, now)
    if not revoked:
        return point
    return replace(point, keys=_bounded({**held, **revoked}.values()), seen_at=now)


def _unrevoked(key: DNSKEY) -> DNSKEY:
    """The key as it was before, which is what anchors name."""
    return cast("DNSKEY", key.replace(flags=key.flags & ~REVOKED))


def _is_followed(key: DNSKEY) -> bool:
    return bool(key.flags & _SEP) and key.algorithm in ALGORITHMS


def merge(one: TrustPoint, other: TrustPoint) -> TrustPoint:
    """Merge two records of one zone: the later one holds, and so does every revocation."""
    earlier, later = sorted((one, other), key=lambda point: point.seen_at)
    keys = {_identity(each.key): each for each in later.keys}
    for each in earlier.keys:
        name = _identity(each.key)
        if each.state is KeyState.REVOKED and (name not in keys or keys[name].state is not KeyState.REVOKED):
            keys[name] = each
    return replace(later, keys=_bounded(keys.values()))


def _bounded(keys: Iterable[FollowedKey]) -> tuple[FollowedKey, ...]:
    """At most MAX_KEYS, the first ones, and MAX_REVOKED_KEYS that are revoked, the latest ones."""
    revoked = sorted((each for each in keys if each.state is KeyState.REVOKED), key=lambda each: each.since)
    others = [each for each in keys if each.state is not KeyState.REVOKED]
    return (*others[:MAX_KEYS], *revoked[-MAX_REVOKED_KEYS:])


def _identity(key: DNSKEY) -> bytes:
    """A key is the same one when it is revoked."""
    return bytes((key.algorithm,)) + key.key


def _named(zone: dns.name.Name, anchors: Iterable[TrustAnchor], keys: tuple[DNSKEY, ...]) -> tuple[DNSKEY, ...]:
    """The keys of an RRset that anchors name, revoked ones left out."""
    records = [anchor.record for anchor in anchors if anchor.zone == zone]
    return tuple(key for key in usable_keys(keys, ALGORITHMS) if any(_names(each, zone, key) for each in records))


def _names(record: DS | DNSKEY, zone: dns.name.Name, key: DNSKEY) -> bool:
    if isinstance(record, DS):
        return digest_matches(zone, key, record)
    return _identity(record) == _identity(key)


def _next(each: FollowedKey, seen: DNSKEY | None, now: float) -> FollowedKey | None:
    """The state table of RFC 5011 section 4.1 but for revocation; None when the key is forgotten.

    A revoked one never is: revocation is permanent (section 2.1), and a forgotten key could be added anew.
    """
    match each.state:
        case KeyState.ADD_PENDING if seen is None:
            return None
        case KeyState.ADD_PENDING if now - each.since >= HOLD_DOWN_SECONDS:
            return FollowedKey(each.key, KeyState.VALID, now)
        case KeyState.VALID if seen is None:
            return FollowedKey(each.key, KeyState.MISSING, now)
        case KeyState.MISSING if seen is not None:
            return FollowedKey(each.key, KeyState.VALID, now)
    return each


def _interval(signed: SignedRRset, vouched: Verified, now: float) -> float:
    """When to look again: half the TTL or half the signature's life, between an hour and fifteen days."""
    left = (vouched.signature.expiration - int(now)) % (1 << 32)
    return max(
        MIN_CHECK_SECONDS, min(MAX_CHECK_SECONDS, vouched.signature.original_ttl / 2, left / 2, signed.rrset.ttl)
    )


class DamagedState(ValueError):
    """The stored state of a trust point cannot be read."""


def to_json(point: TrustPoint) -> str:
    """A trust point as text to store."""
    keys = [
        {"key": each.key.to_text(), "tag": each.tag, "state": each.state.value, "since": each.since}
        for each in point.keys
    ]
    values = {"zone": str(point.zone), "check_at": point.check_at, "seen_at": point.seen_at, "keys": keys}
    return json.dumps(values, indent=2) + "\n"


def from_json(text: str) -> TrustPoint:
    """A stored trust point. Raises DamagedState."""
    try:
        values = json.loads(text)
        keys = tuple(_key_from(each) for each in values["keys"])
        return TrustPoint(
            zone=from_text(values["zone"]).canonicalize(),
            keys=keys,
            check_at=float(values["check_at"]),
            seen_at=float(values.get("seen_at", 0.0)),
        )
    except (ValueError, KeyError, TypeError, dns.exception.DNSException) as error:
        raise DamagedState(f"the stored trust point cannot be read: {error!r}") from None


def _key_from(values: Mapping[str, object]) -> FollowedKey:
    record = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.DNSKEY, str(values["key"]))
    if not isinstance(record, DNSKEY):
        raise DamagedState("not a key")
    return FollowedKey(record, KeyState(str(values["state"])), float(str(values["since"])))
