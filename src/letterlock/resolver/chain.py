"""The chain of trust: from an anchor down to a zone, and from a zone to an RRset (RFC 4035 section 5).

The way down goes label by label. A DS RRset leads to a secure child zone, a proven absence of DS at a delegation to an
insecure one, a proven absence without a delegation means that the name is inside the zone. What cannot be proven is
bogus. No socket and no clock: a chain is built by generators that yield what they want (`Ask` for replies, `Breathe`
when they have worked for a while and others may want the processor).
"""

import functools
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS
from dns.rdtypes.ANY.NSEC import NSEC
from dns.rdtypes.ANY.NSEC3 import NSEC3

from letterlock.resolver.anchors import NegativeAnchor, TrustAnchor
from letterlock.resolver.answer import (
    FailureKind,
    ProofStep,
    Question,
    Security,
)
from letterlock.resolver.budget import Budget, OutOfBudget, Spending
from letterlock.resolver.denial import Denials, deny_closer, deny_name, deny_type
from letterlock.resolver.message import Fault, Reply, SignedRRset
from letterlock.resolver.signatures import (
    ALGORITHMS,
    Unverified,
    Verified,
    chosen_ds,
    digest_matches,
    key_tag,
    signature_step,
    usable_keys,
    verify,
)
from letterlock.resolver.words import algorithm_name, digest_name, utc
from letterlock.resolver.zone import CutState, Indeterminate, Insecure, Inside, Secure, ZoneState

MAX_TTL = 86_400
MAX_NEGATIVE_TTL = 3_600
MAX_PROOFS = 2  # replies that are looked through for a proof that another question did not get
_DS, _DNSKEY, _NSEC, _NSEC3 = (
    dns.rdatatype.DS,
    dns.rdatatype.DNSKEY,
    dns.rdatatype.NSEC,
    dns.rdatatype.NSEC3,
)
_CNAME, _DNAME, _SOA = dns.rdatatype.CNAME, dns.rdatatype.DNAME, dns.rdatatype.SOA
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Ask:
    """The lookup wants replies to all of these; it is resumed with a mapping of each to a Reply or a Fault."""

    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class Breathe:
    """The lookup has worked for a while; it is resumed with anything."""


Steps = Generator[Ask | Breathe, Mapping[Question, Reply | Fault], _T]


@dataclass(frozen=True, slots=True)
class KeptProof:
    """The validated NSEC or NSEC3 records of one reply, for as long as they hold."""

    denials: Denials
    expires_at: float


class ZoneCache(Protocol):
    """What is known of zone cuts from earlier lookups."""

    def get(self, name: dns.name.Name, now: float) -> CutState | None:
        """What is known of a name as a zone cut, if it is still valid."""

    def put(self, name: dns.name.Name, state: CutState) -> None:
        """Remember it."""

    def proofs(self, zone: dns.name.Name, now: float) -> Sequence[KeptProof]:
        """Denials that a zone has proven and that are still valid, the latest first."""

    def keep_proof(self, zone: dns.name.Name, proof: KeptProof) -> None:
        """Remember a denial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What every lookup of a resolver has in common.

    `algorithms`: those that can be checked. `max_iterations`: NSEC3 records with more are not used, and the lookup
    fails (RFC 9276 section 3.2): treating them as insecure would let TLSA records vanish silently. With
    `insecure_iterations` they are treated as insecure, as most resolvers do.
    """

    anchors: tuple[TrustAnchor, ...]
    negative_anchors: tuple[NegativeAnchor, ...] = ()
    budget: Budget = field(default_factory=Budget)
    algorithms: frozenset[int] = ALGORITHMS
    max_iterations: int = 150
    insecure_iterations: bool = False


class Stuck(Exception):
    """The lookup ends here in a failure."""

    def __init__(self, kind: FailureKind, detail: str, ede: int | None = None) -> None:
        super().__init__(detail)
        self.kind, self.detail, self.ede = kind, detail, ede


def bogus(detail: str, ede: int = 6) -> Stuck:
    return Stuck(FailureKind.BOGUS, detail, ede)


@dataclass(frozen=True, slots=True)
class Checked:
    """An RRset after validation. `wildcard` is set where it was expanded from one (and that was proven right)."""

    security: Security
    expires_at: float
    ttl: int
    wildcard: dns.name.Name | None = None


