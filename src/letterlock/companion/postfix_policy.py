"""One TLS policy of Postfix from what must hold for each host of a destination.

Postfix asks once for a destination and applies the answer to each of its hosts, while a Requirement holds for one host.
So the answer has to demand of every host at least what our own delivery would. `dane-only` does where each host has
usable TLSA records behind a signed MX record: Postfix then accepts nothing without them. Where DANE covers only some,
an MTA-STS policy in force comes first: `dane` would let Postfix send in clear to the hosts without records, which an
attacker can make the only ones that answer, or invent. `dane` is right where nothing more is demanded of those.
Nothing here looks at a clock or asks anybody.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

from letterlock.identity.tlsa import DANE_EE, FULL, TLSARecord
from letterlock.mtasts.policy import Mode, StsPolicy, matches
from letterlock.mtasts.sts_evidence import Known
from letterlock.policy.decision import (
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
from letterlock.policy.evidence import DestinationEvidence, Route, TargetHost
from letterlock.policy.reasons import Reason, sentence
from letterlock.routing.destination_rule import DestinationRule, TlsRule
from letterlock.socketmap.tls_policy import StsAttributes, TlsLevel, TlsPolicy

_SHA256 = 1  # matching type of RFC 6698 section 2.1.3; smtp_tls_fingerprint_digest = sha256 is the same digest
_SYSTEM = "system"  # the name of the trust roots that smtp_tls_CAfile stands for
_OLDEST_VERSION = "TLSv1.2"  # as in our own deliveries: RFC 8996 section 4 forbids older ones
_HOST = "hostname"  # Postfix' word for the name of the host that it connects to

Required = Requirement | SkipHost | Defer | Refuse


@dataclass(frozen=True, slots=True)
class HostDemand:
    """A host of the destination, and what must hold before mail may go there."""

    target: TargetHost
    required: Required


@dataclass(frozen=True, slots=True)
class NotDemanded:
    """Nobody demands anything: Postfix goes by its own smtp_tls_security_level."""


@dataclass(frozen=True, slots=True)
class NotFoundOut:
    """What must hold is not known now, or Postfix has no level for it; `why` is for its log."""

    why: str


PolicyAnswer = TlsPolicy | NotDemanded | NotFoundOut


class _Need(Enum):
    """What one host needs, as far as Postfix' levels can tell it apart."""

    DANE = auto()  # usable TLSA records behind a signed MX record
    HALF_DANE = auto()  # the same behind an unsigned one
    UNUSABLE_TLSA = auto()  # records that only demand encryption (RFC 7672 section 2.2)
    DANE_DEMANDED = auto()  # a rule demands DANE, and the host has none
    STS = auto()
    PKIX = auto()
    PIN = auto()
    ENCRYPT = auto()
    NOTHING = auto()
    TLSA_UNKNOWN = auto()
    ADDRESS_UNKNOWN = auto()
    OTHER = auto()  # a demand that Postfix has no level for


_SKIPPED: dict[SkipKind, _Need | None] = {
    SkipKind.NO_ADDRESS: None,  # Postfix cannot connect to these either
    SkipKind.LOOP: None,
    SkipKind.MTA_STS: None,  # the policy does not name them, and `match` keeps them out
    SkipKind.ADDRESS_UNKNOWN: _Need.ADDRESS_UNKNOWN,
    SkipKind.TLSA_UNKNOWN: _Need.TLSA_UNKNOWN,
    SkipKind.UNSIGNED_MX: _Need.DANE_DEMANDED,
    SkipKind.NO_USABLE_TLSA: _Need.DANE_DEMANDED,
}
_BY_RULE = {_Need.ENCRYPT, _Need.PKIX, _Need.PIN}
_UNKNOWN = {_Need.TLSA_UNKNOWN, _Need.ADDRESS_UNKNOWN}
_BY_DANE = {_Need.DANE, _Need.HALF_DANE, _Need.UNUSABLE_TLSA}


