"""A session as an attempt remembers it: what had to hold, what was shown, and whether it held."""

from enum import StrEnum
from typing import NamedTuple

from letterlock.policy.decision import Cleared, Defer, Demander, Encryption, Refuse, Requirement, SkipHost
from letterlock.policy.evidence import Grounds, SessionEvidence
from letterlock.policy.reasons import Reason

_BY_RULE = frozenset({Demander.RULE})


class ImplicitTry(StrEnum):
    """What came of implicit TLS at a host that announces it, where it was tried."""

    OPENED = "opened"
    UNREACHABLE = "unreachable"  # the port is closed or filtered, or the session ended before it was open
    LATE = "late"  # the session with STARTTLS was open first
    NO_TLS = "no-tls"  # something else is spoken there
    NOT_CLEARED = "not-cleared"  # it does not hold what must hold
    NO_RELAY = "no-relay"  # it takes no mail without a login


class SessionTried(NamedTuple):
    """One session with one address, or one connection that could not be made.

    `requirement` says what had to hold, `evidence` what the session showed, and `verdict` whether it held. Without
    evidence there is no verdict, and `trouble` says why. `reused`: an earlier message had opened the session; the
    evidence is that of its beginning. Times are seconds since 1970: `began_at` the connection (None: there was none),
    `ended_at` the verdict.
    """

    host: str
    address: str
    port: int
    requirement: Requirement
    began_at: float | None
    ended_at: float
    evidence: SessionEvidence | None = None
    verdict: Cleared | SkipHost | Defer | Refuse | None = None
    trouble: str | None = None
    reused: bool = False

    @property
    def policies(self) -> frozenset[Demander]:
        """Who demanded TLS: the operator's rule if nothing else did; no one if TLS was opportunistic."""
        required = self.requirement
        if not required.demanders and required.encryption is Encryption.MANDATORY:
            return _BY_RULE
        return required.demanders

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why the verdict is what it is."""
        return () if self.verdict is None else self.verdict.reasons


class HostRuledOut(NamedTuple):
    """A host, or a whole next hop, that was given up before there was a session, and the evidence for it."""

    name: str
    verdict: SkipHost | Defer | Refuse
    grounds: Grounds
