"""The command itself, as its user runs it: in a process of its own."""

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from letterlock.lab.box import Box

SECONDS = 180.0  # a guard against hanging, not a measure: a busy machine starts a process in seconds


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command printed, and how it ended."""

    status: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


async def letterlock(*arguments: str | Path) -> Ran:
    """Run `letterlock` to its end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "letterlock",
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(SECONDS):
        out, err = await process.communicate()
    assert "Traceback" not in err.decode()
    return Ran(process.returncode or 0, out.decode(), err.decode())


def asking(box: Box) -> tuple[str, ...]:
    """The options that make a command ask a lab's DNS, and trust its root."""
    return "--upstream", box.resolver, "--anchor", str(box.anchor_file)
