"""What the operator demands for a next-hop domain or of a domain of senders."""

from dataclasses import dataclass
from enum import StrEnum

from letterlock.identity.trust import TrustRoots


class TlsRule(StrEnum):
    """What the operator demands for a next-hop domain."""

    MAY = "may"  # what the standards demand: DANE where it applies, else opportunistic TLS
    REQUIRE_TLS = "require-tls"  # encryption, any certificate
    VERIFY = "verify"  # a certificate that PKIX verifies
    DANE_ONLY = "dane-only"  # mandatory DANE (RFC 7672 section 6)


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
