"""The state of a zone on the way down from a trust anchor."""

import dns.name
from dns.rdtypes.ANY.DNSKEY import DNSKEY

from letterlock.frozen import frozen_dataclass
from letterlock.resolver.answer import ProofStep


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class Secure:
    """A zone whose keys are proven. `usable` are those that can sign; `proof` leads here from the anchor."""

    zone: dns.name.Name
    keys: tuple[DNSKEY, ...]
    usable: tuple[DNSKEY, ...]
    expires_at: float
    proof: tuple[ProofStep, ...]


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class Insecure:
    """Everything at and below `zone` is proven to be unsigned, or signed in a way that cannot be checked here."""

    zone: dns.name.Name
    expires_at: float
    proof: tuple[ProofStep, ...]


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """A name that is not a zone cut: it belongs to the zone above (RFC 4035 section 5.2)."""

    zone: dns.name.Name
    expires_at: float
    absent: bool = False  # the name is proven not to exist


@frozen_dataclass(frozen=True, slots=True)
class Indeterminate:
    """No trust anchor covers the name (RFC 4033 section 5)."""

    name: dns.name.Name


ZoneState = Secure | Insecure
CutState = Secure | Insecure | Inside
