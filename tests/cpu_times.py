"""What each test costs: processor seconds (its child processes included) and seconds on the clock.

    python -m pytest -p tests.cpu_times --cpu-times=FILE [tests/…]

writes one line per test: CPU seconds, wall-clock seconds, test. `sort -nr FILE | head` shows where a slow suite spends
its time; a test that takes long on the clock but little CPU waits for something.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare `--cpu-times`."""
    parser.addoption("--cpu-times", metavar="FILE", type=Path, help="append what each test costs to FILE")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Measure a test with its fixtures. A child counts once it was waited for."""
    cpu, clock = sum(os.times()[:4]), time.monotonic()
    result = yield
    if path := item.config.getoption("--cpu-times"):
        with path.open("a") as file:
            file.write(f"{sum(os.times()[:4]) - cpu:.2f}\t{time.monotonic() - clock:.2f}\t{item.nodeid}\n")
    return result
