"""How long `queue export` and `import` take, and how much memory: python -m bench.queue_archive [--messages N]

A queue of so many messages of ten kilobytes waits; it is exported, imported into another one, and imported again.
"""

import argparse
import asyncio
import dataclasses
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from tests.cli.test_queue_archive import queue
from tests.queue.messages import ANN, envelope

BODY = b"Subject: x\r\n\r\n" + b"y" * 10_000
GROUP = 200  # messages in one commit
POLL_SECONDS = 0.05


def peak_kilobytes(process: int) -> int:
    """The most memory that a process had, as the kernel knows it; 0 when it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1])
    return 0


async def measured(*words: str | Path) -> str:
    """Run a verb of `letterlock queue`; its seconds and its memory."""
    begun, peak = time.monotonic(), 0
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "letterlock", "queue", *map(str, words))
    while process.returncode is None:
        peak = max(peak, peak_kilobytes(process.pid))
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), POLL_SECONDS)
    return f"{words[0]}: {time.monotonic() - begun:.1f} s, {peak / 1024:.0f} MB"


async def run(directory: Path, messages: int) -> list[str]:
    """All three; a line each."""
    archive = directory / "queue.tar.gz"
    async with queue(directory / "old") as store:
        for first in range(0, messages, GROUP):
            names = (f"M{number:08}" for number in range(first, min(first + GROUP, messages)))
            made = (dataclasses.replace(envelope(name, ANN, expires_at=9e9), size=len(BODY)) for name in names)
            await asyncio.gather(*(store.accept(each, BODY, next_attempt_at=8e9) for each in made))
        lines = [await measured("export", archive, "--queue", directory / "old")]
    async with queue(directory / "new"):
        for _ in range(2):
            lines.append(await measured("import", archive, "--queue", directory / "new"))  # noqa: PERF401  # in turn
    return lines


def main() -> None:
    """The whole, by a command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=10_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        lines = asyncio.run(run(Path(directory), arguments.messages))
    sys.stdout.write(f"{arguments.messages} messages of {len(BODY)} bytes\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
