"""The `_smtp._tls` TXT record: where reports go (RFC 8460 section 3)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from letterlock.mail.txt_records import NotARecord, begins_with, nearly

MAX_ADDRESSES = 10  # chosen: real records have one or two
VERSION = "v=TLSRPTv1"
_FIELD = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9_.-]{0,31})[ \t]*=[ \t]*(?P<value>[!-:<-~]+)")
_BLANKS_AT_COMMA = re.compile(r"[ \t]*,[ \t]*")
_ADDRESS = re.compile(r"(?:mailto:[^\s@]+@[^\s@]+|https://[^\s]+)", re.IGNORECASE)
_SHOWN_OCTETS = 60  # chosen: of a record, in a line of text


@dataclass(frozen=True, slots=True)
class ReportAddresses:
    """Where reports go: `mailto:` and `https:` URIs, at least one and at most MAX_ADDRESSES, in the order given."""

    uris: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NoTLSRPTRecord:
    """No TXT record begins with `v=TLSRPTv1;`: the domain asks for no reports. `nearly`: one looks as if it should."""

    nearly: NotARecord | None = None


@dataclass(frozen=True, slots=True)
class InvalidTLSRPTRecord:
    """Several records, or one against the grammar: counts as none. `detail` says why, for people."""

    detail: str


def find_addresses(
    strings_per_record: Sequence[Sequence[bytes]],
) -> ReportAddresses | NoTLSRPTRecord | InvalidTLSRPTRecord:
    """Find the record among the TXT records of `_smtp._tls.<domain>`, each given as its strings.

    The strings of one record are joined without anything between. Only records that begin with `v=TLSRPTv1;` count;
    if there is more than one, none does. Fields that are not known are ignored. White space may stand before the first
    semicolon and round the commas between addresses, as the grammar says.
    """
    texts = [b"".join(strings) for strings in strings_per_record]
    records = [text for text in texts if begins_with(text, VERSION)]
    if not records:
        return NoTLSRPTRecord(nearly(texts, VERSION))
    if len(records) > 1:
        return InvalidTLSRPTRecord(f"{len(records)} TXT records begin with v=TLSRPTv1; where one may")
    return _parse(records[0].decode("latin-1"))


def _parse(text: str) -> ReportAddresses | InvalidTLSRPTRecord:
    fields = [field.strip(" \t") for field in text.split(";")[1:]]
    if fields[-1] == "":
        fields.pop()
    found = None
    for field in fields:
        match = _FIELD.fullmatch(_BLANKS_AT_COMMA.sub(",", field))
        if match is None:
            return InvalidTLSRPTRecord(f"the record has a field that is not name=value: {field[:_SHOWN_OCTETS]!r}")
        if match["name"] == "rua" and found is None:
            found = match["value"]
    if found is None:
        return InvalidTLSRPTRecord("the record has no rua")
    uris = tuple(uri for uri in found.split(",") if _ADDRESS.fullmatch(uri))
    if not uris:
        return InvalidTLSRPTRecord(f"rua holds neither mailto: nor https: addresses: {found[:_SHOWN_OCTETS]!r}")
    return ReportAddresses(uris[:MAX_ADDRESSES])
