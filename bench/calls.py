"""What one message costs the relay, in counts that do not depend on what else the machine does: python -m bench.calls

    python -m bench.calls [--messages 4000] [--top 60]   calls of functions, by file and by function
    python -m bench.calls --bytecode                     the same in instructions of the interpreter: the finest measure
    python -m bench.calls --system                       system calls (needs strace)
    python -m bench.calls --cpu                          CPU time: the median of blocks of 250 messages, and the least

One worker takes mail over 20 connections and delivers it to one next hop, in clear, as `bench.relay --part clear` has
it. The first two forms look at the event loop's thread only. A coroutine that goes on after a wait counts as a call,
and so do asyncio's own functions: `call_soon` is a callback of the event loop, `call_at` a timer, `_run_once` a turn.
"""

import argparse
import json
import os
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from bench.relay import furnished
from bench.relay_box import INSIDE, run_inside
from bench.relay_peers import Letterlock, Room
from bench.relay_rounds import WARM_UP_MESSAGES, Part
from letterlock.cli.main import main as letterlock
from letterlock.mail.envelope import Envelope
from letterlock.queue.observing import Arrival, Observer, Observers, Watcher

BLOCK = 250  # messages: some 75 ms of CPU, so that most blocks have no other work of the server in them
WARM_UP = WARM_UP_MESSAGES + 500  # messages: the sessions are open, and the caches filled
MARK = "/letterlock-bench-mark"  # a file that is asked for at the begin and the end of what strace is to count
MODE = "LETTERLOCK_BENCH_CALLS"  # the environment variable with what is counted, how many messages, and the result file


@dataclass(slots=True)
class Counted:
    """What was counted in the event loop's thread between two messages."""

    messages: int
    python: Counter[CodeType] = field(default_factory=Counter)
    native: Counter[str] = field(default_factory=Counter)
    blocks: list[float] = field(default_factory=list)  # seconds of CPU per message

    def profile(self, frame: FrameType, event: str, argument: Any) -> None:
        """Count one call, as `sys.setprofile`'s function."""
        if event == "call":
            self.python[frame.f_code] += 1
        elif event == "c_call":
            self.native[argument.__qualname__] += 1

    def trace(self, frame: FrameType, _event: str, _argument: Any) -> Callable[[FrameType, str, Any], Any]:
        """Have the instructions of a function counted, as `sys.settrace`'s function."""
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._trace_function

    def _trace_function(self, frame: FrameType, event: str, _argument: Any) -> Callable[[FrameType, str, Any], Any]:
        if event == "opcode":
            self.python[frame.f_code] += 1
        return self._trace_function

    def write(self, path: Path) -> None:
        """Leave the result where the benchmark finds it."""
        python = [[code.co_filename, code.co_qualname, count] for code, count in self.python.items()]
        path.write_text(json.dumps({"python": python, "native": self.native, "blocks": self.blocks}))


class Pace(Watcher):
    """Counts messages, and begins and ends what is measured."""

    def __init__(self, mode: str, counted: Counted, done: Callable[[], None]) -> None:
        self._mode = mode
        self._counted = counted
        self._done = done
        self._seen = 0
        self._began = 0.0

    def received(self, _envelope: Envelope, _arrival: Arrival) -> None:
        """One more."""
        seen = self._seen = self._seen + 1
        if seen == WARM_UP:
            self._begin()
        elif seen == WARM_UP + self._counted.messages:
            self._end()
        elif self._mode == "cpu" and seen > WARM_UP and (seen - WARM_UP) % BLOCK == 0:
            now = time.process_time()
            self._counted.blocks.append((now - self._began) / BLOCK)
            self._began = now

    def _begin(self) -> None:
        self._began = time.process_time()
        if self._mode == "calls":
            sys.setprofile(self._counted.profile)
        elif self._mode == "bytecode":
            sys.settrace(self._counted.trace)
        elif self._mode == "system":
            Path(MARK).exists()

    def _end(self) -> None:
        sys.setprofile(None)
        sys.settrace(None)
        if self._mode == "system":
            Path(MARK).exists()
        self._done()


