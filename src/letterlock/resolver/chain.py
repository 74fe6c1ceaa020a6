"""The chain of trust: from an anchor down to a zone, and from a zone to an RRset (RFC 4035 section 5).

The way down goes label by label. A DS RRset leads to a secure child zone, a proven absence of DS at a delegation to an
insecure one, a proven absence without a delegation means that the name is inside the zone. What cannot be proven is
bogus.
"""

from collections.abc import Sequence

import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS

from letterlock.frozen import frozen_dataclass
from letterlock.resolver.answer import (
    ProofStep,
    Question,
    Security,
)
from letterlock.resolver.budget import OutOfBudget
from letterlock.resolver.denial import deny_closer, deny_name, deny_type
from letterlock.resolver.dns_message import DNSReply
from letterlock.resolver.inquiry import (
    BREATHE,
    MAX_NEGATIVE_TTL,
    MAX_TTL,
    Inquiry,
    Steps,
    Stuck,
    bogus,
    expires_at_of,
    ttl_of,
)
from letterlock.resolver.known_names import KnownName, as_known
from letterlock.resolver.number_names import type_name
from letterlock.resolver.proof_steps import (
    anchor_step,
    dnskey_step,
    ds_step,
    key_text,
    negative_anchor_step,
    no_ds_step,
    signature_step,
    unsupported_step,
    wildcard_step,
)
from letterlock.resolver.rdata import SignedRRset
from letterlock.resolver.signatures import (
    Unverified,
    Verified,
    chosen_ds,
    digest_matches,
    key_tag,
    spoilt_ds,
    usable_keys,
    verify,
)
from letterlock.resolver.zone import CutState, Indeterminate, Insecure, Inside, Secure, ZoneState

MAX_PROOFS = 2  # replies that are looked through for a proof that another question did not get
MAX_SIGNERS = 2  # zones whose signatures are looked at: an RRset has one; two where a server has both sides of a cut
_TOP_LEVEL_LABELS = 2  # org and the root
_DS, _DNSKEY, _CNAME = dns.rdatatype.DS, dns.rdatatype.DNSKEY, dns.rdatatype.CNAME
_NSEC, _NSEC3 = dns.rdatatype.NSEC, dns.rdatatype.NSEC3


@frozen_dataclass(frozen=True, slots=True)
class Checked:
    """An RRset after validation. `wildcard` is set where it was expanded from one (and that was proven right)."""

    security: Security
    expires_at: float
    ttl: int
    wildcard: dns.name.Name | None = None


