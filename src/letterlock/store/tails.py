"""Large contents on the disk: all but the header section lies in a file of its own, written while it arrives.

A message refers to its file by a name that no other file ever had, from within what is stored for the message itself:
its record in a segment or its row, with the header section. So the message is accepted by one short write, as any
other, after the file was flushed; and a file that no message refers to is none: it was never accepted, or is finished.

    file:   LETTERLOCK-TAIL-1, line feed 1 | C or E 1 | chunks
    chunk:  octets of what follows 4 | CRC-32 4, data            (C: in clear)
            octets of what follows 4 | encrypted data, tag 16    (E: encrypted)

Each chunk can be checked by itself, so none is used before it was checked, and memory holds one at a time. A checksum
covers the file's name, the chunk's number and whether it is the last one. Encryption is the STREAM construction (Hoang,
Reyhanitabar, Rogaway, Vizár: "Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", 2015) over
AES-256-GCM: a key for each file, from the operator's key and the file's name, and a nonce of the chunk's number and
whether it is the last one. Chunks cannot be changed, left out, exchanged, or put into another file, and a file cannot
be cut off; the reference, which is sealed with the message, says how long it is besides.
"""

import asyncio
import json
import logging
import os
import re
import secrets
import struct
import threading
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from letterlock.mail.checked_content import PIECE_OCTETS, SPOOLED_OCTETS, Body, ContentLost, LargeContent
from letterlock.queue.store import StoreFailed, StoreFull
from letterlock.smtp.arriving import MAX_HEADER_OCTETS
from letterlock.smtp.content import has_bare_line_ends, has_dotted_line
from letterlock.sqlite.disk import NO_ROOM, Disk
from letterlock.store.rows import Damaged
from letterlock.store.sealing import ContentSeal
from letterlock.store.segments.segment_log import sync_directory

log = logging.getLogger("letterlock.store")
FOLDER = "large"
_NAME_OCTETS = 16  # 128 bits of chance: no name comes twice, and so no key
_NAME = re.compile(r"[0-9a-f]{32}")  # 128 random bits
_OPENING = b"LETTERLOCK-TAIL-1\n"
_IN_CLEAR, _ENCRYPTED = b"C", b"E"
_LENGTH = struct.Struct(">I")
_NONCE = struct.Struct(">xxxxxxxI?")  # 96 bits: zeros, the number, whether it is the last
_TAG_OCTETS = 16  # of AES-GCM
_CRC_OCTETS = 4  # CRC-32
_SPLIT_OCTETS = 2 * PIECE_OCTETS  # a piece that is longer becomes several chunks: they are read one at a time
MAX_CHUNK_OCTETS = 1 << 22  # such a piece, and a line of the 1 MiB that `smtp.max_line_octets` allows, fit well
# A flush may take a second, and there are as many as there are clients: threads of their own keep them from taking all
# those that other work waits for. More at once would not make a disk faster.
MAX_WRITING = 4
_REFERS = b"\0LLt"  # no content begins with NUL: each begins with a header field


class _Codec:
    """Closes and opens the chunks of one file."""

    def __init__(self, name: str, cipher: AESGCM | None) -> None:
        self._cipher = cipher
        self._start = zlib.crc32(name.encode())

    def close(self, number: int, data: bytes, *, last: bool) -> tuple[bytes, ...]:
        """A chunk in pieces."""
        nonce = _NONCE.pack(number, last)
        if self._cipher is None:
            check = zlib.crc32(data, zlib.crc32(nonce, self._start)).to_bytes(_CRC_OCTETS, "big")
            return _LENGTH.pack(len(data) + _CRC_OCTETS), check, data
        sealed = self._cipher.encrypt(nonce, data, None)
        return _LENGTH.pack(len(sealed)), sealed

    def open(self, number: int, chunk: bytes, *, last: bool) -> bytes:
        """Its data. Raises ContentLost."""
        nonce = _NONCE.pack(number, last)
        if self._cipher is None:
            data = chunk[_CRC_OCTETS:]
            if zlib.crc32(data, zlib.crc32(nonce, self._start)).to_bytes(_CRC_OCTETS, "big") != chunk[:_CRC_OCTETS]:
                raise ContentLost("its content does not have its checksum")
            return data
        try:
            return self._cipher.decrypt(nonce, chunk, None)
        except (InvalidTag, ValueError):
            raise ContentLost("its encrypted content was changed, or is another key's") from None

    @property
    def overhead(self) -> int:
        """The octets that a chunk has more than its data."""
        return _CRC_OCTETS if self._cipher is None else _TAG_OCTETS


