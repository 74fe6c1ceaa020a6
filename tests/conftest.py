"""What every test owes the others: it leaves no process behind, and it runs in a network that no other worker sees."""

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import warm_start
from tests.isolation import enter_own_network, why_not

# Folders with the files that take longest, the longest first: no worker shall be left with one of them at the end.
LONGEST = ("soak", "interop", "agreement", "store", "cli", "fuzz", "app", "badinput", "lab", "deliver")
# Half of the time goes by in waiting, for timers and programs: three workers keep two processors busy.
WORKERS = max(2, len(os.sched_getaffinity(0)) * 3 // 2)

# What a property test shows does not depend on how busy the machine is: no deadline for a case, nor for making cases.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """For `-n auto`: WORKERS; a single process where workers cannot have networks of their own.

    Optional, as pytest also runs without the plugin (tests/mutation/sandbox.py).
    """
    reason = why_not()
    if not reason:
        return WORKERS
    sys.stderr.write(
        f"no network namespaces here ({reason}): the tests run one after the other; as root they run side by side\n"
    )
    return 0


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep what is collected, which stays to the end, away from the garbage collector: a tenth of the time goes there.

    Thousands of tests would be looked through again and again while they are made, and with every collection later.
    """
    gc.disable()
    result = yield
    gc.collect()
    gc.freeze()
    gc.enable()
    return result


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the longest folders first where workers share the files; a plain run keeps the order of the folders."""
    if hasattr(config, "workerinput"):
        order = {folder: place for place, folder in enumerate(LONGEST)}
        items.sort(key=lambda item: order.get(item.path.parent.name, len(LONGEST)))


def pytest_configure(config: pytest.Config) -> None:
    """Isolate a worker of pytest-xdist before it imports any test; a plain run stays where it is."""
    if hasattr(config, "workerinput") and not why_not():
        enter_own_network()


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
    warm_start.stop()
    assert not children(), "tests left processes behind"
