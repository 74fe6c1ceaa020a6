"""What a server holds: `python -m bench.held [--part queue|connections|all] [--messages N] [--connections N]`.

A million queued messages: how long from start to the first delivery, and how much memory. Ten thousand idle
connections: what each costs, and whether mail goes through beside them. The table goes to standard output.
"""

import argparse
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.held_connections import connected
from bench.held_queue import Row, queued

WIDTH = 52


def rows(given: argparse.Namespace) -> Iterator[Row]:
    """What was asked for, row by row."""
    prefix = f"127.{random.SystemRandom().randrange(64, 250)}.{random.SystemRandom().randrange(1, 255)}"
    if given.part in ("connections", "all"):
        with tempfile.TemporaryDirectory(prefix="letterlock-held-", dir=given.directory) as directory:
            yield from connected(Path(directory), prefix=prefix, connections=given.connections)
    if given.part not in ("queue", "all"):
        return
    for later in {"both": (False, True), "now": (False,), "later": (True,)}[given.due]:
        with tempfile.TemporaryDirectory(prefix="letterlock-held-", dir=given.directory) as directory:
            yield from queued(
                Path(directory),
                messages=given.messages,
                octets=given.octets,
                prefix=prefix,
                hops=given.hops,
                later=later,
                seconds=given.seconds,
            )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.held", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--part", choices=["queue", "connections", "all"], default="all")
    parser.add_argument("--messages", type=int, default=1_000_000, help="in the queue")
    parser.add_argument("--octets", type=int, default=1024, help="of each message")
    parser.add_argument("--hops", type=int, default=200, help="next hops that they are for, at most 250")
    parser.add_argument("--due", choices=["now", "later", "both"], default="both")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long to watch deliveries")
    parser.add_argument("--connections", type=int, default=10_000, help="that idle")
    parser.add_argument("--directory", type=Path, help="where the queues are put for as long as this runs")
    given = parser.parse_args()
    print(f"{os.cpu_count()} processors")
    for what, found in rows(given):
        print(f"{what:<{WIDTH}}  {found}", flush=True)


if __name__ == "__main__":
    main()
