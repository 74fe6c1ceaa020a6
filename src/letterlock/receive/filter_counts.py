"""How often milters and policy services were asked, and what came of it: plain numbers, for monitoring."""

from collections import Counter
from typing import Literal

from letterlock.mail.replies import Reply

FilterKind = Literal["milter", "policy_service"]


class FilterCounts:
    """Counts by kind and result: one for each sender, recipient and message that a filter was asked about."""

    def __init__(self) -> None:
        self.found: Counter[tuple[FilterKind, str]] = Counter()

    def answered(self, kind: FilterKind, reply: Reply | None, *, discarded: bool = False, held: bool = False) -> None:
        """A filter has decided."""
        if reply is not None:
            result = "put_off" if reply.transient else "rejected"
        else:
            result = "discarded" if discarded else "quarantined" if held else "passed"
        self.found[kind, result] += 1

    def failed(self, kind: FilterKind) -> None:
        """A filter could not be asked, or answered what is no answer."""
        self.found[kind, "failed"] += 1
