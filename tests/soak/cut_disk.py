"""A disk that forgets: what strace(1) saw a program write, replayed as the worst disk that POSIX allows would keep it.

Kept is what an fsync that succeeded has covered. What was written since is lost when the power goes; and what a failed
fsync should have covered is lost at once, though the program still reads it from memory (as Linux does it: the pages
are marked clean). A new name is kept when its directory was synced. Whether a removed name comes back, until its
directory is synced, is for whoever asks to choose.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_WRITES = frozenset({"write", "writev", "pwrite64", "pwritev", "pwritev2", "ftruncate"})
CALLS = ",".join(
    [*sorted(_WRITES), "openat,fsync,fdatasync,io_submit,io_getevents,unlink,unlinkat,rename,sendto,recvfrom"]
)  # all that matters
SYNCS = ("fsync", "fdatasync")
_OFFSETS = {"pwrite64": -1, "pwritev": -1, "pwritev2": -2}  # which argument says where
_LINE = re.compile(r"(\d+) +(.*)")
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+)(.*)")
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)")
_FILE = re.compile(r"(?:.*aio_fildes=)?\d+<((?:\\x[0-9a-f]{2})+)>")
_EVENT = re.compile(r"\bres=(-?\d+)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@dataclass(frozen=True, slots=True)
class Call:
    """A system call: `began` when it was entered, with nothing of its result, or ended."""

    name: str
    arguments: str
    result: int
    began: bool

    @property
    def path(self) -> str:
        """What the first descriptor leads to."""
        found = _FILE.match(self.arguments)
        return bytes.fromhex(found[1].replace("\\x", "")).decode() if found else ""

    @property
    def texts(self) -> list[bytes]:
        """All strings among the arguments."""
        return [bytes.fromhex(text.replace("\\x", "")) for text in _TEXT.findall(self.arguments)]

    @property
    def is_failed_flush(self) -> bool:
        """Whether it says that data is not on the disk: a sync, or the event that ends one (io_submit)."""
        if self.name in SYNCS:
            return self.result < 0
        found = _EVENT.search(self.arguments) if self.name == "io_getevents" and not self.began else None
        return found is not None and int(found[1]) < 0

    def number(self, place: int) -> int:
        """One of the arguments, counted from the last one (-1)."""
        return int(self.arguments.split(", ")[place])


def read_calls(log: Path) -> Iterator[Call]:
    """The calls of a log of `strace -f -y -xx`: each twice, as it began and as it ended. Threads interleave."""
    begun: dict[str, str] = {}
    with log.open(errors="replace") as lines:
        for line in lines:
            if (found := _LINE.match(line)) is None:
                continue
            pid, text = found[1], found[2]
            if text.endswith(" <unfinished ...>"):
                begun[pid] = text.removesuffix(" <unfinished ...>")
                name, _, arguments = begun[pid].partition("(")
                yield Call(name, arguments, 0, began=True)
                continue
            resumed = _RESUMED.match(text)
            whole = begun.pop(pid, "") + resumed[1] if resumed else text
            if (call := _CALL.match(whole)) is None:
                continue
            if resumed is None:
                yield Call(call[1], call[2], 0, began=True)
            yield Call(call[1], call[2], int(call[3]), began=False)


@dataclass(slots=True)
class _File:
    """What the program sees, what is on its way to the disk (when a sync began), and what is kept."""

    seen: bytearray = field(default_factory=bytearray)
    syncing: bytes = b""
    kept: bytes = b""
    named: bool = False  # the name is kept


class CutDisk:
    """The files below a directory. `play` calls in their order; `write` what a power cut at that moment leaves."""

    def __init__(self, directory: Path) -> None:
        self._directory = str(directory)
        self._files: dict[str, _File] = {}
        self._removed: dict[str, _File] = {}  # whose names may come back
        self._flushing: dict[str, str] = {}  # the file that io_submit flushes, by the context

    def play(self, call: Call) -> None:
        """The next call."""
        if call.name in SYNCS:
            self._sync(call)
        elif call.name in ("io_submit", "io_getevents"):
            self._flush(call)
        elif call.began or call.result < 0:
            return
        elif call.name in ("unlink", "unlinkat", "rename"):
            self._rename(*(text.decode() for text in call.texts))
        elif call.name == "openat":
            self._open(call)
        elif call.name in _WRITES and self._is_inside(call.path):
            self._change(self._files.setdefault(call.path, _File()), call)

    def write(self, target: Path, *, names_come_back: bool) -> None:
        """Put what is kept below another directory."""
        kept = {path: file for path, file in self._files.items() if file.named}
        if names_come_back:
            kept = {**self._removed, **kept}
        for path, file in kept.items():
            place = target / Path(path).relative_to(self._directory)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.kept)

    def _is_inside(self, path: str) -> bool:
        return path.startswith(f"{self._directory}/") and not path.endswith(("-shm", ".sock"))

    def _open(self, call: Call) -> None:
        path = call.texts[-1].decode()
        if "O_CREAT" in call.arguments and self._is_inside(path):
            self._files.setdefault(path, _File())
            if "O_TRUNC" in call.arguments:
                self._files[path].seen.clear()

    def _change(self, file: _File, call: Call) -> None:
        if call.name == "ftruncate":
            size = call.number(-1)
            file.seen[size:] = bytes(max(0, size - len(file.seen)))
            return
        data = b"".join(call.texts)[: call.result]
        at = len(file.seen)  # the others only ever append
        if call.name in _OFFSETS:
            at = call.number(_OFFSETS[call.name])
        file.seen.extend(bytes(max(0, at - len(file.seen))))
        file.seen[at : at + len(data)] = data

    def _flush(self, call: Call) -> None:
        """A context has one flush at a time, and the event that ends it does not name the file."""
        context = call.arguments.partition(",")[0]
        if call.name == "io_submit":
            if call.began and (file := self._files.get(call.path)) is not None:
                file.syncing, self._flushing[context] = bytes(file.seen), call.path
        elif not call.began and call.result > 0 and (path := self._flushing.pop(context, None)) is not None:
            self._end_sync(self._files[path], failed=call.is_failed_flush)

    def _sync(self, call: Call) -> None:
        path = call.path
        if (file := self._files.get(path)) is not None:
            if call.began:
                file.syncing = bytes(file.seen)
            else:
                self._end_sync(file, failed=call.result < 0)
        elif not call.began and call.result == 0:
            for other in [each for each in self._removed if each.rpartition("/")[0] == path]:
                del self._removed[other]
            for other, each in self._files.items():
                each.named = each.named or other.rpartition("/")[0] == path

    def _end_sync(self, file: _File, *, failed: bool) -> None:
        if failed:
            file.seen[:] = file.kept.ljust(len(file.seen), b"\0")[: len(file.seen)]
        else:
            file.kept = file.syncing

    def _rename(self, path: str, to: str | None = None) -> None:
        file = self._files.pop(path, None)
        if file is None:
            return
        if file.named:
            self._removed[path] = file
        if to is not None:
            self._files[to] = _File(file.seen, file.syncing, file.kept)
