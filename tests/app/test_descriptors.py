"""`letterlock serve` takes the file descriptors that its configuration may need, and says so when it may not."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.interop.programs import find

PROGRAM = """\
import logging, resource, sys
from pathlib import Path
from letterlock.app.descriptors import need, raise_limit
from letterlock.config import load

logging.basicConfig()
options = load(Path(sys.argv[1]))
raise_limit(options)
print(need(options), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def limited(directory: Path, soft: int, hard: int, *, connections: int, workers: int = 1) -> tuple[int, int, str]:
    """Raise the limit in a process with these limits: what it needs, what it has then, and what it logged."""
    config = directory / "letterlock.toml"
    config.write_text(f"workers = {workers}\n[smtp]\nmax_connections = {connections}\n")
    command = [find("prlimit"), f"--nofile={soft}:{hard}", sys.executable, "-c", PROGRAM, str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    needed, granted = map(int, done.stdout.split())
    return needed, granted, done.stderr


def test_the_soft_limit_is_raised_to_what_max_connections_demands(tmp_path: Path) -> None:
    needed, granted, logged = limited(tmp_path, 256, 6000, connections=3000)
    assert needed == granted > 3000
    assert not logged


def test_a_limit_that_is_high_enough_stays(tmp_path: Path) -> None:
    assert limited(tmp_path, 4000, 4000, connections=500)[1:] == (4000, "")


def test_a_hard_limit_that_is_too_low_is_told_of(tmp_path: Path) -> None:
    _, granted, logged = limited(tmp_path, 256, 1000, connections=3000)
    assert granted == 1000
    assert "max_connections = 3000" in logged
    assert "1000 is the limit" in logged


@pytest.mark.parametrize("workers", [2, 4])
def test_of_several_workers_each_needs_its_share(tmp_path: Path, workers: int) -> None:
    assert (
        limited(tmp_path, 256, 4000, connections=3000, workers=workers)[0]
        < limited(tmp_path, 256, 4000, connections=3000)[0]
    )