@dataclass(frozen=True, slots=True)
class Watched(Letterlock):
    """The relay, whose calls are counted."""

    def command(self, room: Room) -> list[str]:
        """The command that runs it in the foreground."""
        serve = Letterlock.command(self, room)[3:]
        config = Path(serve[-1])
        config.write_text(config.read_text().replace('workers = "auto"', "workers = 1"))
        mode, _, result = json.loads(os.environ[MODE])
        traced = ["strace", "-D", "-f", "-qq", "-o", result] if mode == "system" else []
        return [*traced, sys.executable, "-m", "bench.calls", "--as-relay", *serve]


def serve(arguments: list[str]) -> None:
    """Be the relay."""
    mode, messages, result = json.loads(os.environ[MODE])
    counted, made = Counted(messages), Observers.__init__
    done = (lambda: None) if mode == "system" else (lambda: counted.write(Path(result)))
    pace = Pace(mode, counted, done)

    def changed(self: Observers, observers: Sequence[Observer] = (), **more: Any) -> None:
        made(self, [*observers, pace] if observers else (), **more)

    Observers.__init__ = changed  # type: ignore[method-assign]  # what is measured is made deep inside the server
    letterlock(arguments)


def show_counts(found: dict[str, Any], what: str, messages: int, top: int) -> str:
    """Calls or instructions per message: of all, by file, by function."""
    files: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    for file, name, count in found["python"]:
        short = "/".join(Path(file).parts[-2:])
        files[short] += count
        functions[f"{short} {name}"] += count
    native = Counter(found["native"])
    lines = [f"{files.total() / messages:.1f} {what}, {native.total() / messages:.1f} calls of other functions"]
    for title, counter in (("file", files), ("function", functions), ("other", native)):
        lines.append(f"\nby {title}:")
        lines += [f"{count / messages:9.2f}  {name}" for name, count in counter.most_common(top)]
    return "\n".join(lines)


def show_system_calls(trace: str, messages: int) -> str:
    """System calls per message, of all threads."""
    measured = trace.split(MARK)[1]
    names = Counter(re.findall(r"^\d+ +(\w+)\(", measured, re.MULTILINE))
    lines = [f"{names.total() / messages:.2f} system calls"]
    lines += [f"{count / messages:9.2f}  {name}" for name, count in names.most_common() if count >= messages / 100]
    return "\n".join(lines)


def show_cpu(blocks: list[float]) -> str:
    """CPU per message."""
    micro = sorted(1e6 * each for each in blocks)
    middle, quarter = statistics.median(micro), micro[len(micro) // 4]
    mean = statistics.fmean(micro)  # observers are shown many messages at once, which makes single blocks uneven
    return f"CPU per message: mean {mean:.1f} us, median {middle:.1f}, lowest quarter {quarter:.1f}"


def main() -> None:
    """Measure and print, or be the relay."""
    if sys.argv[1:2] == ["--as-relay"]:
        serve(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--messages", type=int, default=4_000)
    parser.add_argument("--octets", type=int, default=4096)
    parser.add_argument("--top", type=int, default=60, help="how many files and functions to show")
    parser.add_argument("--bytecode", dest="mode", action="store_const", const="bytecode")
    parser.add_argument("--system", dest="mode", action="store_const", const="system")
    parser.add_argument("--cpu", dest="mode", action="store_const", const="cpu")
    parser.set_defaults(mode="calls")
    given = parser.parse_args()
    if (room := os.environ.get(INSIDE)) is None:
        sys.exit(run_inside(sys.argv[1:], Path("/var/tmp"), "bench.calls"))  # noqa: S108  # a real disk
    result = Path(room, "calls")
    os.environ[MODE] = json.dumps([given.mode, given.messages, str(result)])
    # Some more than are counted: the last ones meet fewer connections.
    part = Part(name="clear", title="", octets=given.octets, messages=given.messages + WARM_UP)
    with furnished(Path(room), [Watched()]) as (bench, (relay,), _):
        bench.relay(part, relay)
    if given.mode == "system":
        print(show_system_calls(result.read_text(errors="replace"), given.messages))
    else:
        found = json.loads(result.read_text())
        what = "instructions" if given.mode == "bytecode" else "calls of Python functions"
        counts = show_counts(found, what, given.messages, given.top)
        print(show_cpu(found["blocks"]) if given.mode == "cpu" else counts)


if __name__ == "__main__":
    main()
