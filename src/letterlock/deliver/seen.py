"""What an attempt has seen of its sessions: a record of each, and more of the last one, for the log and the reports."""

from collections.abc import Sequence

from letterlock.deliver.pool import PoolKey
from letterlock.deliver.session import NotCleared, Opened, OpenResult
from letterlock.identity.handshake import Completed
from letterlock.policy.decision import Achieved, Requirement
from letterlock.policy.reasons import FINDINGS, Finding, Reason
from letterlock.queue.sessions import HostRuledOut, SessionTried

MAX_SESSIONS = 32  # records of one attempt: `max_sessions` new ones are 12; kept ones that had ended come on top
MAX_REASONS = 20  # chosen: of one attempt, for the log and the notification; each host adds one or two
MAX_TROUBLE_CHARACTERS = 1_000  # of what kept a session from its verdict: a server's words, in part


class Seen:
    """The sessions of one attempt so far. What concerns the last one begins anew with each."""

    __slots__ = (
        "achieved",
        "address",
        "cleared",
        "connected_at",
        "handshake",
        "host",
        "ready_at",
        "ruled_out",
        "sessions",
        "started_at",
    )

    def __init__(self, started_at: float) -> None:
        self.started_at = started_at
        self.sessions: list[SessionTried] = []
        self.ruled_out: list[HostRuledOut] = []
        self.connected_at: float | None = None
        self.ready_at: float | None = None
        self.host: str | None = None
        self.address: str | None = None
        self.achieved: Achieved | None = None
        self.handshake: Completed | None = None
        self.cleared: tuple[Reason, ...] = ()

    def meet(self, host: str, address: str, connected_at: float | None, handshake: Completed | None) -> None:
        """Another session begins; `connected_at` is None when there was no connection."""
        if connected_at is not None:
            self.host, self.address, self.connected_at, self.handshake = host, address, connected_at, handshake
        self.ready_at, self.achieved, self.cleared = None, None, ()

    def not_reached(self, host: str, address: str, port: int, requirement: Requirement, now: float, why: str) -> None:
        """An address could not be connected to."""
        self.meet(host, address, None, None)
        self._record(SessionTried(host, address, port, requirement, None, now, trouble=why[:MAX_TROUBLE_CHARACTERS]))

    def reused(self, server: PoolKey, kept: Opened, now: float) -> None:
        """A session that an earlier message had opened was cleared for this one."""
        # All in one function: most messages go over a kept session.
        host, address, port = server.host, server.address, server.port
        began_at, cleared = kept.connected_at, kept.cleared
        self.host, self.address, self.connected_at, self.handshake = host, address, began_at, kept.handshake
        self.ready_at, self.achieved, self.cleared = None, None, ()
        if len(self.sessions) >= MAX_SESSIONS:
            self.sessions.pop()
        self.sessions.append(
            SessionTried(host, address, port, cleared.requirement, began_at, now, kept.evidence, cleared, reused=True)
        )

    def tried(
        self, host: str, address: str, port: int, requirement: Requirement, now: float, result: OpenResult
    ) -> None:
        """A new session came to its verdict, or did not get that far."""
        began_at = result.connected_at
        record = SessionTried(host, address, port, requirement, began_at, now)
        if isinstance(result, Opened):
            record = record._replace(evidence=result.evidence, verdict=result.cleared)
        elif isinstance(result, NotCleared):
            record = record._replace(evidence=result.evidence, verdict=result.verdict)
        else:
            record = record._replace(trouble=result.text[:MAX_TROUBLE_CHARACTERS])
        self._record(record)

    def reasons(self, held: Sequence[Reason], relayed: tuple[Reason, ...]) -> tuple[Reason, ...]:
        """Why the session in use was cleared and others were not, then the route that led there."""
        found = (*self.cleared, *held)
        if not relayed:
            return found[:MAX_REASONS]
        others = [each for each in found if FINDINGS[each.code] is not Finding.ROUTED]
        return (*others[: MAX_REASONS - len(relayed)], *relayed)

    def _record(self, record: SessionTried) -> None:
        if len(self.sessions) >= MAX_SESSIONS:
            self.sessions.pop()  # so that the last one is always there: it decided
        self.sessions.append(record)
