"""The lookup stepper: question, anchors, time and budget in; queries out, replies in; an answer and its proof out.

A lookup is a generator without socket or clock. It asks its question together with all DS and DNSKEY RRsets that the
chain may need, so that a cold lookup costs few round trips. It trusts only its anchors: the AD bit is never looked at.
"""

from collections.abc import Sequence

import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
from dns.rdtypes.ANY.CNAME import CNAME
from dns.rdtypes.ANY.DNAME import DNAME

from letterlock.resolver.answer import (
    Absence,
    AliasLink,
    Answer,
    FailureKind,
    LookupFailure,
    Question,
    Sections,
    Security,
)
from letterlock.resolver.budget import OutOfBudget
from letterlock.resolver.chain import MAX_SIGNERS, Chain, Checked, security_of, settled
from letterlock.resolver.denial import Denials, Denied, deny_name, deny_type
from letterlock.resolver.dns_message import DNSReply
from letterlock.resolver.inquiry import (
    MAX_NEGATIVE_TTL,
    MAX_TTL,
    InquirySettings,
    KeptProof,
    Steps,
    Stuck,
    ZoneCache,
    bogus,
)
from letterlock.resolver.known_names import KnownName, as_known
from letterlock.resolver.number_names import type_name
from letterlock.resolver.proof_steps import denial_step
from letterlock.resolver.rdata import RRset, SignedRRset
from letterlock.resolver.zone import CutState, Insecure, Secure

_CNAME, _DNAME, _DS = dns.rdatatype.CNAME, dns.rdatatype.DNAME, dns.rdatatype.DS
_DNSKEY, _SOA, _NSEC, _NSEC3 = dns.rdatatype.DNSKEY, dns.rdatatype.SOA, dns.rdatatype.NSEC, dns.rdatatype.NSEC3
_HOST_TYPES = frozenset({dns.rdatatype.A, dns.rdatatype.AAAA, dns.rdatatype.TLSA})
_DOMAIN_LABELS = 3  # example, org and the root


