"""What a server costs: CPU seconds and memory of its whole process tree, and flushes of the disk it writes to."""

import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

TICKS = os.sysconf("SC_CLK_TCK")
SAMPLE_SECONDS = 0.25
SAMPLING_SHARE = 30  # at most one of so many seconds is spent on looking
_PARENT, _CPU_TIMES = 1, slice(11, 15)  # fields of /proc/PID/stat behind the name: proc_pid_stat(5)
_FLUSHES = 18  # field of /proc/diskstats: completed flush requests, since Linux 5.5


def tree(root: int) -> list[int]:
    """A process and all its descendants."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    for pid, fields in _processes():
        children[int(fields[_PARENT])].append(pid)
    found = [root]
    for pid in found:
        found += children[pid]
    return found


def cpu_seconds(root: int) -> float:
    """User and system time of a tree, with that of its children that have ended."""
    members = set(tree(root))
    times = (sum(map(int, fields[_CPU_TIMES])) for pid, fields in _processes() if pid in members)
    return sum(times) / TICKS


def memory_octets(root: int) -> int:
    """Proportional set size of a tree: what is shared is shared out."""
    total = 0
    for pid in tree(root):
        with suppress(OSError):  # it has ended meanwhile
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


def disk_flushes(directory: Path) -> int:
    """How many flushes the disk below a directory has completed; 0 where the kernel does not count them."""
    device = directory.stat().st_dev
    for line in Path("/proc/diskstats").read_text().splitlines():
        fields = line.split()
        if fields[:2] == [str(os.major(device)), str(os.minor(device))] and len(fields) > _FLUSHES:
            return int(fields[_FLUSHES])
    return 0


class Meter:
    """Watches a tree between `with` and its end. Peak memory is the highest of samples."""

    def __init__(self, root: int, directory: Path) -> None:
        self._root = root
        self._directory = directory
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.cpu_seconds = 0.0
        self.flushes = 0
        self.peak_octets = 0

    def __enter__(self) -> Self:
        self.cpu_seconds = -cpu_seconds(self._root)
        self.flushes = -disk_flushes(self._directory)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.cpu_seconds += cpu_seconds(self._root)
        self.flushes += disk_flushes(self._directory)

    def _sample(self) -> None:
        while True:
            start = time.monotonic()
            self.peak_octets = max(self.peak_octets, memory_octets(self._root))
            # a thousand processes take long to look at, and the look must not become part of the load
            if self._over.wait(max(SAMPLE_SECONDS, (time.monotonic() - start) * SAMPLING_SHARE)):
                return


def _processes() -> Iterator[tuple[int, list[str]]]:
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            with suppress(OSError):
                yield int(directory.name), (directory / "stat").read_text().rpartition(")")[2].split()
