"""The frames of a DNS message: header, question, and where each record begins and ends (RFC 1035 section 4.1).

RDATA stays bytes here: a record is parsed later, and only where it is needed (`rdata`), so that one odd record
never costs the others that came with it. Answer and authority must be whole; the additional section is read as far as
it goes, because nothing in it is needed.
"""

import struct
from typing import NamedTuple

import dns.exception
import dns.name
import dns.rdatatype

from letterlock.frozen import frozen_dataclass
from letterlock.resolver.known_names import MAX_NAME_OCTETS, KnownName, known

MAX_RECORDS = 250  # in answer and authority: reading more would hold up everybody else; mail needs nothing near it
MAX_POINTERS = 127  # in one name: a name has at most 127 labels, so more pointers can only be there to cost time
MAX_TTL_VALUE = 0x7FFF_FFFF  # a TTL has 31 bits; a larger one counts as 0 (RFC 2181 section 8)
_HEADER = struct.Struct("!6H")
_QUESTION = struct.Struct("!2H")
_RECORD = struct.Struct("!HHIH")
_RECORD_OCTETS = _RECORD.size
_POINTED_RECORD = struct.Struct("!HHHIH")  # with an owner that is a pointer
_POINTED_RECORD_OCTETS = _POINTED_RECORD.size
_OPTION = struct.Struct("!HH")
_OPT = dns.rdatatype.OPT
_EDE = 15  # RFC 8914
_BEYOND, _TOO_LONG = "a name goes beyond the end of the message", "a name is too long"
_IN_QUESTION = "it ends in the question"
_ROOT = known((b"",))
_POINTER, _LABEL = 0xC0, 0x40  # the high bits of a length octet in names (RFC 1035 section 4.1.4)
_POINTERS = _POINTER << 8  # what a pointer adds to the offset, as a number of two octets
_PLAIN_OPT = struct.pack("!BH", 0, _OPT)  # how an OPT record begins (RFC 6891 section 6.1.2)
_PLAIN_OPT_OCTETS = 1 + _RECORD.size  # of one without options
_NO_DATA = b"\0\0"  # how that ends


_Questions = tuple[tuple[KnownName, int, int], ...]


class Unreadable(ValueError):
    """The octets are no DNS message, or their records do not have the lengths that they claim."""


class Frame(NamedTuple):
    """One record: its head, and where its RDATA lies in the message."""

    owner: KnownName
    rdtype: int
    rdclass: int
    ttl: int
    start: int
    end: int


@frozen_dataclass(frozen=True, slots=True)
class Frames:
    """A message taken apart into its records. `rcode` includes the upper bits that EDNS has, `ede` its error code.

    An OPT record that is the whole additional section, and has no options, is in `rcode` only.
    """

    message_id: int
    flags: int
    rcode: int
    questions: tuple[tuple[KnownName, int, int], ...]
    answer: list[Frame]
    authority: list[Frame]
    additional: list[Frame]
    names: "Names"
    ede: int | None


class Names:
    """The names of one message, each read once. Pointers go backwards, and there are few of them in a name.

    `known`: the names that are known, by their offsets, for pointers to them.
    """

    __slots__ = ("known", "wire")

    def __init__(self, wire: bytes, known: dict[int, KnownName] | None = None) -> None:
        self.wire = wire
        self.known = {} if known is None else known

    def read(self, at: int) -> tuple[KnownName, int]:
        """The name at an offset, and the offset after it. Raises Unreadable."""
        wire, begin = self.wire, at
        try:
            length = wire[at]
            if not length:
                return _ROOT, at + 1
            if length >= _POINTER:
                begin = (length & 0x3F) << 8 | wire[at + 1]
                name = self.known.get(begin)
                if name is not None and begin < at:
                    return name, at + 2
            labels, end = self._labels(at)
        except IndexError:
            raise Unreadable(_BEYOND) from None
        try:
            name = self.known[begin] = known((*labels, b""))
        except dns.exception.DNSException:
            raise Unreadable(_TOO_LONG) from None
        return name, end

    def after(self, at: int) -> int:
        """The offset after the name at an offset, which nobody wants. Raises Unreadable, as `read` does."""
        try:
            labels, end = self._labels(at)
        except IndexError:
            raise Unreadable(_BEYOND) from None
        if sum(map(len, labels)) + len(labels) >= MAX_NAME_OCTETS:
            raise Unreadable(_TOO_LONG)
        return end

    def _labels(self, at: int) -> tuple[list[bytes], int]:
        """The labels of a name before the root's, and the offset after it. Raises IndexError, Unreadable."""
        wire, labels, end, lowest, pointers = self.wire, [], 0, at, 0
        while length := wire[at]:
            if length < _LABEL:
                after = at + 1 + length
                labels.append(wire[at + 1 : after])
                at = after
                if len(labels) > MAX_POINTERS:
                    raise Unreadable(_TOO_LONG)
                continue
            target = (length & 0x3F) << 8 | wire[at + 1]
            pointers += 1
            if length < _POINTER or target >= lowest or pointers > MAX_POINTERS:
                raise Unreadable("a name has a bad label or a bad pointer")
            end, lowest, at = end or at + 2, target, target
            known = self.known.get(target)
            if known is not None:  # as mostly: the rest is the name asked for, or its zone
                labels += known.labels[:-1]
                break
        return labels, end or at + 1


