"""Requests that carry contents: a message's copy out of the queue and into it, and its content to look at.

Their JSON has the sizes of what follows it as bytes (`octets`), in requests and in answers, so that contents are
neither quoted nor searched for line ends.
"""

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from letterlock.mail.checked_content import ContentLost, head_of, in_one_piece
from letterlock.ports import Clock
from letterlock.queue.copies import BadCopy, MessageCopy, copy_values, read_copy
from letterlock.queue.ids import is_id
from letterlock.queue.store import OperatedStore, UnreadableMessage

MAX_DOCUMENT_OCTETS = 1 << 26  # of a message's JSON: a hundred thousand recipients, each with a long last reply
MAX_CONTENT_OCTETS = 1_000_000_000  # the longest value that SQLite stores (SQLITE_MAX_LENGTH)
MAX_ARCHIVE_CHARACTERS = 100  # of an archive's name: twice what `letterlock queue export` gives one
MAX_HEADER_OCTETS = 1 << 18  # of what is shown as the header where no blank line ends it; SMTP peers stop far below
VERBS = frozenset({"queue.copy", "queue.restore", "queue.content", "queue.skip", "queue.export"})


class BadTransfer(Exception):
    """The request is not one that the server knows, or what it carries is not a message."""


@dataclass(frozen=True, slots=True)
class Transferred:
    """An answer, and the bytes that follow it."""

    values: Mapping[str, object]
    parts: Sequence[bytes] = ()
    changed: bool = False


def carried(request: Mapping[str, object]) -> tuple[int, ...]:
    """How many bytes each part has that follows a request. Raises BadTransfer."""
    match request.get("octets"):
        case None:
            return ()
        case [int(document), int(content)] if (
            0 <= document <= MAX_DOCUMENT_OCTETS and 0 <= content <= MAX_CONTENT_OCTETS
        ):
            return document, content
    raise BadTransfer("octets are the sizes of a message's JSON and of its content")


async def transfer(
    request: Mapping[str, object], parts: Sequence[bytes], store: OperatedStore, clock: Clock
) -> Transferred:
    """Do what a request with one of VERBS says. Raises BadTransfer, StoreFailed."""
    match request:
        case {"verb": "queue.export", "archive": str(archive)} if _is_name(archive):
            return Transferred({})
        case {"verb": "queue.copy", "id": str(message_id), "in_clear": bool(in_clear)} if is_id(message_id):
            return await _copied(store, message_id, in_clear=in_clear)
        case {"verb": "queue.restore", "archive": str(archive), "hold": str() | None as hold} if _is_name(archive):
            return await _restored(store, archive, parts, None if hold is None else (clock.now(), hold))
        case {"verb": "queue.skip", "archive": str(archive), "id": str(message_id)} if _is_name(archive) and is_id(
            message_id
        ):
            await store.skip(archive, message_id)
            return Transferred({})
        case {"verb": "queue.content", "id": str(message_id), "whole": bool(whole)}:
            return await _content(store, message_id, whole=whole)
    raise BadTransfer("unknown request")


def _is_name(archive: str) -> bool:
    return archive.isascii() and archive.isprintable() and 0 < len(archive) <= MAX_ARCHIVE_CHARACTERS


async def _copied(store: OperatedStore, message_id: str, *, in_clear: bool) -> Transferred:
    try:
        copy = await store.copy(message_id, in_clear=in_clear)
        if copy is None:
            return Transferred({"found": False})
        # What could not be read again is no copy; and a large content is hashed where it delays nobody.
        document, digest = await asyncio.to_thread(_document, copy)
    except (UnreadableMessage, BadCopy) as error:
        return Transferred({"found": True, "damage": str(error)})
    sizes = [len(document), len(copy.content)]
    return Transferred({"found": True, "octets": sizes, "sha256": digest}, (document, copy.content))


def _document(copy: MessageCopy) -> tuple[bytes, str]:
    """A copy as JSON, and the checksum of its content. Raises BadCopy."""
    values = copy_values(copy)
    read_copy(values, copy.content)
    return json.dumps(values, indent=1).encode(), hashlib.sha256(copy.content).hexdigest()


async def _restored(
    store: OperatedStore, archive: str, parts: Sequence[bytes], hold: tuple[float, str] | None
) -> Transferred:
    if len(parts) != 2:  # a message's JSON, and its content
        raise BadTransfer("the message is missing")
    try:
        copy = await asyncio.to_thread(lambda: read_copy(json.loads(parts[0]), parts[1]))
        put_in = await store.restore(archive, copy if hold is None else copy.held(*hold))
    except (UnreadableMessage, BadCopy, ValueError, RecursionError) as error:
        return Transferred({"damage": str(error)})
    return Transferred({"id": copy.envelope.id, "restored": put_in}, changed=put_in)


async def _content(store: OperatedStore, message_id: str, *, whole: bool) -> Transferred:
    try:
        content = await store.body(message_id) if is_id(message_id) else None
        if content is None:
            return Transferred({"found": False})
        shown = await asyncio.to_thread(in_one_piece, content) if whole else header_of(head_of(content))
    except (KeyError, ContentLost):
        return Transferred({"found": False})
    return Transferred({"found": True, "octets": [0, len(shown)], "size": len(content)}, (b"", shown))


def header_of(content: bytes) -> bytes:
    """The header section, without the empty line that ends it."""
    if content.startswith(b"\r\n"):
        return b""
    end = content.find(b"\r\n\r\n")
    return content[: MAX_HEADER_OCTETS if end < 0 else min(end + 2, MAX_HEADER_OCTETS)]
