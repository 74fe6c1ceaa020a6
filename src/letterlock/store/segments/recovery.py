"""Moves messages that a crashed server left in segments back into the queue."""

import asyncio
import hashlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from letterlock.mail.checked_content import Body
from letterlock.mail.envelope import Envelope
from letterlock.queue.ids import CHANCE_DIGITS, TIME_DIGITS
from letterlock.queue.store import Store, StoreFull
from letterlock.queue.tasks import QueuedMessage
from letterlock.sqlite.disk import Disk
from letterlock.store.envelopes import read_whole_envelope, write_envelope
from letterlock.store.rows import Damaged
from letterlock.store.sealing import IN_CLEAR, ContentSeal
from letterlock.store.segments.fresh_message import hops_of, read_done_note, without
from letterlock.store.segments.records import Damage, RecordKind, SegmentRecord, read_octets, read_segment
from letterlock.store.segments.segment_log import SUFFIX, sync_directory
from letterlock.store.tails import Tails, tail_name

log = logging.getLogger("letterlock.store")
DAMAGED_SUFFIX = ".damaged"
_SEPARATOR = b"\0"
MAX_MOVED_AT_ONCE = 64  # chosen: messages in one transaction
MAX_OCTETS_AT_ONCE = 1 << 25  # chosen: 32 MiB of contents in one group


async def recover(directory: Path, kept: Store, seal: ContentSeal = IN_CLEAR, disk: Disk | None = None) -> "Recovered":
    """Move what the segments in a directory still have into a store, due at once.

    A message that the store has already is left as it is. Damaged segments are logged and set aside. When a
    `disk` has no room for that, what is left stays where it is, and is returned. Raises StoreFailed, OSError.
    """
    found = await asyncio.to_thread(_read_all, directory, seal)
    paths = sorted((*found.whole, *found.damaged))
    left = []
    try:
        while paths:  # each gives its room back before the next takes some
            await _move_all(paths[0], found, kept, seal, disk)
            paths.pop(0)
    except StoreFull as error:
        if disk is None:
            raise
        left = [await _staying(each, kept, found, seal) for path in paths for each in found.of(path)]
        log.error("%d messages of the last run stay in their segments: %s", len(left), error)  # noqa: TRY400  # no bug
    if found.left and not left:
        log.info("%d messages of the last run are in the queue again", len(found.left))
    if found.whole or found.damaged:
        await asyncio.to_thread(sync_directory, directory)
    return Recovered(_last_number(directory, (*found.whole, *found.damaged)), left)


async def _move_all(path: Path, found: "_Found", kept: Store, seal: ContentSeal, disk: Disk | None) -> None:
    """Move the messages of one segment; then it is removed, or set aside. Raises StoreFailed, OSError."""
    for group in _groups(found.of(path)):
        if disk is not None:
            disk.require(sum(left.record.content_octets for left in group))
        await _move_group(group, kept, seal)
    await asyncio.to_thread(_take_away, path, damaged=path in found.damaged)


def _take_away(path: Path, *, damaged: bool) -> None:
    if damaged:
        path.rename(path.with_name(path.name + DAMAGED_SUFFIX))
    else:
        path.unlink()


async def _staying(left: "Left", kept: Store, found: "_Found", seal: ContentSeal) -> "Left":
    """A message that stays in its segment. One that needs another id waits there for a start with more room."""
    name = await _free_name(kept, left.envelope)
    return replace(
        left,
        tail=tail_name(await asyncio.to_thread(_content, left, seal)),
        behind=name is None,
        waits=name not in (None, left.envelope.id),
        beside_damage=left.path in found.damaged,
    )


def _last_number(directory: Path, removed: Iterable[Path]) -> int:
    """The numbers of segments that were set aside, in this run or an earlier one, are not given again."""
    set_aside = directory.glob(f"[0-9]*{SUFFIX}{DAMAGED_SUFFIX}")
    return max((int(path.name.partition(".")[0]) for path in (*removed, *set_aside)), default=0)


@dataclass(frozen=True, slots=True)
class Left:
    """A message that is not done, and where its content is.

    `envelope` is as it was accepted, `done` are the next hops whose parts are done. `tail` is the file with the rest of
    its content, known of those that stay. `behind`: the store has it as well.
    `waits`: it cannot be delivered before the next start. `beside_damage`: its segment is to be set aside then, and not
    to be removed.
    """

    envelope: Envelope
    path: Path
    record: SegmentRecord
    done: frozenset[str] = frozenset()
    behind: bool = False
    waits: bool = False
    beside_damage: bool = False
    tail: str | None = None

    @property
    def remaining(self) -> Envelope:
        """The envelope for those who do not have it yet."""
        return without(self.envelope, self.done)


@dataclass(frozen=True, slots=True)
class Recovered:
    """The number of the last segment there was, and messages that are still in segments, for want of room."""

    last_number: int
    left: list[Left]

    @property
    def paths(self) -> list[Path]:
        """The segments that they are in, the oldest first."""
        return sorted({each.path for each in self.left})


