"""Trust roots: the certificate authorities that PKIX verification ends at."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TrustRoots:
    """A named set of CA certificates. Two sets of the same name and size are the same set.

    `name` is what people call it: `system` or the path of a PEM file. `certificates` are DER. `left_out` says of each
    certificate that stands there too why no path can end at it.
    """

    name: str
    certificates: tuple[bytes, ...] = field(repr=False)
    left_out: tuple[str, ...] = field(default=(), repr=False, compare=False)
