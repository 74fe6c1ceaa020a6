"""The result of a lookup: an Answer with its proof, or a LookupFailure (RFC 4033 section 5, RFC 9499)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Self

import dns.name
import dns.rdata
import dns.rdatatype

from letterlock.frozen import frozen_dataclass
from letterlock.resolver.number_names import type_name
from letterlock.resolver.rdata import SignedRRset


class Security(StrEnum):
    """The state of data after validation (RFC 4033 section 5)."""

    SECURE = "secure"
    INSECURE = "insecure"
    BOGUS = "bogus"
    INDETERMINATE = "indeterminate"


class Absence(StrEnum):
    """Two ways of not being there (RFC 9499). A lookup that failed is neither."""

    NODATA = "nodata"
    NXDOMAIN = "nxdomain"


class FailureKind(StrEnum):
    """Why a lookup could not find out. None of these means that the data is absent.

    NO_UPSTREAM: the resolvers that we ask do not answer at all, which says nothing about the domain. TIMEOUT and
    SERVFAIL: they answer, but have nothing to say about this one.
    """

    NO_UPSTREAM = "no-upstream"
    TIMEOUT = "timeout"
    SERVFAIL = "servfail"
    BOGUS = "bogus"
    MALFORMED = "malformed"
    BUDGET = "budget"


class NoUpstream(OSError):
    """A transport knows that its upstreams do not answer anything at present. `str()` names them."""


class Question(str):
    """A name and a type, class IN. The name is absolute and lower-case.

    It is the text of both, `example.org. MX`, so that it is hashed and compared without a line of Python: a lookup does
    that dozens of times, and answers are kept by it.
    """

    __slots__ = ("name", "rdtype")

    name: dns.name.Name
    rdtype: dns.rdatatype.RdataType

    def __new__(cls, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> Self:
        """The question for a name and a type."""
        question = str.__new__(cls, f"{name.to_text().lower()} {type_name(rdtype)}")
        question.name, question.rdtype = name, rdtype
        return question

    def __getnewargs__(self) -> tuple[dns.name.Name, dns.rdatatype.RdataType]:  # type: ignore[override]  # of __new__
        """What a copy is made of."""
        return self.name, self.rdtype

    def __str__(self) -> str:
        return f"{self.name} {type_name(self.rdtype)}"

    def __repr__(self) -> str:
        return f"Question(name={self.name!r}, rdtype={self.rdtype!r})"


Facts = tuple[tuple[str, str | int], ...]


class StepKind:
    """What the steps of one kind have in common: their code, the standard's section, and how their values read.

    `detail` is given the zone as text and the values, `facts` the values.
    """

    __slots__ = ("detail", "facts", "section", "what")

    def __init__(self, what: str, section: str, detail: Callable[..., str], facts: Callable[..., Facts]) -> None:
        self.what: Final = what
        self.section: Final = section
        self.detail: Final = detail
        self.facts: Final = facts


class ProofStep:
    """One step of a proof, in the order from the trust anchor to the answer.

    `zone` is the zone in which the step happens; `what` one of a fixed set of codes (documented in
    `letterlock.resolver.proof_steps`); `security` the state after it; `detail` a sentence for people; `facts` the
    values in it, for `--json` (key tag, algorithm, expiration, NSEC owner, ...); `section` the standard that the step
    follows.

    Every answer keeps its steps, and few are ever read. So a step keeps what it is about, and makes its text when that
    is read.
    """

    __slots__ = ("kind", "security", "values", "zone_name")

    kind: StepKind
    security: Security
    values: tuple[object, ...]
    zone_name: dns.name.Name | str

    def __init__(
        self, *, zone: str, what: str, security: Security, detail: str, section: str, facts: Facts = ()
    ) -> None:
        """A step in words."""
        self.kind = StepKind(what, section, lambda _zone, detail, _facts: str(detail), lambda _detail, facts: facts)
        self.zone_name, self.security, self.values = zone, security, (detail, facts)

    @classmethod
    def of(cls, kind: StepKind, zone: dns.name.Name, security: Security, values: tuple[object, ...]) -> "ProofStep":
        """A step of a kind, with the values that its text is made of."""
        step = cls.__new__(cls)
        step.kind, step.zone_name, step.security, step.values = kind, zone, security, values
        return step

    @property
    def zone(self) -> str:
        """The zone in which it happens."""
        return str(self.zone_name)

    @property
    def what(self) -> str:
        """Its code."""
        return self.kind.what

    @property
    def detail(self) -> str:
        """A sentence for people."""
        return self.kind.detail(str(self.zone_name), *self.values)

    @property
    def section(self) -> str:
        """The standard that it follows."""
        return self.kind.section

    @property
    def facts(self) -> Facts:
        """The values, each with its name."""
        return self.kind.facts(*self.values)

    def _known_by(self) -> tuple[object, ...]:
        return self.zone_name, self.kind.what, self.kind.section, self.security, self.values

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, ProofStep) and self._known_by() == other._known_by())

    def __hash__(self) -> int:
        return hash((self.kind.what, self.values))

    def __repr__(self) -> str:
        words = f"zone={self.zone!r}, what={self.what!r}, security={self.security!r}, detail={self.detail!r}"
        return f"ProofStep({words}, section={self.section!r}, facts={self.facts!r})"


@frozen_dataclass(frozen=True, slots=True)
class AliasLink:
    """One CNAME, given or synthesised from a DNAME, and the security of that link alone."""

    owner: dns.name.Name
    target: dns.name.Name
    rdtype: dns.rdatatype.RdataType  # CNAME or DNAME
    security: Security


@dataclass(frozen=True, slots=True)
class Sections:
    """The RRsets of an answer with their signatures, for passing it on as a DNS message (RFC 4035 section 3.2).

    `authority` holds what proves an absence or a wildcard, and the SOA record. In an answer that is secure, each was
    validated, but a CNAME record that a DNAME makes, which has no signature.
    """

    answer: tuple[SignedRRset, ...] = ()
    authority: tuple[SignedRRset, ...] = ()

    @property
    def octets(self) -> int:
        """An estimate of what they take in memory: a record or a signature as an object is some ten times its data."""
        return sum(
            _RRSET_OCTETS + 2 * sum(map(len, each.rrset.canonical)) + _SIGNATURE_OCTETS * len(each.signatures)
            for each in (*self.answer, *self.authority)
        )


_RRSET_OCTETS = 400  # measured: an RRset with one record, without its data
_SIGNATURE_OCTETS = 900  # measured: an RRSIG object with an RSA-2048 signature


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer that may be used, and the proof of its state.

    `records` holds the RRset's RDATA, and is empty exactly when `absence` is given. `canonical_name` is the end of the
    alias chain. `security` is SECURE, INSECURE or INDETERMINATE (no trust anchor covers the name), the weakest of the
    answer and of every alias link; BOGUS never occurs in an Answer: it is a LookupFailure. `expires_at` (seconds since
    1970) is capped by TTL, original TTL and signature expiration (RFC 4035 section 5.3.3). `wildcard` is the wildcard
    owner that a positive answer was expanded from. `sections` is there where the resolver keeps them.
    """

    question: Question
    canonical_name: dns.name.Name
    records: tuple[dns.rdata.Rdata, ...]
    absence: Absence | None
    security: Security
    expires_at: float
    ttl: int
    aliases: tuple[AliasLink, ...] = ()
    proof: tuple[ProofStep, ...] = field(default=(), compare=False)
    wildcard: dns.name.Name | None = None
    sections: Sections | None = field(default=None, compare=False, repr=False)

    @property
    def secure(self) -> bool:
        """Whether the whole answer, every alias included, is SECURE."""
        return self.security is Security.SECURE


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupFailure:
    """Could not find out. A value and not an exception, because it is evidence.

    `ede` is the extended DNS error that says it best (RFC 8914), ours or the upstream's.
    """

    question: Question
    kind: FailureKind
    detail: str
    ede: int | None = None
    proof: tuple[ProofStep, ...] = field(default=(), compare=False)
