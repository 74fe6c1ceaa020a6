"""TXT records that begin with a version, such as `v=STSv1;`: which count, and which are nearly one.

A record that does not begin as it must is no record (RFC 8461 section 3.1, RFC 8460 section 3), and its domain is not
protected though it believes so. What is wrong with it is found out here, for people.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

_SHOWN_OCTETS = 60  # chosen: of a record, in a line of text
_WHITE = " \t\r\n\xa0"
_QUOTES = "\"'\u201c\u201d"


class Slip(StrEnum):
    """Why a record that looks like one is none; the value completes "it …"."""

    QUOTES = "has quotation marks inside the text"
    BLANKS = "has white space before or inside the version"
    CASE = "has the version in other letters: upper and lower case matter"
    SEMICOLON = "has no semicolon after the version"


@dataclass(frozen=True, slots=True)
class NotARecord:
    """A TXT record that is nearly one: how it begins, and its slip. `str()` is a sentence for people."""

    version: str
    shown: str
    slip: Slip

    def __str__(self) -> str:
        return (
            f"a TXT record is no {self.version} record, though it looks like one: it {self.slip.value}: {self.shown!r}"
        )


def begins_with(record: bytes, version: str) -> bool:
    """Whether a record begins with a version and a semicolon; white space may stand between, as the grammars allow."""
    return re.match(rb"%s[ \t]*;" % re.escape(version.encode()), record) is not None


def nearly(records: Sequence[bytes], version: str) -> NotARecord | None:
    """The first record that looks like one of this version (`v=STSv1`) and is none."""
    for record in records:
        slip = _slip(record.decode("utf-8", "replace"), version)
        if slip is not None:
            return NotARecord(version, record[:_SHOWN_OCTETS].decode("latin-1"), slip)
    return None


def _slip(text: str, version: str) -> Slip | None:
    bare = text.strip(_WHITE + _QUOTES)
    compact = "".join(each for each in bare[: len(version) + _SHOWN_OCTETS] if each not in _WHITE)
    rest = compact[len(version) :]
    if compact[: len(version)].lower() != version.lower() or rest[:1].isdigit() or rest[:1] == ".":
        return None
    if bare != text.strip(_WHITE):
        return Slip.QUOTES
    if text != bare or not bare.lower().startswith(version.lower()):
        return Slip.BLANKS
    if not bare.startswith(version):
        return Slip.CASE
    return Slip.SEMICOLON if not rest.startswith(";") else None
