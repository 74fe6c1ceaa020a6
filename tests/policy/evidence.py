"""Evidence for tests, built in one line each; defaults are the good case: everything signed, one usable record."""

import hashlib
from collections.abc import Sequence

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype

from letterlock.identity.handshake import Completed, HandshakeFailed
from letterlock.identity.trust import TrustRoots
from letterlock.mail.replies import Reply
from letterlock.policy.decision import Requirement, SkipHost
from letterlock.policy.evidence import DestinationEvidence, MxHost, Origin, SessionEvidence, StartTls, TargetHost
from letterlock.policy.require import require
from letterlock.resolver.answer import Absence, AliasLink, Answer, FailureKind, LookupFailure, Question, Security
from letterlock.routing.destination_rule import DestinationRule, TlsRule
from letterlock.routing.routes import NextHop
from tests.certificates import authority

SECURE, INSECURE, INDETERMINATE = Security.SECURE, Security.INSECURE, Security.INDETERMINATE
NOW = 1_800_000_000.0
DOMAIN, HOST = "example.org", "mx.example.org"
ROOT = authority()
LEAF = ROOT.leaf(HOST)
ROOTS = TrustRoots("own.pem", (ROOT.der,))
GOOD_TLSA = "3 1 1 " + hashlib.sha256(LEAF.spki).hexdigest()
TA_TLSA = "2 0 1 " + hashlib.sha256(ROOT.der).hexdigest()
OTHER_TLSA = "3 1 1 " + "ab" * 32
UNUSABLE_TLSA = "0 0 1 " + "ab" * 32


def question(name: str, rdtype: str) -> Question:
    return Question(dns.name.from_text(name), dns.rdatatype.from_text(rdtype))


def answer(
    name: str,
    rdtype: str,
    *records: str,
    security: Security = SECURE,
    absence: Absence = Absence.NODATA,
    aliases: Sequence[tuple[str, Security]] = (),
) -> Answer:
    """An answer with these records, or an absence when there are none; `aliases` are targets with their security."""
    asked = question(name, rdtype)
    links, owner = [], asked.name
    for target, link_security in aliases:
        end = dns.name.from_text(target)
        links.append(AliasLink(owner, end, dns.rdatatype.CNAME, link_security))
        owner = end
    return Answer(
        question=asked,
        canonical_name=owner,
        records=tuple(dns.rdata.from_text(dns.rdataclass.IN, asked.rdtype, text) for text in records),
        absence=None if records else absence,
        security=security,
        expires_at=NOW + 300,
        ttl=300,
        aliases=tuple(links),
    )


def failure(name: str, rdtype: str, kind: FailureKind = FailureKind.SERVFAIL) -> LookupFailure:
    return LookupFailure(question=question(name, rdtype), kind=kind, detail="no luck")


def rule(
    tls: TlsRule = TlsRule.MAY, names: tuple[str, ...] = (), trust: TrustRoots | None = ROOTS, domain: str = DOMAIN
) -> DestinationRule:
    return DestinationRule(domain=domain, tls=tls, source="letterlock.toml:7", names=names, trust=trust)


def destination(
    *mx: str,
    security: Security = SECURE,
    absence: Absence = Absence.NODATA,
    demand: DestinationRule | None = None,
    aliases: Sequence[tuple[str, Security]] = (),
) -> DestinationEvidence:
    """A destination with these MX records (none: the absence)."""
    found = answer(DOMAIN, "MX", *mx, security=security, absence=absence, aliases=aliases)
    return DestinationEvidence(next_hop=NextHop(DOMAIN), mx=found, rule=demand)


def target(
    *tlsa: str,
    origin: Origin = Origin.MX,
    mx_secure: bool = True,
    name: str = HOST,
    addresses: Sequence[str] = ("192.0.2.1",),
    address_security: Security | None = SECURE,
    base: str | None = HOST,
    answered: Answer | LookupFailure | None = None,
    lookups: Sequence[Answer | LookupFailure] = (),
    port: int = 25,
) -> TargetHost:
    """A host whose TLSA answer has these records (none: proven absence), unless `base` is None or `answered` given."""
    found = answered or (answer(f"_{port}._tcp.{base}", "TLSA", *tlsa) if base else None)
    return TargetHost(
        host=MxHost(name=name, preference=10, origin=origin, secure=mx_secure),
        port=port,
        canonical_name=name,
        addresses=tuple(addresses),
        address_lookups=tuple(lookups),
        address_security=address_security if addresses else None,
        tlsa_base=base,
        tlsa=found,
    )


def required(host: TargetHost, evidence: DestinationEvidence | None = None) -> Requirement:
    """What is required of a host; it must not be skipped."""
    found = require(evidence or destination(f"10 {HOST}."), host)
    assert isinstance(found, Requirement), found
    return found


def skipped(host: TargetHost, evidence: DestinationEvidence | None = None) -> str:
    """The code of the reason for which a host is skipped."""
    found = require(evidence or destination(f"10 {HOST}."), host)
    assert isinstance(found, SkipHost), found
    return found.reasons[0].code


def tls(*chain: bytes) -> Completed:
    return Completed(version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384", group="X25519", sni=HOST, chain=chain)


def session(
    starttls: StartTls = StartTls.OFFERED,
    handshake: Completed | HandshakeFailed | None = None,
    refusal: Reply | None = None,
) -> SessionEvidence:
    return SessionEvidence(address="192.0.2.1", port=25, starttls=starttls, refusal=refusal, handshake=handshake)
