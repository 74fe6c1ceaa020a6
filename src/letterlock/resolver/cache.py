"""Keeps proven answers for as long as they hold, and bogus ones for a short while (RFC 4035 section 4.7).

Bounded in octets, by an estimate from the wire form; entries that were not used lately go first. Nothing is served past
its TTL or its signature.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import dns.name
import dns.rdata
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.IN.A import A

from letterlock.resolver.answer import Answer, FailureKind, LookupFailure, Question
from letterlock.resolver.inquiry import KeptProof
from letterlock.resolver.known_names import KnownName
from letterlock.resolver.zone import CutState

DEFAULT_OCTETS = 64 << 20  # chosen: 64 MiB, some 50,000 answers at ENTRY_OCTETS each
ENTRY_OCTETS = 1_200  # an answer with its proof, before its records
HELD_SECONDS = 5.0  # chosen, within the 1 second to 5 minutes of RFC 9520 section 3.2; doubles with each failure
MAX_HELD_SECONDS = 300.0  # RFC 9520 section 3.2: failures must not be cached for longer than 5 minutes
MAX_HELD = 10_000  # chosen: bounds memory; the oldest failure is dropped, and costs one more lookup
MAX_PROOFS = 8  # of one zone
POPULAR_USES = 3  # chosen: refreshing what was used once or twice would mostly be wasted queries
REFRESH_SHARE = 0.1  # of the TTL: popular answers are refreshed when this share is left
ROOM_SHARE = 100  # chosen: a hundredth of a full cache is emptied at once
LOOKED_AT = 100  # answers at once that may have to go: few enough for a small cache
_REFRESHING = -1_000_000_000  # uses: fewer than it takes to be popular again before the refresh is over
MAX_DUE = 100  # chosen: bounds the extra queries; the rest is refreshed at a later use, or expires

_A_OCTETS, _PREFERENCE_OCTETS = 4, 2  # RFC 1035 sections 3.4.1 and 3.3.9


class Cache:
    """Answers by their questions, which are text; zone cuts by name. One resolver, one task at a time: no locks.

    `max_octets` bounds the answers, by an estimate; MAX_HELD and the limits of Zones bound the rest by count.
    """

    def __init__(self, max_octets: int = DEFAULT_OCTETS) -> None:
        self._max_octets = max_octets
        self._octets = 0
        self._answers: dict[str, Answer] = {}  # by their own questions, so that no key takes memory
        self._uses: dict[str, int] = {}  # of those that were used at all; many never are
        self._held: OrderedDict[str, tuple[LookupFailure, float, float]] = OrderedDict()
        self.zones = Zones()
        self.due: list[Question] = []  # popular answers that expire soon, for the driver to look up again

    def __len__(self) -> int:
        return len(self._answers)

    @property
    def octets(self) -> int:
        """The estimate of what the answers take."""
        return self._octets

    def get(self, key: str, now: float) -> Answer | LookupFailure | None:
        """A valid answer, or a failure that is still held, at `now` (seconds since 1970)."""
        answer = self._answers.get(key)
        if answer is not None:
            if now < answer.expires_at:
                uses = self._uses[answer.question] = self._uses.get(key, 0) + 1
                if uses >= POPULAR_USES and now >= answer.expires_at - REFRESH_SHARE * answer.ttl:
                    self._refresh(answer.question)
                return answer
            self._drop(key)
        held = self._held.get(key)
        return held[0] if held is not None and now < held[1] else None

    def put(self, question: Question, result: Answer | LookupFailure, now: float) -> None:
        """Keep an answer from `now` (seconds since 1970) until its TTL or a signature ends.

        A bogus result is held for a while that doubles with each failure, so that an attacker cannot make us work (RFC
        9520 section 3.2). No other failure is held: it says nothing of the name.
        """
        if isinstance(result, LookupFailure):
            if result.kind in (FailureKind.BOGUS, FailureKind.BUDGET):
                self._hold(question, result, now)
            return
        self._held.pop(question, None)
        if result.expires_at <= now:
            return
        self._drop(question)
        self._answers[result.question] = result
        self._octets += _octets(result)
        if self._octets > self._max_octets:
            self._make_room()

    def _refresh(self, question: Question) -> None:
        if len(self.due) < MAX_DUE:
            self._uses[question] = _REFRESHING  # once: a refresh under way needs no second one
            self.due.append(question)

    def _make_room(self) -> None:
        """Drop what was put in first and not used since; what was used gets another round.

        Some at once: the more went before, the longer it takes to find the first.
        """
        enough = self._max_octets - self._max_octets // ROOM_SHARE
        while self._octets > enough:
            for key in [*islice(self._answers, LOOKED_AT)]:
                if self._octets <= enough:
                    return
                if self._uses.pop(key, None) is None:
                    self._drop(key)
                else:
                    self._answers[key] = self._answers.pop(key)

    def clear(self) -> None:
        """Forget everything."""
        self._answers.clear()
        self._uses.clear()
        self._held.clear()
        self.due.clear()
        self._octets = 0
        self.zones = Zones()  # lookups under way keep the old one: what they prove now is forgotten with it

    def _hold(self, key: str, failure: LookupFailure, now: float) -> None:
        before = self._held.pop(key, None)
        seconds = HELD_SECONDS if before is None else min(before[2] * 2, MAX_HELD_SECONDS)
        self._held[key] = failure, now + seconds, seconds
        if len(self._held) > MAX_HELD:
            self._held.popitem(last=False)

    def _drop(self, key: str) -> None:
        answer = self._answers.pop(key, None)
        if answer is not None:
            self._octets -= _octets(answer)
            self._uses.pop(key, None)


class Zones:
    """The states of names: secure zones with their keys, insecure ones, or no zone cuts at all. Bounded by count."""

    def __init__(
        self, max_entries: int = 20_000
    ) -> None:  # chosen: some 20 MB, and more zones than mail goes to in a day
        self._max_entries = max_entries
        self._states: dict[bytes, CutState] = {}  # by their names' keys, whose hash costs nothing
        self._proofs: dict[bytes, tuple[KeptProof, ...]] = {}

    def get(self, name: KnownName, now: float) -> CutState | None:
        """The known state of a name as a zone cut, if still valid."""
        state = self._states.get(name.key)
        return state if state is not None and now < state.expires_at else None

    def states(self, names: Iterable[KnownName], now: float) -> list[CutState | None]:
        """The known states of several names."""
        known = self._states
        found: list[CutState | None] = []
        for name in names:
            state = known.get(name.key)
            if state is not None and now >= state.expires_at:
                state = None
            found.append(state)
        return found

    def put(self, name: KnownName, state: CutState) -> None:
        """Remember it."""
        self._states.pop(name.key, None)  # so that it is the last in order again
        self._states[name.key] = state
        if len(self._states) > self._max_entries:
            _drop_oldest(self._states)

    def proofs(self, zone: dns.name.Name, now: float) -> Sequence[KeptProof]:
        """Denials that a zone has proven and that are still valid, the latest first (RFC 8198)."""
        return [proof for proof in self._proofs.get(zone.to_digestable(), ()) if now < proof.expires_at]

    def keep_proof(self, zone: dns.name.Name, proof: KeptProof) -> None:
        """Remember a denial; a zone has room for a few, so that looking through them costs little."""
        key = zone.to_digestable()
        before = self._proofs.pop(key, ())
        self._proofs[key] = proof, *before[: MAX_PROOFS - 1]
        if len(self._proofs) > self._max_entries:
            _drop_oldest(self._proofs)


def _drop_oldest(entries: dict[bytes, Any]) -> None:
    """Make room for a hundredth at once: finding the first takes the longer, the more went before it."""
    for key in [*islice(entries, 1 + len(entries) // ROOM_SHARE)]:
        del entries[key]


def _octets(answer: Answer) -> int:
    """An estimate of what an answer takes."""
    octets = ENTRY_OCTETS + (answer.sections.octets if answer.sections is not None else 0)
    for record in answer.records:
        octets += _record_octets(record)
    return octets


def _record_octets(record: dns.rdata.Rdata) -> int:
    if type(record) is A:  # mostly; and of others, the wire form takes a while to make
        return 2 * _A_OCTETS
    if type(record) is MX and type(record.exchange) is KnownName:
        return 2 * (_PREFERENCE_OCTETS + len(record.exchange.to_wire() or b""))
    wire = record.to_wire()
    return 2 * len(wire) if wire else 0
