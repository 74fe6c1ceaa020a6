"""A TLSA record as data (RFC 6698 section 2.1, names from RFC 7218)."""

from dataclasses import dataclass

USAGES = {0: "PKIX-TA", 1: "PKIX-EE", 2: "DANE-TA", 3: "DANE-EE"}
SELECTORS = {0: "Cert", 1: "SPKI"}
MATCHING_TYPES = {0: "Full", 1: "SHA2-256", 2: "SHA2-512"}


@dataclass(frozen=True, slots=True)
class TLSARecord:
    """One TLSA record: certificate usage, selector, matching type, certificate association data."""

    usage: int
    selector: int
    matching_type: int
    data: bytes

    def __str__(self) -> str:
        return f"{self.usage} {self.selector} {self.matching_type} {self.data.hex()}"

    @property
    def short(self) -> str:
        """The record with its data cut to eight hex digits, for a line that people read."""
        return f"{self.usage} {self.selector} {self.matching_type} {self.data[:4].hex()}"
