"""Domain names that remember what is asked of them again and again: their hash, their parent, their octets.

A lookup hashes and compares the same few names dozens of times, and `dns.name.Name` goes through their letters each
time: that was half of what a cold destination cost. A `KnownName` is made once for each spelling, as long as it is
remembered, and it is as good as a Name everywhere: it equals and hashes as the Name of the same labels does.
"""

import functools
import re
from collections.abc import Mapping
from typing import Any

import dns.name

MAX_REMEMBERED = 4096  # names, of some 500 octets with all they remember; the lookups at one time need fewer
MAX_NAME_OCTETS = 255  # RFC 1035 section 2.3.4
_LENGTHS = [bytes((length,)) for length in range(256)]
_set = object.__setattr__  # dnspython's objects let only their constructors set anything, which take 20 times as long
# Text whose labels are what stands between the dots, none longer than RFC 1035 section 2.3.4 allows.
_PLAIN = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?", re.ASCII)


def restore(made: object, fields: Mapping[str, object]) -> None:
    """Give a fresh object of dnspython its values, which must be what its constructor would have made of them."""
    for field, value in fields.items():
        _set(made, field, value)


class KnownName(dns.name.Name):
    """An absolute name. `known` makes them."""

    __slots__ = ("_folded", "_hash", "_lineage", "_parent", "_text", "_wire", "key")

    _folded: tuple[bytes, ...]
    _hash: int | None
    _lineage: "tuple[KnownName, ...] | None"
    _parent: "KnownName | None"
    _text: str | None
    _wire: bytes
    key: bytes  # the octets in lower case: what tells names apart, and bytes know their hash

    def __hash__(self) -> int:
        if self._hash is None:  # lookups go by `key`, so most names are never asked for it
            _set(self, "_hash", dns.name.Name.__hash__(self))
        return self._hash  # type: ignore[return-value]  # set above

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, dns.name.Name) and self._folded == _folded(other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __reduce__(self) -> tuple[Any, ...]:
        return known, (self.labels,)

    def __str__(self) -> str:
        return self.to_text()

    def is_absolute(self) -> bool:
        """It always is."""
        return True

    def is_subdomain(self, other: dns.name.Name) -> bool:
        """Whether this name is the other one, or below it."""
        if self is other:
            return True
        above = other._folded if type(other) is KnownName else _folded(other)  # noqa: SLF001  # our own
        return self._folded[-len(above) :] == above

    def __lt__(self, other: dns.name.Name) -> bool:
        return _order(self) < _order(other)

    def __le__(self, other: dns.name.Name) -> bool:
        return _order(self) <= _order(other)

    def __gt__(self, other: dns.name.Name) -> bool:
        return _order(self) > _order(other)

    def __ge__(self, other: dns.name.Name) -> bool:
        return _order(self) >= _order(other)

    def parent(self) -> "KnownName":
        """The name without its first label. Raises NoParent for the root."""
        if self._parent is None:
            if len(self.labels) == 1:
                raise dns.name.NoParent
            _set(self, "_parent", known(self.labels[1:]))
        return self._parent  # type: ignore[return-value]  # set above

    def lineage(self) -> "tuple[KnownName, ...]":
        """The names from the root down to this one: at N stands the one of N + 1 labels."""
        if self._lineage is None:
            above = self.parent().lineage() if len(self.labels) > 1 else ()
            _set(self, "_lineage", (*above, self))
        return self._lineage  # type: ignore[return-value]  # set above

    def down_from(self, zone: dns.name.Name) -> "tuple[KnownName, ...]":
        """The names from a zone down to this one, both of them included; none where this one is not at or below it."""
        lineage, above = self._lineage or self.lineage(), len(zone.labels) - 1
        if not above:  # it is the root, and all are below that
            return lineage
        return lineage[above:] if self.is_subdomain(zone) else ()

    def canonicalize(self) -> "KnownName":
        """The name in lower case."""
        return self if self.labels == self._folded else known(self._folded)

    def to_text(self, omit_final_dot: bool = False, style: dns.name.NameStyle | None = None) -> str:
        """The name in presentation format (RFC 1035 section 5.1)."""
        if style is not None:
            return super().to_text(omit_final_dot, style)
        if self._text is None:
            plain = b".".join(self.labels).decode("ascii", "replace")
            as_it_is = plain.count(".") == len(self.labels) - 1 and _PLAIN.fullmatch(plain)
            _set(self, "_text", plain if as_it_is else super().to_text())
        text: str = self._text  # type: ignore[assignment]  # set above
        return text[:-1] if omit_final_dot and len(text) > 1 else text

    def to_wire(
        self,
        file: Any | None = None,
        compress: dns.name.CompressType | None = None,
        origin: dns.name.Name | None = None,
        canonicalize: bool = False,
    ) -> bytes | None:
        """The name's octets, or None when they go into a file, where they may be compressed."""
        if file is not None:
            return super().to_wire(file, compress, origin, canonicalize)
        return self.key if canonicalize else self._wire

    def to_digestable(self, origin: dns.name.Name | None = None) -> bytes:  # noqa: ARG002  # it is absolute already
        """The octets in lower case (RFC 4034 section 6.2)."""
        return self.key


def _order(name: dns.name.Name) -> tuple[bool, tuple[bytes, ...]]:
    """What names come by in canonical order (RFC 4034 section 6.1): labels from the root, in lower case.

    Relative names come before the others, as in dnspython.
    """
    if type(name) is KnownName:
        return True, name._folded[::-1]  # noqa: SLF001  # our own
    return name.is_absolute(), _folded(name)[::-1]


def _folded(name: dns.name.Name) -> tuple[bytes, ...]:
    if type(name) is KnownName:
        return name._folded  # noqa: SLF001  # our own
    return tuple([label.lower() for label in name.labels])


@functools.lru_cache(MAX_REMEMBERED)
def known(labels: tuple[bytes, ...]) -> KnownName:
    """The absolute name of these labels: none is empty but the last one, and none longer than RFC 1035 allows.

    Raises NameTooLong.
    """
    wire = b"".join([_LENGTHS[len(label)] + label for label in labels])
    if len(wire) > MAX_NAME_OCTETS:
        raise dns.name.NameTooLong
    lower = wire.lower()  # no length octet is a letter: they are below 64
    as_given = lower == wire  # then nothing is kept twice
    name = object.__new__(KnownName)
    _set(name, "labels", labels)
    _set(name, "_folded", labels if as_given else tuple([label.lower() for label in labels]))
    _set(name, "_hash", None)
    _set(name, "_wire", wire)
    _set(name, "key", wire if as_given else lower)
    _set(name, "_lineage", None)
    _set(name, "_parent", None)
    _set(name, "_text", None)
    return name


def as_known(name: dns.name.Name) -> KnownName:
    """The same name; it must be absolute."""
    return name if type(name) is KnownName else known(name.labels)


def from_text(text: str) -> KnownName:
    """The absolute name of a text, as `dns.name.from_text` reads it. Raises what that raises."""
    if _PLAIN.fullmatch(text):
        name = known((*text.removesuffix(".").encode().split(b"."), b""))
        if name._text is None:  # noqa: SLF001  # our own
            _set(name, "_text", text if text.endswith(".") else f"{text}.")
        return name
    return as_known(dns.name.from_text(text))


def ancestor(name: dns.name.Name, labels: int) -> KnownName:
    """The name's last so many labels, of which the root's counts: at least one, at most all."""
    return as_known(name).lineage()[labels - 1]