class Chain:
    """What one lookup has asked, proven and spent so far."""

    def __init__(self, settings: Settings, zones: ZoneCache, now: float) -> None:
        self._settings = settings
        self._zones = zones
        self._now = now
        self._spending = Spending(settings.budget)
        self._replies: dict[Question, Reply | Fault] = {}
        self._proof: dict[ProofStep, None] = {}

    # --- replies -----------------------------------------------------------------------------------------------------

    def _fetch(self, *questions: Question) -> Steps[None]:
        """Have a reply, or a fault, for every question."""
        missing = tuple(dict.fromkeys(each for each in questions if each not in self._replies))
        if not missing:
            return
        self._spending.spend("queries", len(missing))
        replies = yield Ask(missing)
        for question in missing:
            reply = replies[question]
            if isinstance(reply, Reply):
                self._spending.spend("octets", reply.octets)
            self._replies[question] = reply

    def _reply(self, question: Question) -> Steps[Reply]:
        yield from self._fetch(question)
        reply = self._replies[question]
        if isinstance(reply, Fault):
            raise Stuck(reply.kind, f"{question}: {reply.detail}", reply.ede)
        return reply

    # --- zones -------------------------------------------------------------------------------------------------------

    def _anchor_zone(self, name: dns.name.Name) -> dns.name.Name | None:
        """The closest zone at or above a name that has a trust anchor."""
        zones = [anchor.zone for anchor in self._settings.anchors if name.is_subdomain(anchor.zone)]
        return max(zones, key=len, default=None)

    def _way(self, name: dns.name.Name) -> list[Question]:
        """The DS and DNSKEY RRsets that the way down to a name may need and that are not known."""
        questions: list[Question] = []
        anchor = self._anchor_zone(name)
        for labels in range(len(anchor), len(name) + 1) if anchor is not None else ():
            ancestor = name.split(labels)[1]
            known = self._zones.get(ancestor, self._now)
            if isinstance(known, Insecure):
                break
            if known is None and ancestor != anchor:
                questions.append(Question(ancestor, _DS))
            if known is None and not ancestor.labels[0].startswith(b"_"):
                questions.append(Question(ancestor, _DNSKEY))
        return questions

    def _walk(self, name: dns.name.Name) -> Steps[ZoneState | Indeterminate]:
        """The zone that a name belongs to, secure or insecure; the proof is noted on the way."""
        negative = self._negative_anchor(name)
        if negative is not None:
            return negative
        anchor = self._anchor_zone(name)
        if anchor is None:
            return Indeterminate(name)
        if len(name) - len(anchor) > self._settings.budget.depth:
            raise OutOfBudget("depth", self._settings.budget.depth)
        yield from self._fetch(*self._way(name))
        state: ZoneState = yield from self._anchored(anchor)
        for labels in range(len(anchor) + 1, len(name) + 1):
            if isinstance(state, Insecure):
                break
            cut: CutState = yield from self._cut(state, name.split(labels)[1])
            if isinstance(cut, Inside):
                if cut.absent:
                    break
            else:
                state = cut
        self._note(state.proof)
        return state

    def _negative_anchor(self, name: dns.name.Name) -> Insecure | None:
        for negative in self._settings.negative_anchors:
            if name.is_subdomain(negative.zone) and self._now < negative.until:
                step = ProofStep(
                    zone=str(negative.zone),
                    what="negative-anchor",
                    security=Security.INSECURE,
                    detail=f"taken for unsigned until {utc(negative.until)}: {negative.reason}",
                    section="RFC 7646",
                )
                self._note((step,))
                return Insecure(zone=negative.zone, expires_at=negative.until, proof=(step,))
        return None

    def _note(self, steps: Iterable[ProofStep]) -> None:
        self._proof.update(dict.fromkeys(steps))

    def _anchored(self, zone: dns.name.Name) -> Steps[ZoneState]:
        """The keys of a zone with a trust anchor."""
        known = self._zones.get(zone, self._now)
        if isinstance(known, Secure | Insecure):
            return known
        anchors = [anchor for anchor in self._settings.anchors if anchor.zone == zone]
        ds = [anchor.record for anchor in anchors if isinstance(anchor.record, DS)]
        keys = [anchor.record for anchor in anchors if isinstance(anchor.record, DNSKEY)]
        tags = ", ".join(dict.fromkeys(str(tag_of(anchor.record)) for anchor in anchors))
        if not chosen_ds(ds, self._settings.algorithms) and not any(
            key.algorithm in self._settings.algorithms for key in keys
        ):
            return self._unsupported(zone, (), self._now + MAX_TTL)
        step = ProofStep(
            zone=str(zone),
            what="anchor",
            security=Security.SECURE,
            detail=f"trust anchor {tags}",
            section="RFC 4033 section 2",
            facts=tuple(("key_tag", tag_of(anchor.record)) for anchor in anchors),
        )
        return (yield from self._enter(zone, ds, keys, (step,), self._now + MAX_TTL))

    def _cut(self, parent: Secure, name: dns.name.Name) -> Steps[CutState]:
        """What a name directly or further below a secure zone is: a zone of its own, or inside the parent."""
        known = self._zones.get(name, self._now)
        if known is not None and (isinstance(known, Secure | Insecure) or known.zone == parent.zone):
            return known
        try:
            reply = yield from self._reply(Question(name, _DS))
        except Stuck:  # what was said before may prove as much: a proof comes with each absence and wildcard
            known = yield from self._undelegated_elsewhere(parent, name)
            if known is None:
                raise
            self._zones.put(name, known)
            return known
        signed = reply.answer.get((name, _DS))
        if signed is not None:
            state: CutState = yield from self._delegated(parent, name, signed)
        elif (name, _CNAME) in reply.answer:
            yield from self._validated_in(reply.answer[name, _CNAME], parent)
            state = Inside(zone=parent.zone, expires_at=self._now + MAX_NEGATIVE_TTL)
        else:
            state = yield from self._undelegated(parent, name, reply)
        self._zones.put(name, state)
        return state

    def _validated_in(self, signed: SignedRRset, zone: Secure) -> Steps[Verified]:
        """A signature of a zone over an RRset; an RRset without one is bogus."""
        yield Breathe()
        result = verify(signed, zone.zone, usable_keys(zone.keys, self._settings.algorithms), self._now, self._spending)
        if isinstance(result, Unverified):
            self._note(zone.proof)
            raise bogus(result.detail, result.ede)
        return result

    def _delegated(self, parent: Secure, name: dns.name.Name, signed: SignedRRset) -> Steps[ZoneState]:
        """A child zone with DS records in its parent."""
        verified = yield from self._validated_in(signed, parent)
        expires_at = _expires_at(signed, verified, self._now)
        records = [record for record in signed.rrset if isinstance(record, DS)]
        chosen = chosen_ds(records, self._settings.algorithms)
        step = ProofStep(
            zone=str(name),
            what="ds",
            security=Security.SECURE,
            detail="DS "
            + ", ".join(f"{ds.key_tag} ({digest_name(ds.digest_type)})" for ds in chosen or records)
            + f" in {parent.zone}",
            section="RFC 4035 section 5.2",
            facts=tuple(("ds", f"{ds.key_tag} {ds.algorithm} {ds.digest_type}") for ds in records),
        )
        proof = (*parent.proof, signature_step(parent.zone, signed, verified), step)
        if not chosen:
            return self._unsupported(name, proof, expires_at)
        return (yield from self._enter(name, chosen, (), proof, expires_at))

    def _unsupported(self, zone: dns.name.Name, proof: tuple[ProofStep, ...], expires_at: float) -> Insecure:
        step = ProofStep(
            zone=str(zone),
            what="unsupported",
            security=Security.INSECURE,
            detail="no DS record or anchor has an algorithm and a digest that are supported here",
            section="RFC 6840 section 5.2",
        )
        return Insecure(zone=zone, expires_at=expires_at, proof=(*proof, step))

    def _undelegated(self, parent: Secure, name: dns.name.Name, reply: Reply) -> Steps[CutState]:
        """A name without DS: proven to be an insecure delegation, or proven to be no delegation."""
        denials, expires_at, _ = yield from self._denials(reply, parent)
        denied = deny_type(denials, name, _DS, self._spending)
        if denied is None:
            gone = deny_name(denials, name, self._spending)
            if gone is not None:
                return Inside(zone=parent.zone, expires_at=expires_at, absent=gone.security is Security.SECURE)
            self._note(parent.proof)
            return self._iterations(denials, parent) or self._no_denial(f"{name} DS", parent.zone, denials)
        if not denied.delegation:
            return Inside(zone=parent.zone, expires_at=expires_at)
        step = ProofStep(
            zone=str(name),
            what="no-ds",
            security=Security.INSECURE,
            detail=f"no DS in {parent.zone}, proven by {denied.by}",
            section="RFC 4035 section 5.2" if "NSEC3" not in denied.by else "RFC 5155 section 8.6",
            facts=(("denial", denied.by),),
        )
        return Insecure(zone=name, expires_at=expires_at, proof=(*parent.proof, step))

    def _undelegated_elsewhere(self, parent: Secure, name: dns.name.Name) -> Steps[CutState | None]:
        """The same by a proof in a reply to another question of this lookup, if there is one."""
        proofs = [
            reply
            for reply in self._replies.values()
            if isinstance(reply, Reply)
            and any(kind in (_NSEC, _NSEC3) and owner.is_subdomain(parent.zone) for owner, kind in reply.authority)
        ]
        for reply in proofs[:MAX_PROOFS]:
            try:
                return (yield from self._undelegated(parent, name, reply))
            except Stuck:
                continue
        return None

    def _iterations(self, denials: Denials, zone: Secure) -> Insecure | None:
        """NSEC3 with too many iterations: a failure, or insecure where that was asked for (RFC 9276 section 3.2)."""
        if not denials.too_many_iterations or denials:
            return None
        most = self._settings.max_iterations
        detail = f"NSEC3 of {zone.zone} has {denials.too_many_iterations} iterations, more than {most}"
        if not self._settings.insecure_iterations:
            raise bogus(detail, 27)
        step = ProofStep(
            zone=str(zone.zone),
            what="iterations",
            security=Security.INSECURE,
            detail=detail,
            section="RFC 9276 section 3.2",
        )
        return Insecure(zone=zone.zone, expires_at=self._now + MAX_NEGATIVE_TTL, proof=(*zone.proof, step))

    def _no_denial(self, what: str, zone: dns.name.Name, denials: Denials) -> Insecure:
        if denials:
            raise bogus(f"{zone} does not prove that {what} is absent: its NSEC records say something else", 6)
        raise bogus(f"{zone} is signed, but nothing proves that {what} is absent", 12)

    def _enter(
        self,
        zone: dns.name.Name,
        ds: Sequence[DS],
        anchored: Sequence[DNSKEY],
        proof: tuple[ProofStep, ...],
        expires_at: float,
    ) -> Steps[ZoneState]:
        """A zone by its DNSKEY RRset, signed by a key that a DS record or an anchor names (RFC 4035 section 5.2)."""
        self._note(proof)
        reply = yield from self._reply(Question(zone, _DNSKEY))
        signed = reply.answer.get((zone, _DNSKEY))
        if signed is None:
            raise bogus(f"{zone} has no DNSKEY records, but its parent or an anchor says that it is signed", 9)
        keys = tuple(record for record in signed.rrset if isinstance(record, DNSKEY))
        entries = self._entry_keys(zone, keys, ds, anchored)
        if not entries:
            raise bogus(_no_entry_text(zone, keys, [*map(tag_of, ds), *map(tag_of, anchored)]), 9)
        yield Breathe()
        verified = verify(signed, zone, entries, self._now, self._spending)
        if isinstance(verified, Unverified):
            raise bogus(f"the keys of {zone} are not signed as they should be: {verified.detail}", verified.ede)
        step = ProofStep(
            zone=str(zone),
            what="dnskey",
            security=Security.SECURE,
            detail=f"keys {', '.join(_key_text(key) for key in keys)}, signed by {key_tag(verified.key)}",
            section="RFC 4035 section 5.2",
            facts=(
                *(("key", _key_text(key)) for key in keys),
                ("signed_by", key_tag(verified.key)),
                ("expiration", utc(verified.signature.expiration)),
            ),
        )
        until = min(expires_at, _expires_at(signed, verified, self._now))
        state = Secure(zone=zone, keys=keys, expires_at=until, proof=(*proof, step))
        self._zones.put(zone, state)
        return state

    def _entry_keys(
        self, zone: dns.name.Name, keys: Sequence[DNSKEY], ds: Sequence[DS], anchored: Sequence[DNSKEY]
    ) -> tuple[DNSKEY, ...]:
        """The keys that may vouch for the others: those named from above."""
        entries = []
        for key in usable_keys(keys, self._settings.algorithms):
            named = [each for each in ds if each.key_tag == key_tag(key) and each.algorithm == key.algorithm]
            if len(named) > self._settings.budget.keys_per_tag:
                raise OutOfBudget("keys_per_tag", self._settings.budget.keys_per_tag)
            if key in anchored or any(digest_matches(zone, key, each) for each in named):
                entries.append(key)
        return tuple(entries)

    # --- RRsets ------------------------------------------------------------------------------------------------------

    def _check(self, signed: SignedRRset, reply: Reply) -> Steps[Checked]:
        """The security of an RRset out of a reply. Raises Stuck when it is bogus."""
        at = signed.name.parent() if signed.rdtype == _DS and signed.name != dns.name.root else signed.name
        signers = dict.fromkeys(each.signer for each in signed.signatures if at.is_subdomain(each.signer))
        for signer in list(signers)[:2]:
            state = yield from self._walk(signer)
            if isinstance(state, Secure) and state.zone == signer:
                verified = yield from self._validated_in(signed, state)
                self._note((signature_step(signer, signed, verified),))
                return (yield from self._expanded(signed, verified, state, reply))
        state = yield from self._walk(at)
        unsigned = Checked(security_of(state), self._now + ttl_of(signed), ttl_of(signed))
        if not isinstance(state, Secure):
            return unsigned
        what = f"{signed.name} {dns.rdatatype.to_text(signed.rdtype)}"
        raise bogus(f"{what} has no signature, but its zone {state.zone} is signed", 10)

    def _expanded(self, signed: SignedRRset, verified: Verified, zone: Secure, reply: Reply) -> Steps[Checked]:
        """A validated RRset; one that came from a wildcard needs proof that nothing closer exists (RFC 4035 5.3.4)."""
        expires_at = _expires_at(signed, verified, self._now)
        ttl = max(0, min(ttl_of(signed), verified.signature.original_ttl, int(expires_at - self._now)))
        if verified.wildcard is None:
            return Checked(Security.SECURE, expires_at, ttl)
        denials, denial_expires_at, _ = yield from self._denials(reply, zone)
        closer = deny_closer(denials, signed.name, verified.wildcard.parent(), self._spending)
        if closer is None:
            self._iterations(denials, zone)
            raise bogus(
                f"{signed.name} was made from {verified.wildcard}, without proof that nothing closer exists", 12
            )
        step = ProofStep(
            zone=str(zone.zone),
            what="wildcard",
            security=closer.security,
            detail=f"{signed.name} comes from {verified.wildcard}; nothing closer exists: {closer.by}",
            section="RFC 4035 section 5.3.4",
            facts=(("wildcard", str(verified.wildcard)), ("denial", closer.by)),
        )
        self._note((step,))
        return Checked(closer.security, min(expires_at, denial_expires_at), ttl, verified.wildcard)

    def _denials(self, reply: Reply, zone: Secure) -> Steps[tuple[Denials, float, str]]:
        """The NSEC and NSEC3 records of a reply that the zone really signed; others are left out."""
        denials = Denials(zone.zone)
        expires_at = self._now + MAX_NEGATIVE_TTL
        why = ""
        keys = usable_keys(zone.keys, self._settings.algorithms)
        for (name, rdtype), signed in reply.authority.items():
            if rdtype not in (_NSEC, _NSEC3) or not name.is_subdomain(zone.zone):
                continue
            yield Breathe()
            verified = verify(signed, zone.zone, keys, self._now, self._spending)
            if isinstance(verified, Unverified) or (verified.wildcard is not None and rdtype == _NSEC3):
                why = verified.detail if isinstance(verified, Unverified) else "an expanded NSEC3 record"
                continue
            owner = verified.wildcard or name
            for record in signed.rrset:
                if isinstance(record, NSEC | NSEC3):
                    denials.add(owner, record, self._settings.max_iterations)
            expires_at = min(expires_at, _expires_at(signed, verified, self._now))
        return denials, expires_at, why


