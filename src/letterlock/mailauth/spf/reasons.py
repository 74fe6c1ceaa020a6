"""SPF results, and every reason for one, with the section of the standard and a sentence for people."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class SpfResult(StrEnum):
    """The seven results (RFC 7208 section 2.6), in the words of Authentication-Results (RFC 8601 section 2.7.2)."""

    NONE = "none"
    NEUTRAL = "neutral"
    PASS = "pass"
    FAIL = "fail"
    SOFTFAIL = "softfail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


class SpfCode(StrEnum):
    """Why a check ended as it did. The values are stable."""

    MATCHED = "matched"
    NO_MATCH = "no-match"
    NOT_A_DOMAIN = "not-a-domain"
    NO_SUCH_DOMAIN = "no-such-domain"
    NO_RECORD = "no-record"
    SEVERAL_RECORDS = "several-records"
    TOO_LARGE = "too-large"
    SYNTAX = "syntax"
    TOO_MANY_LOOKUPS = "too-many-lookups"
    TOO_MANY_VOID_LOOKUPS = "too-many-void-lookups"
    TOO_MANY_HOSTS = "too-many-hosts"
    INCLUDE_WITHOUT_RECORD = "include-without-record"
    REDIRECT_WITHOUT_RECORD = "redirect-without-record"
    LOOKUP_FAILED = "lookup-failed"
    BOGUS = "bogus"


class SpfExplanation(NamedTuple):
    """What a code means: the section that demands it, and a sentence with placeholders for the facts."""

    section: str
    sentence: str


EXPLANATIONS = {
    SpfCode.MATCHED: SpfExplanation("RFC 7208 section 4.6.2", "{domain} lists {client} under {term}"),
    SpfCode.NO_MATCH: SpfExplanation("RFC 7208 section 4.7", "nothing in the record of {domain} is about {client}"),
    SpfCode.NOT_A_DOMAIN: SpfExplanation("RFC 7208 section 4.3", "{domain} is not a domain name of two labels or more"),
    SpfCode.NO_SUCH_DOMAIN: SpfExplanation("RFC 7208 section 4.3", "{domain} does not exist"),
    SpfCode.NO_RECORD: SpfExplanation("RFC 7208 section 4.5", "{domain} publishes no SPF record"),
    SpfCode.SEVERAL_RECORDS: SpfExplanation(
        "RFC 7208 section 4.5", "{domain} publishes {count} SPF records; one is allowed"
    ),
    SpfCode.TOO_LARGE: SpfExplanation(
        "RFC 7208 section 11.1", "the record of {domain} has {octets} bytes, more than the {limit} that are read"
    ),
    SpfCode.SYNTAX: SpfExplanation("RFC 7208 section 4.6", "the record of {domain} has a syntax error: {detail}"),
    SpfCode.TOO_MANY_LOOKUPS: SpfExplanation(
        "RFC 7208 section 4.6.4", "more than {limit} terms need DNS lookups; the last was {term} of {domain}"
    ),
    SpfCode.TOO_MANY_VOID_LOOKUPS: SpfExplanation(
        "RFC 7208 section 4.6.4",
        "more than {limit} terms lead to names without records; the last was {term} of {domain}",
    ),
    SpfCode.TOO_MANY_HOSTS: SpfExplanation(
        "RFC 7208 section 4.6.4", "{name} has {count} MX hosts, and none of the first {limit} matches"
    ),
    SpfCode.INCLUDE_WITHOUT_RECORD: SpfExplanation(
        "RFC 7208 section 5.2", "{domain} includes {name}, which publishes no SPF record"
    ),
    SpfCode.REDIRECT_WITHOUT_RECORD: SpfExplanation(
        "RFC 7208 section 6.1", "{domain} redirects to {name}, which publishes no SPF record"
    ),
    SpfCode.LOOKUP_FAILED: SpfExplanation("RFC 7208 section 4.4", "{question} could not be looked up ({kind})"),
    SpfCode.BOGUS: SpfExplanation("RFC 4035 section 5.5", "the answer for {question} has a broken DNSSEC proof"),
}


@dataclass(frozen=True, slots=True)
class SpfReason:
    """Why: a code, and the facts that fill its sentence."""

    code: SpfCode
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


def reason(code: SpfCode, **facts: object) -> SpfReason:
    """A reason with its facts as text."""
    return SpfReason(code, tuple((name, str(value)) for name, value in facts.items()))