def policy_for(
    evidence: DestinationEvidence,
    routed: Route | Defer | Refuse,
    hosts: Sequence[HostDemand],
    *,
    fingerprints: bool = False,
) -> PolicyAnswer:
    """The policy that demands of every host at least what our own deliveries would.

    `fingerprints`: carry the digests of TLSA records in the answer, for a Postfix that cannot look them up.
    """
    rule = evidence.rule if evidence.rule is None or not evidence.rule.audit else None
    if rule is not None and rule.exception is not None and evidence.at < rule.exception.until:
        return _with_version(TlsPolicy(level=TlsLevel.MAY if rule.exception.allow_clear else TlsLevel.ENCRYPT), None)
    if isinstance(routed, Defer):
        return NotFoundOut(_first(routed.reasons))
    if isinstance(routed, Refuse) or not hosts:
        return _with_version(_without_hosts(rule), rule)
    return _with_version(_combined(evidence, rule, hosts, fingerprints=fingerprints), rule)


def _combined(
    evidence: DestinationEvidence, rule: DestinationRule | None, hosts: Sequence[HostDemand], *, fingerprints: bool
) -> PolicyAnswer:
    needs = {need for each in hosts if (need := _need(each.required)) is not None}
    known = needs - _UNKNOWN
    enforced = _enforced(evidence)
    if _Need.DANE_DEMANDED in needs or known == {_Need.DANE}:
        return (_digests(hosts) if fingerprints and needs == known else None) or _dane_only()
    if _Need.TLSA_UNKNOWN in needs or _Need.OTHER in needs:
        return NotFoundOut(_why(hosts, {_Need.TLSA_UNKNOWN, _Need.OTHER}))
    if enforced is not None:
        return _by_sts(evidence.next_hop.domain, enforced, rule, known)
    if _Need.ADDRESS_UNKNOWN in needs:
        return NotFoundOut(_why(hosts, _UNKNOWN))
    if not needs:
        return _without_hosts(rule)
    if rule is not None and needs & _BY_RULE:
        return _dane_only() if _Need.DANE in needs else _by_rule(rule)
    if needs <= {_Need.DANE, _Need.HALF_DANE} and fingerprints and (digests := _digests(hosts)):
        return digests
    if needs == {_Need.UNUSABLE_TLSA}:
        return TlsPolicy(level=TlsLevel.ENCRYPT)
    return TlsPolicy(level=TlsLevel.DANE) if needs & _BY_DANE else NotDemanded()


def _need(required: Required) -> _Need | None:
    """None for a host that Postfix will not or may not send to."""
    if isinstance(required, SkipHost):
        return _SKIPPED.get(required.kind, _Need.OTHER)
    if not isinstance(required, Requirement):
        return _Need.OTHER
    match required.authentication:
        case DaneAuthentication(names_secure=signed):
            return _Need.DANE if signed else _Need.HALF_DANE
        case PkixAuthentication(demander=by):
            return _Need.STS if by is Demander.MTA_STS else _Need.PKIX
        case PinAuthentication():
            return _Need.PIN
    if required.encryption is not Encryption.MANDATORY:
        return _Need.NOTHING
    return _Need.UNUSABLE_TLSA if required.demanders == {Demander.DANE} else _Need.ENCRYPT


def _dane_only() -> TlsPolicy:
    return TlsPolicy(level=TlsLevel.DANE_ONLY)


def _enforced(evidence: DestinationEvidence) -> StsPolicy | None:
    sts = evidence.sts
    return sts.policy if isinstance(sts, Known) and sts.policy.mode is Mode.ENFORCE else None


