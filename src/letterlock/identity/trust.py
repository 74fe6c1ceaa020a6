"""Trust roots: the certificate authorities that PKIX verification ends at."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TrustRoots:
    """A named set of CA certificates.

    `name` is what people call it: `system` or the path of a PEM file. `certificates` are DER. `left_out` says, for each
    certificate of the same source that no path can end at, why.
    """

    name: str
    certificates: tuple[bytes, ...] = field(repr=False)
    left_out: tuple[str, ...] = field(default=(), repr=False, compare=False)