@dataclass(frozen=True, slots=True)
class _Found:
    """The findings in segments."""

    left: dict[str, Left] = field(default_factory=dict)
    whole: list[Path] = field(default_factory=list)
    damaged: list[Path] = field(default_factory=list)

    def of(self, path: Path) -> list[Left]:
        """The messages in one segment."""
        return [left for left in self.left.values() if left.path == path]


def _read_all(directory: Path, seal: ContentSeal) -> _Found:
    """Raises OSError."""
    found = _Found()
    for path in sorted(directory.glob(f"*{SUFFIX}")):
        damaged = False
        for record in read_segment(path):
            try:
                _note(found, path, record, seal)
            except Damaged as error:
                log.critical("%s: a part of it is damaged, and the file is set aside: %s", path, error)
                damaged = True
        (found.damaged if damaged else found.whole).append(path)
    return found


def _note(found: _Found, path: Path, record: SegmentRecord | Damage, seal: ContentSeal) -> None:
    """Raises Damaged."""
    if isinstance(record, Damage):
        raise Damaged(f"no record can be read at octet {record.at}")
    if record.kind is RecordKind.DONE:
        _done(found, *read_done_note(record.note))
        return
    envelope = read_whole_envelope(_open_note(seal, record.note))
    found.left[envelope.id] = Left(envelope, path, record)


def _done(found: _Found, message_id: str, part: int | None) -> None:
    """A message, or one of its parts, is done."""
    left = found.left.get(message_id)
    if left is None:
        return
    hops = hops_of(left.envelope)
    done = frozenset(hops) if part is None else left.done | frozenset(hops[part : part + 1] if part >= 0 else ())
    if len(done) == len(hops):
        del found.left[message_id]
    else:
        found.left[message_id] = replace(left, done=done)


def _groups(messages: Iterable[Left]) -> Iterator[list[Left]]:
    """As many as fit into memory together."""
    group: list[Left] = []
    octets = 0
    for left in messages:
        group.append(left)
        octets += left.record.content_octets
        if len(group) >= MAX_MOVED_AT_ONCE or octets >= MAX_OCTETS_AT_ONCE:
            yield group
            group, octets = [], 0
    if group:
        yield group


async def _move_group(group: Sequence[Left], kept: Store, seal: ContentSeal) -> None:
    missing = [(name, left) for left in group if (name := await _free_name(kept, left.envelope)) is not None]
    bodies = await asyncio.to_thread(lambda: [_content(left, seal) for _, left in missing])
    moves = (
        kept.accept(replace(left.remaining, id=name), body, next_attempt_at=0.0)
        for (name, left), body in zip(missing, bodies, strict=True)
    )
    for failed in await asyncio.gather(*moves, return_exceptions=True):  # together, for one commit
        if failed is not None:
            raise failed


async def _free_name(kept: Store, envelope: Envelope) -> str | None:
    """The id under which a message goes into a store; None: it is there already.

    Another message may have its id, from a queue that was taken over (ids were shorter once). Then its id is made from
    the envelope: when recovery is killed and begins again, it is the same one.
    """
    there = await kept.message(envelope.id)
    if there is None:
        return envelope.id
    if _is_same(there, envelope):
        return None
    digest = hashlib.sha256(write_envelope(envelope)).hexdigest().upper()
    name = envelope.id[:TIME_DIGITS] + digest[:CHANCE_DIGITS]
    log.warning("%s: another message has this id; the one of the last run is %s now", envelope.id, name)
    return name if await kept.message(name) is None else None


def _is_same(there: QueuedMessage, envelope: Envelope) -> bool:
    """Whether a queued message is the one with this envelope, whatever became of it since.

    It may have been moved without those who had it already, and a part may have been done while it was moved.
    """
    recipients = {str(mailbox) for mailbox in envelope.recipients}
    return (
        (there.accepted_at, there.expires_at, there.size) == (envelope.accepted_at, envelope.expires_at, envelope.size)
        and there.sender == str(envelope.reverse_path or "")
        and recipients.issuperset(each.recipient for each in there.recipients)
    )


def _content(left: Left, seal: ContentSeal) -> Body:
    with left.path.open("rb") as file:
        octets = read_octets(file.fileno(), left.record.content_at, left.record.content_octets)
    return Tails(left.path.parent, seal).unpack(open_content(seal, left.envelope.id, octets))


# --- encrypted records: the id in clear, a NUL, and the envelope; the content ---------------------------------------


def close_record(seal: ContentSeal, message_id: str, note: bytes, content: bytes) -> tuple[bytes, bytes]:
    """The note and the content of an accepted message as stored in a segment when there is a key."""
    name = message_id.encode()
    return name + _SEPARATOR + seal.close(_note_of(message_id), note), seal.close(message_id, content)


def open_content(seal: ContentSeal, message_id: str, content: bytes) -> bytes:
    """The content of a record, encrypted or not. Raises Damaged."""
    return seal.open(message_id, content)


def _open_note(seal: ContentSeal, note: bytes) -> bytes:
    """Raises Damaged."""
    name, separator, sealed = note.partition(_SEPARATOR)
    return seal.open(_note_of(name.decode("ascii", "replace")), sealed) if separator else note


def _note_of(message_id: str) -> str:
    """The id that the envelope is sealed under: no message has this id, so neither can stand for the other."""
    return f"envelope of {message_id}"
