"""What this process takes of the machine: CPU time, memory, file descriptors (proc(5))."""

import os
import resource
from dataclasses import dataclass
from pathlib import Path

_PAGE_OCTETS = resource.getpagesize()


@dataclass(frozen=True, slots=True)
class Vitals:
    """Seconds of CPU since the start, bytes of resident memory, descriptors that are open and that may be."""

    cpu_seconds: float
    resident_octets: int
    open_fds: int
    max_fds: int


def vitals(proc: Path = Path("/proc/self")) -> Vitals:
    """As they are now; nought where the system has no /proc."""
    times = os.times()
    try:
        resident = int((proc / "statm").read_text().split()[1]) * _PAGE_OCTETS
        open_fds = sum(1 for _ in (proc / "fd").iterdir())
    except (OSError, ValueError):
        resident = open_fds = 0
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Vitals(times.user + times.system, resident, open_fds, soft)