@dataclass(frozen=True, slots=True)
class FileTail:
    """mail.checked_content.Tail in a file. `sealed_as` is the name that the file was sealed under: its first one."""

    name: str
    octets: int
    sealed_as: str
    folder: Path
    seal: ContentSeal

    def blocks(self) -> Iterator[bytes]:
        """Whole lines at a time. Raises ContentLost."""
        try:
            with (self.folder / self.name).open("rb") as file:
                yield from self._blocks(file)
        except OSError as error:
            raise ContentLost(f"{self.folder / self.name}: {error.strerror or error}") from None

    def _blocks(self, file: IO[bytes]) -> Iterator[bytes]:
        opening = file.read(len(_OPENING) + 1)
        if opening not in (_OPENING + _IN_CLEAR, _OPENING + _ENCRYPTED):
            raise ContentLost("its content does not begin as one")
        cipher = self.seal.cipher_of(f"content in {self.sealed_as}") if opening.endswith(_ENCRYPTED) else None
        if cipher is None and opening.endswith(_ENCRYPTED):
            raise ContentLost("its content is encrypted, and there is no key")
        codec, left, number = _Codec(self.sealed_as, cipher), self.octets, 0
        while left:
            chunk = _read_chunk(file, codec.overhead)
            left -= len(chunk) - codec.overhead
            if left < 0:
                raise ContentLost("its content is longer than it was")
            yield codec.open(number, chunk, last=not left)
            number += 1


def _read_chunk(file: IO[bytes], overhead: int) -> bytes:
    head = file.read(_LENGTH.size)
    octets = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 0
    if not overhead < octets <= MAX_CHUNK_OCTETS:
        raise ContentLost("its content has an end, or a part, that cannot be read")
    chunk = file.read(octets)
    if len(chunk) < octets:
        raise ContentLost("its content ends early")
    return chunk


class TailWriter:
    """queue.store.Spool: writes one file. One call at a time."""

    def __init__(self, folder: Path, seal: ContentSeal, disk: Executor) -> None:
        self._disk = disk
        self._name = secrets.token_hex(_NAME_OCTETS)
        self._folder = folder
        self._seal = seal
        cipher = seal.cipher_of(f"content in {self._name}")
        self._codec = _Codec(self._name, cipher)
        self._opening = _OPENING + (_IN_CLEAR if cipher is None else _ENCRYPTED)
        self._file: IO[bytes] | None = None
        self._held: bytes | None = None  # the last piece: whether it is the file's last is part of its checksum
        self._number = 0
        self._octets = 0
        self._lock = threading.Lock()  # a caller that was cancelled may discard while its last piece is being written
        self._discarded = False

    async def write(self, pieces: Sequence[bytes]) -> None:
        """Add pieces, each of whole lines. Raises StoreFailed, StoreFull."""
        await self._do(lambda: self._write(pieces))

    async def finish(self, pieces: Sequence[bytes]) -> FileTail:
        """Add the last pieces, and make all of it durable. Raises StoreFailed, StoreFull."""

        def work() -> None:
            self._write(pieces)
            self._flush()

        await self._do(work)
        return FileTail(self._name, self._octets, self._name, self._folder, self._seal)

    def discard(self) -> None:
        """The message was not accepted: the file is removed in a moment. Raises nothing."""
        self._discarded = True  # nothing more is written
        try:
            self._disk.submit(self._discard)
        except RuntimeError:  # the store was closed meanwhile
            self._discard()

    async def _do(self, work: Callable[[], None]) -> None:
        path = self._folder / self._name

        def alone() -> None:
            with self._lock:
                if not self._discarded:
                    work()

        try:
            await asyncio.get_running_loop().run_in_executor(self._disk, alone)
        except OSError as error:
            raise _explain(error, path) from None

    def _write(self, pieces: Sequence[bytes]) -> None:
        if self._file is None:
            self._make_folder()
            self._file = open(self._folder / self._name, "xb", buffering=0, opener=_private)  # noqa: SIM115  # kept open
            self._write_out((self._opening,))
        for piece in pieces:
            for part in _split(piece):
                if self._held is not None:
                    self._write_chunk(self._held, last=False)
                self._held = part
                self._octets += len(part)

    def _make_folder(self) -> None:
        if not self._folder.is_dir():
            self._folder.mkdir(mode=0o700, exist_ok=True)
            sync_directory(self._folder.parent)

    def _write_chunk(self, data: bytes, *, last: bool) -> None:
        self._write_out(self._codec.close(self._number, data, last=last))
        self._number += 1

    def _write_out(self, pieces: Sequence[bytes]) -> None:
        if self._file is None:
            raise AssertionError("the file is open")
        rest = [memoryview(piece) for piece in pieces]
        while rest:
            written = os.writev(self._file.fileno(), rest)
            while rest and written >= len(rest[0]):
                written -= len(rest.pop(0))
            if rest:
                rest[0] = rest[0][written:]

    def _flush(self) -> None:
        if self._file is None:
            raise AssertionError("nothing was written")
        if self._held is not None:
            self._write_chunk(self._held, last=True)
            self._held = None
        os.fsync(self._file.fileno())
        self._file.close()
        sync_directory(self._folder)

    def _discard(self) -> None:
        with self._lock:
            if self._file is not None:
                self._file.close()
                _remove(self._folder / self._name)


