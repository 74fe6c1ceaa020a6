"""The format of segments: files to which accepted messages are only ever appended.

A segment begins with its opening, which has a salt of its own. A row of records follows, each a head of fixed length, a
note (the envelope, or the id of a message that is done; a NUL and a number behind it: only that part of it) and a
content (the message's, or nothing):

    opening:  LETTERLOCK-SEGMENT-1, line feed 1 | salt 8 | CRC-32 of both 4
    record:   salt 8 | kind 1 | octets of the note 4 | octets of the content 4 | CRC-32 of both 4 | CRC-32 of the head 4

A record at the end that is not whole was being written when power failed: it was never acknowledged to a client. One
that cannot be read while others follow is damage. Reading goes on behind damage where the salt is found, which
no sender of mail can know: content that looks like records is never taken for any.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from letterlock.frozen import frozen_dataclass

SALT_OCTETS = 8  # chosen: 64 random bits, so that no message can contain what begins a record
_NAME = b"LETTERLOCK-SEGMENT-1\n"
_HEAD = struct.Struct(f">{SALT_OCTETS}sBIII")
_CHECK = struct.Struct(">I")
OPENING_OCTETS = len(_NAME) + SALT_OCTETS + _CHECK.size
HEAD_OCTETS = _HEAD.size + _CHECK.size
_BLOCK_OCTETS = 1 << 20  # chosen: read at once; few system calls and little memory


class RecordKind(IntEnum):
    """The kinds of records."""

    ACCEPTED = 1  # kinds of records on disk: never give a number another meaning
    DONE = 2


@frozen_dataclass(frozen=True, slots=True)
class SegmentRecord:
    """One record as it was read; its content is read by itself (`read_octets`), from `content_at`."""

    kind: RecordKind
    note: bytes
    content_at: int
    content_octets: int
    octets: int


@dataclass(frozen=True, slots=True)
class Damage:
    """A place in a segment where no record can be read, though others follow."""

    at: int


def encode_opening(salt: bytes) -> bytes:
    """The first bytes of a segment. `salt` is random, and the segment's own."""
    opening = _NAME + salt
    return opening + _CHECK.pack(zlib.crc32(opening))


def encode_record(salt: bytes, kind: RecordKind, note: bytes, *content: bytes) -> tuple[bytes, ...]:
    """A record in pieces, so that the content is not copied: the head with the note, and the content as it came."""
    octets, check = 0, zlib.crc32(note)
    for piece in content:
        octets, check = octets + len(piece), zlib.crc32(piece, check)
    head = _HEAD.pack(salt, kind, len(note), octets, check)
    return head + _CHECK.pack(zlib.crc32(head)) + note, *content


def read_segment(path: Path) -> Iterator[SegmentRecord | Damage]:
    """All records of a segment in their order; the unfinished one at its end is left out. Raises OSError."""
    with path.open("rb") as file:
        descriptor = file.fileno()
        size = os.fstat(descriptor).st_size
        salt = _read_opening(descriptor)
        if salt is None:
            if size > OPENING_OCTETS:
                yield Damage(0)
            return
        at = OPENING_OCTETS
        while at < size:
            record = _read_record(descriptor, salt, at, size)
            if record is not None:
                yield record
                at += record.octets
                continue
            found = _next_record(descriptor, salt, at + 1, size)
            if found is None:
                return
            yield Damage(at)
            at = found


def read_octets(descriptor: int, at: int, count: int) -> bytes:
    """So many octets of a file. Raises OSError when they are not all there."""
    pieces: list[bytes] = []
    while count and (piece := os.pread(descriptor, count, at)):
        pieces.append(piece)
        at, count = at + len(piece), count - len(piece)
    if count:
        raise OSError(f"the file ends {count} octets early")
    return b"".join(pieces)


def read_content(descriptor: int, at: int, octets: int, note_octets: int) -> bytes:
    """The content at a place, of a record with a note of that length. Raises OSError, for damage too."""
    begin = at - note_octets - HEAD_OCTETS
    head = read_octets(descriptor, begin, HEAD_OCTETS + note_octets)
    content = read_octets(descriptor, at, octets)
    check = _HEAD.unpack_from(head)[-1]
    if zlib.crc32(content, zlib.crc32(head[HEAD_OCTETS:])) != check:
        raise OSError(f"the record at octet {begin} does not have its checksum")
    return content


def _read_opening(descriptor: int) -> bytes | None:
    opening = os.pread(descriptor, OPENING_OCTETS, 0)
    salt = opening[len(_NAME) : len(_NAME) + SALT_OCTETS]
    return salt if opening == encode_opening(salt) else None


def _read_record(descriptor: int, salt: bytes, at: int, size: int) -> SegmentRecord | None:
    """The whole and undamaged record at a place, if there is one."""
    head = os.pread(descriptor, HEAD_OCTETS, at)
    if len(head) < HEAD_OCTETS or _CHECK.unpack_from(head, _HEAD.size)[0] != zlib.crc32(head[: _HEAD.size]):
        return None
    its_salt, kind, note_octets, content_octets, check = _HEAD.unpack_from(head)
    octets = HEAD_OCTETS + note_octets + content_octets
    if its_salt != salt or kind not in tuple(RecordKind) or at + octets > size:
        return None
    content_at = at + HEAD_OCTETS + note_octets
    note = read_octets(descriptor, at + HEAD_OCTETS, note_octets)
    if _checksum(descriptor, content_at, content_octets, zlib.crc32(note)) != check:
        return None
    return SegmentRecord(RecordKind(kind), note, content_at, content_octets, octets)


def _checksum(descriptor: int, at: int, octets: int, check: int) -> int:
    while octets and (piece := os.pread(descriptor, min(octets, _BLOCK_OCTETS), at)):
        check = zlib.crc32(piece, check)
        at, octets = at + len(piece), octets - len(piece)
    return check


def _next_record(descriptor: int, salt: bytes, at: int, size: int) -> int | None:
    """Where the next record that can be read begins."""
    while at < size:
        block = os.pread(descriptor, _BLOCK_OCTETS, at)
        place = block.find(salt)
        while place >= 0:
            if _read_record(descriptor, salt, at + place, size) is not None:
                return at + place
            place = block.find(salt, place + 1)
        if len(block) < _BLOCK_OCTETS:
            return None
        at += _BLOCK_OCTETS - SALT_OCTETS + 1
    return None
