"""How SPF and DMARC ask the DNS without touching a socket.

A check is a generator: it yields the questions that it needs next, is resumed with their answers, and returns its
verdict. Each question is recorded with the DNSSEC state of its answer, for a verdict is worth no more than its data.
"""

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import dns.name
import dns.rdatatype
from dns.rdtypes.ANY.TXT import TXT

from letterlock.resolver.answer import Answer, FailureKind, LookupFailure, Question, Security

_T = TypeVar("_T")
Answers = Mapping[Question, Answer | LookupFailure]
Steps = Generator[tuple[Question, ...], Answers, _T]


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that a check asked. Exactly one of `security` and `failure` is given."""

    question: Question
    security: Security | None
    failure: FailureKind | None = None

    @classmethod
    def of(cls, question: Question, result: Answer | LookupFailure) -> "Asked":
        """The record of one answer."""
        if isinstance(result, LookupFailure):
            return cls(question, None, result.kind)
        return cls(question, result.security)

    @property
    def state(self) -> str:
        """The DNSSEC state in a word, or what kept it from being known."""
        if self.failure is None:
            return str(self.security)
        return Security.BOGUS.value if self.failure is FailureKind.BOGUS else f"failed ({self.failure.value})"


def question(name: str, rdtype: dns.rdatatype.RdataType) -> Question | None:
    """The question for a name as text, taken literally; None when no DNS query can hold it.

    No character is special but the dot: macros can put anything into a name.
    """
    labels = name.removesuffix(".").split(".")
    try:
        return Question(dns.name.Name([*(label.encode("latin-1") for label in labels), b""]).canonicalize(), rdtype)
    except (dns.name.EmptyLabel, dns.name.LabelTooLong, dns.name.NameTooLong, UnicodeEncodeError):
        # such a name cannot exist
        return None


def weakest(asked: Iterable[Asked]) -> str | None:
    """The weakest DNSSEC state among the answers, in a word; None when nothing was asked."""
    states = [each.state for each in asked]
    order = (Security.INDETERMINATE.value, Security.INSECURE.value, Security.SECURE.value)
    unproven = next((state for state in states if state not in order), None)  # bogus, or not found out
    return unproven or next((state for state in order if state in states), None)


def txt_records(answer: Answer) -> tuple[bytes, ...]:
    """The TXT records of an answer, the strings of each joined without anything between."""
    return tuple(b"".join(record.strings) for record in answer.records if isinstance(record, TXT))
