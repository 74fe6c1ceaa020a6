"""What was found: on a destination, on one of its hosts, and in a session. Facts only, no opinion."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from letterlock.identity.strength import SessionStrength, session_strength
from letterlock.identity.trust import TrustRoots
from letterlock.mail.replies import Reply
from letterlock.mtasts.evidence import StsEvidence
from letterlock.policy.final import FinalHop
from letterlock.policy.reasons import Reason
from letterlock.resolver.answer import Answer, LookupFailure, Security


class TlsRule(StrEnum):
    """What the operator demands for a next-hop domain."""

    MAY = "may"  # what the standards demand: DANE where it applies, else opportunistic TLS
    REQUIRE_TLS = "require-tls"  # encryption, any certificate
    VERIFY = "verify"  # a certificate that PKIX verifies
    DANE_ONLY = "dane-only"  # mandatory DANE (RFC 7672 section 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleException:
    """What the operator lets pass for a while though more is demanded, with his reason. `until`: seconds since 1970."""

    allow_clear: bool  # False: TLS stays mandatory, with any certificate
    why: str
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationRule:
    """The operator's rule for one next-hop domain, or for one domain of senders.

    `names` replace the MX host name as reference identifiers of `verify`; `trust` are its roots; `fingerprints`
    (SHA-256 of the certificate or its key) replace both. `minimum_version` is `TLSv1.2` or `TLSv1.3`, demanded by the
    rule `minimum_source` (empty: this one). With `audit`, what the rule demands is judged and told, and not enforced.
    `lifted_by_header`: the rule does not hold for a message with `TLS-Required: No`. `source` is the place in the
    configuration.
    """

    domain: str
    tls: TlsRule
    source: str
    names: tuple[str, ...] = ()
    trust: TrustRoots | None = None
    fingerprints: tuple[bytes, ...] = ()
    minimum_version: str | None = None
    minimum_source: str = ""
    audit: bool = False
    exception: RuleException | None = None
    lifted_by_header: bool = False


@dataclass(frozen=True, slots=True)
class NextHop:
    """Where a message goes next: a domain (A-labels) or an address literal in brackets, and the port.

    `is_host`: the domain is itself the host, and MX is not asked for, as the operator's route says.
    """

    domain: str
    port: int = 25
    is_host: bool = False

    def __str__(self) -> str:
        name = f"[{self.domain}]" if self.is_host else self.domain
        return name if self.port == 25 else f"{name}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayHost:
    """The operator's route: where mail goes instead of the MX hosts of its domain (RFC 7672 section 2.2.2).

    `domain` and `is_host` are those of the NextHop that it leads to; `port` None: the usual one. `rule` is what the
    route demands there. `source` is the place in the configuration. `lmtp`: the host speaks LMTP (RFC 2033). `final`:
    mail ends there, on this machine, and nothing of the rest means anything; `domain` is then its name.
    """

    domain: str
    source: str
    is_host: bool = False
    port: int | None = None
    rule: DestinationRule | None = None
    lmtp: bool = False
    final: FinalHop | None = None

    def next_hop(self, usual_port: int) -> NextHop:
        """Where it leads."""
        return NextHop(self.domain, self.port or usual_port, self.is_host)


class Origin(StrEnum):
    """How a host came to be a candidate."""

    MX = "mx"
    IMPLICIT_MX = "implicit-mx"
    STATIC = "static"  # the operator's route names this host
    LITERAL = "literal"


@dataclass(frozen=True, slots=True, kw_only=True)
class MxHost:
    """One candidate. `secure` says whether its name can be believed: it came by validated DNS, or from the operator.

    A literal has no name.
    """

    name: str
    preference: int
    origin: Origin
    secure: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The hosts to try, in order (RFC 5321 section 5.1), at least one. `reasons` tell what was unusual on the way."""

    next_hop: NextHop
    hosts: tuple[MxHost, ...]
    mx_security: Security
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationEvidence:
    """What is known of a next hop, `at` a moment (seconds since 1970).

    `mx` is None for an address literal and for a host that a route names. `rule` is the operator's, if he gave one;
    `audited` one in audit beside it that is as strict or stricter. `sts` is None where MTA-STS was not asked for.
    `public_roots` are those of WebPKI, for what MTA-STS and REQUIRETLS demand. `relay` led mail for `recipient_domain`
    to this next hop. `expected_by`: the operator's rule that was written for this very domain, by its place in the
    configuration; so somebody is there.
    """

    next_hop: NextHop
    mx: Answer | LookupFailure | None
    rule: DestinationRule | None
    sts: StsEvidence | None = None
    public_roots: TrustRoots | None = None
    at: float = 0.0
    audited: DestinationRule | None = None
    relay: RelayHost | None = None
    recipient_domain: str | None = None
    expected_by: str | None = None

    @property
    def ends_at(self) -> float:
        """When the first of these facts runs out. A TTL of zero is no end: it serves the work at hand (RFC 1035)."""
        exception = self.rule.exception if self.rule is not None else None
        return _first_end(self.at, (self.mx,), exception.until if exception is not None else math.inf)

    @property
    def lmtp(self) -> bool:
        """Whether the hosts there speak LMTP, as the operator's route says."""
        return self.relay is not None and self.relay.lmtp

    @property
    def final(self) -> FinalHop | None:
        """Where mail ends on this machine, if the operator's route says so."""
        return None if self.relay is None else self.relay.final


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetHost:
    """One host with the addresses that are dialled and judged alike, and its TLSA answer, `at` a moment.

    `address_lookups` are the A and AAAA results, as evidence. `address_security` is the weakest of those that gave
    addresses (None when none did). `canonical_name` is where the CNAME chain of the host ends. `tlsa_base` is the TLSA
    base domain (RFC 7672 section 2.2.2) that `tlsa` answers for; both are None where TLSA was rightly not asked for.
    `ours` are the addresses at which this server itself would answer, `only_by_route` those of this machine at which
    another host can be meant by the operator only.
    """

    host: MxHost
    port: int
    canonical_name: str
    addresses: tuple[str, ...]
    address_lookups: tuple[Answer | LookupFailure, ...]
    address_security: Security | None
    tlsa_base: str | None
    tlsa: Answer | LookupFailure | None
    at: float = field(default=0.0, compare=False)
    ours: tuple[str, ...] = ()
    only_by_route: tuple[str, ...] = ()

    @property
    def ends_at(self) -> float:
        """When the first of these facts runs out."""
        return _first_end(self.at, (*self.address_lookups, self.tlsa))