class CheckedTailWriter:
    """The same, as long as there is room on the disk for new mail."""

    def __init__(self, writer: TailWriter, disk: Disk | None) -> None:
        self._writer = writer
        self._disk = disk

    async def write(self, pieces: Sequence[bytes]) -> None:
        """Add pieces. Raises StoreFailed, StoreFull."""
        self._demand_room(pieces)
        await self._writer.write(pieces)

    async def finish(self, pieces: Sequence[bytes]) -> FileTail:
        """Add the last pieces, and make all of it durable. Raises StoreFailed, StoreFull."""
        self._demand_room(pieces)
        return await self._writer.finish(pieces)

    def discard(self) -> None:
        """Remove the file."""
        self._writer.discard()

    def _demand_room(self, pieces: Sequence[bytes]) -> None:
        if self._disk is not None and not self._disk.has_room(sum(map(len, pieces))):
            raise StoreFull("the disk with the queue is full, but for what must stay free")


def _split(piece: bytes) -> Iterator[bytes]:
    """A piece in parts of whole lines, none of them large."""
    at = 0
    while len(piece) - at > _SPLIT_OCTETS:
        end = piece.rfind(b"\r\n", at, at + PIECE_OCTETS) + 2
        if end == 1:
            end = piece.index(b"\r\n", at) + 2
        yield piece[at:end]
        at = end
    if at < len(piece):
        yield piece[at:] if at else piece


def _explain(error: OSError, path: Path) -> StoreFailed:
    if error.errno in NO_ROOM:
        return StoreFull("the disk with the queue is full")
    return StoreFailed(f"cannot write {path}: {error.strerror or error}")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("%s: cannot be removed, and is removed at the next start: %s", path, error.strerror)


