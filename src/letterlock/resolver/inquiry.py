"""The state of one lookup: what it asks, proves and spends, shared by its steps, and their building blocks.

No socket and no clock: a lookup is built of generators that yield what they want (`Ask` for replies, `Breathe` when
they have worked for a while and others may want the processor).
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Protocol, TypeVar

import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
from dns.rdtypes.ANY.NSEC import NSEC
from dns.rdtypes.ANY.NSEC3 import NSEC3

from letterlock.frozen import frozen_dataclass
from letterlock.resolver.answer import (
    FailureKind,
    ProofStep,
    Question,
)
from letterlock.resolver.budget import Budget, Spending
from letterlock.resolver.denial import Denials
from letterlock.resolver.dns_message import DNSReply, Fault
from letterlock.resolver.known_names import KnownName, as_known
from letterlock.resolver.proof_steps import iterations_step, iterations_text
from letterlock.resolver.rdata import SignedRRset
from letterlock.resolver.signatures import (
    ALGORITHMS,
    Unverified,
    Verified,
    verify,
)
from letterlock.resolver.trust_anchors import NegativeAnchor, TrustAnchor
from letterlock.resolver.zone import CutState, Insecure, Secure

MAX_TTL = 86_400  # chosen: a day, as in Unbound; RFC 2181 section 8 lets a resolver set an upper bound
MAX_AHEAD = 8  # queries that may turn out to be needless: the zones of a name of ordinary depth, and no hostile one
MAX_NEGATIVE_TTL = 3_600  # RFC 2308 section 5 advises one to three hours; the shortest of them
_NSEC, _NSEC3 = dns.rdatatype.NSEC, dns.rdatatype.NSEC3
_T = TypeVar("_T")


@frozen_dataclass(frozen=True, slots=True)
class Ask:
    """The lookup wants replies to all `questions`; it is resumed with a mapping of each to a Reply or a Fault.

    `ahead` are probably wanted next: a driver that can ask several at once asks these too, and does not wait. A
    later Ask names those that are wanted indeed.
    """

    questions: tuple[Question, ...]
    ahead: tuple[Question, ...] = ()


@frozen_dataclass(frozen=True, slots=True)
class Breathe:
    """The lookup has worked for a while; it is resumed with anything."""


BREATHE = Breathe()


Steps = Generator[Ask | Breathe, Mapping[Question, DNSReply | Fault], _T]


@frozen_dataclass(frozen=True, slots=True)
class KeptProof:
    """The validated NSEC or NSEC3 records of one reply, for as long as they hold."""

    denials: Denials
    expires_at: float
    signed: tuple[SignedRRset, ...] = ()  # the records themselves, where sections are kept


class ZoneCache(Protocol):
    """The zone cuts found by earlier lookups."""

    def get(self, name: KnownName, now: float) -> CutState | None:
        """The known state of a name as a zone cut, if still valid."""

    def states(self, names: Iterable[KnownName], now: float) -> list[CutState | None]:
        """The known states of several names."""

    def put(self, name: KnownName, state: CutState) -> None:
        """Remember it."""

    def proofs(self, zone: dns.name.Name, now: float) -> Sequence[KeptProof]:
        """Denials that a zone has proven and that are still valid, the latest first."""

    def keep_proof(self, zone: dns.name.Name, proof: KeptProof) -> None:
        """Remember a denial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InquirySettings:
    """The settings that all lookups of a resolver share.

    `algorithms`: those that can be checked. `max_iterations`: NSEC3 records with more are not used, and the lookup
    fails (RFC 9276 section 3.2): treating them as insecure would let TLSA records vanish silently. With
    `insecure_iterations` they are treated as insecure, as most resolvers do. `keeps_sections`: answers have them.
    """

    anchors: tuple[TrustAnchor, ...]
    negative_anchors: tuple[NegativeAnchor, ...] = ()
    budget: Budget = field(default_factory=Budget)
    algorithms: frozenset[int] = ALGORITHMS
    max_iterations: int = 150  # RFC 5155 section 10.3: the most for keys of 1,024 bits
    insecure_iterations: bool = False
    keeps_sections: bool = False
    anchored: tuple[KnownName, ...] = field(init=False, compare=False, repr=False)  # zones, the longest name first

    def __post_init__(self) -> None:
        zones = sorted({as_known(anchor.zone) for anchor in self.anchors}, key=len, reverse=True)
        object.__setattr__(self, "anchored", tuple(zones))


class Stuck(Exception):
    """The lookup ends here in a failure."""

    def __init__(self, kind: FailureKind, detail: str, ede: int | None = None) -> None:
        super().__init__(detail)
        self.kind, self.detail, self.ede = kind, detail, ede


def bogus(detail: str, ede: int = 6) -> Stuck:
    """A failure that looks like forgery, with its extended DNS error code (RFC 8914)."""
    return Stuck(FailureKind.BOGUS, detail, ede)


