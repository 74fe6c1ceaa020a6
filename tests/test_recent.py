"""The memory of a second: values end, are bounded in number, and no clock that is set back brings one to life."""

import ast
import math
from collections import Counter
from pathlib import Path

import letterlock
from letterlock.recent import RECENT_SECONDS, Recent


def test_a_value_is_known_for_its_second_and_no_longer() -> None:
    recent: Recent[str, int] = Recent(size=2)
    recent.put("a", 1, since=10.0, until=100.0)
    assert recent.get("a", 10.0) == 1
    assert recent.get("a", 10.0 + RECENT_SECONDS - 0.001) == 1
    assert recent.get("a", 10.0 + RECENT_SECONDS) is None
    assert recent.get("b", 10.0) is None


def test_what_ends_sooner_is_known_until_then() -> None:
    recent: Recent[str, int] = Recent(size=2)
    recent.put("a", 1, since=10.0, until=10.5)
    assert recent.get("a", 10.4) == 1
    assert recent.get("a", 10.5) is None


def test_after_the_clock_was_set_back_nothing_is_known() -> None:
    recent: Recent[str, int] = Recent(size=2)
    recent.put("a", 1, since=10.0, until=11.0)
    assert recent.get("a", 9.9) is None


def test_the_one_put_in_first_makes_room() -> None:
    recent: Recent[str, int] = Recent(size=2)
    for number, key in enumerate("abac"):
        recent.put(key, number, since=0.0, until=1.0)
    assert len(recent) == 2
    assert [recent.get(key, 0.5) for key in "abc"] == [2, None, 3]
    recent.clear()
    assert len(recent) == 0


def test_what_has_ended_goes_when_others_are_put_in() -> None:
    recent: Recent[int, int] = Recent(size=1000)
    for number in range(500):
        recent.put(number, number, since=number / 100, until=math.inf)
    assert len(recent) == 100, "those of the last second"
    for number in range(500, 600):
        recent.put(number, number, since=100.0, until=math.inf)
    assert len(recent) == 100, "each that comes takes more than one away"


def test_what_ends_later_than_others_holds_none_of_them_beyond_the_size() -> None:
    recent: Recent[int, int] = Recent(seconds=1000.0, size=10)
    recent.put(0, 0, since=0.0, until=1000.0)
    for number in range(1, 20):
        recent.put(number, number, since=number, until=number)
        assert len(recent) <= 10
    assert len(recent) == 1, "all others had ended"


def test_nothing_is_keyed_by_a_number_that_another_object_may_get() -> None:
    home = Path(letterlock.__file__).parent
    calls = Counter(
        path.relative_to(home).as_posix()
        for room in ("deliver", "discover", "schedule", "policy")
        for path in sorted((home / room).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Name) and node.id == "id" and isinstance(node.ctx, ast.Load)
    )
    assert calls == {"deliver/log.py": 2}, "it keeps the two objects beside the numbers, so nothing else can get them"
