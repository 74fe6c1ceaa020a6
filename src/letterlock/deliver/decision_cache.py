"""What was decided a moment ago on the same evidence is decided now: the policy is a pure function of it."""

import math

from letterlock.frozen import frozen_dataclass
from letterlock.mail.envelope import TlsDemand
from letterlock.policy.decision import Defer, Refuse, Requirement, SkipHost
from letterlock.policy.evidence import DestinationEvidence, Route, TargetHost
from letterlock.policy.reasons import Reason
from letterlock.policy.require import require
from letterlock.policy.route import Shuffle, relay_reasons, route
from letterlock.recent import EVIDENCE_SECONDS, Recent

MAX_REMEMBERED = 5000  # of each kind: more destinations than a worker sends to within five seconds, and some MB
_Required = Requirement | SkipHost | Defer | Refuse
_Routed = Route | Defer | Refuse
_Message = tuple[str, str | None, TlsDemand]  # what decides where it goes: next hop, sender's domain, its own demand


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryPath:
    """How a message went to a next hop."""

    host: str
    address: str
    port: int
    requirement: Requirement
    relayed: tuple[Reason, ...]
    lmtp: bool
    by_route: bool


class DecisionCache:
    """Remembers for five seconds what the policy said of the very same evidence, and ways; MAX_REMEMBERED of each.

    Evidence is recognised by its `identity`, which no other evidence shares and which the key keeps alive. The policy
    is a pure function of it, so the moment that counts for what was decided is the evidence's own.
    """

    def __init__(self) -> None:
        self._ways: Recent[_Message, DeliveryPath] = Recent(seconds=EVIDENCE_SECONDS, size=MAX_REMEMBERED)
        self._required: Recent[tuple[object, object, TlsDemand], _Required] = Recent(
            seconds=EVIDENCE_SECONDS, size=MAX_REMEMBERED
        )
        self._routed: Recent[tuple[object, str], _Routed] = Recent(seconds=EVIDENCE_SECONDS, size=MAX_REMEMBERED)
        self._relayed: Recent[object, tuple[Reason, ...]] = Recent(seconds=EVIDENCE_SECONDS, size=MAX_REMEMBERED)

    def way(self, message: _Message, now: float) -> DeliveryPath | None:
        """How the last message like this went, if nobody would look again at where such mail goes yet."""
        return self._ways.get(message, now)

    def went(self, message: _Message, way: DeliveryPath, *, since: float, until: float) -> None:
        """A message went like that, on evidence found at `since` that holds until `until` (seconds since 1970)."""
        self._ways.put(message, way, since=since, until=until)

    def forget_ways(self) -> None:
        """Look anew."""
        self._ways.clear()

    def required(self, evidence: DestinationEvidence, target: TargetHost, demand: TlsDemand) -> _Required:
        """What must hold in a session with a host, or why there may be none (`policy.require.require`)."""
        key = evidence.identity, target.identity, demand
        known = self._required.get(key, evidence.at)
        if known is None:
            known = require(evidence, target, demand)
            self._required.put(key, known, since=evidence.at, until=math.inf)
        return known

    def route(self, evidence: DestinationEvidence, shuffle: Shuffle, own: str) -> _Routed:
        """The hosts to try (`policy.route.route`); hosts of equal preference are shuffled anew each time."""
        key = evidence.identity, own
        known = self._routed.get(key, evidence.at)
        if known is None:
            known = route(evidence, shuffle, own)
            if _leaves_nothing_to_chance(known):
                self._routed.put(key, known, since=evidence.at, until=math.inf)
        return known

    def relayed(self, evidence: DestinationEvidence) -> tuple[Reason, ...]:
        """The operator's route, if one leads elsewhere (`policy.route.relay_reasons`)."""
        known = self._relayed.get(evidence.identity, evidence.at)
        if known is None:
            known = relay_reasons(evidence)
            self._relayed.put(evidence.identity, known, since=evidence.at, until=math.inf)
        return known


def _leaves_nothing_to_chance(routed: _Routed) -> bool:
    return not isinstance(routed, Route) or len(routed.hosts) == 1
