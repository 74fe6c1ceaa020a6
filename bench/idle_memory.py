"""What a server takes before the first message: `python -m bench.idle_memory [--workers 1,2]`.

Proportional set size (what processes share is shared out) of the supervisor and of each worker, and how much of it is
the process's own; and the CPU time from exec until all of them listen and wait. One worker has no supervisor.
Run it by the interpreter that is to be measured, and twice where the modules were not compiled yet.
"""

import argparse
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.relay_meter import cpu_seconds, tree
from bench.relay_peers import as_installed, end, wait_until_listening

ADDRESS = "127.0.0.1"
START_SECONDS = 30.0  # then something is wrong
SETTLE_SECONDS = 3.0  # the first look at the upstream and at the queue is over by then
MEGABYTE = 1_000_000
CONFIG = """\
hostname = "idle.test"
workers = {workers}
[smtp]
listen = ["{address}:{port}"]
[queue]
directory = "{directory}/queue"
[resolver]
upstream = ["127.0.0.1:9"]
"""


@dataclass(frozen=True, slots=True)
class MemoryTaken:
    """The memory of one process in bytes: its part of all, and what it shares with nobody."""

    proportional: int
    private: int


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--workers", default="1,2", help="how many, separated by commas")
    given = parser.parse_args()
    print(f"{'workers':>7} {'CPU to start':>13} {'PSS':>8}   of each process, supervisor first: PSS (its own)")
    for workers in map(int, given.workers.split(",")):
        cpu, processes = measure(workers)
        each = ", ".join(f"{one.proportional / MEGABYTE:.1f} ({one.private / MEGABYTE:.1f})" for one in processes)
        total = sum(one.proportional for one in processes) / MEGABYTE
        print(f"{workers:>7} {cpu:>11.2f} s {total:>5.1f} MB   {each}")


def measure(workers: int) -> tuple[float, Sequence[MemoryTaken]]:
    """CPU seconds to start so many workers, and what each process takes."""
    with _serving(workers) as root:
        time.sleep(SETTLE_SECONDS)
        return cpu_seconds(root), [_taken(pid) for pid in tree(root)]


@contextmanager
def _serving(workers: int) -> Iterator[int]:
    with tempfile.TemporaryDirectory(prefix="idle-") as name:
        with socket.create_server((ADDRESS, 0)) as probe:
            port: int = probe.getsockname()[1]
        config = Path(name) / "letterlock.toml"
        config.write_text(CONFIG.format(workers=workers, address=ADDRESS, port=port, directory=name))
        command = [sys.executable, "-m", "letterlock", "serve", "--config", str(config)]
        with (Path(name) / "log").open("wb") as log:
            process = subprocess.Popen(command, stderr=log, start_new_session=True, env=as_installed())
        try:
            if not wait_until_listening(process, ADDRESS, port, seconds=START_SECONDS):
                sys.exit((Path(name) / "log").read_text())
            yield process.pid
        finally:
            end(process)


def _taken(pid: int) -> MemoryTaken:
    """From /proc/PID/smaps_rollup: proc_pid_smaps_rollup(5)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    octets = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
    return MemoryTaken(octets["Pss"], octets["Private_Clean"] + octets["Private_Dirty"])


if __name__ == "__main__":
    main()
