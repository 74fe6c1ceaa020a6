"""The decisions: a Requirement before the session, a Verdict after it."""

from dataclasses import InitVar, dataclass, field
from enum import StrEnum
from typing import final

from letterlock.frozen import frozen_dataclass
from letterlock.identity.tlsa import TLSARecord
from letterlock.identity.trust import TrustRoots
from letterlock.policy.evidence import Grounds, SessionId
from letterlock.policy.reasons import Reason


class Encryption(StrEnum):
    """Whether the session must be encrypted."""

    NONE = "none"  # cleartext on purpose: the fallback of an opportunistic requirement
    OPTIONAL = "optional"
    MANDATORY = "mandatory"


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class DaneAuthentication:
    """The presented chain must match one of these records; `references` are the names for DANE-TA(2).

    `names_secure` is False where the MX record that led to the host is unsigned: the session is then protected against
    everybody but a forger of DNS, and never counts as authenticated (RFC 7672 section 2.2.1).
    """

    records: tuple[TLSARecord, ...]
    references: tuple[str, ...]
    names_secure: bool = True


class Demander(StrEnum):
    """Who demands TLS, or that a certificate be verified; the first of several speaks for all."""

    DANE = "dane"
    MTA_STS = "mta-sts"
    REQUIRETLS = "requiretls"
    MEMORY = "memory"
    RULE = "rule"


class SkipKind(StrEnum):
    """Why a host may not have a message now: what later steps go by."""

    NO_ADDRESS = "no-address"
    ADDRESS_UNKNOWN = "address-unknown"
    TLSA_UNKNOWN = "tlsa-unknown"
    UNSIGNED_MX = "unsigned-mx"  # a rule demands DANE, and that needs a signed MX record
    NO_USABLE_TLSA = "no-usable-tlsa"  # a rule demands DANE
    DANE = "dane"  # this and the next four: whose demand did not hold
    MTA_STS = "mta-sts"
    REQUIRETLS = "requiretls"
    MEMORY = "memory"  # what was always there is gone, and mail waits for it
    RULE = "rule"
    REQUIRETLS_NOT_OFFERED = "requiretls-not-offered"  # by a server that is proven
    HANDSHAKE_FAILED = "handshake-failed"  # and nobody demanded one
    INJECTED = "injected"
    LOOP = "loop"  # it is this server itself


DEMANDED = frozenset(
    {
        SkipKind.UNSIGNED_MX,
        SkipKind.NO_USABLE_TLSA,
        SkipKind.MTA_STS,
        SkipKind.REQUIRETLS,
        SkipKind.MEMORY,
        SkipKind.RULE,
    }
)


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class PkixAuthentication:
    """The presented chain must end at one of the roots and speak for one of the names.

    `names_secure` is False where a name was taken from unsigned DNS: the session is then verified, but a forged MX
    would have been verified too, so it never counts as authenticated (RFC 7672 section 1.3.2).
    """

    references: tuple[str, ...]
    roots: TrustRoots
    names_secure: bool
    demander: Demander = Demander.RULE


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class PinAuthentication:
    """The server's certificate or its key must have one of these SHA-256 fingerprints (32 octets each)."""

    fingerprints: tuple[bytes, ...]


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class RememberedAuthentication:
    """The server's key must be one that was verified before, or else its chain as `pkix` says.

    `keys` are SHA-256 of a SubjectPublicKeyInfo, in hexadecimal. So a certificate that its host forgot to renew still
    shows that the host is the same, and costs a hash instead of a path.
    """

    keys: tuple[str, ...]
    pkix: PkixAuthentication


Authentication = DaneAuthentication | PkixAuthentication | PinAuthentication | RememberedAuthentication


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """What must hold before MAIL FROM may be sent to a host.

    `fallback` is what may be tried instead when the TLS handshake of an OPTIONAL requirement fails; only a proven
    absence of TLSA records earns one (RFC 7672 section 2.2). `also` must hold as well: DANE comes first, then
    what MTA-STS demands of the same chain. `demanders` are those who demand that there be TLS. `minimum_version` is
    `TLSv1.2` or `TLSv1.3`, by the rule `minimum_source`. `requiretls`: the server must offer REQUIRETLS after the
    handshake (RFC 8689 section 4.2.1). `audits` are what would be demanded, were it enforced: they are judged too, and
    told, and hold nothing. `signs` are those among the reasons that look like an attack. `grounds`, for reports: the
    evidence, where what the recipients' domain publishes was heard; None where an exception or the message says not to.
    `memory_facts` are those of the reasons of memory, if it demands anything.
    """

    encryption: Encryption
    authentication: Authentication | None
    sni: str | None
    fallback: "Requirement | None"
    reasons: tuple[Reason, ...]
    also: PkixAuthentication | None = None
    demanders: frozenset[Demander] = frozenset()
    minimum_version: str | None = None
    minimum_source: str = ""
    requiretls: bool = False
    audits: "tuple[Audit, ...]" = ()
    signs: tuple[Reason, ...] = ()
    memory_facts: tuple[tuple[str, str], ...] = ()
    grounds: Grounds | None = field(default=None, repr=False, compare=False)

    @property
    def demands_certificate(self) -> bool:
        """Whether the server's certificate decides anything; with audits alone it does not."""
        return self.authentication is not None or self.also is not None


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What would be demanded of a session, or why nothing would be sent; `what` names the demand for people."""

    what: str
    by: Demander
    required: "Requirement | SkipHost"


class Level(StrEnum):
    """What a session reached."""

    CLEAR = "clear"
    ENCRYPTED = "encrypted"  # to any server that answered
    AUTHENTICATED = "authenticated"


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class Achieved:
    """The level and by what, `match` being for people.

    `by` is `dane-ee`, `dane-ta`, `pkix`, `mta-sts` or `fingerprint`; `memory` where the key is one that was verified
    for the host before, the level then being ENCRYPTED; `dane-ee-unsigned-mx`, `dane-ta-unsigned-mx` or
    `pkix-unsigned-name` where the match rests on unsigned DNS, the level then being ENCRYPTED; None where nothing was
    verified.
    """

    level: Level
    by: str | None = None
    match: str | None = None


class _Seal:
    """What only `policy.judge` has."""

    __slots__ = ()


_SEAL = _Seal()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared:
    """The proof that the requirement held in one session. MAIL FROM cannot be sent without the one for that session.

    Only `policy.judge` makes one: the constructor wants its seal, and so does `dataclasses.replace`.
    """

    requirement: Requirement
    achieved: Achieved
    reasons: tuple[Reason, ...]
    session: SessionId = field(repr=False, compare=False)
    seal: InitVar[_Seal]

    def __post_init__(self, seal: _Seal) -> None:
        if seal is not _SEAL:
            raise TypeError("only the judge clears a session")


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class SkipHost:
    """This host may not have the message now; the next MX host may be tried, else the message is deferred."""

    kind: SkipKind
    reasons: tuple[Reason, ...]


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class Defer:
    """No host may have the message now."""

    reasons: tuple[Reason, ...]


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """The message will never be deliverable: null MX, no such domain. `status` is the enhanced status code, 5.x.y."""

    status: str
    reasons: tuple[Reason, ...]


Verdict = Cleared | SkipHost | Defer | Refuse
