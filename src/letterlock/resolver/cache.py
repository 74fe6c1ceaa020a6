"""What was proven, kept for as long as it holds; and what was bogus, for a short while (RFC 4035 section 4.7).

Bounded in octets, by an estimate from the wire form; the least recently used entries go first. Nothing is served past
its TTL or its signature.
"""

from collections import OrderedDict

import dns.name
import dns.rdata

from letterlock.resolver.answer import Answer, FailureKind, LookupFailure
from letterlock.resolver.zone import CutState

DEFAULT_OCTETS = 64 << 20
ENTRY_OCTETS = 1_200  # an answer with its proof, before its records
HELD_SECONDS = 5.0
MAX_HELD_SECONDS = 300.0
MAX_HELD = 10_000

Key = tuple[str, int]


class Cache:
    """Answers by name and type, zone cuts by name. One resolver, one task at a time: no locks."""

    def __init__(self, max_octets: int = DEFAULT_OCTETS) -> None:
        self._max_octets = max_octets
        self._octets = 0
        self._answers: OrderedDict[Key, tuple[Answer, int]] = OrderedDict()
        self._held: OrderedDict[Key, tuple[LookupFailure, float, float]] = OrderedDict()
        self.zones = Zones()

    def __len__(self) -> int:
        return len(self._answers)

    @property
    def octets(self) -> int:
        """The estimate of what the answers take."""
        return self._octets

    def get(self, key: Key, now: float) -> Answer | LookupFailure | None:
        """A valid answer, or a failure that is still held."""
        entry = self._answers.get(key)
        if entry is not None:
            if now < entry[0].expires_at:
                self._answers.move_to_end(key)
                return entry[0]
            self._drop(key)
        held = self._held.get(key)
        return held[0] if held is not None and now < held[1] else None

    def put(self, key: Key, result: Answer | LookupFailure, now: float) -> None:
        """Keep an answer; hold a bogus result for a while that doubles, so that an attacker cannot make us work."""
        if isinstance(result, LookupFailure):
            if result.kind in (FailureKind.BOGUS, FailureKind.BUDGET):
                self._hold(key, result, now)
            return
        self._held.pop(key, None)
        if result.expires_at <= now:
            return
        self._drop(key)
        octets = ENTRY_OCTETS + sum(_octets(record) for record in result.records)
        self._answers[key] = result, octets
        self._octets += octets
        while self._octets > self._max_octets:
            self._drop(next(iter(self._answers)))

    def clear(self) -> None:
        """Forget everything."""
        self._answers.clear()
        self._held.clear()
        self._octets = 0
        self.zones.clear()

    def _hold(self, key: Key, failure: LookupFailure, now: float) -> None:
        before = self._held.pop(key, None)
        seconds = HELD_SECONDS if before is None else min(before[2] * 2, MAX_HELD_SECONDS)
        self._held[key] = failure, now + seconds, seconds
        if len(self._held) > MAX_HELD:
            self._held.popitem(last=False)

    def _drop(self, key: Key) -> None:
        entry = self._answers.pop(key, None)
        if entry is not None:
            self._octets -= entry[1]


class Zones:
    """What names are: secure zones with their keys, insecure ones, or no zone cuts at all. Bounded by count."""

    def __init__(self, max_entries: int = 20_000) -> None:
        self._max_entries = max_entries
        self._states: OrderedDict[dns.name.Name, CutState] = OrderedDict()

    def get(self, name: dns.name.Name, now: float) -> CutState | None:
        """What is known of a name as a zone cut, if it is still valid."""
        state = self._states.get(name)
        return state if state is not None and now < state.expires_at else None

    def put(self, name: dns.name.Name, state: CutState) -> None:
        """Remember it."""
        self._states[name] = state
        self._states.move_to_end(name)
        if len(self._states) > self._max_entries:
            self._states.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        self._states.clear()


def _octets(record: dns.rdata.Rdata) -> int:
    wire = record.to_wire()
    return 2 * len(wire) if wire else 0
