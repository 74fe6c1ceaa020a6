"""The machine: what it has for us (of a control group, cgroups(7)), and which start of it this is."""

import os
import resource
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

LEAST_OCTETS = 128 << 20  # two messages of the usual largest size, one coming in and one going out, with their copies
MOST_OCTETS = 1 << 30  # beyond that, more mail at once makes nothing faster
MOST_DESCRIPTORS = 1 << 20  # where there is no limit: what Linux allows a process (fs.nr_open)
SHARE = 4  # of the memory: the rest is for the system's file cache, the caches of DNS, and the programs themselves


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is: memory, processors, and the file descriptors that one process may have."""

    memory_octets: int
    processors: int
    descriptors: int


def this_machine() -> Machine:
    """What this process finds."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    descriptors = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else hard
    return Machine(memory_octets(), len(os.sched_getaffinity(0)), descriptors)


def content_octets(root: Path = Path("/")) -> int:
    """How much of the memory contents of messages may take, where the configuration does not say."""
    return max(LEAST_OCTETS, min(MOST_OCTETS, memory_octets(root) // SHARE))


def memory_octets(root: Path = Path("/")) -> int:
    """The memory of the machine, or less where a control group has less."""
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *_limits(root)])


def _limits(root: Path) -> Iterator[int]:
    """The limits of our control group and those above it, of both versions."""
    cgroups = root / "sys/fs/cgroup"
    files = [cgroups / "memory/memory.limit_in_bytes"]
    with suppress(OSError):  # no /proc: another system, or a container that hides it
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                ours = cgroups / path.lstrip("/")
                files += [each / "memory.max" for each in (ours, *ours.parents) if each.is_relative_to(cgroups)]
            elif "memory" in controllers.split(","):
                files.append(cgroups / "memory" / path.lstrip("/") / "memory.limit_in_bytes")
    for file in files:
        with suppress(OSError, ValueError):  # not there, or "max"
            yield int(file.read_text())


def boot_id() -> str:
    """The origin of the monotonic clock, which survives restarts of the server, but not of the machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # no Linux, or a sandbox without /proc: then this process is all that is known
        return secrets.token_hex(16)