class Tails:
    """The files of one queue directory."""

    def __init__(self, directory: Path, seal: ContentSeal) -> None:
        self.folder = directory / FOLDER
        self._seal = seal
        self._disk = ThreadPoolExecutor(MAX_WRITING, "letterlock-large")  # it has no thread before there is work

    def writer(self) -> TailWriter:
        """A new file."""
        return TailWriter(self.folder, self._seal, self._disk)

    async def close(self) -> None:
        """Finish what is being written."""
        await asyncio.to_thread(self._disk.shutdown)

    def pieces(self, body: Body) -> tuple[bytes, ...]:
        """A content as it is stored with its message: itself, or what is not in its file, and which one that is."""
        if not isinstance(body, LargeContent):
            return (body,)
        if body.tail is None:
            return body.pieces
        tail = body.tail
        about = json.dumps([tail.name, tail.octets, tail.sealed_as, body.ascii_only, body.dotless]).encode()
        return (_REFERS + _LENGTH.pack(len(about)) + about, *body.pieces)

    def pack(self, body: Body) -> bytes:
        """The same in one piece."""
        return body if isinstance(body, bytes) else b"".join(self.pieces(body))

    def unpack(self, stored: bytes) -> Body:
        """What was packed. Raises Damaged."""
        if not stored.startswith(_REFERS):
            return stored
        tail, ascii_only, dotless, head = self._read_reference(stored)
        return LargeContent(
            pieces=(head,),
            octets=len(head) + tail.octets,
            ascii_only=ascii_only,
            dotless=dotless,
            tail=tail,
        )

    def _read_reference(self, stored: bytes) -> tuple[FileTail, bool, bool, bytes]:
        at = len(_REFERS) + _LENGTH.size
        try:
            (length,) = _LENGTH.unpack_from(stored, len(_REFERS))
            name, octets, sealed_as, ascii_only, dotless = json.loads(stored[at : at + length])
            known = all(map(_NAME.fullmatch, (name, sealed_as))) and isinstance(octets, int) and octets >= 0
        except (struct.error, ValueError, TypeError):
            known = False
        if not known:
            raise Damaged("the reference to its content cannot be read")
        tail = FileTail(name, octets, sealed_as, self.folder, self._seal)
        return tail, bool(ascii_only), bool(dotless), stored[at + length :]

    async def spooled(self, content: bytes) -> Body:
        """A whole content, with its body in a file if it is large and has the form in which one arrives.

        Raises StoreFailed.
        """
        if len(content) <= SPOOLED_OCTETS or (body_at := await asyncio.to_thread(_body_of, content)) is None:
            return content
        writer = self.writer()
        try:
            tail = await writer.finish([content[body_at:]])
        except StoreFailed:
            writer.discard()
            raise
        return LargeContent(
            pieces=(content[:body_at],),
            octets=len(content),
            ascii_only=content.isascii(),
            dotless=not has_dotted_line(content),
            tail=tail,
        )

    async def share(self, body: Body) -> Body:
        """The same content for another message, whose file lasts as long as that message does. Raises StoreFailed."""
        if not isinstance(body, LargeContent) or body.tail is None:
            return body
        tail = FileTail(secrets.token_hex(_NAME_OCTETS), body.tail.octets, body.tail.sealed_as, self.folder, self._seal)
        try:
            await asyncio.to_thread(self._link, body.tail.name, tail.name)
        except OSError as error:
            raise _explain(error, self.folder) from None
        return replace(body, tail=tail)

    def _link(self, name: str, second: str) -> None:
        (self.folder / second).hardlink_to(self.folder / name)
        sync_directory(self.folder)

    async def remove(self, names: Collection[str]) -> None:
        """These are done with. Raises nothing."""
        if names:
            await asyncio.to_thread(self._remove_all, names)

    def _remove_all(self, names: Collection[str]) -> None:
        for name in names:
            _remove(self.folder / name)

    def sweep(self, live: Collection[str]) -> int:
        """Remove the files that no message refers to; how many there were. Raises OSError."""
        if not self.folder.is_dir():
            return 0
        if any(self.folder.parent.glob("*.damaged")):
            return 0  # an operator may want to put together what is in there: nothing is removed meanwhile
        orphans = [path for path in self.folder.iterdir() if _NAME.fullmatch(path.name) and path.name not in live]
        for path in orphans:
            _remove(path)
        return len(orphans)

    def clear(self) -> None:
        """Remove all of it, for the queue is gone; what is not ours stays. Raises OSError."""
        self.sweep(())
        with suppress(OSError):  # not empty: see above
            self.folder.rmdir()


def _body_of(content: bytes) -> int | None:
    """Where the body begins, of a content that could have arrived so."""
    end = content.find(b"\r\n\r\n", 0, MAX_HEADER_OCTETS)
    if end < 0 or not content.endswith(b"\r\n") or has_bare_line_ends(content):
        return None
    return end + 4


def tail_name(body: Body) -> str | None:
    """The file that a content has."""
    return body.tail.name if isinstance(body, LargeContent) and body.tail is not None else None
