"""A table in a file, read again when it has changed."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from letterlock.recipients.alias_file import BadLine, read_aliases, read_members
from letterlock.recipients.directory import TableFailed
from letterlock.recipients.targets import Entry, Include
from letterlock.tables.alias_endings import NO_ENDINGS, AllowedEndings

MAX_FILE_OCTETS = 256 << 20  # some four million aliases
MAX_INCLUDED = 1000  # files that :include: names, of one file
LOOK_SECONDS = 1.0  # how often it is looked at whether the file has changed: one stat call
MAX_SHOWN = 20  # bad lines in the log, of one reading
_State = tuple[tuple[int, ...] | None, ...]
log = logging.getLogger("letterlock.tables")


class AliasFileTable:
    """Aliases or mailboxes in a file. A reading that fails keeps what was read before; without one, lookups fail."""

    def __init__(
        self, name: str, path: Path, monotonic: Callable[[], float], allowed: AllowedEndings = NO_ENDINGS
    ) -> None:
        self.name = name
        self.allowed = allowed
        self.bad: list[BadLine] = []
        self._path = path
        self._monotonic = monotonic
        self._entries: dict[str, Entry] | None = None
        self._paths: tuple[Path, ...] = (path,)
        self._state: _State = ()
        self._look_at = 0.0
        self._failure = "it was not read yet"
        self._reading = asyncio.Lock()

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    async def find(self, key: str) -> Entry | None:
        """The entry for a key. Raises TableFailed while the file was never read."""
        if self._monotonic() >= self._look_at or self._entries is None:
            await self._look()
        if self._entries is None:
            raise TableFailed(f"table {self.name}: {self._failure}")
        return self._entries.get(key)

    async def _look(self) -> None:
        async with self._reading:
            if self._monotonic() < self._look_at and self._entries is not None:
                return
            self._look_at = self._monotonic() + LOOK_SECONDS
            if self._entries is None or _states(self._paths) != self._state:
                await asyncio.to_thread(self.read)

    def read(self) -> None:
        """Read the file now. `bad` has the lines that cannot be used; an unreadable file is logged."""
        state = _states(self._paths)
        try:
            content = read_file(self._path, self.allowed)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else None
            self._failure = f"{self._path} cannot be read: {why or error}"
            kept = "; what was read before is still used" if self._entries is not None else ""
            log.warning("table %s: %s%s", self.name, self._failure, kept)
            self._state = state
            return
        paths = content.paths
        self._state = state if paths == self._paths else _states(paths)
        self._entries, self._paths, self.bad = content.entries, paths, content.bad
        for line in content.bad[:MAX_SHOWN]:
            log.warning("table %s: %s:%d: %s", self.name, self._path, line.number, line.why)


@dataclass(frozen=True, slots=True)
class AliasFileContent:
    """What a file has, and those that it includes: `paths` names them, itself first."""

    entries: dict[str, Entry]
    bad: list[BadLine]
    paths: tuple[Path, ...]


def read_file(path: Path, allowed: AllowedEndings = NO_ENDINGS) -> AliasFileContent:
    """Read a file of aliases or mailboxes, and what it includes. Raises OSError, ValueError."""
    with path.open("rb") as file:
        entries, bad = read_aliases(_text_of(file), allowed.reader(file.fileno()))
    included = _Included(bad)
    whole = {key: included.of(entry) for key, entry in entries.items()}
    return AliasFileContent(whole, bad, (path, *included.paths))


class _Included:
    """Puts the members of `:include:` files in the place of their names."""

    def __init__(self, bad: list[BadLine]) -> None:
        self.paths: dict[Path, Entry] = {}
        self._bad = bad

    def of(self, entry: Entry) -> Entry:
        """The entry with what its files have. Raises OSError, ValueError."""
        if not any(isinstance(each, Include) for each in entry):
            return entry
        flat: list[Entry] = [self._members(Path(each.path)) if isinstance(each, Include) else (each,) for each in entry]
        return tuple(target for members in flat for target in members)

    def _members(self, path: Path) -> Entry:
        if path not in self.paths:
            if len(self.paths) >= MAX_INCLUDED:
                raise ValueError(f"more than {MAX_INCLUDED} files are included")
            members, bad = read_members(_text(path))
            self._bad += [BadLine(each.number, f"{path}: {each.why}") for each in bad]
            nested = [each for each in members if isinstance(each, Include)]
            if nested:
                self._bad.append(BadLine(1, f"{path}: an included file includes none"))
            self.paths[path] = tuple(each for each in members if not isinstance(each, Include))
        return self.paths[path]


def _text(path: Path) -> str:
    with path.open("rb") as file:
        return _text_of(file)


def _text_of(file: BinaryIO) -> str:
    octets = file.read(MAX_FILE_OCTETS + 1)
    if len(octets) > MAX_FILE_OCTETS:
        raise ValueError(f"larger than {MAX_FILE_OCTETS} bytes")
    return octets.decode("utf-8")


def _states(paths: tuple[Path, ...]) -> _State:
    return tuple(_state(path) for path in paths)


def _state(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:  # a file that is gone is another state, too: the reader says what is wrong
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode, found.st_uid
