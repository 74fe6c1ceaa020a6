"""From the evidence on one host to what must hold before mail may go there (RFC 7672 sections 2.2 and 6).

The demands come from several sources, in this order:

- DANE: signed TLSA records demand TLS and the certificate that they name; after a failed lookup nothing is sent to the
  host; a proven absence demands nothing.
- The operator: a rule can demand more. Only an exception, with its reason and its end, lowers what a standard demands.
- MTA-STS: in addition to DANE, and never in its place (`sts`).
- The message: REQUIRETLS adds to all of these (`requiretls`). `TLS-Required: No` waives what the recipients' domain
  asserts, and nothing of the operator's rules.

A rule `verify` is met by DANE: records that a signed MX leads to prove the server better than any authority can, and
many hosts have certificates that no public root issued. If the MX is unsigned, DANE proves little, and `verify` demands
its own certificate.

What is remembered of earlier deliveries (`by_memory`) adds to all of them, and is lifted by an exception and, unless a
rule of the operator asks for it, by `TLS-Required: No`.

An unsigned MX that leads to a host with signed TLSA records: RFC 7672 section 2.2.1 leaves the choice. Letterlock takes
DANE, which stops everybody on the path who cannot also forge DNS, and calls the result encrypted, not authenticated.
"""

import datetime as dt
from collections.abc import Sequence

from dns.rdatatype import RdataType

from letterlock.frozen import changed
from letterlock.identity.dane import usable_records
from letterlock.identity.tlsa import TLSARecord
from letterlock.mail.envelope import TlsDemand
from letterlock.policy.by_memory import with_memory
from letterlock.policy.codes import Code
from letterlock.policy.decision import (
    Audit,
    DaneAuthentication,
    Defer,
    Demander,
    Encryption,
    PinAuthentication,
    PkixAuthentication,
    Refuse,
    Requirement,
    SkipHost,
    SkipKind,
)
from letterlock.policy.evidence import DestinationEvidence, Grounds, Origin, TargetHost
from letterlock.policy.lookups import tlsa_unknown, unknown
from letterlock.policy.loops import loop
from letterlock.policy.reasons import Reason
from letterlock.policy.requiretls import with_requiretls
from letterlock.policy.sts import NO_ROOTS, server_name, with_sts
from letterlock.resolver.answer import Answer, Security
from letterlock.resolver.rdata import record_octets
from letterlock.routing.destination_rule import DestinationRule, TlsRule


def require(
    evidence: DestinationEvidence, target: TargetHost, demand: TlsDemand = TlsDemand.NONE
) -> Requirement | SkipHost | Defer | Refuse:
    """What must hold in a session with a host, or why there may be none now, for a message with this demand."""
    if skip := _unreachable(target):
        return skip
    if circle := loop(evidence, target):
        return circle
    return _with_fallback_told(target, _by_everybody(evidence, target, demand))


def _by_everybody(evidence: DestinationEvidence, target: TargetHost, demand: TlsDemand) -> Requirement | SkipHost:
    if demand is TlsDemand.TLS_REQUIRED_NO:
        alone = _by_rule_alone(evidence, target)
        rule = evidence.memory_rule
        return with_memory(evidence, target, alone) if rule is not None and not rule.lifted_by_header else alone
    if demand is TlsDemand.NONE and (lowered := _by_exception(evidence, target)):
        return lowered
    enforced = with_memory(evidence, target, _by_all_but_the_message(evidence, target))
    if isinstance(enforced, Requirement):
        enforced = changed(enforced, grounds=Grounds(destination=evidence, host=target))
    return with_requiretls(evidence, target, enforced) if demand is TlsDemand.REQUIRETLS else enforced


