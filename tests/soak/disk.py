"""Disks that fail: system calls that return errors (strace -e inject), and a small disk that is full."""

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.interop.programs import Unusable, find, need_root, run

ATTACH_SECONDS = 10.0
DETACH_SECONDS = 3.0
DISK_OCTETS = 96 << 20
WRITES = "pwrite64,writev,pwritev,pwritev2,ftruncate,fallocate"  # not write and send: logs and connections go on
SYNCS = "fsync,fdatasync,io_submit"


@dataclass(frozen=True, slots=True)
class Injection:
    """Which system calls fail, how, and from which call of each thread on (and every so many after)."""

    calls: str
    error: str
    first: int
    step: int

    @property
    def option(self) -> str:
        """For strace(1)."""
        return f"inject={self.calls}:error={self.error}:when={self.first}+{self.step}"


@dataclass(frozen=True, slots=True)
class Injected:
    """What strace did."""

    log: Path

    @property
    def count(self) -> int:
        """How many calls were made to fail."""
        return len(re.findall(r"\(INJECTED\)", self.log.read_text(errors="replace"))) if self.log.exists() else 0

    def await_one(self, seconds: float) -> None:
        """Wait for the first, but not for ever: the server may have nothing to write."""
        deadline = time.monotonic() + seconds
        while not self.count and time.monotonic() < deadline:
            time.sleep(0.02)


@contextmanager
def injecting(pids: Sequence[int], injection: Injection, log: Path) -> Iterator[Injected]:
    """Attach to processes, and make their calls fail, for as long as this lasts.

    A process that is killed meanwhile is no error. New threads and new files are included.
    """
    log.unlink(missing_ok=True)
    attach = [argument for pid in pids for argument in ("-p", str(pid))]
    command = [find("strace"), "-f", "-qq", "-o", str(log), *attach]
    options = ["-e", f"trace={injection.calls}", "-e", injection.option]
    errors = log.with_suffix(".err")
    with errors.open("wb") as output:
        tracer = subprocess.Popen([*command, *options], stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        _await_attached(pids, tracer, errors)
        yield Injected(log)
    finally:
        _end(tracer)


def _end(tracer: subprocess.Popen[bytes]) -> None:
    """strace lets go of its tracees; when one of them was killed at that very moment, it waits for ever."""
    tracer.terminate()
    try:
        tracer.wait(DETACH_SECONDS)
    except subprocess.TimeoutExpired:
        tracer.kill()
        tracer.wait()


def _await_attached(pids: Sequence[int], tracer: subprocess.Popen[bytes], errors: Path) -> None:
    deadline = time.monotonic() + ATTACH_SECONDS
    while any(_is_free(pid) for pid in pids):
        said = errors.read_text(errors="replace")
        if "not permitted" in said or time.monotonic() > deadline:
            raise Unusable(f"strace cannot attach to the server: the kernel or the container forbids ptrace: {said}")
        if tracer.poll() is not None:
            return  # all of them had ended
        time.sleep(0.01)


def _is_free(pid: int) -> bool:
    """Whether a process lives, and nobody traces it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return "\nTracerPid:\t0\n" in status and "\nState:\tZ" not in status


class SmallDisk:
    """A tmpfs at a directory. In a mount namespace of one's own (unshare -m) it ends with that, whatever happens."""

    def __init__(self, directory: Path) -> None:
        need_root("mount")
        directory.mkdir(mode=0o700, exist_ok=True)
        run("mount", "-t", "tmpfs", "-o", f"size={DISK_OCTETS},mode=700", "soak", directory)
        self._directory = directory
        self._ballast = directory / "ballast"

    def fill(self, spare: int) -> None:
        """Leave no more than `spare` octets free."""
        with self._ballast.open("wb") as file:
            while (octets := self._free() - spare) > 0:
                with contextlib.suppress(OSError):  # the server was quicker
                    os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), octets)

    def _free(self) -> int:
        found = os.statvfs(self._directory)
        return found.f_bavail * found.f_frsize

    def empty(self) -> None:
        """Make room again."""
        self._ballast.unlink(missing_ok=True)

    def close(self, kept: Path) -> None:
        """Take it away; what is on it is copied to `kept`."""
        run("cp", "-a", self._directory, kept)
        run("umount", "--lazy", self._directory)
