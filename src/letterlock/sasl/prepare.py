"""SASLprep (RFC 4013): user names and passwords that look the same compare as equal."""

import stringprep
import unicodedata

MAX_OCTETS = 1024  # of a user name or password: longer ones only cost time
_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,  # unassigned: nothing is stored in that form (RFC 3454 section 7)
)


class Unprepared(ValueError):
    """A text cannot be a user name or password."""


def prepare(octets: bytes) -> str:
    """Decode and prepare. Raises Unprepared."""
    if len(octets) > MAX_OCTETS:
        raise Unprepared(f"longer than {MAX_OCTETS} bytes")
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        raise Unprepared("not UTF-8") from None
    mapped = "".join(
        " " if stringprep.in_table_c12(letter) else letter for letter in text if not stringprep.in_table_b1(letter)
    )
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    if any(is_in(letter) for letter in prepared for is_in in _PROHIBITED):
        raise Unprepared("a prohibited character")
    _check_direction(prepared)
    if not prepared:
        raise Unprepared("empty")
    return prepared


def _check_direction(text: str) -> None:
    """Text from right to left is so from end to end (RFC 3454 section 6)."""
    if not any(map(stringprep.in_table_d1, text)):
        return
    ends_fit = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
    if not ends_fit or any(map(stringprep.in_table_d2, text)):
        raise Unprepared("mixed directions")
