"""Trust anchors: where a chain of trust begins (RFC 4033 section 2, RFC 7958)."""

from collections.abc import Iterable
from dataclasses import dataclass

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS

from letterlock.resolver.known_names import as_known

MAX_ANCHOR_LINES = 1000  # chosen: a file of anchors has a few; this only catches a wrong file

# KSK-2017 and KSK-2024 of the root zone, as IANA publishes them.
ROOT_ANCHORS_TEXT = """\
. IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D
. IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16
"""


class InvalidAnchor(ValueError):
    """A trust anchor cannot be read. `str()` says where and why."""


@dataclass(frozen=True, slots=True)
class TrustAnchor:
    """One DS or DNSKEY record that is trusted for a zone."""

    zone: dns.name.Name
    record: DS | DNSKEY

    def __str__(self) -> str:
        return f"{self.zone} IN {dns.rdatatype.to_text(self.record.rdtype)} {self.record}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NegativeAnchor:
    """A zone that is taken for unsigned (RFC 7646), with the reason, `until` a moment (seconds since 1970)."""

    zone: dns.name.Name
    reason: str
    until: float


def parse_anchors(text: str, source: str = "anchors") -> tuple[TrustAnchor, ...]:
    """Read DS and DNSKEY records, one a line as in a zone file or in the output of dig; `;` begins a comment.

    Other record types are passed over. Raises InvalidAnchor for a line that cannot be read, or when there is no anchor.
    """
    lines = text.splitlines()
    if len(lines) > MAX_ANCHOR_LINES:
        raise InvalidAnchor(f"{source}: more than {MAX_ANCHOR_LINES} lines")
    anchors: list[TrustAnchor] = []
    for number, line in _whole_lines(lines):
        anchor = _parse_line(line, f"{source}:{number}")
        if anchor is not None:
            anchors.append(anchor)
    if not anchors:
        raise InvalidAnchor(f"{source}: holds no DS or DNSKEY record")
    return tuple(anchors)


def _whole_lines(lines: list[str]) -> Iterable[tuple[int, str]]:
    """Lines without comments, those in parentheses joined, with the number of their first line."""
    joined, begun = "", 0
    for number, line in enumerate(lines, 1):
        bare = line.partition(";")[0].strip()
        begun = begun or (number if bare else 0)
        joined = f"{joined} {bare}".strip()
        if joined.count("(") > joined.count(")"):
            continue
        if joined:
            yield begun, joined.replace("(", " ").replace(")", " ")
        joined, begun = "", 0
    if joined:
        yield begun, joined


def _parse_line(line: str, place: str) -> TrustAnchor | None:
    words = line.split()
    kinds = [word.upper() for word in words[:4]]
    if words and words[0].startswith("$"):  # a directive of a zone file, such as $TTL
        return None
    at = next((index for index, kind in enumerate(kinds) if index and kind in ("DS", "DNSKEY")), None)
    if at is None:
        if any(kind in ("RRSIG", "SOA", "NS", "A", "AAAA", "TXT") for kind in kinds[1:]):
            return None  # what else dig prints, or a zone file has
        raise InvalidAnchor(f"{place}: not a DS or DNSKEY record")
    rdtype = dns.rdatatype.from_text(words[at])
    try:
        zone = dns.name.from_text(words[0])
        record = dns.rdata.from_text(dns.rdataclass.IN, rdtype, " ".join(words[at + 1 :]))
    except dns.exception.DNSException as error:
        raise InvalidAnchor(f"{place}: {error!s}") from None
    if not isinstance(record, DS | DNSKEY):
        raise InvalidAnchor(f"{place}: not a DS or DNSKEY record")
    return TrustAnchor(as_known(zone).canonicalize(), record)


def root_anchors() -> tuple[TrustAnchor, ...]:
    """The anchors of the root zone that are shipped: KSK-2017 (20326) and KSK-2024 (38696)."""
    return parse_anchors(ROOT_ANCHORS_TEXT, "shipped root anchors")


def as_anchors(given: Iterable[TrustAnchor | str] | None) -> tuple[TrustAnchor, ...]:
    """Anchors from whatever a caller has: None (the root's), objects, or record text. Raises InvalidAnchor."""
    if given is None:
        return root_anchors()
    anchors: list[TrustAnchor] = []
    for each in given:
        anchors += [each] if isinstance(each, TrustAnchor) else parse_anchors(each)
    return tuple(anchors)
