"""DMARC results, and every reason for one, with the section of the standard and a sentence for people."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class DmarcResult(StrEnum):
    """How the check ended, in the words of Authentication-Results (RFC 9989 section 9.2)."""

    NONE = "none"
    PASS = "pass"
    FAIL = "fail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


class DmarcCode(StrEnum):
    """Why a check ended as it did. The values are stable."""

    ALIGNED = "aligned"
    NOT_ALIGNED = "not-aligned"
    NOT_AUTHENTICATED = "not-authenticated"
    NO_RECORD = "no-record"
    NO_POLICY = "no-policy"
    NO_AUTHOR = "no-author"
    SEVERAL_AUTHORS = "several-authors"
    LOOKUP_FAILED = "lookup-failed"
    BOGUS = "bogus"
    IDENTIFIER_UNKNOWN = "identifier-unknown"


class DmarcExplanation(NamedTuple):
    """What a code means: the section that demands it, and a sentence with placeholders for the facts."""

    section: str
    sentence: str


EXPLANATIONS = {
    DmarcCode.ALIGNED: DmarcExplanation("RFC 9989 section 5.3.5", "{domain} is aligned with {identifiers}"),
    DmarcCode.NOT_ALIGNED: DmarcExplanation(
        "RFC 9989 section 5.3.5", "what was authenticated ({identifiers}) is not aligned with {domain}"
    ),
    DmarcCode.NOT_AUTHENTICATED: DmarcExplanation(
        "RFC 9989 section 5.3.5", "neither SPF nor DKIM authenticated any domain"
    ),
    DmarcCode.NO_RECORD: DmarcExplanation(
        "RFC 9989 section 4.10.1", "neither {domain} nor a domain above it publishes a policy"
    ),
    DmarcCode.NO_POLICY: DmarcExplanation(
        "RFC 9989 section 4.10.1", "the record of {domain} has neither a valid policy nor an address for reports"
    ),
    DmarcCode.NO_AUTHOR: DmarcExplanation(
        "RFC 9989 section 5.3.1", "no author's domain can be read from From: {detail}"
    ),
    DmarcCode.SEVERAL_AUTHORS: DmarcExplanation("RFC 9989 section 5.3.1", "From has authors of {count} domains"),
    DmarcCode.LOOKUP_FAILED: DmarcExplanation("RFC 9989 section 5.3.6", "{question} could not be looked up ({kind})"),
    DmarcCode.BOGUS: DmarcExplanation("RFC 4035 section 5.5", "the answer for {question} has a broken DNSSEC proof"),
    DmarcCode.IDENTIFIER_UNKNOWN: DmarcExplanation(
        "RFC 9989 section 5.3.6", "{mechanism} could not find out whether it authenticates {domain}, which is aligned"
    ),
}


@dataclass(frozen=True, slots=True)
class DmarcReason:
    """Why: a code, and the facts that fill its sentence."""

    code: DmarcCode
    facts: tuple[tuple[str, str], ...] = ()

    @property
    def section(self) -> str:
        """The standard and its section."""
        return EXPLANATIONS[self.code].section

    @property
    def sentence(self) -> str:
        """A sentence for people, without a full stop. It holds text from outside: escape it."""
        return EXPLANATIONS[self.code].sentence.format(**dict(self.facts))

    def __str__(self) -> str:
        return f"{self.sentence} ({self.section})"


def reason(code: DmarcCode, **facts: object) -> DmarcReason:
    """A reason with its facts as text."""
    return DmarcReason(code, tuple((name, str(value)) for name, value in facts.items()))
