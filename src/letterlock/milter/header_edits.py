"""A header section as fields that a filter may change. What it does not touch stays octet by octet."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from letterlock.milter.answers import AddHeader, ChangeHeader
from letterlock.milter.frames import BadFrame

MAX_FIELDS = 20_000  # beyond it a filter that adds more has failed; mail has a hundred
_FIELD = re.compile(rb"([!-9;-~]++)[ \t]*+:([^\r\n]*+(?:\r\n[ \t][^\r\n]*+)*+)\r\n")


@dataclass(slots=True)
class HeaderField:
    """A field: its name, what follows the colon, and the octets as they are, with the line end.

    `hidden`: filters are not shown it, and do not count it.
    """

    name: bytes
    value: bytes
    raw: bytes
    hidden: bool = False


def read_fields(section: bytes, at: int = 0) -> tuple[list[HeaderField], int]:
    """The fields from `at` on, and where they end: at the empty line, or at the first line that is no field."""
    fields = list[HeaderField]()
    while (found := _FIELD.match(section, at)) is not None:
        fields.append(HeaderField(found[1], found[2], found[0]))
        at = found.end()
    return fields, at


class HeaderSection:
    """The fields of a message, in order."""

    def __init__(self, fields: list[HeaderField]) -> None:
        self._fields = fields
        self.changed = False

    def shown(self) -> Iterator[HeaderField]:
        """The fields that filters see."""
        return (each for each in self._fields if not each.hidden)

    def add(self, change: AddHeader) -> None:
        """Add a field. An index beyond the last field means the end. Raises BadFrame for too many."""
        if len(self._fields) >= MAX_FIELDS:
            raise BadFrame(f"more than {MAX_FIELDS} header fields")
        made = HeaderField(change.name, change.value, _written(change.name, change.value))
        self._fields.insert(self._place(change.index), made)
        self.changed = True

    def _place(self, index: int | None) -> int:
        if index is None:
            return len(self._fields)
        places = (place for place, each in enumerate(self._fields) if not each.hidden)
        wanted = max(index, 1) - 1  # the server's own Received field, which is hidden, counts as the field 0
        return next((place for number, place in enumerate(places) if number == wanted), len(self._fields))

    def change(self, change: ChangeHeader) -> None:
        """Change or remove a field; one that is not there is added, unless it was to be removed, as in libmilter."""
        wanted, number = change.name.lower(), 0
        for place, each in enumerate(self._fields):
            if each.hidden or each.name.lower() != wanted:
                continue
            number += 1
            if number == change.number:
                self.changed = True
                if not change.value:
                    del self._fields[place]
                else:
                    each.value, each.raw = change.value, _written(each.name, change.value)
                return
        if change.value:
            self.add(AddHeader(change.name, change.value))

    def __bytes__(self) -> bytes:
        return b"".join(each.raw for each in self._fields)


def _written(name: bytes, value: bytes) -> bytes:
    space = b"" if value[:1] in (b" ", b"\t") or not value else b" "
    return name + b":" + space + value + b"\r\n"
