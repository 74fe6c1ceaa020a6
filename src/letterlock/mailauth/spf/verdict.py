"""What a check ends in."""

from dataclasses import dataclass

from letterlock.mailauth.asking import Asked, weakest
from letterlock.mailauth.spf.reasons import SpfReason, SpfResult
from letterlock.mailauth.spf.request import Request


@dataclass(frozen=True, slots=True)
class Match:
    """The term that decided, and the domain in whose record it stands."""

    domain: str
    term: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SpfVerdict:
    """The result of one check and why.

    `matches` leads from the term in the identity's own record through includes and redirects to the one that decided;
    it is empty when none did. `explanation` is the domain's text for a fail, text from outside. `lookups` counts the
    terms that needed the DNS, `void_lookups` those of them that found nothing; `asked` has every question.
    """

    request: Request
    result: SpfResult
    reason: SpfReason
    matches: tuple[Match, ...] = ()
    explanation: str | None = None
    lookups: int = 0
    void_lookups: int = 0
    asked: tuple[Asked, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the domain authorizes the client."""
        return self.result is SpfResult.PASS

    @property
    def security(self) -> str | None:
        """The weakest DNSSEC state of all answers that the result rests on; None when nothing was asked."""
        return weakest(self.asked)
