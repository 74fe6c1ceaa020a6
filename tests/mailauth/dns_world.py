"""A small DNS for authentication: names and their records, and what a check makes of them."""

from collections.abc import Hashable, Iterable
from functools import lru_cache
from typing import TypeVar

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
from dns.rdtypes.ANY.CNAME import CNAME
from dns.rdtypes.ANY.TXT import TXT

from letterlock.mailauth.asking import Steps
from letterlock.mailauth.asking import question as literal_question
from letterlock.resolver.answer import Absence, Answer, FailureKind, LookupFailure, Question, Security

_T = TypeVar("_T")
_IN = dns.rdataclass.IN
_MAX_ALIASES = 10
_KEPT = 1_000  # fuzzers build worlds from a few names and addresses, over and over
Rdata = dns.rdata.Rdata


@lru_cache(_KEPT)
def name(text: str) -> dns.name.Name:
    made = literal_question(text, dns.rdatatype.TXT)
    assert made is not None, text
    return made.name


def record(kind: str, value: object) -> Rdata:
    """A record from a type and its value: TXT as text, bytes or a list of strings, MX as (preference, host)."""
    if kind == "TXT":
        return TXT(_IN, dns.rdatatype.TXT, _strings(value))
    return _record(kind, tuple(value) if isinstance(value, list) else value)


@lru_cache(_KEPT)
def _record(kind: str, value: Hashable) -> Rdata:
    rdtype = dns.rdatatype.from_text(kind)
    if kind == "MX":
        assert isinstance(value, tuple)
        text = f"{value[0]} {name(str(value[1])) if value[1] else '.'}"
    else:
        text = str(name(str(value))) if kind in ("PTR", "CNAME") else str(value)
    return dns.rdata.from_text(_IN, rdtype, text)


def _strings(value: object) -> list[bytes]:
    if isinstance(value, list):
        return [each if isinstance(each, bytes) else str(each).encode("latin-1") for each in value] or [b""]
    text = value if isinstance(value, bytes) else str(value).encode("latin-1")
    return [text[at : at + 255] for at in range(0, len(text), 255)] or [b""]


class World:
    """What the DNS holds. `failing` names fail for every type that they do not have."""

    def __init__(self, security: Security = Security.INSECURE) -> None:
        self.records: dict[dns.name.Name, list[Rdata]] = {}
        self.failing: dict[dns.name.Name, FailureKind] = {}
        self.security = security
        self.asked: list[Question] = []

    def add(self, owner: str, kind: str, *values: object) -> "World":
        self.records.setdefault(name(owner), []).extend(record(kind, value) for value in values)
        return self

    def fail(self, owner: str, kind: FailureKind = FailureKind.TIMEOUT) -> "World":
        self.failing[name(owner)] = kind
        return self

    def answer(self, question: Question) -> Answer | LookupFailure:
        self.asked.append(question)
        owner = question.name
        for _ in range(_MAX_ALIASES):
            known = self.records.get(owner, ())
            found = [each for each in known if each.rdtype == question.rdtype]
            if not found and owner in self.failing:
                return LookupFailure(question=question, kind=self.failing[owner], detail="as the test wants it")
            alias = next((each for each in known if isinstance(each, CNAME)), None)
            if found or alias is None:
                return self._made(question, owner, found)
            owner = alias.target.canonicalize()
        return LookupFailure(question=question, kind=FailureKind.BUDGET, detail="aliases without end")

    def _made(self, question: Question, owner: dns.name.Name, found: list[Rdata]) -> Answer:
        exists = any(each.is_subdomain(owner) for each in (*self.records, *self.failing))
        absence = None if found else Absence.NODATA if exists else Absence.NXDOMAIN
        return Answer(
            question=question,
            canonical_name=owner,
            records=tuple(found),
            absence=absence,
            security=self.security,
            expires_at=2e9,
            ttl=60,
        )

    def run(self, steps: Steps[_T]) -> _T:
        """Drive a check to its end."""
        return drive(steps, self)


def drive(steps: Steps[_T], world: World) -> _T:
    try:
        wanted: Iterable[Question] = next(steps)
        while True:
            wanted = steps.send({each: world.answer(each) for each in wanted})
    except StopIteration as end:
        result: _T = end.value
        return result


class FakeResolver:
    """Answers from a world; refuses names as the real one does, by ValueError."""

    def __init__(self, world: World, refused: str = "") -> None:
        self.world, self.refused = world, refused

    async def resolve(self, name: str, rdtype: dns.rdatatype.RdataType) -> Answer | LookupFailure:
        if name == self.refused:
            raise ValueError("not a name")
        asked = literal_question(name, rdtype)
        assert asked is not None
        return self.world.answer(asked)
