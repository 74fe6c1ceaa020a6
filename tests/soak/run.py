"""Try to make the server lose mail, by every means at once, and count: nothing answered 250 may be lost.

    python -m tests.soak.run --kills 300 --workers 3 --seed 1

Connections send without end. Meanwhile processes are killed (SIGKILL, at random moments, during start-up too), system
calls on the queue's files fail (`disk`), the disk fills up (`full`), the clock jumps (`clock`), and the receiving
server stalls, resets, and answers nonsense at each step of the protocol (`receiver`). Mail for hosts that never answer
or show chains made to cost, and for names whose DNS replies are made to cost, is in the mix (`strangers`). At the end
every message that was answered 250 must have arrived unchanged, or, if the receiver refused it for good, its sender
must have been told; what is for strangers must wait, and no event loop may have stood still.
What arrived twice needs a reason (arrivals.py). Needs root, for the small disk and for strace.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.interop.programs import find
from tests.soak.soaking import MISCHIEF_RATE, Outcome, Plan, soak

FAULTS = ("receiver", "disk", "full", "clock", "strangers")
INSIDE = "--inside"  # what the command calls itself with, once it is in a mount namespace of its own


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.run", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100, help="how often to kill (default 100)")
    parser.add_argument("--connections", type=int, default=20, help="senders at once (default 20)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed does the same after the same waits")
    parser.add_argument("--pause", type=float, default=0.05, help="mean pause of a sender between messages, in seconds")
    parser.add_argument("--workers", type=int, default=1, help="processes of the server (default 1)")
    parser.add_argument("--faults", default=",".join(FAULTS), help=f"beside kills: some of {','.join(FAULTS)}, or none")
    parser.add_argument(
        "--mischief", type=float, default=MISCHIEF_RATE, help="how often the receiver misbehaves, at each step"
    )
    parser.add_argument(INSIDE, action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    faults = frozenset(given.faults.split(",")) - {"none"}
    if not faults <= set(FAULTS):
        parser.error(f"--faults: some of {', '.join(FAULTS)}, or none")
    if "full" in faults and not given.inside:
        sys.exit(_in_namespace(sys.argv[1:]))
    plan = Plan(
        kills=given.kills,
        connections=given.connections,
        seed=given.seed,
        pause_seconds=given.pause,
        workers=given.workers,
        faults=faults,
        mischief_rate=given.mischief,
    )
    directory = Path(tempfile.mkdtemp(prefix="letterlock-soak-"))
    outcome = soak(directory, plan)
    tell(outcome)
    if outcome.good:
        shutil.rmtree(directory)
        return
    sys.exit(f"the server's log and its queue, as they were then, are in {directory}")


def _in_namespace(arguments: list[str]) -> int:
    """The same in a mount namespace, so that its small disk is gone when it ends, however it ends."""
    alone = [find("setpriv"), "--pdeathsig", "KILL", find("unshare"), "--mount", "--propagation", "private"]
    command = [*alone, sys.executable, "-m", "tests.soak.run", *arguments, INSIDE]
    return subprocess.run(command, check=False).returncode


def tell(outcome: Outcome) -> None:
    """The table to stdout, what is wrong to stderr."""
    for what, value in outcome.rows():
        sys.stdout.write(f"{what:<58} {value}\n")
    for problem in outcome.problems():
        sys.stderr.write(f"{problem}\n")


if __name__ == "__main__":
    main()
