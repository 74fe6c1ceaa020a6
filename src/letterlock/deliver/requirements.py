"""What was required a moment ago on the same evidence is required now: the decision is a pure function of it."""

from letterlock.mail.envelope import TlsDemand
from letterlock.policy.decision import Defer, Refuse, Requirement, SkipHost
from letterlock.policy.evidence import DestinationEvidence, TargetHost
from letterlock.policy.require import require

MAX_REMEMBERED = 256
_Required = Requirement | SkipHost | Defer | Refuse


class Requirements:
    """Remembers what `require` said of the very same objects; at most MAX_REMEMBERED answers."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, TlsDemand], tuple[DestinationEvidence, TargetHost, _Required]] = {}

    def of(self, evidence: DestinationEvidence, target: TargetHost, demand: TlsDemand) -> _Required:
        """What must hold in a session with a host, or why there may be none (`policy.require.require`)."""
        key = id(evidence), id(target), demand
        known = self._known.get(key)
        if known is None:  # what is remembered keeps its evidence alive, so that no other can have its id
            known = evidence, target, require(evidence, target, demand)
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[key] = known
        return known[2]