class Chain(Inquiry):
    """The chain of trust of one lookup.

    `_until`: when a negative anchor that was used expires (RFC 7646). `_settled`: a name whose zone was known when the
    lookup began, and that zone: what holds then holds for the whole lookup, which has one time.
    """

    _until: float = float("inf")
    _settled: tuple[dns.name.Name, ZoneState] | None = None

    def _way_down(self, name: dns.name.Name) -> tuple[KnownName, ...]:
        """The closest zone at or above a name that has a trust anchor, and all names from there down to this one.

        Nothing, if there is no such zone.
        """
        known = name if type(name) is KnownName else as_known(name)
        for zone in self._settings.anchored:
            if down := known.down_from(zone):
                return down
        return ()

    def _unknown(
        self, down: Sequence[KnownName], states: Sequence[CutState | None], *, signer: bool = False
    ) -> list[Question]:
        """The DS and DNSKEY RRsets that a way down will probably need and that are not known.

        The anchor has keys, and nearly every top-level domain has. Below these most domains have none: their keys are
        asked for when their signatures or DS records were seen.
        """
        questions: list[Question] = []
        for ancestor, known in zip(down, states, strict=True):
            if known is None:
                if ancestor is not down[0]:
                    questions.append(Question(ancestor, _DS))
                with_keys = ancestor is down[0] or len(ancestor.labels) <= _TOP_LEVEL_LABELS
                if with_keys or (signer and ancestor is down[-1]):
                    questions.append(Question(ancestor, _DNSKEY))
            elif isinstance(known, Insecure):
                break
        return questions

    def _walk(self, name: dns.name.Name, *, signer: bool = False) -> Steps[ZoneState | Indeterminate]:
        """The zone that a name belongs to, secure or insecure; the proof is noted on the way."""
        if self._settings.negative_anchors and (negative := self._negative_anchor(name)) is not None:
            return negative
        if self._settled is not None and name is self._settled[0]:
            state = self._settled[1]
            self._note(state.proof)
            return state
        down = self._way_down(name)
        if not down:
            return Indeterminate(name)
        if len(down) - 1 > self._settings.budget.depth:
            raise OutOfBudget("depth", self._settings.budget.depth)
        states = self._zones.states(down, self._now)
        known = settled(states)
        if known is not None:
            self._note(known.proof)
            return known
        if unknown := self._unknown(down, states, signer=signer):
            yield from self._fetch(None, ahead=unknown)
        state = yield from self._go_down(down)
        self._note(state.proof)
        return state

    def _go_down(self, down: Sequence[KnownName]) -> Steps[ZoneState]:
        """From the keys of the anchor's zone, name by name, to the zone of the last one."""
        state: ZoneState = yield from self._anchored(down[0])
        for ancestor in down[1:]:
            if isinstance(state, Insecure):
                break
            cut: CutState = yield from self._cut(state, ancestor)
            if isinstance(cut, Inside):
                if cut.absent:
                    break
            else:
                state = cut
        return state

    def _negative_anchor(self, name: dns.name.Name) -> Insecure | None:
        for negative in self._settings.negative_anchors:
            if name.is_subdomain(negative.zone) and self._now < negative.until:
                step = negative_anchor_step(negative)
                self._note((step,))
                self._until = min(self._until, negative.until)
                return Insecure(zone=negative.zone, expires_at=negative.until, proof=(step,))
        return None

    def _anchored(self, zone: KnownName) -> Steps[ZoneState]:
        """The keys of a zone with a trust anchor."""
        known = self._zones.get(zone, self._now)
        if isinstance(known, Secure | Insecure):
            return known
        anchors = [anchor for anchor in self._settings.anchors if anchor.zone == zone]
        ds = [anchor.record for anchor in anchors if isinstance(anchor.record, DS)]
        keys = [anchor.record for anchor in anchors if isinstance(anchor.record, DNSKEY)]
        if not chosen_ds(ds, self._settings.algorithms) and not any(
            key.algorithm in self._settings.algorithms for key in keys
        ):
            return self._unsupported(zone, (), self._now + MAX_TTL)
        step = anchor_step(zone, [tag_of(anchor.record) for anchor in anchors])
        return (yield from self._enter(zone, ds, keys, (step,), self._now + MAX_TTL))

    def _cut(self, parent: Secure, name: KnownName) -> Steps[CutState]:
        """The state of a name directly or further below a secure zone: a zone of its own, or inside the parent."""
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
        signed = reply.answer.find(name, _DS)
        if signed is not None:
            state: CutState = yield from self._delegated(parent, name, signed)
        elif (alias := reply.answer.find(name, _CNAME)) is not None:
            # no delegation: nothing stands beside a CNAME (RFC 2181 section 10.1)
            state = yield from self._aliased(parent, alias, reply)
        else:
            state = yield from self._undelegated(parent, name, reply)
        self._zones.put(name, state)
        return state

    def _aliased(self, parent: Secure, signed: SignedRRset, reply: DNSReply) -> Steps[Inside]:
        """A name with an alias belongs to the parent; one made from a wildcard, only if the name itself is absent."""
        verified = yield from self._validated_in(signed, parent)
        checked = yield from self._expanded(signed, verified, parent, reply)
        return Inside(zone=parent.zone, expires_at=min(checked.expires_at, self._now + MAX_NEGATIVE_TTL))

    def _delegated(self, parent: Secure, name: KnownName, signed: SignedRRset) -> Steps[ZoneState]:
        """A child zone with DS records in its parent."""
        verified = yield from self._validated_in(signed, parent)
        expires_at = expires_at_of(signed, verified, self._now)
        records = [record for record in signed.rrset if isinstance(record, DS)]
        chosen = chosen_ds(records, self._settings.algorithms)
        if not chosen and any(spoilt_ds(record, self._settings.algorithms) for record in signed.rrset):
            self._note(parent.proof)
            raise bogus(f"the DS records of {name} name what is supported here, but their digests are cut or padded", 9)
        signature = signature_step(parent.zone, signed, verified.signature)
        proof = (*parent.proof, signature, ds_step(name, parent.zone, chosen, records))
        if not chosen:
            return self._unsupported(name, proof, expires_at)
        return (yield from self._enter(name, chosen, (), proof, expires_at))

    def _unsupported(self, zone: dns.name.Name, proof: tuple[ProofStep, ...], expires_at: float) -> Insecure:
        return Insecure(zone=zone, expires_at=expires_at, proof=(*proof, unsupported_step(zone)))

    def _undelegated(self, parent: Secure, name: dns.name.Name, reply: DNSReply) -> Steps[CutState]:
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
        proof = (*parent.proof, no_ds_step(name, parent.zone, denied))
        return Insecure(zone=name, expires_at=expires_at, proof=proof)

    def _undelegated_elsewhere(self, parent: Secure, name: dns.name.Name) -> Steps[CutState | None]:
        """The same by a proof in a reply to another question of this lookup, if there is one."""
        proofs = [
            reply
            for reply in self._replies.values()
            if isinstance(reply, DNSReply)
            and any(owner.is_subdomain(parent.zone) for owner, _ in reply.authority.keys(_NSEC, _NSEC3))
        ]
        for reply in proofs[:MAX_PROOFS]:
            try:
                return (yield from self._undelegated(parent, name, reply))
            except Stuck:  # that one proves nothing; the next may
                continue
        return None

    def _enter(
        self,
        zone: KnownName,
        ds: Sequence[DS],
        anchored: Sequence[DNSKEY],
        proof: tuple[ProofStep, ...],
        expires_at: float,
    ) -> Steps[ZoneState]:
        """A zone by its DNSKEY RRset, signed by a key that a DS record or an anchor names (RFC 4035 section 5.2)."""
        self._note(proof)
        reply = yield from self._reply(Question(zone, _DNSKEY))
        signed = reply.answer.find(zone, _DNSKEY)
        if signed is None:
            raise bogus(f"{zone} has no DNSKEY records, but its parent or an anchor says that it is signed", 9)
        keys = tuple(record for record in signed.rrset if isinstance(record, DNSKEY))
        entries = self._entry_keys(zone, keys, ds, anchored)
        if not entries:
            raise bogus(_no_entry_text(zone, keys, [*map(tag_of, ds), *map(tag_of, anchored)]), 9)
        yield BREATHE
        verified = verify(signed, zone, entries, self._now, self._spending)
        if isinstance(verified, Unverified):
            raise bogus(f"the keys of {zone} are not signed as they should be: {verified.detail}", verified.ede)
        step = dnskey_step(zone, keys, verified.key, verified.signature)
        until = min(expires_at, expires_at_of(signed, verified, self._now))
        usable = usable_keys(keys, self._settings.algorithms)
        state = Secure(zone=zone, keys=keys, usable=usable, expires_at=until, proof=(*proof, step))
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

    def _check(self, signed: SignedRRset, reply: DNSReply) -> Steps[Checked]:
        """The security of an RRset out of a reply. Raises Stuck when it is bogus."""
        name, rdtype = signed.rrset.name, signed.rrset.rdtype
        at = name.parent() if rdtype == _DS and name != dns.name.root else name
        signers = dict.fromkeys([each.signer for each in signed.signatures if at.is_subdomain(each.signer)])
        for signer in list(signers)[:MAX_SIGNERS]:
            state = yield from self._walk(signer, signer=True)
            if isinstance(state, Secure) and state.zone == signer:
                verified = yield from self._validated_in(signed, state)
                self._note((signature_step(signer, signed, verified.signature),))
                return (yield from self._expanded(signed, verified, state, reply))
        state = yield from self._walk(at)
        if not isinstance(state, Secure):
            ttl = ttl_of(signed)
            return Checked(security_of(state), self._now + ttl, ttl)
        raise bogus(f"{name} {type_name(rdtype)} has no signature, but its zone {state.zone} is signed", 10)

    def _expanded(self, signed: SignedRRset, verified: Verified, zone: Secure, reply: DNSReply) -> Steps[Checked]:
        """A validated RRset; one that came from a wildcard needs proof that nothing closer exists (RFC 4035 5.3.4)."""
        expires_at = expires_at_of(signed, verified, self._now)
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
        self._note((wildcard_step(zone.zone, signed.name, verified.wildcard, closer),))
        return Checked(closer.security, min(expires_at, denial_expires_at), ttl, verified.wildcard)


