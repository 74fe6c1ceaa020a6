"""Pure rooms stay pure; the counter-examples of a review are refused."""

import pytest

from tests.architecture.purity import DRIVERS, MEMORIES, PURE_ROOMS, SOURCE, impurities, pure_modules


def test_pure_rooms_read_nothing_but_their_arguments() -> None:
    found = {path.relative_to(SOURCE).as_posix(): impurities(path.read_text()) for path in pure_modules()}
    assert {path: what for path, what in found.items() if what} == MEMORIES


def test_there_is_something_to_check() -> None:
    assert {path.relative_to(SOURCE).parts[0] for path in pure_modules()} > {"mail", "policy", "queue", "resolver"}
    assert all((SOURCE / each).exists() for each in DRIVERS)
    assert sorted(PURE_ROOMS) == list(PURE_ROOMS)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "from pathlib import Path\nROOTS = Path('/etc/roots').read_text()",
            ["imports pathlib.Path", "calls Path('/etc/roots').read_text"],
        ),
        ("def f(path):\n    return path.read_bytes()", ["calls path.read_bytes"]),
        ("def f(path):\n    with open(path) as file:\n        return file.read()", ["calls open"]),
        ("_seen = {}", ["keeps _seen"]),
        ("_seen = {1: 2}\ndef f(x):\n    _seen[x] = x", ["keeps _seen"]),
        ("_SEEN = {1}\ndef f(x):\n    _SEEN.add(x)", ["keeps _SEEN"]),
        ("_seen: dict[str, int] = {}", ["keeps _seen"]),
        ("_seen = collections.defaultdict(list)", ["keeps _seen"]),
        ("_numbers = itertools.count(1)", ["keeps _numbers"]),
        ("class Finder:\n    seen = []", ["keeps seen"]),
        ("_last = None\ndef f(x):\n    global _last\n    _last = x", ["declares a global"]),
        ("from datetime import UTC, datetime\ndef f():\n    return datetime.now(UTC)", ["calls datetime.now"]),
        ("import datetime as dt\ndef f():\n    return dt.datetime.now(dt.UTC)", ["calls dt.datetime.now"]),
        ("import datetime as dt\ndef f():\n    return dt.date.today()", ["calls dt.date.today"]),
        ("import time\ndef f():\n    return time.time()", ["imports time"]),
        ("import os.path", ["imports os.path"]),
        ("from asyncio import sleep", ["imports asyncio.sleep"]),
        ("import dns.resolver", ["imports dns.resolver"]),
        ("from dns import query", ["imports dns.query"]),
        ("from urllib.request import urlopen", ["imports urllib.request.urlopen"]),
        ("def f():\n    import random", ["imports random"]),
        ("def f():\n    return __import__('socket')", ["calls __import__"]),
        ("import letterlock.net.dial", []),  # rooms are the import contract's part
    ],
)
def test_the_counter_examples_are_refused(text: str, told: list[str]) -> None:
    found = impurities(text)
    assert len(found) == len(told)
    assert all(what in line for what, line in zip(told, found, strict=True))


@pytest.mark.parametrize(
    "text",
    [
        "def f(clock):\n    return clock.now()",
        "_NAMES: Mapping[str, int] = {'a': 1}",
        "_NAMES = {'a': 1}\ndef f(x):\n    return _NAMES[x]",
        "_NAMES = frozenset({'a'})",
        "__all__ = ['f']",
        "from urllib.parse import quote",
        "_Rows = dict[str, int]",
    ],
)
def test_what_is_pure_is_accepted(text: str) -> None:
    assert impurities(text) == []
