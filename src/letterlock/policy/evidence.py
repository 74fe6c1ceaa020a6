"""What was found: on a destination, on one of its hosts, and in a session. Facts only, no opinion."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from letterlock.frozen import frozen_dataclass
from letterlock.identity.handshake import Completed, HandshakeFailed
from letterlock.identity.trust import TrustRoots
from letterlock.mail.replies import Reply
from letterlock.memory.remembered import DomainMemory
from letterlock.mtasts.sts_evidence import PolicyUnavailable, StsEvidence
from letterlock.policy.reasons import Reason
from letterlock.recent import RECENT_SECONDS
from letterlock.resolver.answer import Answer, LookupFailure, Security
from letterlock.routing.destination_rule import DestinationRule, MemoryMode
from letterlock.routing.local_targets import FinalHop
from letterlock.routing.routes import NextHop, RelayHost


class Origin(StrEnum):
    """How a host came to be a candidate."""

    MX = "mx"
    IMPLICIT_MX = "implicit-mx"
    STATIC = "static"  # the operator's route names this host
    LITERAL = "literal"


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class MxHost:
    """One candidate. `secure` says whether its name can be believed: it came by validated DNS, or from the operator.

    A literal has no name.
    """

    name: str
    preference: int
    origin: Origin
    secure: bool


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The hosts to try, in order (RFC 5321 section 5.1), at least one. `reasons` record what was unusual."""

    next_hop: NextHop
    hosts: tuple[MxHost, ...]
    mx_security: Security
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class MemoryUnreadable:
    """Could not find out what is remembered of a domain; `detail` says why, for people."""

    detail: str


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class DestinationEvidence:
    """What is known of a next hop, `at` a moment (seconds since 1970).

    `mx` is None for an address literal and for a host that a route names. `rule` is the operator's, if there is one;
    `audited` one in audit that is as strict or stricter. `sts` is None if MTA-STS was not looked up.
    `public_roots` are those of WebPKI, for what MTA-STS and REQUIRETLS demand. `relay` led mail for `recipient_domain`
    to this next hop. `expected_by`: the operator's rule that was written for this very domain, by its place in the
    configuration; so somebody is there. `smtp_tls` are the SRV records of that service, where they were asked for.
    `memory` is what is remembered of the next hop (None: nothing, or it is not looked at), and `memory_mode` what
    follows from it, as `memory_rule` says (None: `[memory] mode` does). `identity` distinguishes this evidence from any
    other, even a changed copy.
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
    smtp_tls: Answer | LookupFailure | None = None
    memory: DomainMemory | MemoryUnreadable | None = None
    memory_mode: MemoryMode = MemoryMode.OFF
    memory_rule: DestinationRule | None = None
    identity: object = field(init=False, repr=False, compare=False, default_factory=object)

    @property
    def ends_at(self) -> float:
        """When the first of these facts runs out. What could not be found out is soon asked for again."""
        exception = self.rule.exception if self.rule is not None else None
        first = _first_end(self.at, (self.mx, self.smtp_tls), exception.until if exception is not None else math.inf)
        failed = isinstance(self.sts, PolicyUnavailable) or isinstance(self.memory, MemoryUnreadable)
        return min(first, self.at + RECENT_SECONDS) if failed else first

    @property
    def lmtp(self) -> bool:
        """Whether the hosts there speak LMTP, as the operator's route says."""
        return self.relay is not None and self.relay.lmtp

    @property
    def implicit_tls(self) -> bool:
        """Whether TLS begins there with the first byte, as the operator's route says."""
        return self.relay is not None and self.relay.implicit_tls

    @property
    def final(self) -> FinalHop | None:
        """Where mail ends on this machine, if the operator's route says so."""
        return None if self.relay is None else self.relay.final


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class TargetHost:
    """One host with the addresses that are dialled and judged alike, and its TLSA answer, `at` a moment.

    `address_lookups` are the A and AAAA results, as evidence. `address_security` is the weakest of those that gave
    addresses (None when none did). `canonical_name` is where the CNAME chain of the host ends. `tlsa_base` is the TLSA
    base domain (RFC 7672 section 2.2.2) that `tlsa` answers for; both are None where TLSA was rightly not asked for.
    `ours` are the addresses at which this server itself would answer, `only_by_route` those of this machine at which
    another host can be meant by the operator only. `identity` distinguishes it from any other, even a changed copy.
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
    identity: object = field(init=False, repr=False, compare=False, default_factory=object)

    @property
    def ends_at(self) -> float:
        """When the first of these facts runs out."""
        return _first_end(self.at, (*self.address_lookups, self.tlsa))


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class Grounds:
    """The evidence that a requirement, or the lack of one, rests on. `host` is None where it never came to one."""

    destination: DestinationEvidence
    host: TargetHost | None = None


def _first_end(at: float, lookups: Iterable[Answer | LookupFailure | None], until: float = math.inf) -> float:
    """The first moment after `at` when one of the lookups runs out, or when it is `until`.

    One with a TTL of zero serves the work at hand (RFC 1035 section 3.2.1), for RECENT_SECONDS; so does a failed one.
    """
    first = until if until > at else math.inf
    for one in lookups:
        if one is None:
            continue
        end = one.expires_at if isinstance(one, Answer) and one.expires_at > at else at + RECENT_SECONDS
        if end < first:
            first = end
    return first


class StartTls(StrEnum):
    """What the server made of STARTTLS."""

    OFFERED = "offered"  # and taken up
    NOT_OFFERED = "not-offered"
    REFUSED = "refused"  # offered, but the command got a reply that does not begin TLS
    INJECTED = "injected"  # bytes came after 220 and before the handshake (CVE-2011-0411)
    NOT_TRIED = "not-tried"  # the requirement says cleartext
    IMPLICIT = "implicit"  # there was none: TLS came before the first byte of SMTP (RFC 8314 section 3)


class SessionId:
    """Which session it is: an object that is only ever the same as itself."""

    __slots__ = ()


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
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
