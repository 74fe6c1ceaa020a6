"""The file of `letterlock queue export`: a tar archive, written and read as a stream (docs/reference/queue-archive.md).

    letterlock-queue.json   what it is, its version and name
    ID.json, ID.eml         a message's envelope and states, and its content; for each message
    end.json                how many messages there are: without it, the file was cut short

Each member's header has its SHA-256 as a comment (`comment` of POSIX pax), which other programs ignore. Members are
read in their order and checked before anything is done with them.
"""

import hashlib
import io
import json
import secrets
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any

from letterlock.admin.transfers import MAX_CONTENT_OCTETS, MAX_DOCUMENT_OCTETS
from letterlock.queue.ids import is_id

FORMAT = "letterlock-queue"
VERSION = 1  # of the format; an import refuses a later one
FIRST, LAST = f"{FORMAT}.json", "end.json"
DOCUMENT, CONTENT = ".json", ".eml"
MODE = 0o600  # an archive holds mail: for its owner only
PIECE_OCTETS = 1 << 16  # chosen: of a content in memory at once
SPOOLED_OCTETS = 1 << 22  # chosen: a larger content waits for its checksum in a temporary file, not in memory
MAX_NAMED = 100  # chosen: damaged messages that are named in the end of an archive
_CHECKSUM = "sha256:"


class _TarStream(tarfile.TarFile):
    """A tar file that remembers no member, so that its memory does not grow with it (`stream=True` of Python 3.13)."""

    members: list[tarfile.TarInfo]

    def forget(self) -> None:
        """Forget the members so far."""
        self.members.clear()


class BadArchive(Exception):
    """The file is not an archive of a queue, is damaged, or ends too early."""


@dataclass(frozen=True, slots=True)
class ArchiveOrigin:
    """The first member: which archive it is."""

    name: str
    made_at: float
    made_by: str
    version: int = VERSION

    @classmethod
    def new(cls, made_by: str, now: float) -> "ArchiveOrigin":
        """An archive that begins now; its name is unique and contains the time."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        return cls(f"{stamp}-{secrets.token_hex(8)}", now, made_by)


class ArchiveWriter:
    """Writes an archive to a file that need not be able to seek. Every method may raise OSError."""

    def __init__(self, file: IO[bytes], origin: ArchiveOrigin, *, compressed: bool) -> None:
        self._tar = _TarStream.open(  # closed by `end`
            fileobj=file, mode="w|gz" if compressed else "w|", format=tarfile.PAX_FORMAT
        )
        self._made_at = int(origin.made_at)
        self.messages = 0
        self.octets = 0
        self._write_json(FIRST, {"format": FORMAT, "version": VERSION, "archive": origin.name,
                                 "made_at": origin.made_at, "made_by": origin.made_by})  # fmt: skip

    def add(self, message_id: str, document: bytes, content: Iterable[bytes], octets: int, digest: str) -> None:
        """A message: its JSON, and its content with its size and SHA-256."""
        self._add(message_id + DOCUMENT, [document], len(document), hashlib.sha256(document).hexdigest())
        self._add(message_id + CONTENT, content, octets, digest)
        self.messages += 1
        self.octets += octets

    def end(self, damaged: dict[str, str]) -> None:
        """Complete the archive. `damaged`: messages that could not be copied, and why."""
        named = dict([*damaged.items()][:MAX_NAMED])
        self._write_json(
            LAST, {"messages": self.messages, "octets": self.octets, "damaged": len(damaged), "damage": named}
        )
        self._tar.close()

    def _write_json(self, name: str, values: dict[str, Any]) -> None:
        octets = json.dumps(values, indent=1).encode()
        self._add(name, [octets], len(octets), hashlib.sha256(octets).hexdigest())

    def _add(self, name: str, pieces: Iterable[bytes], octets: int, digest: str) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode, member.mtime = octets, MODE, self._made_at
        member.pax_headers = {"comment": _CHECKSUM + digest}
        self._tar.addfile(member, _Pieces(pieces))
        self._tar.forget()


class _Pieces(io.RawIOBase):
    """Pieces of bytes as a file that is read once."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = b""

    def read(self, octets: int = -1, /) -> bytes:
        """As many bytes as asked for, unless there are no more."""
        while len(self._rest) < octets and (piece := next(self._pieces, b"")):
            self._rest += piece
        read, self._rest = self._rest[:octets], self._rest[octets:]
        return read


