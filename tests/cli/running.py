"""The command itself, as its user runs it: in a process of its own."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from letterlock.lab.box import Box
from tests import warm_start

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


async def letterlock(*arguments: str | Path, given: str | None = None) -> Ran:
    """Run `letterlock` to its end, with `given` on its standard input."""
    async with asyncio.timeout(SECONDS):
        ended = await warm_start.command(*map(str, arguments), given=None if given is None else given.encode())
    out, err = ended.out.decode(), ended.err.decode()
    assert "Traceback" not in err
    return Ran(ended.status, out, err)


def asking(box: Box) -> tuple[str, ...]:
    """The options that make a command ask a lab's DNS, and trust its root."""
    return "--upstream", box.resolver, "--anchor", str(box.anchor_file)