def _by_exception(evidence: DestinationEvidence, target: TargetHost) -> Requirement | None:
    rule = evidence.rule
    exception = rule.exception if rule else None
    if rule is None or exception is None or evidence.at >= exception.until:
        return None
    until = dt.datetime.fromtimestamp(exception.until, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    facts = (("source", rule.source), ("until", until), ("why", exception.why))
    why = Reason(code=Code.RULE_EXCEPTION, subject=target.host.name, facts=facts)
    least = Encryption.OPTIONAL if exception.allow_clear else Encryption.MANDATORY
    return _unauthenticated(target, least, (why,))


def _by_rule_alone(evidence: DestinationEvidence, target: TargetHost) -> Requirement | SkipHost:
    """What is left for a message with `TLS-Required: No`: the operator's rule.

    The header speaks of "recipient-side policy mechanisms such as MTA-STS and DANE" (RFC 8689 section 3), not of what
    the operator of this server demands. `verify` and `dane-only` are met by DANE, so for them TLSA counts as always.
    """
    why, rule = Reason(code=Code.RFC8689_4_2_2_TLS_REQUIRED_NO, subject=target.host.name), evidence.rule
    if rule is None or rule.audit or rule.tls is TlsRule.MAY or rule.lifted_by_header:
        return _unauthenticated(target, Encryption.OPTIONAL, (why,))
    if lowered := _by_exception(evidence, target):
        return lowered
    if rule.tls is TlsRule.REQUIRE_TLS:
        return _with_minimum_version(rule, _require_by_rule(rule, target, (why,), Encryption.OPTIONAL))
    return _by_dns_and_rule(changed(evidence, sts=None), target)


def _by_all_but_the_message(evidence: DestinationEvidence, target: TargetHost) -> Requirement | SkipHost:
    rule, in_audit = evidence.rule, evidence.audited
    if rule is not None and rule.audit:
        rule, in_audit = None, rule
    enforced = _by_dns_and_rule(evidence if rule is evidence.rule else changed(evidence, rule=rule), target)
    if in_audit is None or not isinstance(enforced, Requirement):
        return enforced
    audited = _by_dns_and_rule(changed(evidence, rule=in_audit), target)
    wanted = changed(audited, audits=(), fallback=None) if isinstance(audited, Requirement) else audited
    audit = Audit(what=f"the rule {in_audit.source}", by=Demander.RULE, required=wanted)
    return changed(enforced, audits=(*enforced.audits, audit))


def _by_dns_and_rule(evidence: DestinationEvidence, target: TargetHost) -> Requirement | SkipHost:
    """What DANE, the rule and MTA-STS demand together."""
    if skip := tlsa_unknown(target):
        return SkipHost(kind=SkipKind.TLSA_UNKNOWN, reasons=(skip,))
    rule, tlsa = evidence.rule, target.tlsa
    reasons = _unsigned_mx(target)
    if isinstance(tlsa, Answer) and tlsa.secure and tlsa.records:
        required = _require_by_tlsa(evidence, target, tlsa_records(tlsa), reasons)
    else:
        required = _require_by_rule(rule, target, (_why_no_dane(target), *reasons), Encryption.OPTIONAL)
    return _with_minimum_version(rule, with_sts(evidence, target, required))


def _with_minimum_version(rule: DestinationRule | None, required: Requirement | SkipHost) -> Requirement | SkipHost:
    if rule is None or rule.minimum_version is None or not isinstance(required, Requirement):
        return required
    return changed(required, minimum_version=rule.minimum_version, minimum_source=rule.minimum_source or rule.source)


def exhausted(subject: str, skipped: Sequence[SkipHost]) -> Defer | Refuse:
    """What it means that every host of a route was skipped before a connection was made.

    Refuse (5.4.4) when each of them was found to have no address; else Defer, with the reasons of all.
    """
    reasons = tuple(reason for skip in skipped for reason in skip.reasons)
    if skipped and all(skip.kind is SkipKind.NO_ADDRESS for skip in skipped):
        none = Reason(code=Code.RFC5321_5_1_NO_HOST_HAS_AN_ADDRESS, subject=subject)
        return Refuse(status="5.4.4", reasons=(none, *reasons))
    return Defer(reasons=reasons)


def tlsa_records(answer: Answer) -> tuple[TLSARecord, ...]:
    """The TLSA records of an answer as our own type, those that nobody can use included (RFC 7672 section 2.2)."""
    wanted = RdataType.TLSA
    return tuple([TLSARecord.from_rdata(record_octets(one)) for one in answer.records if one.rdtype == wanted])


def _unreachable(target: TargetHost) -> SkipHost | None:
    """Why there is no address that may be used.

    One address family that could not be found out does not matter while the other gave addresses: they are judged by
    their own security, and TLSA was asked for by it.
    """
    name = target.host.name
    if target.addresses and target.address_security not in (Security.INDETERMINATE, Security.BOGUS):
        return None
    for lookup in target.address_lookups:
        reason = unknown(
            name,
            "its address",
            lookup,
            failed=Code.RFC7672_2_1_2_ADDRESS_LOOKUP_FAILED,
            bogus=Code.RFC7672_2_1_2_ADDRESS_BOGUS,
        )
        if reason:
            return SkipHost(kind=SkipKind.ADDRESS_UNKNOWN, reasons=(reason,))
    none = Reason(code=Code.RFC5321_5_1_NO_ADDRESS, subject=name)
    return SkipHost(kind=SkipKind.NO_ADDRESS, reasons=(none,))


def _unsigned_mx(target: TargetHost) -> tuple[Reason, ...]:
    if target.host.origin is Origin.MX and not target.host.secure:
        return (Reason(code=Code.RFC7672_2_2_1_INSECURE_MX, subject=target.host.name),)
    return ()


def _why_no_dane(target: TargetHost) -> Reason:
    name = target.host.name
    if target.host.origin is Origin.LITERAL:
        return Reason(code=Code.RFC7672_2_2_LITERAL, subject=name)
    if not isinstance(target.tlsa, Answer):
        return Reason(code=Code.RFC7672_2_2_2_INSECURE_ADDRESS, subject=name)
    base = ("base", _tlsa_owner(target))
    if target.tlsa.records:
        return Reason(code=Code.RFC7672_2_2_INSECURE_TLSA, subject=name, facts=(base,))
    proof = "proven" if target.tlsa.secure else "in an unsigned zone"
    return Reason(code=Code.RFC7672_2_2_NO_TLSA, subject=name, facts=(base, ("proof", proof)))


def _tlsa_owner(target: TargetHost) -> str:
    return f"_{target.port}._tcp.{target.tlsa_base or target.host.name}"


def _require_by_tlsa(
    evidence: DestinationEvidence, target: TargetHost, records: Sequence[TLSARecord], reasons: tuple[Reason, ...]
) -> Requirement | SkipHost:
    """The host has signed TLSA records: never cleartext (RFC 7672 section 2.2.3)."""
    base, usable = ("base", _tlsa_owner(target)), usable_records(records)
    rule, name = evidence.rule, target.host.name
    if not usable:
        listed = ", ".join(one.short for one in records[:3])
        why = Reason(code=Code.RFC7672_2_2_UNUSABLE, subject=name, facts=(base, ("records", listed)))
        return _demanded_by_dane(_require_by_rule(rule, target, (why, *reasons), Encryption.MANDATORY))
    why = Reason(code=Code.RFC7672_2_2_USABLE, subject=name, facts=(("count", str(len(usable))), base))
    if reasons and rule and rule.tls in (TlsRule.VERIFY, TlsRule.DANE_ONLY):
        return _demanded_by_dane(_require_by_rule(rule, target, (why, *reasons), Encryption.MANDATORY))
    return Requirement(
        encryption=Encryption.MANDATORY,
        demanders=frozenset({Demander.DANE}),
        authentication=DaneAuthentication(
            records=usable, references=_references(evidence, target), names_secure=not reasons
        ),
        sni=server_name(target),
        fallback=None,
        reasons=(why, *reasons),
    )


def _demanded_by_dane(required: Requirement | SkipHost) -> Requirement | SkipHost:
    if isinstance(required, SkipHost):
        return required
    return changed(required, demanders=required.demanders | {Demander.DANE})


def _references(evidence: DestinationEvidence, target: TargetHost) -> tuple[str, ...]:
    """The reference identifiers for DANE-TA (RFC 7672 section 3.2.2), the TLSA base domain first.

    Signed MX: also the next-hop domain and what its CNAMEs lead to. Unsigned MX: only the MX host, by the name that
    the MX record has and by its TLSA base. No MX, or a host that a route names: also that name, when the base is what
    it expands to.
    """
    names = [target.tlsa_base or target.host.name]
    if target.host.origin is not Origin.MX or not target.host.secure:
        names.append(target.host.name)
    else:
        names.append(evidence.next_hop.domain)
        if isinstance(evidence.mx, Answer) and evidence.mx.canonical_name is not evidence.mx.question.name:
            names.append(evidence.mx.canonical_name.to_text(omit_final_dot=True).lower())
    return tuple(dict.fromkeys(names))


def _require_by_rule(
    rule: DestinationRule | None, target: TargetHost, reasons: tuple[Reason, ...], least: Encryption
) -> Requirement | SkipHost:
    """What the operator demands of a host that DANE does not vouch for; `least` is what the standard demands."""
    name, kind = target.host.name, rule.tls if rule else TlsRule.MAY
    source = ("source", rule.source if rule else "")
    if rule and kind is TlsRule.DANE_ONLY:
        skip, code = SkipKind.NO_USABLE_TLSA, Code.RFC7672_6_NO_USABLE_TLSA
        if _unsigned_mx(target):
            skip, code = SkipKind.UNSIGNED_MX, Code.RFC7672_6_INSECURE_MX
        return SkipHost(kind=skip, reasons=(Reason(code=code, subject=name, facts=(source,)), *reasons))
    if rule and kind is TlsRule.VERIFY:
        return _require_pkix(rule, target, reasons)
    if kind is TlsRule.REQUIRE_TLS:
        why = Reason(code=Code.RULE_REQUIRE_TLS, subject=name, facts=(source,))
        return _unauthenticated(target, Encryption.MANDATORY, (why, *reasons))
    return _unauthenticated(target, least, reasons)


def _unauthenticated(target: TargetHost, encryption: Encryption, reasons: tuple[Reason, ...]) -> Requirement:
    fallback = None
    if encryption is Encryption.OPTIONAL:
        why = Reason(code=Code.RFC7672_2_2_CLEARTEXT_FALLBACK, subject=target.host.name)
        fallback = Requirement(
            encryption=Encryption.NONE, authentication=None, sni=None, fallback=None, reasons=(why, *reasons)
        )
    return Requirement(
        encryption=encryption, authentication=None, sni=server_name(target), fallback=fallback, reasons=reasons
    )


def _with_fallback_told(target: TargetHost, required: Requirement | SkipHost) -> Requirement | SkipHost:
    """Tell that nothing demands TLS, once everybody who could has spoken. What is audited is so in cleartext too."""
    if not isinstance(required, Requirement) or required.encryption is not Encryption.OPTIONAL:
        return required
    why = Reason(code=Code.RFC7435_3_OPPORTUNISTIC, subject=target.host.name)
    fallback = required.fallback
    if fallback is not None and required.audits:
        fallback = changed(fallback, audits=required.audits)
    return changed(required, fallback=fallback, reasons=(*required.reasons, why))


def _require_pkix(rule: DestinationRule, target: TargetHost, reasons: tuple[Reason, ...]) -> Requirement | SkipHost:
    """The operator's fingerprints; without any, PKIX for the operator's names; without those, PKIX for the host.

    The host's name can be believed when it came by signed DNS, or when it is the next-hop domain itself (implicit MX).
    """
    host, source = target.host, ("source", rule.source)
    if rule.fingerprints:
        facts = (source, ("count", str(len(rule.fingerprints))))
        return Requirement(
            encryption=Encryption.MANDATORY,
            authentication=PinAuthentication(fingerprints=rule.fingerprints),
            sni=server_name(target),
            fallback=None,
            reasons=(Reason(code=Code.RULE_FINGERPRINT, subject=host.name, facts=facts), *reasons),
        )
    if not rule.names and host.origin is Origin.LITERAL:
        why = Reason(code=Code.RULE_VERIFY_NO_NAME, subject=host.name, facts=(source,))
        return SkipHost(kind=SkipKind.RULE, reasons=(why, *reasons))
    names = rule.names or (host.name,)
    why = Reason(code=Code.RULE_VERIFY, subject=host.name, facts=(source, ("names", ", ".join(names))))
    return Requirement(
        encryption=Encryption.MANDATORY,
        authentication=PkixAuthentication(
            references=names,
            roots=rule.trust or NO_ROOTS,
            names_secure=bool(rule.names) or host.secure or host.origin is Origin.IMPLICIT_MX,
        ),
        sni=server_name(target),
        fallback=None,
        reasons=(why, *reasons),
    )