class Inquiry:
    """The questions, proofs and costs of one lookup so far."""

    def __init__(self, settings: InquirySettings, zones: ZoneCache, now: float) -> None:
        self._settings = settings
        self._zones = zones
        self._now = now
        self._spending = Spending(settings.budget)
        self._replies: dict[Question, DNSReply | Fault] = {}
        self._sent: set[Question] = set()
        self._noted: dict[int, tuple[ProofStep, ...]] = {}  # by identity: the steps of a zone come again and again
        self._denying: list[SignedRRset] = []  # those of the latest denial, validated

    def _fetch(self, question: Question | None, ahead: Iterable[Question] = ()) -> Steps[None]:
        """Have a reply, or a fault, for a question; `ahead` are sent with it, without waiting for replies."""
        sent, fresh = self._sent, 0
        wanted: tuple[Question, ...] = ()
        if question is not None and question not in self._replies:
            wanted = (question,)
            if question not in sent:
                sent.add(question)
                fresh = 1
        early: list[Question] = []
        for each in ahead:
            if each not in sent and len(early) < MAX_AHEAD:
                sent.add(each)
                early.append(each)
        if not wanted and not early:
            return
        self._spending.spend("queries", fresh + len(early))
        replies = yield Ask(wanted, tuple(early))
        for each in wanted:
            reply = replies[each]
            if isinstance(reply, DNSReply):
                self._spending.spend("octets", reply.octets)
            self._replies[each] = reply

    def _reply(self, question: Question) -> Steps[DNSReply]:
        reply = self._replies.get(question)
        if reply is None:
            yield from self._fetch(question)
            reply = self._replies[question]
        if isinstance(reply, Fault):
            raise Stuck(reply.kind, f"{question}: {reply.detail}", reply.ede)
        return reply

    def _note(self, steps: tuple[ProofStep, ...]) -> None:
        self._noted[id(steps)] = steps  # which lives as long as this does, so no other has its id

    def _proof(self) -> tuple[ProofStep, ...]:
        """The steps so far, each once. Where they are those of one zone, its answers share them."""
        noted = self._noted.values()
        if len(noted) == 1:
            return next(iter(noted))
        every = [*chain.from_iterable(noted)]
        steps = [*dict(zip(map(id, every), every, strict=True)).values()]
        places = {(step.kind, id(step.zone_name)) for step in steps}
        # a zone whose records hold for no time is proven again for each name: those steps are equal, and not the same
        return tuple(steps) if len(places) == len(steps) else tuple(dict.fromkeys(steps))

    def _validated_in(self, signed: SignedRRset, zone: Secure) -> Steps[Verified]:
        """A signature of a zone over an RRset; an RRset without one is bogus."""
        yield BREATHE
        result = verify(signed, zone.zone, zone.usable, self._now, self._spending)
        if isinstance(result, Unverified):
            self._note(zone.proof)
            raise bogus(result.detail, result.ede)
        return result

    def _iterations(self, denials: Denials, zone: Secure) -> Insecure | None:
        """NSEC3 with too many iterations: a failure, or insecure where that was asked for (RFC 9276 section 3.2)."""
        if not denials.too_many_iterations or denials:
            return None
        most = self._settings.max_iterations
        if not self._settings.insecure_iterations:
            raise bogus(iterations_text(str(zone.zone), denials.too_many_iterations, most), 27)
        proof = (*zone.proof, iterations_step(zone.zone, denials.too_many_iterations, most))
        return Insecure(zone=zone.zone, expires_at=self._now + MAX_NEGATIVE_TTL, proof=proof)

    def _no_denial(self, what: str, zone: dns.name.Name, denials: Denials) -> Insecure:
        if denials:
            raise bogus(f"{zone} does not prove that {what} is absent: its NSEC records say something else", 6)
        raise bogus(f"{zone} is signed, but nothing proves that {what} is absent", 12)

    def _denials(self, reply: DNSReply, zone: Secure) -> Steps[tuple[Denials, float, str]]:
        """The NSEC and NSEC3 records of a reply that the zone really signed; others are left out."""
        denials = Denials(zone.zone)
        self._denying = []
        expires_at = self._now + MAX_NEGATIVE_TTL
        why = ""
        for name, rdtype in reply.authority.keys(_NSEC, _NSEC3):
            signed = reply.authority.find(name, rdtype) if name.is_subdomain(zone.zone) else None
            if signed is None:
                continue
            yield BREATHE
            verified = verify(signed, zone.zone, zone.usable, self._now, self._spending)
            if isinstance(verified, Unverified) or (verified.wildcard is not None and rdtype == _NSEC3):
                why = verified.detail if isinstance(verified, Unverified) else "an expanded NSEC3 record"
                continue
            owner = verified.wildcard or name
            for record in signed.rrset:
                if isinstance(record, NSEC | NSEC3):
                    denials.add(owner, record, self._settings.max_iterations)
            self._denying.append(signed)
            expires_at = min(expires_at, expires_at_of(signed, verified, self._now))
        yield BREATHE  # what they prove may take some hashing
        return denials, expires_at, why


def ttl_of(signed: SignedRRset) -> int:
    """The TTL of an RRset, at most MAX_TTL seconds."""
    return min(signed.rrset.ttl, MAX_TTL)


def expires_at_of(signed: SignedRRset, verified: Verified, now: float) -> float:
    """The moment up to which a validated RRset may be used (RFC 4035 section 5.3.3)."""
    left = (verified.signature.expiration - int(now)) % (1 << 32)
    return now + min(ttl_of(signed), verified.signature.original_ttl, left)