def read_frames(wire: bytes, asked: KnownName | None = None) -> Frames:
    """Take a message apart. Raises Unreadable. `asked` is the name that it is probably about."""
    if len(wire) < _HEADER.size:
        raise Unreadable("it is shorter than a header")
    message_id, flags, asking, answers, authorities, more = _HEADER.unpack_from(wire)
    if answers + authorities > MAX_RECORDS:
        raise Unreadable(f"it has more than {MAX_RECORDS} records")
    if asked is not None and asking == 1 and wire.startswith(asked.key, _HEADER.size):
        names, questions, at = _as_asked(wire, asked)
    else:
        names = Names(wire)
        questions, at = _questions(names, asking)
    answer: list[Frame] = []
    authority: list[Frame] = []
    additional: list[Frame] = []
    if answers:
        at = _read_records(names, at, answers, answer)
    if authorities:
        at = _read_records(names, at, authorities, authority)
    rcode, ede = flags & 0x0F, None
    if (
        more == 1
        and len(wire) == at + _PLAIN_OPT_OCTETS
        and wire.startswith(_PLAIN_OPT, at)
        and wire.endswith(_NO_DATA)
    ):
        rcode |= wire[at + 5] << 4  # as below; so nearly every reply ends
    elif more:
        additional = _as_far_as_it_goes(names, at, min(more, MAX_RECORDS))
        for each in additional:
            if each.rdtype == _OPT:
                rcode |= (each.ttl >> 24) << 4  # RFC 6891 section 6.1.3
                ede = _extended_error(wire, each.start, each.end) if each.start != each.end else None
                break
    return Frames(
        message_id=message_id,
        flags=flags,
        rcode=rcode,
        questions=questions,
        answer=answer,
        authority=authority,
        additional=additional,
        names=names,
        ede=ede,
    )


def _as_asked(wire: bytes, asked: KnownName) -> tuple[Names, _Questions, int]:
    """What `_questions` reads where the name asked for is that of the question; others point to it, or into it."""
    places, at = {}, _HEADER.size
    for name in asked.lineage()[:0:-1]:  # all but the root
        places[at] = name
        at += 1 + wire[at]
    at += 1
    if at + _QUESTION.size > len(wire):
        raise Unreadable(_IN_QUESTION)
    rdtype, rdclass = _QUESTION.unpack_from(wire, at)
    return Names(wire, places), ((asked, rdtype, rdclass),), at + _QUESTION.size


def _questions(names: Names, count: int) -> tuple[_Questions, int]:
    if count != 1:  # a query of ours has one, and whatever answers it repeats that one
        return (), _HEADER.size
    name, at = names.read(_HEADER.size)
    if at + _QUESTION.size > len(names.wire):
        raise Unreadable(_IN_QUESTION)
    rdtype, rdclass = _QUESTION.unpack_from(names.wire, at)
    return ((name, rdtype, rdclass),), at + _QUESTION.size


def _read_records(names: Names, at: int, count: int, frames: list[Frame]) -> int:
    """Read records, and give the offset after them. Raises Unreadable; those before it are in `frames` then."""
    wire, known = names.wire, names.known
    size = len(wire)
    for _ in range(count):
        owner = None
        if at + _POINTED_RECORD_OCTETS <= size:
            pointer, rdtype, rdclass, ttl, length = _POINTED_RECORD.unpack_from(wire, at)
            owner = known.get(pointer - _POINTERS)  # below 0 where it is none
            start = at + _POINTED_RECORD_OCTETS
        if owner is None:  # it is not one to a name that was read before, as nearly every owner is
            owner, at = names.read(at)
            try:
                rdtype, rdclass, ttl, length = _RECORD.unpack_from(wire, at)
            except struct.error:
                raise Unreadable("it ends in the head of a record") from None
            start = at + _RECORD_OCTETS
        at = start + length
        if at > size:
            raise Unreadable("it ends in the data of a record")
        if ttl > MAX_TTL_VALUE and rdtype != _OPT:
            ttl = 0  # RFC 2181 section 8
        # without the constructor, which is a function in Python: each record of each reply has one
        frames.append(tuple.__new__(Frame, (owner, rdtype, rdclass, ttl, start, at)))
    return at


def _as_far_as_it_goes(names: Names, at: int, count: int) -> list[Frame]:
    frames: list[Frame] = []
    try:
        _read_records(names, at, count, frames)
    except Unreadable:
        return frames  # nothing in the additional section is needed
    return frames


def _extended_error(wire: bytes, at: int, end: int) -> int | None:
    """The code of the first extended DNS error; other options, and those that are cut short, are nothing to us."""
    while at + _OPTION.size <= end:
        code, length = _OPTION.unpack_from(wire, at)
        at += _OPTION.size + length
        if code == _EDE and length >= 2 and at <= end:
            return int.from_bytes(wire[at - length : at - length + 2], "big")
    return None