def security_of(state: ZoneState | Indeterminate) -> Security:
    match state:
        case Secure():
            return Security.SECURE
        case Insecure():
            return Security.INSECURE
        case Indeterminate():
            return Security.INDETERMINATE


def tag_of(record: DS | DNSKEY) -> int:
    return record.key_tag if isinstance(record, DS) else key_tag(record)


def _no_entry_text(zone: dns.name.Name, keys: Sequence[DNSKEY], named: Sequence[int]) -> str:
    """Why no key of a zone is one that its DS records or anchors name; the tag alone may be the same."""
    wanted = ", ".join(dict.fromkeys(map(str, named)))
    present = ", ".join(_key_text(key) for key in keys)
    if any(tag_of(key) in named for key in keys):
        return f"the DS record or anchor for key {wanted} does not fit the key of {zone} with that tag: {present}"
    return f"{zone} should have key {wanted}, but its keys are {present}"


@functools.lru_cache(maxsize=4096)
def _key_text(key: DNSKEY) -> str:
    kind = "KSK" if key.flags & 1 else "ZSK"
    return f"{key_tag(key)} ({kind}, {algorithm_name(key.algorithm)})"


def ttl_of(signed: SignedRRset) -> int:
    return min(signed.rrset.ttl, MAX_TTL)


def _expires_at(signed: SignedRRset, verified: Verified, now: float) -> float:
    """The moment up to which a validated RRset may be used (RFC 4035 section 5.3.3)."""
    left = (verified.signature.expiration - int(now)) % (1 << 32)
    return now + min(ttl_of(signed), verified.signature.original_ttl, left)
