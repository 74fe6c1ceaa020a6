"""What every test owes the others: nothing that it started stays behind."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


def children() -> list[str]:
    """The processes that this one started and that still run: process id and command."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            process, _, rest = stat.read_text().rpartition(")")
        except OSError:
            continue  # it ended while we looked
        state, parent = rest.split()[:2]
        if int(parent) == os.getpid() and state != "Z":
            found.append(process.replace("(", ""))
    return found


@pytest.fixture(scope="session", autouse=True)
def _no_process_is_left_behind() -> Iterator[None]:
    yield
    assert not children(), "tests left processes behind"