def settled(states: Sequence[CutState | None]) -> ZoneState | None:
    """What going down by these states comes to; None where anything has to be asked for on the way."""
    state: ZoneState | None = None
    absent = False
    for cut in states:
        if cut is None:
            return None
        if absent:
            continue
        if not isinstance(cut, Inside):
            state = cut
            if isinstance(cut, Insecure):
                break
        elif state is None or (cut.zone is not state.zone and cut.zone != state.zone):
            return None
        else:
            absent = cut.absent
    return state


def security_of(state: ZoneState | Indeterminate) -> Security:
    """The state of a zone as the security of its answers (RFC 4033 section 5)."""
    match state:
        case Secure():
            return Security.SECURE
        case Insecure():
            return Security.INSECURE
        case Indeterminate():
            return Security.INDETERMINATE


def tag_of(record: DS | DNSKEY) -> int:
    """The key tag of a key, or of the one that a DS record is about (RFC 4034 appendix B)."""
    return record.key_tag if isinstance(record, DS) else key_tag(record)


def _no_entry_text(zone: dns.name.Name, keys: Sequence[DNSKEY], named: Sequence[int]) -> str:
    """Why no key of a zone is one that its DS records or anchors name; the tag alone may be the same."""
    wanted = ", ".join(dict.fromkeys(map(str, named)))
    present = ", ".join(key_text(key) for key in keys)
    if any(tag_of(key) in named for key in keys):
        return f"the DS record or anchor for key {wanted} does not fit the key of {zone} with that tag: {present}"
    return f"{zone} should have key {wanted}, but its keys are {present}"
