"""The `_mta-sts` TXT record: is there a policy, and under which id (RFC 8461 section 3.1)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from letterlock.frozen import frozen_dataclass
from letterlock.mail.txt_records import NotARecord, begins_with, nearly

VERSION = "v=STSv1"
_ID = re.compile(r"[A-Za-z0-9]{1,32}")
_FIELD = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9_.-]{0,31})=(?P<value>[!-:<>-~]+)")
_SHOWN_OCTETS = 60  # chosen: enough to recognise the field


@frozen_dataclass(frozen=True, slots=True)
class StsRecord:
    """The one valid record. `id` changes whenever the policy does: 1 to 32 letters and digits."""

    id: str


@frozen_dataclass(frozen=True, slots=True)
class NoSTSRecord:
    """No TXT record begins with `v=STSv1;`: the domain announces no policy. `nearly`: one looks as if it should."""

    nearly: NotARecord | None = None


@dataclass(frozen=True, slots=True)
class InvalidSTSRecord:
    """More than one record, or one against the grammar: counts as no policy, and `detail` says why, for people."""

    detail: str


@dataclass(frozen=True, slots=True)
class TxtFailed:
    """The TXT lookup could not find out: neither presence nor absence."""

    detail: str


TxtResult = StsRecord | NoSTSRecord | InvalidSTSRecord | TxtFailed


def find_id(strings_per_record: Sequence[Sequence[bytes]]) -> StsRecord | NoSTSRecord | InvalidSTSRecord:
    """Find the MTA-STS record among the TXT records of `_mta-sts.<domain>`, each given as its strings.

    The strings of one record are joined without anything between. Only records that begin with `v=STSv1;` count, and
    white space before the semicolon is allowed by the grammar.
    Unknown fields are ignored; of two ids the first counts, as in the policy (section 3.2).
    """
    texts = [b"".join(strings) for strings in strings_per_record]
    records = [text for text in texts if begins_with(text, VERSION)]
    if not records:
        return NoSTSRecord(nearly(texts, VERSION))
    if len(records) > 1:
        return InvalidSTSRecord(f"{len(records)} TXT records begin with v=STSv1; where one may")
    return _parse(records[0])


def _parse(record: bytes) -> StsRecord | InvalidSTSRecord:
    text = record.decode("latin-1")  # what is not ASCII is against the grammar wherever it stands
    fields = [field.strip(" \t") for field in text.split(";")[1:]]
    if fields[-1] == "":
        fields.pop()
    found = None
    for field in fields:
        match = _FIELD.fullmatch(field)
        if match is None:
            return InvalidSTSRecord(f"the TXT record has a field that is not name=value: {field[:_SHOWN_OCTETS]!r}")
        if match["name"] == "id" and found is None:
            found = match["value"]
    if found is None:
        return InvalidSTSRecord("the TXT record has no id")
    if _ID.fullmatch(found) is None:
        return InvalidSTSRecord(f"the TXT record's id is not 1 to 32 letters and digits: {found[:_SHOWN_OCTETS]!r}")
    return StsRecord(found)