class Lookup(Chain):
    """One question on its way to an answer, as it is at `now` (seconds since 1970). `run()` is the generator."""

    def __init__(self, question: Question, settings: InquirySettings, zones: ZoneCache, now: float) -> None:
        super().__init__(settings, zones, now)
        self._question = question
        self._given: list[SignedRRset] = []  # the answer section, as far as it is validated
        self._denied_by: list[SignedRRset] = []  # the authority section

    def run(self) -> Steps[Answer | LookupFailure]:
        """Look up. Yields Ask and Breathe; returns the answer, or the failure with the proof as far as it went."""
        try:
            return (yield from self._look_up())
        except Stuck as stuck:
            return self._failure(stuck.kind, stuck.detail, stuck.ede)
        except OutOfBudget as out:
            return self._failure(FailureKind.BUDGET, f"{out} ({out.limit})")

    def _failure(self, kind: FailureKind, detail: str, ede: int | None = None) -> LookupFailure:
        return LookupFailure(question=self._question, kind=kind, detail=detail, ede=ede, proof=self._proof())

    def _prefetch(
        self, question: Question, down: Sequence[KnownName], states: Sequence[CutState | None]
    ) -> Steps[None]:
        """Ask a question together with all that its chain will probably need, in one round.

        `down` is the way down to its name, and `states` what is known of it.
        """
        name, rdtype = question.name, question.rdtype
        if down and (below := _labels_below_zone(name, rdtype)):
            if below < len(down):
                down, states = down[:-below], states[:-below]
            else:  # the closest anchor is that of a host; its probable zone is below another, or none
                down = self._way_down(as_known(name).lineage()[-1 - below])
                states = self._zones.states(down, self._now)
        signed = rdtype == dns.rdatatype.TLSA  # TLSA records are looked up only where the host is signed
        yield from self._fetch(question, self._unknown(down, states, signer=signed))

    def _look_up(self) -> Steps[Answer | LookupFailure]:
        question = self._question
        name, rdtype = question.name, question.rdtype
        down = self._way_down(name)
        states = self._zones.states(down, self._now)
        known = self._known_absence(name, rdtype, states)
        if known is not None:
            return known
        zone = settled(states) if len(down) - 1 <= self._settings.budget.depth else None
        if zone is None:
            yield from self._prefetch(question, down, states)
        else:
            self._settled = name, zone
        reply = yield from self._reply(question)
        made = (yield from self._synthesised(name, reply)) if rdtype == _CNAME else None
        if made is not None:
            return made
        links: list[AliasLink] = []
        until, fresh = self._now + MAX_TTL, True
        while True:
            found = reply.answer.find(name, rdtype)
            if found is not None:
                try:
                    checked = yield from self._given_by(found, reply)
                except Stuck:
                    if fresh:
                        raise
                    reply, fresh = (yield from self._own_reply(name, rdtype)), True
                    continue
                return self._answer(name, found.rrset.records, None, checked, links, until)
            link = (yield from self._link(name, reply)) if reply.answer and rdtype != _CNAME else None
            if link is not None:
                alias, expires_at = link
                self._spending.spend("aliases")
                links.append(alias)
                name, until, fresh = alias.target, min(until, expires_at), False
            elif fresh:
                checked, absence = yield from self._absent(name, rdtype, reply)
                self._with_soa(name, reply, checked.security)
                return self._answer(name, (), absence, checked, links, until)
            else:  # the reply ends with an alias, or its proof may be for another name
                reply, fresh = (yield from self._own_reply(name, rdtype)), True

    def _own_reply(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> Steps[DNSReply]:
        """The upstream's reply to a query of its own for an alias' target."""
        question, down = Question(name, rdtype), self._way_down(name)
        yield from self._prefetch(question, down, self._zones.states(down, self._now))
        return (yield from self._reply(question))

    def _known_absence(
        self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType, states: Sequence[CutState | None]
    ) -> Answer | None:
        """An absence that an earlier proof of the same zone proves too: nothing need be asked (RFC 8198)."""
        if rdtype == _DS or not states:
            return None  # a DS is the parent's to deny, and the zone found below may be the child
        if self._settings.negative_anchors and self._negative_anchor(name) is not None:
            return None
        for zone in reversed(states):
            if isinstance(zone, Insecure):
                return None
            if isinstance(zone, Secure):
                return self._by_known_proof(name, rdtype, zone)
        return None

    def _by_known_proof(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType, zone: Secure) -> Answer | None:
        for kept in self._zones.proofs(zone.zone, self._now):
            denied = self._deny(kept.denials, name, rdtype, Absence.NXDOMAIN)
            if denied is not None and denied.security is Security.SECURE:
                self._note(zone.proof)
                self._note((denial_step(zone.zone, name, rdtype, denied),))
                expires_at = min(kept.expires_at, zone.expires_at)
                checked = Checked(Security.SECURE, expires_at, int(expires_at - self._now))
                self._denied_by += kept.signed
                return self._answer(name, (), denied.absence, checked, (), expires_at)
        return None

    def _link(self, name: dns.name.Name, reply: DNSReply) -> Steps[tuple[AliasLink, float] | None]:
        """The alias at a name: a DNAME above it (whose CNAME is synthesised and not signed), else a CNAME."""
        above = _dname_above(name, reply)
        if above is not None:
            checked = yield from self._given_by(above, reply)
            if checked.wildcard is not None:  # RFC 4592 section 4.4: what it would mean is not defined
                raise bogus(f"{above.name} DNAME comes from the wildcard {checked.wildcard}")
            target = _substitute(name, above)
            self._given.append(_synthesised_cname(name, target, above))
            return AliasLink(name, target, _DNAME, checked.security), checked.expires_at
        signed = reply.answer.find(name, _CNAME)
        if signed is None:
            return None
        checked = yield from self._given_by(signed, reply)
        return AliasLink(name, _alias_target(signed), _CNAME, checked.security), checked.expires_at

    def _given_by(self, signed: SignedRRset, reply: DNSReply) -> Steps[Checked]:
        """An RRset of the answer, with the proof that its wildcard needs. Raises Stuck when it is bogus."""
        self._denying = []
        checked = yield from self._check(signed, reply)
        self._given.append(signed)
        if checked.wildcard is not None:
            self._denied_by += self._denying
        return checked

    def _synthesised(self, name: dns.name.Name, reply: DNSReply) -> Steps[Answer | None]:
        """The CNAME that a DNAME above makes: it has no signature, but the DNAME has (RFC 6672 section 5.3.1)."""
        if _dname_above(name, reply) is None:
            return None
        link = yield from self._link(name, reply)
        if link is None:
            return None
        alias, expires_at = link
        record = _cname(alias.target)
        checked = Checked(alias.security, expires_at, int(expires_at - self._now))
        return self._answer(name, (record,), None, checked, (), expires_at)

    def _absent(
        self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType, reply: DNSReply
    ) -> Steps[tuple[Checked, Absence]]:
        """A name or type that is not there, and whether that is proven."""
        at = name.parent() if rdtype == _DS and name != dns.name.root else name
        claimed = Absence.NXDOMAIN if reply.rcode == dns.rcode.NXDOMAIN else Absence.NODATA
        signers = dict.fromkeys(
            each.signer
            for owner, kind in reply.authority.keys(_NSEC, _NSEC3)
            if (denying := reply.authority.find(owner, kind)) is not None
            for each in denying.signatures
            if at.is_subdomain(each.signer)
        )
        for signer in list(signers)[:MAX_SIGNERS]:
            state = yield from self._walk(signer, signer=True)
            if isinstance(state, Secure) and state.zone == signer:
                try:
                    return (yield from self._denied(name, rdtype, reply, state, claimed))
                except Stuck:  # a proof by a zone above that the name's own zone is unsigned may stand there, too
                    if not (yield from self._unsigned(at)):
                        raise
        state = yield from self._walk(at)
        if isinstance(state, Secure):
            return (yield from self._denied(name, rdtype, reply, state, claimed))
        ttl = _negative_ttl(at, reply)
        return Checked(security_of(state), self._now + ttl, ttl), claimed

    def _unsigned(self, name: dns.name.Name) -> Steps[bool]:
        """Whether it is proven that a name is in no signed zone."""
        try:
            return not isinstance((yield from self._walk(name)), Secure)
        except Stuck:  # not proven, whatever the reason
            return False

    def _denied(
        self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType, reply: DNSReply, zone: Secure, claimed: Absence
    ) -> Steps[tuple[Checked, Absence]]:
        denials, expires_at, why = yield from self._denials(reply, zone)
        denied = self._deny(denials, name, rdtype, claimed)
        if denied is None:
            what = f"{name} {type_name(rdtype)}"
            insecure = self._iterations(denials, zone)
            if insecure is None:
                if why and not denials:
                    raise bogus(f"the denial of {what} is not valid: {why}", 6)
                self._no_denial(what, zone.zone, denials)
            self._note(insecure.proof if insecure else ())
            ttl = _negative_ttl(zone.zone, reply)
            return Checked(Security.INSECURE, self._now + ttl, ttl), claimed
        self._note((denial_step(zone.zone, name, rdtype, denied),))
        # RFC 9077 section 3: the validated NSEC records bound it. The SOA is not validated, so it only shortens it (its
        # TTL may be lower in zones signed before RFC 9077): removing or forging it gains an attacker no time.
        proven = max(0, int(expires_at - self._now))
        ttl = min(proven, _negative_ttl(zone.zone, reply)) if reply.authority.has(zone.zone, _SOA) else proven
        signed = yield from self._proof_sections(reply, zone)
        self._denied_by += signed
        if denied.security is Security.SECURE and ttl and denials.cheap:
            self._zones.keep_proof(zone.zone, KeptProof(denials, self._now + ttl, tuple(signed)))
        return Checked(denied.security, self._now + ttl, ttl), denied.absence

    def _deny(
        self, denials: Denials, name: dns.name.Name, rdtype: dns.rdatatype.RdataType, claimed: Absence
    ) -> Denied | None:
        """The proof of what the reply claims; else of the other kind of absence: the response code is not signed."""
        if claimed is Absence.NXDOMAIN:
            denied = deny_name(denials, name, self._spending) or deny_type(denials, name, rdtype, self._spending)
            # an opt-out span alone does not deny the wildcard, as a name error must (RFC 5155 section 8.4)
            open_ended = (
                denied is not None and denied.absence is Absence.NODATA and denied.security is not Security.SECURE
            )
            return None if open_ended else denied
        return deny_type(denials, name, rdtype, self._spending) or deny_name(denials, name, self._spending)

    def _with_soa(self, name: dns.name.Name, reply: DNSReply, security: Security) -> None:
        """The SOA record of a negative answer that is not secure, by which others cache it."""
        if self._settings.keeps_sections and security is not Security.SECURE:
            soa = _soa_above(name, reply)
            if soa is not None:
                self._denied_by.insert(0, soa)

    def _proof_sections(self, reply: DNSReply, zone: Secure) -> Steps[list[SignedRRset]]:
        """The records of a denial with the SOA, which others want beside it: validated too, or left out.

        It proves nothing, so one that is not valid does no other harm.
        """
        if not self._settings.keeps_sections:
            return []
        denying, soa = list(self._denying), reply.authority.find(zone.zone, _SOA)
        if soa is None:
            return denying
        try:
            yield from self._validated_in(soa, zone)
        except Stuck:  # the denial holds without it
            return denying
        return [soa, *denying]

    def _answer(
        self,
        name: dns.name.Name,
        records: tuple[dns.rdata.Rdata, ...],
        absence: Absence | None,
        checked: Checked,
        links: Sequence[AliasLink],
        until: float,
    ) -> Answer:
        expires_at = min(checked.expires_at, until, self._until)
        return Answer(
            question=self._question,
            canonical_name=name,
            records=records,
            absence=absence,
            security=_weakest(checked.security, *(link.security for link in links)) if links else checked.security,
            expires_at=expires_at,
            ttl=max(0, min(checked.ttl, int(expires_at - self._now))),
            aliases=tuple(links),
            proof=self._proof(),
            wildcard=checked.wildcard,
            sections=Sections(tuple(self._given), tuple(self._denied_by)) if self._settings.keeps_sections else None,
        )


def _cname(target: dns.name.Name) -> dns.rdata.Rdata:
    wire = target.to_wire() or b""  # never None without a file to write to
    return dns.rdata.from_wire(dns.rdataclass.IN, _CNAME, wire, 0, len(wire))


def _synthesised_cname(name: dns.name.Name, target: dns.name.Name, above: SignedRRset) -> SignedRRset:
    """The CNAME that a DNAME makes, as a resolver sends it (RFC 6672 section 3.1)."""
    record = _cname(target)
    return SignedRRset(RRset(name, _CNAME, above.rrset.ttl, (record,), (record.to_digestable(),)), ())


_ORDER = (Security.BOGUS, Security.INDETERMINATE, Security.INSECURE, Security.SECURE)


def _weakest(*states: Security) -> Security:
    return min(states, key=_ORDER.index)


def _labels_below_zone(name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> int:
    """By how many labels a name is probably below its zone: service labels are no zones, and few hosts are any."""
    labels, below = name.labels, 0
    while labels[below].startswith(b"_"):
        below += 1
    host = rdtype in _HOST_TYPES and len(labels) - below > _DOMAIN_LABELS
    return below + host


def _negative_ttl(name: dns.name.Name, reply: DNSReply) -> int:
    """How long an absence lasts by the SOA of a zone at or above a name (RFC 2308 section 5), an hour at most."""
    for owner, _ in reply.authority.keys(_SOA):
        if name.is_subdomain(owner):
            return min(*reply.authority.soa_limits(owner), MAX_NEGATIVE_TTL)
    return 0


def _soa_above(name: dns.name.Name, reply: DNSReply) -> SignedRRset | None:
    """The SOA record of a zone at or above a name."""
    owners = [owner for owner, _ in reply.authority.keys(_SOA) if name.is_subdomain(owner)]
    return reply.authority.find(owners[0], _SOA) if owners else None


def _dname_above(name: dns.name.Name, reply: DNSReply) -> SignedRRset | None:
    """The DNAME of a name above, which the answer begins with."""
    owners = [owner for owner, _ in reply.answer.keys(_DNAME) if owner != name and name.is_subdomain(owner)]
    return reply.answer.find(max(owners, key=len), _DNAME) if owners else None


def _alias_target(signed: SignedRRset) -> dns.name.Name:
    """Where a CNAME or DNAME leads. Raises Stuck when there is not exactly one that can be read."""
    targets = [record.target for record in signed.rrset if isinstance(record, CNAME | DNAME)]
    if len(signed.rrset) != 1 or len(targets) != 1:
        kind = type_name(signed.rdtype)
        raise Stuck(FailureKind.MALFORMED, f"{signed.name} has {len(signed.rrset)} {kind} records, {len(targets)} fit")
    return as_known(targets[0]).canonicalize()


def _substitute(name: dns.name.Name, signed: SignedRRset) -> dns.name.Name:
    """The target that a DNAME gives a name below it (RFC 6672 section 2.2). Raises Stuck when it is too long."""
    target = _alias_target(signed)
    prefix = name.relativize(signed.name)
    try:
        return as_known(prefix.derelativize(target)).canonicalize()
    except dns.name.NameTooLong:
        raise Stuck(FailureKind.SERVFAIL, f"{name}: the name made by DNAME {signed.name} is too long") from None
