"""Advice for the owner of a domain, most valuable step first, for `letterlock check`.

Repairs come first, because faults cost mail today, from every sender that checks. Then comes protection against every
attacker on the path or forging DNS (DNSSEC, then DANE), then protection once known (MTA-STS), then the reporting of
failures (TLS reports). Each piece of advice includes the records to publish, as far as they can be known from outside.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from letterlock.identity.certificates import InvalidCertificate, describe
from letterlock.identity.dane import usable_records
from letterlock.identity.strength import SessionStrength, Weakness
from letterlock.mtasts.policy import Mode
from letterlock.mtasts.sts_evidence import Absent, Known, PolicyUnavailable, StsEvidence
from letterlock.policy.decision import Defer, Refuse, Requirement, SkipHost, SkipKind
from letterlock.policy.evidence import DestinationEvidence, Origin, TargetHost
from letterlock.policy.reasons import Finding, Reason, finding, sentence
from letterlock.policy.require import tlsa_records
from letterlock.resolver.answer import Answer, FailureKind, LookupFailure, Security
from letterlock.tlsrpt import InvalidTLSRPTRecord, NoTLSRPTRecord, ReportAddresses

SHORT_MAX_AGE_SECONDS = 7 * 86_400
"""A policy that holds for less can be waited out by an attacker who keeps it from being renewed (RFC 8461 10.2)."""
# Chosen: RFC 8461 section 3.2 wants "weeks or greater"; the largest senders publish three months.
ADVISED_MAX_AGE_SECONDS = 90 * 86_400
_MAX_KEYS = 4  # chosen: more lines to publish confuse

Reporting = ReportAddresses | NoTLSRPTRecord | InvalidTLSRPTRecord | LookupFailure

_NO_STARTTLS = (Finding.STARTTLS_MISSING, Finding.IN_CLEAR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """One thing to do. `what` is an order, `why` what it is worth; `publish` the lines of a zone file or a policy."""

    kind: str
    subject: str
    what: str
    why: str
    publish: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenHost:
    """One host as it was looked at: what is demanded of it, what its sessions came to, the chains that it showed.

    `strengths` are those of its TLS sessions; `broken` says how handshakes failed, where any did.
    """

    target: TargetHost
    required: Requirement | SkipHost | Defer | Refuse
    told: tuple[Reason, ...] = ()
    chains: tuple[tuple[bytes, ...], ...] = ()
    strengths: tuple[SessionStrength, ...] = ()
    broken: tuple[str, ...] = ()

    @property
    def without_tls(self) -> bool:
        """Whether a session showed that it has no TLS that works: then nothing that demands TLS may be published."""
        return bool(self.broken) or any(finding(each) in _NO_STARTTLS for each in self.told)


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyedDestination:
    """A destination as it was looked at; without `hosts` there is no route to it."""

    evidence: DestinationEvidence
    hosts: tuple[SeenHost, ...]
    reporting: Reporting | None = None


def advise(seen: SurveyedDestination) -> tuple[Advice, ...]:
    """What to do next, the most worthwhile first; empty when nothing is left to be done.

    A domain that says it takes no mail (null MX), or that does not exist, gets no advice but to sign what it says.
    """
    domain, mx = seen.evidence.next_hop.domain, seen.evidence.mx
    if mx is None:
        return ()
    if isinstance(mx, LookupFailure):
        return (_fix_mx(domain, mx),)
    hosts = tuple(host for host in seen.hosts if host.target.host.origin is not Origin.LITERAL)
    if not seen.hosts:
        return ()
    if all(_has_no_address(host) for host in seen.hosts):
        return tuple(_without_addresses(domain, hosts))
    found = (
        *_fix_hosts(hosts),
        *_fix_sts(domain, seen.evidence.sts, hosts),
        *_strengthen(hosts),
        *_sign(domain, mx, hosts),
        *_publish_tlsa(domain, hosts),
        *_better_sts(domain, seen.evidence.sts, hosts),
        *_ask_for_reports(domain, seen.reporting),
    )
    return tuple(dict.fromkeys(found))


# --- what is broken --------------------------------------------------------------------------------------------------


def _fix_resolver(detail: str) -> Advice:
    return Advice(
        kind="fix-resolver",
        subject="the DNS resolver",
        what=f"check the DNS resolver that this machine uses ({detail})",
        why="it does not answer, so this says nothing about the domain",
    )


def _fix_mx(domain: str, failed: LookupFailure) -> Advice:
    if failed.kind is FailureKind.NO_UPSTREAM:
        return _fix_resolver(failed.detail)
    return Advice(
        kind="fix-mx-lookup",
        subject=domain,
        what=f"fix the DNS of {domain}: its MX lookup fails ({failed.kind}: {failed.detail})",
        why="senders that validate DNSSEC cannot deliver to it",
    )


def _no_upstream(lookup: Answer | LookupFailure | None) -> TypeGuard[LookupFailure]:
    return isinstance(lookup, LookupFailure) and lookup.kind is FailureKind.NO_UPSTREAM


def _fix_hosts(hosts: Iterable[SeenHost]) -> Iterator[Advice]:
    for host in hosts:
        yield from _fix_lookups(host)
        yield from _fix_starttls(host)
        yield from _fix_certificate(host)


def _fix_lookups(host: SeenHost) -> Iterator[Advice]:
    name, target = host.target.host.name, host.target
    silent = next((each.detail for each in (*target.address_lookups, target.tlsa) if _no_upstream(each)), None)
    if isinstance(host.required, SkipHost) and silent is not None:
        yield _fix_resolver(silent)
    elif isinstance(target.tlsa, LookupFailure):
        yield Advice(
            kind="fix-tlsa-lookup",
            subject=name,
            what=f"fix the TLSA lookup of {name} ({target.tlsa.kind}: {target.tlsa.detail})",
            why="the host receives no mail from senders that check DANE",
        )
    elif isinstance(host.required, SkipHost) and host.required.kind is SkipKind.ADDRESS_UNKNOWN:
        yield Advice(
            kind="fix-address-lookup",
            subject=name,
            what=f"fix the DNS of {name}: {sentence(host.required.reasons[0])}",
            why="the host receives no mail from senders that validate DNSSEC",
        )
    elif _has_no_address(host):
        yield _give_address(name)


def _fix_starttls(host: SeenHost) -> Iterator[Advice]:
    name, found = host.target.host.name, {finding(reason) for reason in host.told}
    if Finding.STARTTLS_MISSING in found:
        yield Advice(
            kind="offer-starttls",
            subject=name,
            what=f"offer STARTTLS at {name}: what is published for it demands TLS",
            why="senders that check it deliver nothing. If it does offer STARTTLS, something on the path removes it",
        )
    elif Finding.IN_CLEAR in found:
        yield Advice(
            kind="offer-starttls",
            subject=name,
            what=f"offer STARTTLS at {name}",
            why="mail to it goes out in cleartext: everybody on the path can read it without an active attack",
        )
    for detail in host.broken[:1]:
        yield Advice(
            kind="fix-tls",
            subject=name,
            what=f"make TLS work at {name}, with version 1.2 or later: the handshake failed ({detail})",
            why="senders that demand TLS deliver nothing, and all others send in cleartext",
        )


def _fix_certificate(host: SeenHost) -> Iterator[Advice]:
    name = host.target.host.name
    if any(finding(reason) is Finding.DANE_MISMATCH for reason in host.told):
        yield Advice(
            kind="fix-tlsa",
            subject=name,
            what=f"make the TLSA records of {name} match its certificate",
            why="the host receives no mail from senders that check DANE. Compare with the key on the server itself "
            "first: an attacker may have shown this one",
            publish=_tlsa_lines(host),
        )
    for reason in host.told:
        if finding(reason) is Finding.DANE_CHAIN:
            yield Advice(
                kind="fix-dane-ta-certificate",
                subject=name,
                what=f"give {name} a certificate that its TLSA record vouches for: {sentence(reason)}",
                why="the host receives no mail from senders that check DANE",
            )


def _has_no_address(host: SeenHost) -> bool:
    return isinstance(host.required, SkipHost) and host.required.kind is SkipKind.NO_ADDRESS


def _give_address(name: str) -> Advice:
    return Advice(
        kind="give-address",
        subject=name,
        what=f"give {name} an address, or remove it from the MX records",
        why="no sender can reach it",
    )


def _without_addresses(domain: str, hosts: Sequence[SeenHost]) -> Iterator[Advice]:
    """No mail can be sent there: either that is meant, and can be said, or an address is missing."""
    yield from (_give_address(host.target.host.name) for host in hosts if host.target.host.origin is Origin.MX)
    yield Advice(
        kind="publish-null-mx",
        subject=domain,
        what=f"publish a null MX record for {domain} if it should accept no mail",
        why="senders then return misaddressed mail at once (RFC 7505)",
        publish=(f"{domain}. IN MX 0 .",),
    )


def _fix_sts(domain: str, sts: StsEvidence | None, hosts: Iterable[SeenHost]) -> Iterator[Advice]:
    """A policy that cannot be had, does not name a host, or demands a certificate that a host does not have."""
    trouble = _sts_trouble(sts)
    if trouble:
        yield Advice(
            kind="fix-mta-sts",
            subject=domain,
            what=f"fix the MTA-STS policy of {domain}: {trouble}",
            why="it does not protect senders that have not seen it before; if it is correct, something blocks it",
        )
    if not isinstance(sts, Known) or sts.policy.mode is Mode.NONE:
        return
    if sts.policy.oddities:
        yield Advice(
            kind="fix-mta-sts-text",
            subject=domain,
            what=f"correct the text of the MTA-STS policy of {domain}: {'; '.join(sts.policy.oddities)}",
            why="strict senders treat such a text as no policy at all (RFC 8461 section 3.2)",
        )
    for host in hosts:
        name = host.target.host.name
        if not sts.policy.names(name):
            yield Advice(
                kind="name-host-in-mta-sts",
                subject=name,
                what=f"add {name} to the MTA-STS policy of {domain}, and give its TXT record a new id",
                why="senders that follow the policy do not deliver there",
                publish=(f"mx: {name}",),
            )
        for reason in host.told:
            if finding(reason) is Finding.PUBLIC_CHAIN:
                yield Advice(
                    kind="fix-certificate",
                    subject=name,
                    what=f"give {name} a certificate of a public authority for its name: {sentence(reason)}",
                    why=f"the MTA-STS policy of {domain} demands one",
                )
            elif finding(reason) is Finding.POLICY_WOULD_HOLD:
                yield Advice(
                    kind="fix-before-enforcing",
                    subject=name,
                    what=f"fix {name} before the policy is enforced: {sentence(reason)}",
                    why="from then on senders that follow the policy do not deliver there",
                )


def _strengthen(hosts: Iterable[SeenHost]) -> Iterator[Advice]:
    """Sessions that are proven or not, and weak all the same."""
    for host in hosts:
        name = host.target.host.name
        weak = {weakness: each for each in host.strengths for weakness in each.weaknesses}
        if (found := weak.get(Weakness.SHORT_KEY)) is not None:
            yield Advice(
                kind="lengthen-key",
                subject=name,
                what=f"give {name} a longer key: RSA with 2048 bits or more, or EC P-256 (it has {found.key})",
                why="the key can be broken with known methods; an attacker can then read and intercept the mail",
            )
        if (found := weak.get(Weakness.NO_FORWARD_SECRECY)) is not None:
            yield Advice(
                kind="offer-forward-secrecy",
                subject=name,
                what=f"offer ECDHE key exchange, or TLS 1.3, at {name} (it chose {found.cipher})",
                why="an attacker who gets the key later can read all mail recorded until then",
            )


def _sts_trouble(sts: StsEvidence | None) -> str | None:
    match sts:
        case Known(trouble=trouble):
            return trouble
        case PolicyUnavailable(detail=detail):
            return detail
        case Absent(detail=detail):
            return detail
    return None


# --- what protects ---------------------------------------------------------------------------------------------------


def _sign(domain: str, mx: Answer, hosts: Iterable[SeenHost]) -> Iterator[Advice]:
    if not mx.secure:
        yield Advice(
            kind="sign-domain",
            subject=domain,
            what=f"sign {domain} with DNSSEC",
            why="unsigned MX records can be forged, and DANE cannot protect the hosts they name"
            + (f" ({mx.proof[-1].detail})" if mx.proof else ""),
        )
    for host in hosts:
        name = host.target.host.name
        if _within(name, domain) and not mx.secure:
            continue  # the same advice, most likely
        if host.target.addresses and host.target.address_security is not Security.SECURE:
            yield Advice(
                kind="sign-host",
                subject=name,
                what=f"sign the zone of {name} with DNSSEC"
                if _within(name, domain)
                else f"ask the operator of {name} to sign its zone and publish TLSA records, or use a host with both",
                why="without signed addresses no sender looks for TLSA records (RFC 7672 section 2.2.2)",
            )


def _within(name: str, domain: str) -> bool:
    return f".{name}".endswith(f".{domain}")


def _publish_tlsa(domain: str, hosts: Iterable[SeenHost]) -> Iterator[Advice]:
    """Signed, but nothing that DANE can use."""
    for host in hosts:
        target, name, tlsa = host.target, host.target.host.name, host.target.tlsa
        if not isinstance(tlsa, Answer) or not tlsa.secure or target.address_security is not Security.SECURE:
            continue
        if host.without_tls:
            continue  # TLS comes first: with TLSA records, nobody who checks them would send it anything
        lines = _tlsa_lines(host)
        digest = "; take the digest from the key on the server, because this one is of the certificate shown just now"
        if not tlsa.records:
            who = "publish" if _within(name, domain) else f"ask the operator of {name} to publish"
            yield Advice(
                kind="publish-tlsa",
                subject=name,
                what=f"{who} a TLSA record for {name} (its zone is signed already)",
                why="then no attacker on the path can read or intercept its mail" + (digest if lines else ""),
                publish=lines,
            )
        elif not usable_records(tlsa_records(tlsa)):
            listed = ", ".join(record.short for record in tlsa_records(tlsa)[:3])
            yield Advice(
                kind="replace-tlsa",
                subject=name,
                what=f"replace the TLSA records of {name} ({listed}), which no mail server can use",
                why="senders encrypt because of them, but accept any certificate" + (digest if lines else ""),
                publish=lines,
            )


def _tlsa_lines(host: SeenHost) -> tuple[str, ...]:
    """`3 1 1` records for the keys that the host showed (RFC 7672 section 3.1)."""
    target = host.target
    owner = f"_{target.port}._tcp.{target.tlsa_base or target.host.name}."
    digests = dict.fromkeys(filter(None, (_key_digest(chain[0]) for chain in host.chains if chain)))
    return tuple(f"{owner} IN TLSA 3 1 1 {digest}" for digest in list(digests)[:_MAX_KEYS])


def _key_digest(der: bytes) -> str | None:
    try:
        return describe(der).spki_sha256
    except InvalidCertificate:  # no advice on what cannot be read
        return None


def _better_sts(domain: str, sts: StsEvidence | None, hosts: Sequence[SeenHost]) -> Iterator[Advice]:
    """A policy where there is none, or a stronger one where there is; not before TLS works at every host.

    Nor where no host has a name: a policy names hosts, and without any there is none.
    """
    if not hosts or any(host.without_tls for host in hosts):
        return
    match sts:
        case Absent(detail=None):
            yield _new_policy(domain, hosts)
        case Known(policy=policy) if policy.mode is not Mode.ENFORCE:
            yield Advice(
                kind="enforce-mta-sts",
                subject=domain,
                what=f"set the MTA-STS policy of {domain} from {policy.mode} to enforce when the TLS reports are clean",
                why="until then senders deliver whatever certificate the server presents",
                publish=("mode: enforce",),
            )
        case Known(policy=policy) if policy.max_age_seconds < SHORT_MAX_AGE_SECONDS:
            yield Advice(
                kind="lengthen-mta-sts",
                subject=domain,
                what=f"make the MTA-STS policy of {domain} last longer than {policy.max_age_seconds} seconds",
                why="an attacker who blocks it only needs to wait that long",
                publish=(f"max_age: {ADVISED_MAX_AGE_SECONDS}",),
            )


def _new_policy(domain: str, hosts: Sequence[SeenHost]) -> Advice:
    names = tuple(host.target.host.name for host in hosts)
    return Advice(
        kind="publish-mta-sts",
        subject=domain,
        what=f"publish an MTA-STS policy for {domain}, in mode testing first",
        why="it protects mail from senders that do not check DANE, once they have seen it",
        publish=(
            f'_mta-sts.{domain}. IN TXT "v=STSv1; id=1;"',
            f"https://mta-sts.{domain}/.well-known/mta-sts.txt:",
            "  version: STSv1",
            "  mode: testing",
            *(f"  mx: {name}" for name in names),
            f"  max_age: {ADVISED_MAX_AGE_SECONDS}",
        ),
    )


def _ask_for_reports(domain: str, reporting: Reporting | None) -> Iterator[Advice]:
    if not isinstance(reporting, NoTLSRPTRecord | InvalidTLSRPTRecord):
        return
    detail = reporting.detail if isinstance(reporting, InvalidTLSRPTRecord) else reporting.nearly
    fault = f" ({detail})" if detail is not None else ""
    yield Advice(
        kind="ask-for-reports",
        subject=domain,
        what=f"ask for TLS reports{fault}",
        why="senders then report failed deliveries to you, and attacks become visible (RFC 8460)",
        publish=(f'_smtp._tls.{domain}. IN TXT "v=TLSRPTv1; rua=mailto:tls-reports@{domain}"',),
    )