def _first_end(at: float, lookups: Iterable[Answer | LookupFailure | None], *others: float) -> float:
    ends = (*(one.expires_at for one in lookups if isinstance(one, Answer)), *others)
    return min((end for end in ends if end > at), default=math.inf)


class StartTls(StrEnum):
    """What the server made of STARTTLS."""

    OFFERED = "offered"  # and taken up
    NOT_OFFERED = "not-offered"
    REFUSED = "refused"  # offered, but the command got a reply that does not begin TLS
    INJECTED = "injected"  # bytes came after 220 and before the handshake (CVE-2011-0411)
    NOT_TRIED = "not-tried"  # the requirement says cleartext


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A finished TLS handshake. `chain` holds the presented certificates as DER, the server's own first."""

    version: str  # as OpenSSL names it: TLSv1.3
    cipher: str
    group: str | None
    sni: str | None
    chain: tuple[bytes, ...]

    @property
    def strength(self) -> SessionStrength:
        """How strong the session is beyond its proof: the server's key, forward secrecy. Computed when asked for."""
        return session_strength(self.version, self.cipher, self.chain)


@dataclass(frozen=True, slots=True)
class HandshakeFailed:
    """A TLS handshake that did not finish."""

    detail: str


class SessionId:
    """Which session it is: an object that is only ever the same as itself."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEvidence:
    """What one session with one address showed, up to the moment before MAIL FROM.

    `session` is whose evidence it is: what is judged on it holds for that session alone.
    """

    address: str
    port: int
    starttls: StartTls
    refusal: Reply | None = None  # the reply that refused STARTTLS
    handshake: Completed | HandshakeFailed | None = None
    session: SessionId = field(default_factory=SessionId, repr=False, compare=False)