def _by_sts(domain: str, sts: StsPolicy, rule: DestinationRule | None, needs: set[_Need]) -> PolicyAnswer:
    """`secure`, for names that the policy allows; and where a rule names others, for those that both allow."""
    names = tuple(f".{each[2:]}" if each.startswith("*.") else each for each in sts.mx)
    if rule is not None and needs & {_Need.PKIX, _Need.PIN}:
        allowed = tuple(name for name in rule.names if any(matches(pattern, name) for pattern in sts.mx))
        own_roots = rule.trust is not None and rule.trust.name != _SYSTEM
        if rule.fingerprints or own_roots or (rule.names and not allowed):
            return NotFoundOut(f"{rule.source} and the MTA-STS policy demand different certificates: {_RELAY}")
        names = allowed or names
    attributes = StsAttributes(domain=domain, mode=sts.mode.value, mx=sts.mx, max_age_seconds=sts.max_age_seconds)
    return TlsPolicy(level=TlsLevel.SECURE, match=names, servername=_HOST, sts=attributes)


_RELAY = "Postfix cannot check both, the relay door can"


def _by_rule(rule: DestinationRule) -> PolicyAnswer:
    if rule.tls is TlsRule.REQUIRE_TLS:
        return TlsPolicy(level=TlsLevel.ENCRYPT)
    if rule.fingerprints:
        return TlsPolicy(level=TlsLevel.FINGERPRINT, match=tuple(each.hex(":") for each in rule.fingerprints))
    own_roots = rule.trust is not None and rule.trust.name != _SYSTEM
    return TlsPolicy(
        level=TlsLevel.SECURE if rule.names else TlsLevel.VERIFY,
        match=rule.names or (_HOST,),
        servername=_HOST,
        tafile=rule.trust.name if own_roots and rule.trust is not None else None,
    )


def _without_hosts(rule: DestinationRule | None) -> PolicyAnswer:
    """Nobody takes mail there, which Postfix finds out by itself; a rule holds all the same."""
    match rule.tls if rule is not None else TlsRule.MAY:
        case TlsRule.DANE_ONLY:
            return _dane_only()
        case TlsRule.MAY:
            return NotDemanded()
    return NotDemanded() if rule is None else _by_rule(rule)


def _with_version(answer: PolicyAnswer, rule: DestinationRule | None) -> PolicyAnswer:
    """The policy with the oldest TLS version that may be used: Postfix' own default allows TLS 1.0 and 1.1 (RFC 8996).

    Where cleartext may be used as well, anything that encrypts is better, and Postfix goes by its own setting.
    """
    if not isinstance(answer, TlsPolicy) or answer.level is TlsLevel.MAY:
        return answer
    demanded = rule.minimum_version if rule is not None else None
    return replace(answer, minimum_version=demanded or _OLDEST_VERSION)


def _digests(hosts: Sequence[HostDemand]) -> TlsPolicy | None:
    """The digests of all DANE-EE records, if each host that Postfix may use has one that Postfix can compare."""
    found: dict[str, None] = {}
    for each in hosts:
        if _need(each.required) is None:
            continue
        required = each.required
        wanted = required.authentication if isinstance(required, Requirement) else None
        digests = _of_host(wanted.records) if isinstance(wanted, DaneAuthentication) else ()
        if not digests:
            return None
        found |= dict.fromkeys(digests)
    return TlsPolicy(level=TlsLevel.FINGERPRINT, match=tuple(found), servername=_HOST) if found else None


def _of_host(records: Iterable[TLSARecord]) -> tuple[str, ...]:
    """SHA-256 digests of certificates or keys; a record that holds one in full is digested here."""
    return tuple(
        (one.data if one.matching_type == _SHA256 else hashlib.sha256(one.data).digest()).hex(":")
        for one in records
        if one.usage == DANE_EE and one.matching_type in (FULL, _SHA256)
    )


def _why(hosts: Sequence[HostDemand], needs: set[_Need]) -> str:
    for each in hosts:
        if _need(each.required) in needs and not isinstance(each.required, Requirement):
            return f"{each.target.host.name}: {_first(each.required.reasons)}"
    return "the demand cannot be put into a policy of Postfix"


def _first(reasons: Sequence[Reason]) -> str:
    return sentence(reasons[0]) if reasons else "could not find out"
