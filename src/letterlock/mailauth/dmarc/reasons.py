"""DMARC results, and every reason for one, with the section of the standard and a sentence for people."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Result(StrEnum):
    """How the check ended, in the words of Authentication-Results (RFC 9989 section 9.3)."""

    NONE = "none"
    PASS = "pass"
    FAIL = "fail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


class Code(StrEnum):
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


class Explanation(NamedTuple):
    """What a code means: the section that demands it, and a sentence with placeholders for the facts."""

    section: str
    sentence: str


EXPLANATIONS = {
    Code.ALIGNED: Explanation("RFC 9989 section 5.3.5", "{domain} is aligned with {identifiers}"),
    Code.NOT_ALIGNED: Explanation(
        "RFC 9989 section 5.3.5", "what was authenticated ({identifiers}) is not aligned with {domain}"
    ),
    Code.NOT_AUTHENTICATED: Explanation("RFC 9989 section 5.3.5", "neither SPF nor DKIM authenticated any domain"),
    Code.NO_RECORD: Explanation("RFC 9989 section 4.10.1", "neither {domain} nor a domain above it publishes a policy"),
    Code.NO_POLICY: Explanation(
        "RFC 9989 section 4.10.1", "the record of {domain} has neither a valid policy nor an address for reports"
    ),
    Code.NO_AUTHOR: Explanation("RFC 9989 section 5.3.1", "no author's domain can be read from From: {detail}"),
    Code.SEVERAL_AUTHORS: Explanation("RFC 9989 section 5.3.1", "From has authors of {count} domains"),
    Code.LOOKUP_FAILED: Explanation("RFC 9989 section 5.3.6", "{question} could not be looked up ({kind})"),
    Code.BOGUS: Explanation("RFC 4035 section 5.5", "the answer for {question} has a broken DNSSEC proof"),
    Code.IDENTIFIER_UNKNOWN: Explanation(
        "RFC 9989 section 5.3.6", "{mechanism} could not find out whether it authenticates {domain}, which is aligned"
    ),
}


@dataclass(frozen=True, slots=True)
class Reason:
    """Why: a code, and the facts that fill its sentence."""

    code: Code
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


def reason(code: Code, **facts: object) -> Reason:
    """A reason with its facts as text."""
    return Reason(code, tuple((name, str(value)) for name, value in facts.items()))
