"""What the operator demands for a next-hop domain or of a domain of senders."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from letterlock.identity.trust import TrustRoots
from letterlock.keys import RowKey
from letterlock.mail.names import DomainText

Fingerprint = Annotated[bytes, "SHA-256 of a certificate or of its key"]
TlsVersion = Annotated[str, "TLSv1.2 or TLSv1.3"]


class TlsRule(StrEnum):
    """What the operator demands for a next-hop domain."""

    MAY = "may"  # what the standards demand: DANE where it applies, else opportunistic TLS
    REQUIRE_TLS = "require-tls"  # encryption, any certificate
    VERIFY = "verify"  # a certificate that PKIX verifies
    DANE_ONLY = "dane-only"  # mandatory DANE (RFC 7672 section 6)


class MemoryMode(StrEnum):
    """What follows when something that a domain always had is gone."""

    OFF = "off"  # nothing: it is not even looked at
    OBSERVE = "observe"  # it is logged, counted and told; the mail goes
    HOLD = "hold"  # the mail waits


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleException:
    """Less than is demanded, which the operator allows for a while and for a reason. `until`: seconds since 1970."""

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
    tls: Annotated[
        TlsRule,
        RowKey(
            "domain.tls",
            "`may`: DANE if it applies, otherwise opportunistic. `require-tls`: encryption, any certificate. "
            "`verify`: a certificate that PKIX verifies. `dane-only`: DANE or nothing. Optional where `memory` is set.",
        ),
    ] = TlsRule.MAY
    source: str
    names: Annotated[
        tuple[DomainText, ...],
        RowKey("domain.names", "With `verify`: names to accept in the certificate instead of the MX host's.", most=100),
    ] = ()
    trust: Annotated[
        TrustRoots | None,
        RowKey("domain.trust", 'With `verify`: `"system"` (the default), or a PEM file with your own CA.'),
    ] = None
    fingerprints: Annotated[
        tuple[Fingerprint, ...],
        RowKey(
            "domain.fingerprints",
            "With `verify`: SHA-256 of the certificate or its key, instead of any CA.",
            most=20,
        ),
    ] = ()
    minimum_version: Annotated[
        TlsVersion | None,
        RowKey(
            "domain.minimum_version",
            'The oldest TLS version that will do, `"1.2"` or `"1.3"`; with any rule but `may`.',
        ),
    ] = None
    memory: Annotated[
        MemoryMode | None,
        RowKey(
            "domain.memory",
            "What follows when something that the domain always had is gone: `off`, `observe` or `hold`, as in "
            "`[memory] mode`. Unset: what `[memory] mode` says.",
        ),
    ] = None
    minimum_source: str = ""
    audit: bool = False
    exception: RuleException | None = None
    lifted_by_header: bool = False