@dataclass(frozen=True, slots=True)
class ArchiveMember:
    """A message of an archive, checked. `content` is valid until the next one is asked for."""

    id: str
    document: bytes
    content: IO[bytes]
    octets: int

    def pieces(self) -> Iterator[bytes]:
        """The message's JSON, then its content from its beginning."""
        yield self.document
        self.content.seek(0)
        while piece := self.content.read(PIECE_OCTETS):
            yield piece


class ArchiveReader:
    """Reads an archive from a file that need not be able to seek. Every method raises BadArchive, OSError."""

    def __init__(self, file: IO[bytes]) -> None:
        try:
            self._tar = _TarStream.open(fileobj=file, mode="r|*")  # the caller closes the file
            first = self._tar.next()
        except (tarfile.TarError, EOFError) as error:
            raise BadArchive(f"it is not an archive of `letterlock queue export`: {error}") from None
        if first is None or first.name != FIRST:
            raise BadArchive(f"it is not an archive of `letterlock queue export`: it does not begin with {FIRST}")
        self.origin = _origin(self._json(first))

    def messages(self) -> Iterator[ArchiveMember]:
        """Each message; ends only after the end of the archive was read and its counts were right."""
        seen = octets = 0
        while (member := self._next()).name != LAST:
            message_id = member.name.removesuffix(DOCUMENT)
            if not (member.name.endswith(DOCUMENT) and is_id(message_id)):
                raise BadArchive(f"it has a member {member.name[:80]!r}, which is not of a message")
            with self._checked(member, MAX_DOCUMENT_OCTETS) as file:
                document = file.read()
            content = self._next()
            if content.name != message_id + CONTENT:
                raise BadArchive(f"{member.name} is not followed by its content")
            with self._checked(content, MAX_CONTENT_OCTETS) as file:
                yield ArchiveMember(message_id, document, file, content.size)
            seen, octets = seen + 1, octets + content.size
        end = self._json(member)
        if (end.get("messages"), end.get("octets")) != (seen, octets):
            raise BadArchive(f"{seen} messages were found, and its end says {end.get('messages')}")

    def _next(self) -> tarfile.TarInfo:
        try:
            member = self._tar.next()
        except (tarfile.TarError, EOFError, OSError) as error:
            raise BadArchive(f"it is damaged or cut short: {error}") from None
        if member is None:
            raise BadArchive("it is cut short: its end is missing")
        self._tar.forget()
        return member

    def _json(self, member: tarfile.TarInfo) -> dict[str, Any]:
        with self._checked(member, MAX_DOCUMENT_OCTETS) as file:
            try:
                values = json.loads(file.read())
            except (ValueError, RecursionError) as error:
                raise BadArchive(f"{member.name}: {error}") from None
        if not isinstance(values, dict):
            raise BadArchive(f"{member.name} is not an object")
        return values

    def _checked(self, member: tarfile.TarInfo, most: int) -> IO[bytes]:
        """The content of a member, once its checksum was found right."""
        if not member.isreg() or member.size > most:
            raise BadArchive(f"{member.name[:80]!r} is not a file of at most {most} bytes")
        digest, kept = hashlib.sha256(), tempfile.SpooledTemporaryFile(SPOOLED_OCTETS)  # noqa: SIM115  # returned
        try:
            source = self._tar.extractfile(member)
            while source is not None and (piece := source.read(PIECE_OCTETS)):
                digest.update(piece)
                kept.write(piece)
        except (tarfile.TarError, EOFError, OSError) as error:
            kept.close()
            raise BadArchive(f"{member.name} is damaged or cut short: {error}") from None
        if member.pax_headers.get("comment") != _CHECKSUM + digest.hexdigest():
            kept.close()
            raise BadArchive(f"{member.name} is damaged: it does not have its checksum")
        kept.seek(0)
        return kept


def _origin(values: dict[str, Any]) -> ArchiveOrigin:
    match values:
        case {"format": "letterlock-queue", "version": int(version)} if version > VERSION:
            raise BadArchive(f"its version is {version}, and this Letterlock reads {VERSION}: install a later one")
        case {"format": "letterlock-queue", "version": 1, "archive": str(name), "made_at": float() | int() as made_at}:
            return ArchiveOrigin(name, float(made_at), str(values.get("made_by")))
    raise BadArchive(f"{FIRST} does not describe an archive")
