"""How an upstream has done so far, and so when it is its turn."""

from dataclasses import dataclass

from letterlock.net.dns.upstream import Upstream

UNKNOWN_SECONDS = 0.05  # chosen: a typical round trip, so that new upstreams are neither preferred nor avoided
MAX_PENALTY_SECONDS = 60.0  # chosen: an upstream that works again is asked again within a minute
_NEW_SHARE = 0.3  # chosen: a moving average over about the last five replies
_FORGET = 0.98  # an upstream that is passed over looks better each time, until it is measured again


@dataclass(slots=True, eq=False)
class UpstreamStats:
    """A smoothed round trip in seconds, failures in a row, and what is wrong with the upstream by examination.

    Each is only ever equal to itself.
    """

    upstream: Upstream
    round_trip: float = UNKNOWN_SECONDS
    failures: int = 0
    banned_until: float = 0.0  # by the loop's clock
    demerits: int = 0
    strays: int = 0
    answers: int = 0
    losses: int = 0  # queries that were not answered, or refused

    @property
    def state(self) -> str:
        """`unfit` for validation by examination, `failing` if the last query failed, else `fit`."""
        return "unfit" if self.demerits else "failing" if self.failures else "fit"

    def rank(self, now: float) -> tuple[int, bool, float]:
        """The lowest is asked first: fit ones, then those that do not fail just now, then the quickest."""
        return self.demerits, now < self.banned_until, self.round_trip

    def answered(self, seconds: float) -> None:
        """A reply came after so many seconds."""
        self.answers += 1
        self.round_trip += _NEW_SHARE * (seconds - self.round_trip)
        self.failures, self.banned_until = 0, 0.0

    def failed(self, now: float) -> None:
        """No reply, or a refusal: others are asked first for a while that doubles."""
        self.losses += 1
        self.failures = min(self.failures + 1, 10)
        # one second, doubled with each failure
        self.banned_until = now + min(0.5 * 2**self.failures, MAX_PENALTY_SECONDS)

    def passed_over(self) -> None:
        """Another one was asked."""
        self.round_trip *= _FORGET

    def stray(self) -> None:
        """A datagram came that answers nothing that was asked."""
        self.strays += 1
