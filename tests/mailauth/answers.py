"""DNS answers about keys, as the resolver would give them."""

import dns.name
import dns.rdataclass
import dns.rdatatype
from dns.rdtypes.ANY.TXT import TXT

from letterlock.resolver.answer import Absence, Answer, FailureKind, LookupFailure, Question, Security

_STRING = 255


def question(name: str) -> Question:
    return Question(dns.name.from_text(name), dns.rdatatype.TXT)


def txt(name: str, *records: str | bytes, security: Security = Security.INSECURE) -> Answer:
    """An answer with these records, each split into strings; without any: NODATA."""
    texts = [record.encode() if isinstance(record, str) else record for record in records]
    strings = [[text[at : at + _STRING] for at in range(0, len(text), _STRING)] or [b""] for text in texts]
    return Answer(
        question=question(name),
        canonical_name=dns.name.from_text(name),
        records=tuple(TXT(dns.rdataclass.IN, dns.rdatatype.TXT, each) for each in strings),
        absence=None if records else Absence.NODATA,
        security=security,
        expires_at=2e9,
        ttl=60,
    )


def nxdomain(name: str) -> Answer:
    return Answer(
        question=question(name),
        canonical_name=dns.name.from_text(name),
        records=(),
        absence=Absence.NXDOMAIN,
        security=Security.SECURE,
        expires_at=2e9,
        ttl=60,
    )


def failure(name: str, kind: FailureKind) -> LookupFailure:
    return LookupFailure(question=question(name), kind=kind, detail="as the test wants it")


def zone_answers(names: tuple[str, ...], zone: dict[str, dict[str, str]]) -> dict[str, Answer | LookupFailure]:
    """Answers from the form that the vectors have: name to `txt` or `error`."""
    return {name: _zone_answer(name, zone.get(name, {"error": "NXDOMAIN"})) for name in names}


def _zone_answer(name: str, entry: dict[str, str]) -> Answer | LookupFailure:
    if "txt" in entry:
        return txt(name, entry["txt"])
    if entry["error"] == "NXDOMAIN":
        return nxdomain(name)
    return failure(name, FailureKind.SERVFAIL if entry["error"] == "SERVFAIL" else FailureKind.TIMEOUT)
