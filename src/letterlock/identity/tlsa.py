"""A TLSA record as data (RFC 6698 section 2.1, names from RFC 7218)."""

import hashlib
from collections.abc import Iterable

from letterlock.frozen import frozen_dataclass

USAGES = {0: "PKIX-TA", 1: "PKIX-EE", 2: "DANE-TA", 3: "DANE-EE"}
SELECTORS = {0: "Cert", 1: "SPKI"}
MATCHING_TYPES = {0: "Full", 1: "SHA2-256", 2: "SHA2-512"}
_HEAD_OCTETS = 3  # usage, selector and matching type (RFC 6698 section 2.1)
CUT = -1  # in place of each field of a record that is too short to have them
DANE_TA, DANE_EE = 2, 3  # certificate usages, by the names of RFC 7218 section 2.1
CERT, SPKI = 0, 1  # selectors, by the names of RFC 7218 section 2.2
FULL = 0  # the matching type that compares everything (RFC 7218 section 2.3)
DIGESTS = {1: hashlib.sha256, 2: hashlib.sha512}


@frozen_dataclass(frozen=True, slots=True)
class TLSARecord:
    """One TLSA record: certificate usage, selector, matching type, certificate association data.

    One that is too short for that has CUT in the three fields and all its octets as data: nobody can use it, but it
    counts as a record (RFC 7672 section 2.2).
    """

    usage: int
    selector: int
    matching_type: int
    data: bytes

    @classmethod
    def from_rdata(cls, octets: bytes) -> "TLSARecord":
        """A record from its RDATA, whatever that is."""
        if len(octets) < _HEAD_OCTETS:
            return cls(CUT, CUT, CUT, octets)
        return cls(octets[0], octets[1], octets[2], octets[_HEAD_OCTETS:])

    def __str__(self) -> str:
        return self._shown(self.data)

    @property
    def short(self) -> str:
        """The record with its data cut to eight hex digits, for a line that people read."""
        return self._shown(self.data[:4]).rstrip()

    def _shown(self, data: bytes) -> str:
        if self.usage == CUT:
            return f"\\# {len(data)} {data.hex()}".rstrip()  # RFC 3597 section 5
        return f"{self.usage} {self.selector} {self.matching_type} {data.hex()}"


def refuse_other_records(records: Iterable[object]) -> None:
    """Raises TypeError for records of another library."""
    for record in records:
        if not isinstance(record, TLSARecord):
            raise TypeError(
                f"TLSARecord expected, not {type(record).__name__}; for a record of dnspython: "
                "TLSARecord.from_rdata(record.to_wire())"
            )
