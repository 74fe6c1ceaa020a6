"""What was decided a moment ago on the same evidence is decided now: the policy is a pure function of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from letterlock.mail.envelope import TlsDemand
from letterlock.policy.decision import Defer, Refuse, Requirement, SkipHost
from letterlock.policy.evidence import DestinationEvidence, Route, TargetHost
from letterlock.policy.reasons import Reason
from letterlock.policy.require import require
from letterlock.policy.route import Shuffle, relay_reasons, route

MAX_REMEMBERED = 256
WAY_SECONDS = 1.0  # as long as `discover.recent` looks at no destination again
_Required = Requirement | SkipHost | Defer | Refuse
_Routed = Route | Defer | Refuse
_Answer = TypeVar("_Answer")
_Message = tuple[str, str | None, TlsDemand]  # what decides where it goes: next hop, sender's domain, its own demand


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a message went to a next hop; until when (seconds since 1970) the next one may go like that, unlooked."""

    host: str
    address: str
    port: int
    requirement: Requirement
    relayed: tuple[Reason, ...]
    lmtp: bool
    since: float
    until: float


class DecisionCache:
    """Remembers what the policy said of the very same objects, and ways; at most MAX_REMEMBERED of each kind."""

    def __init__(self) -> None:
        self._ways: dict[_Message, Way] = {}
        self._required: _Memory[_Required] = _Memory()
        self._routed: _Memory[_Routed] = _Memory()
        self._relayed: _Memory[tuple[Reason, ...]] = _Memory()

    def way(self, message: _Message, now: float) -> Way | None:
        """How the last message like this went, if nobody would look again at where such mail goes yet."""
        way = self._ways.get(message)
        return way if way is not None and way.since <= now < way.until else None

    def went(self, message: _Message, way: Way) -> None:
        """A message went like that."""
        if len(self._ways) >= MAX_REMEMBERED:
            self._ways.clear()
        self._ways[message] = way

    def forget_ways(self) -> None:
        """Look anew."""
        self._ways.clear()

    def required(self, evidence: DestinationEvidence, target: TargetHost, demand: TlsDemand) -> _Required:
        """What must hold in a session with a host, or why there may be none (`policy.require.require`)."""
        return self._required.of((evidence, target), demand, lambda: require(evidence, target, demand))

    def route(self, evidence: DestinationEvidence, shuffle: Shuffle, own: str) -> _Routed:
        """The hosts to try (`policy.route.route`); hosts of equal preference are shuffled anew each time."""
        return self._routed.of((evidence,), own, lambda: route(evidence, shuffle, own), keep=_leaves_nothing_to_chance)

    def relayed(self, evidence: DestinationEvidence) -> tuple[Reason, ...]:
        """The operator's route, if one leads elsewhere (`policy.route.relay_reasons`)."""
        return self._relayed.of((evidence,), "", lambda: relay_reasons(evidence))


def _leaves_nothing_to_chance(routed: _Routed) -> bool:
    return not isinstance(routed, Route) or len(routed.hosts) == 1


def _always(_: object) -> bool:
    return True


class _Memory(Generic[_Answer]):
    """Answers by the identity of what they were given for, which they keep alive: no other can have its id."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], tuple[tuple[object, ...], _Answer]] = {}

    def of(
        self,
        about: tuple[object, ...],
        word: str,
        decide: Callable[[], _Answer],
        *,
        keep: Callable[[_Answer], bool] = _always,
    ) -> _Answer:
        """The answer about these objects and a word."""
        key = (word, *map(id, about))
        known = self._known.get(key)
        if known is not None:
            return known[1]
        answer = decide()
        if keep(answer):
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[key] = about, answer
        return answer
