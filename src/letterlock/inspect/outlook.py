"""What each kind of attacker gets of the mail to one host, and what that comes to, for `letterlock check`.

Derived from the very requirement that delivery would enforce, so that nothing is promised here that is not kept there.
Everybody on the path can delay mail; what is asked here is who can read it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from letterlock.identity.tlsa import DANE_TA
from letterlock.policy.decision import (
    DEMANDED,
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
from letterlock.policy.evidence import DestinationEvidence, Origin, TargetHost
from letterlock.policy.reasons import sentence
from letterlock.policy.require import require
from letterlock.resolver.answer import Answer, Security

SYSTEM_ROOTS = "system"

Required = Requirement | SkipHost | Defer | Refuse


class Attacker(StrEnum):
    """Who attacks (RFC 3552 section 3)."""

    REMOVES_STARTTLS = "on-path-removing-starttls"
    OWN_CERTIFICATE = "on-path-own-certificate"
    FORGES_DNS = "forging-dns"
    BOUGHT_CERTIFICATE = "bought-certificate"  # on the path, with a certificate for the host from a public authority
    FIRST_CONTACT = "first-contact"  # on the path before anything is remembered, hiding the MTA-STS policy


class Reader(StrEnum):
    """Who can read the mail under an attack."""

    NOBODY = "nobody"
    ATTACKER = "attacker"


class Prospect(NamedTuple):
    """What one attacker gets, and why, for people."""

    attacker: Attacker
    who_can_read: Reader
    why: str


class Protection(StrEnum):
    """What all prospects come to."""

    PROTECTED = "protected"
    ONCE_KNOWN = "protected-once-known"  # by a policy that an attacker can hide from a sender that has not seen it yet
    UNPROTECTED = "unprotected"
    HELD = "held"  # a rule keeps mail from going there at all
    UNKNOWN = "could-not-find-out"
    NO_MAIL = "no-mail"  # there is nowhere to send it: nothing that could be protected


@dataclass(frozen=True, slots=True)
class Summary:
    """The protection of mail to a host, and one honest sentence on what an attacker could still do."""

    protection: Protection
    sentence: str


def outlook(evidence: DestinationEvidence, target: TargetHost, required: Required) -> tuple[Prospect, ...]:
    """What each attacker gets of the mail to one host, in the order of Attacker.

    What is remembered counts for nothing here: it may fade, and an operator may forget it.
    """
    evidence, required = _without_memory(evidence, target, required)
    lasting = _lasting(evidence, target, required)
    if evidence.sts is None or not isinstance(required, Requirement) or not _by_sts(required):
        return (*lasting, _first_contact(lasting, "nothing here rests on memory"))
    unknown = replace(evidence, sts=None)
    hidden = _lasting(unknown, target, require(unknown, target))
    return (*lasting, _first_contact(hidden, "DANE, or the rule, needs no memory"))


def protection(evidence: DestinationEvidence, target: TargetHost, required: Required) -> Summary:
    """Whether mail to one host is protected against everybody on the path and at the DNS.

    Protected means authenticated: by DANE from a signed MX, or by PKIX for a name that nobody could have forged. What
    only a remembered MTA-STS policy protects is ONCE_KNOWN.
    """
    evidence, required = _without_memory(evidence, target, required)
    prospects = {one.attacker: one for one in outlook(evidence, target, required)}
    if not isinstance(required, Requirement):
        by_rule = isinstance(required, SkipHost) and required.kind in DEMANDED
        why = sentence(required.reasons[0]) if required.reasons else "no reason given"
        return Summary(Protection.HELD if by_rule else Protection.UNKNOWN, f"nothing is sent there: {why}")
    for attacker in ON_PATH_OR_AT_DNS:
        if prospects[attacker].who_can_read is Reader.ATTACKER:
            return Summary(Protection.UNPROTECTED, _DANGERS[attacker])
    if prospects[Attacker.FIRST_CONTACT].who_can_read is Reader.ATTACKER:
        return Summary(Protection.ONCE_KNOWN, _DANGERS[Attacker.FIRST_CONTACT])
    if prospects[Attacker.BOUGHT_CERTIFICATE].who_can_read is Reader.ATTACKER:
        return Summary(Protection.PROTECTED, _DANGERS[Attacker.BOUGHT_CERTIFICATE])
    return Summary(Protection.PROTECTED, "an attacker on the path can delay the mail but not read it")


def but(promised: Summary, weaknesses: Iterable[str]) -> Summary:
    """The same, with what its sessions lack although they are protected; each in a sentence, named once."""
    lacks = "; ".join(dict.fromkeys(weaknesses))
    if not lacks or promised.protection not in (Protection.PROTECTED, Protection.ONCE_KNOWN):
        return promised
    return replace(promised, sentence=f"{promised.sentence}. But {lacks}")


def unseen(promised: Summary, why: str) -> Summary:
    """The summary of a host that could not be spoken to: what is promised for it was neither met nor broken."""
    said = f"the server could not be reached ({why})"
    if promised.protection is Protection.UNPROTECTED:
        return Summary(Protection.UNKNOWN, f"{said}; going by DNS alone, {promised.sentence}")
    return Summary(Protection.UNKNOWN, said)


def weakest(summaries: Iterable[Summary]) -> Summary:
    """The protection of a destination from those of its hosts: an attacker picks the weakest that mail would go to.

    Hosts that nothing is sent to do not weaken a destination, but if there are only such hosts, it is not protected.
    """
    by_weakness = (
        Protection.UNPROTECTED,
        Protection.ONCE_KNOWN,
        Protection.PROTECTED,
        Protection.UNKNOWN,
        Protection.HELD,
    )
    nothing = Summary(Protection.UNKNOWN, "there is no host to send to")
    return min(summaries, key=lambda summary: by_weakness.index(summary.protection), default=nothing)


def _without_memory(
    evidence: DestinationEvidence, target: TargetHost, required: Required
) -> tuple[DestinationEvidence, Required]:
    if evidence.memory is None:
        return evidence, required
    evidence = replace(evidence, memory=None)
    return evidence, require(evidence, target)


ON_PATH_OR_AT_DNS = (Attacker.REMOVES_STARTTLS, Attacker.OWN_CERTIFICATE, Attacker.FORGES_DNS)


def _lasting(evidence: DestinationEvidence, target: TargetHost, required: Required) -> tuple[Prospect, ...]:
    """What everybody gets who comes after the first contact."""
    if isinstance(required, Requirement):
        on_path = (_removing_starttls(required), _with_own_certificate(required))
        bought = _with_bought_certificate(required)
    else:
        held = "held: nothing is sent there"
        on_path = (
            Prospect(Attacker.REMOVES_STARTTLS, Reader.NOBODY, held),
            Prospect(Attacker.OWN_CERTIFICATE, Reader.NOBODY, held),
        )
        bought = Prospect(Attacker.BOUGHT_CERTIFICATE, Reader.NOBODY, held)
    exposed = any(prospect.who_can_read is Reader.ATTACKER for prospect in on_path)
    if isinstance(required, Requirement) and _by_sts(required):
        why = "held: the MTA-STS policy says which hosts are the domain's"
        forging = Prospect(Attacker.FORGES_DNS, Reader.NOBODY, why)
    else:
        forging = _forging_dns(evidence, target, required, exposed=exposed)
    return (*on_path, forging, bought)


def _first_contact(hidden: tuple[Prospect, ...], safe: str) -> Prospect:
    """`hidden`: the prospects of those from whom the policy is hidden; `safe`: why it may not matter."""
    read = next(
        (one for one in hidden if one.attacker in ON_PATH_OR_AT_DNS and one.who_can_read is Reader.ATTACKER), None
    )
    if read is None:
        return Prospect(Attacker.FIRST_CONTACT, Reader.NOBODY, safe)
    return Prospect(
        Attacker.FIRST_CONTACT, Reader.ATTACKER, f"a sender that has never seen the policy is not protected: {read.why}"
    )


def _by_sts(requirement: Requirement) -> bool:
    demands = (requirement.authentication, requirement.also)
    return any(isinstance(each, PkixAuthentication) and each.demander is Demander.MTA_STS for each in demands)


_DANGERS = {
    Attacker.REMOVES_STARTTLS: "an attacker on the path can remove STARTTLS and read everything",
    Attacker.OWN_CERTIFICATE: "an attacker on the path can answer with another certificate and read everything",
    Attacker.FORGES_DNS: "an attacker who forges the unsigned DNS answers can direct the mail to another host",
    Attacker.FIRST_CONTACT: (
        "an attacker who hides the MTA-STS policy at first contact can read the mail; later on they can delay it, and "
        "need a certificate that a public authority wrongly issued"
    ),
    Attacker.BOUGHT_CERTIFICATE: (
        "an attacker on the path can delay the mail; to read it they need a certificate that a public authority "
        "wrongly issued"
    ),
}


_CHOOSES_THE_HOST = "the MX records are not signed: an attacker who forges them chooses the host"
_FORGERY_DETECTED = "forged answers are detected, or point to a server that cannot prove its identity"


def _removing_starttls(requirement: Requirement) -> Prospect:
    if requirement.encryption is Encryption.MANDATORY:
        return Prospect(Attacker.REMOVES_STARTTLS, Reader.NOBODY, "held and tried again: TLS is demanded")
    return Prospect(Attacker.REMOVES_STARTTLS, Reader.ATTACKER, "sent in cleartext: nothing demands TLS")


def _with_own_certificate(requirement: Requirement) -> Prospect:
    match requirement.authentication:
        case DaneAuthentication():
            return Prospect(Attacker.OWN_CERTIFICATE, Reader.NOBODY, "held: it matches no TLSA record")
        case PkixAuthentication():
            return Prospect(Attacker.OWN_CERTIFICATE, Reader.NOBODY, "held: no trusted authority issued it")
        case PinAuthentication():
            return Prospect(Attacker.OWN_CERTIFICATE, Reader.NOBODY, "held: it has none of the fingerprints")
    return Prospect(Attacker.OWN_CERTIFICATE, Reader.ATTACKER, "any certificate is accepted")


def _with_bought_certificate(requirement: Requirement) -> Prospect:
    attacker = Attacker.BOUGHT_CERTIFICATE
    match requirement.authentication:
        case DaneAuthentication(records=records):
            if any(record.usage == DANE_TA for record in records):
                return Prospect(attacker, Reader.NOBODY, "held, unless the authority in the TLSA record issued it")
            return Prospect(attacker, Reader.NOBODY, "held: it matches no TLSA record")
        case PkixAuthentication(roots=roots, demander=demander):
            if roots.name != SYSTEM_ROOTS and demander is Demander.RULE:
                return Prospect(attacker, Reader.NOBODY, f"held: only {roots.name} is trusted")
            return Prospect(attacker, Reader.ATTACKER, "public authorities are trusted")
        case PinAuthentication():
            return Prospect(attacker, Reader.NOBODY, "held: it has none of the fingerprints")
    return Prospect(attacker, Reader.ATTACKER, "any certificate is accepted")


def _forging_dns(evidence: DestinationEvidence, target: TargetHost, required: Required, *, exposed: bool) -> Prospect:
    """`exposed`: somebody on the path could read the mail, and so could an attacker who forges the host's addresses.

    What holds against a forged MX is what would be demanded of any host: a rule counts where it is enforced.
    """
    attacker, rule = Attacker.FORGES_DNS, evidence.rule
    if isinstance(evidence.mx, Answer) and not evidence.mx.secure:
        if isinstance(required, SkipHost) and required.kind is SkipKind.UNSIGNED_MX:
            return Prospect(attacker, Reader.NOBODY, "held: the rule demands a signed MX")
        proven = required.authentication if isinstance(required, Requirement) else None
        if isinstance(proven, PinAuthentication):
            return Prospect(attacker, Reader.NOBODY, "held: it has none of the fingerprints")
        if isinstance(proven, PkixAuthentication) and proven.demander is Demander.RULE and rule and rule.names:
            return Prospect(attacker, Reader.NOBODY, "held: the certificate must have a name that the rule gives")
        return Prospect(attacker, Reader.ATTACKER, _CHOOSES_THE_HOST)
    if exposed and target.host.origin is not Origin.LITERAL and target.address_security is not Security.SECURE:
        return Prospect(attacker, Reader.ATTACKER, "the addresses are not signed, and nothing proves the server")
    return Prospect(attacker, Reader.NOBODY, _FORGERY_DETECTED)
