"""Reasons: one code for each ground of a decision, with the standard, the status and a sentence for people."""

from collections.abc import Mapping

from letterlock.frozen import frozen_dataclass
from letterlock.policy.codes import Code
from letterlock.policy.explanation import Explanation, Finding, ResultType
from letterlock.policy.reason_table import EXPLANATIONS

__all__ = [
    "FINDINGS",
    "Explanation",
    "Finding",
    "Reason",
    "ResultType",
    "all_codes",
    "explain",
    "finding",
    "result_type",
    "section",
    "sentence",
    "status",
]

FINDINGS: Mapping[str, Finding | None] = {code: meaning.finding for code, meaning in EXPLANATIONS.items()}
"""`finding` by code, for code that reads the reasons of each message."""


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One reason: its code (a key of the table), what it is about, and the values that go with it.

    `subject` is a host, a domain or an address. `facts` fill the sentence's placeholders.
    """

    code: Code
    subject: str
    facts: tuple[tuple[str, str], ...] = ()


def explain(code: str) -> Explanation:
    """What a code means. Raises KeyError for a code that is not in the table."""
    return EXPLANATIONS[code]


def all_codes() -> tuple[str, ...]:
    """Every code, in the order of a delivery: route, require, judge."""
    return tuple(EXPLANATIONS)


def sentence(reason: Reason) -> str:
    """The reason as a sentence for people, without its subject in front and without a full stop at the end.

    A fact that the sentence wants and the reason does not have is shown as `?`. Raises KeyError for an unknown code.
    """
    template = explain(reason.code).sentence
    return template.format_map(_Facts(reason.facts))


def status(reason: Reason) -> str:
    """The enhanced status code (RFC 3463) that goes with the reason. Raises KeyError for an unknown code."""
    return explain(reason.code).status


def section(reason: Reason) -> str:
    """The standard and its section, such as `RFC 7672 section 2.2`. Raises KeyError for an unknown code."""
    return explain(reason.code).section


def result_type(reason: Reason) -> ResultType | None:
    """What a TLS report calls it (RFC 8460 section 4.3); None: not reported. Raises KeyError for an unknown code."""
    return explain(reason.code).result_type


def finding(reason: Reason) -> Finding | None:
    """The kind of fact behind a reason, if other code needs it. Raises KeyError for an unknown code."""
    return FINDINGS[reason.code]


class _Facts(dict[str, str]):
    """Facts by name, and a question mark for the one that is missing."""

    def __missing__(self, key: str) -> str:
        return "?"
