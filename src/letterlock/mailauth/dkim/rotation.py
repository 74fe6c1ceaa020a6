"""Changing the keys that sign, step by step, so that every signature can be verified as long as it matters. Pure.

    next -> signing -> retiring -> retired -> gone

A new key is `next` until every authoritative server shows its record; only then it signs, and the key of the same
algorithm that signed before is `retiring`: its record must stay while mail that it signed can be in a queue, or is
looked at soon after. That time counts from when the server is known to use the next key. A `retired` key's record may
be removed, and once no server shows it the key is forgotten.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from letterlock.mail.names import InvalidName, normalise
from letterlock.mailauth.dkim.signature import Algorithm

MAX_KEYS = 32  # of one domain: two algorithms, and old keys of several changes that overlap
_VERSION = 1  # of the file


class KeyPhase(StrEnum):
    """Where a key is on its way."""

    NEXT = "next"
    SIGNING = "signing"
    RETIRING = "retiring"
    RETIRED = "retired"


class DamagedRotation(ValueError):
    """What was stored cannot be read. `str()` says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RotatedKey:
    """A key with its phase, and since when (seconds since 1970).

    `used`: whether the server is known to sign with it. `until`: how long the record of a retiring key must stay; None
    until the server is known to use the next key.
    """

    selector: str
    algorithm: Algorithm
    phase: KeyPhase
    since: float
    used: bool = False
    until: float | None = None


Keys = tuple[RotatedKey, ...]


def begun(keys: Keys, made: Iterable[tuple[str, Algorithm]], now: float) -> Keys:
    """With new keys, which have to be published now."""
    return keys + tuple(
        RotatedKey(selector=selector, algorithm=algorithm, phase=KeyPhase.NEXT, since=now)
        for selector, algorithm in made
    )


def is_under_way(keys: Keys) -> bool:
    """Whether a change of keys has begun and is not complete."""
    return any(each.phase is not KeyPhase.SIGNING or not each.used for each in keys)


def in_phase(keys: Keys, phase: KeyPhase) -> Keys:
    """Those in a phase."""
    return tuple(each for each in keys if each.phase is phase)


def switched(keys: Keys, seen: Collection[str], now: float) -> Keys:
    """With those next keys signing that every authoritative server shows, instead of those of their algorithm."""
    new = {each.algorithm for each in in_phase(keys, KeyPhase.NEXT) if each.selector in seen}

    def moved(each: RotatedKey) -> RotatedKey:
        if each.phase is KeyPhase.NEXT and each.selector in seen:
            return replace(each, phase=KeyPhase.SIGNING, since=now)
        if each.phase is KeyPhase.SIGNING and each.algorithm in new:
            return replace(each, phase=KeyPhase.RETIRING, since=now)
        return each

    return tuple(moved(each) for each in keys)


def awaits_server(keys: Keys) -> bool:
    """Whether the server is not known to use all keys that sign since the last switch."""
    return not all(each.used for each in in_phase(keys, KeyPhase.SIGNING))


def used(keys: Keys, kept_seconds: float, now: float) -> Keys:
    """After the server was seen to use the keys that sign: from now on retiring ones sign no more mail."""

    def marked(each: RotatedKey) -> RotatedKey:
        if each.phase is KeyPhase.SIGNING:
            return replace(each, used=True)
        if each.phase is KeyPhase.RETIRING and each.until is None:
            return replace(each, until=now + kept_seconds)
        return each

    return tuple(map(marked, keys))


def retired(keys: Keys, now: float) -> Keys:
    """With those retired whose time is over."""
    return tuple(
        replace(each, phase=KeyPhase.RETIRED, since=now)
        if each.phase is KeyPhase.RETIRING and each.until is not None and each.until <= now
        else each
        for each in keys
    )


def forgotten(keys: Keys, gone: Collection[str]) -> Keys:
    """Without retired keys that no server shows any more."""
    return tuple(each for each in keys if each.phase is not KeyPhase.RETIRED or each.selector not in gone)


def new_selector(algorithm: Algorithm, day: str, taken: Collection[str]) -> str:
    """A selector that was never used: `rsa-20261126`, and `rsa-20261126-2` for a second key of a day."""
    base = f"{algorithm.key_type.decode()}-{day}"
    number = 1
    while (selector := base if number == 1 else f"{base}-{number}") in taken:
        number += 1
    return selector


def to_json(keys: Keys) -> str:
    """As it is stored."""
    values = [
        {
            "selector": each.selector,
            "algorithm": each.algorithm.value,
            "phase": each.phase.value,
            "since": each.since,
            "used": each.used,
            "until": each.until,
        }
        for each in keys
    ]
    return json.dumps({"version": _VERSION, "keys": values}, indent=2) + "\n"


def from_json(text: str) -> Keys:
    """Read what `to_json` wrote. Raises DamagedRotation."""
    try:
        values = json.loads(text)
        if values["version"] != _VERSION:
            raise DamagedRotation(f"it is of version {values['version']}, and this is version {_VERSION}")
        keys = tuple(_key(each) for each in values["keys"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, DamagedRotation):
            raise
        raise DamagedRotation("it is not what Letterlock wrote") from None
    _require_sound(keys)
    return keys


def _key(values: dict[str, object]) -> RotatedKey:
    """Raises ValueError, KeyError."""
    selector, since, until, used_now = (str(values["selector"]), values["since"], values["until"], values["used"])
    if not isinstance(since, int | float) or not (until is None or isinstance(until, int | float)):
        raise ValueError("a time is no number")
    if not isinstance(used_now, bool):
        raise TypeError("used")
    try:
        if normalise(selector) != selector:  # it names a file
            raise ValueError(selector)
    except InvalidName as error:
        raise ValueError(selector) from error
    return RotatedKey(
        selector=selector,
        algorithm=Algorithm(str(values["algorithm"])),
        phase=KeyPhase(str(values["phase"])),
        since=float(since),
        used=used_now,
        until=None if until is None else float(until),
    )


def _require_sound(keys: Sequence[RotatedKey]) -> None:
    if len(keys) > MAX_KEYS or len({each.selector for each in keys}) != len(keys):
        raise DamagedRotation(f"it has more than {MAX_KEYS} keys, or one twice")
