"""Limits with several workers: each limit says what becomes of it, and the parts add up to the whole."""

import dataclasses
from collections.abc import Iterator
from typing import get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.config import Options, parse
from letterlock.shares import DIVIDED, EACH, Sharing, part, share, sharing

NO_LIMITS = {"port", "implicit_port", "mta_sts_port", "workers"}  # numbers that are no amounts


def _kinds_within(hint: object) -> Iterator[type]:
    """The classes that a type is made of."""
    if isinstance(hint, type):
        yield hint
    for inner in get_args(hint):
        yield from _kinds_within(inner)


def _reached(kind: type, seen: set[type]) -> set[type]:
    """The dataclasses that one holds, itself included."""
    if kind in seen or not dataclasses.is_dataclass(kind):
        return seen
    seen.add(kind)
    for hint in get_type_hints(kind).values():
        for inner in _kinds_within(hint):
            _reached(inner, seen)
    return seen


OPTION_CLASSES = sorted(
    (kind for kind in _reached(Options, set()) if kind.__name__.endswith(("Options", "SettingsByRoute"))),
    key=lambda kind: kind.__name__,
)


def _amounts(kind: type) -> list[str]:
    """The fields that may be limits: whole numbers, alone or by name, and whatever is called a maximum."""
    hints = get_type_hints(kind)
    whole = [
        name for name, hint in hints.items() if int in (hint, *get_args(hint)) and get_origin(hint) is not frozenset
    ]
    return [name for name in hints if (name in whole or name.startswith("max_")) and name not in NO_LIMITS]


def test_all_rooms_are_looked_at() -> None:
    names = {kind.__name__ for kind in OPTION_CLASSES}
    assert {"Options", "ReceiveOptions", "DeliverOptions", "ResolverOptions", "SettingsByRoute"} <= names


@pytest.mark.parametrize("kind", OPTION_CLASSES, ids=lambda kind: kind.__name__)
def test_every_limit_says_what_several_workers_make_of_it(kind: type) -> None:
    silent = set(_amounts(kind)) - set(sharing(kind))
    assert not silent, f"say DIVIDED or EACH (letterlock.shares) beside {', '.join(sorted(silent))} of {kind.__name__}"


def test_a_limit_that_says_nothing_is_found() -> None:
    @dataclasses.dataclass(frozen=True)
    class New:
        max_things: int = 3

    assert _amounts(New) == ["max_things"]
    assert sharing(New) == {}


@pytest.mark.parametrize("workers", [1, 2, 3, 7, 64])
def test_what_is_divided_adds_up_and_nobody_has_nothing(workers: int) -> None:
    whole = parse("[smtp]\nmax_connections_per_client = 100\n[delivery]\nmax_handshakes_per_host = 4", "t.toml")
    shares = [share(whole, workers, number) for number in range(workers)]
    assert sum(each.receive.max_connections for each in shares) == whole.receive.max_connections
    assert sum(each.receive.max_connections_per_client for each in shares) == 100
    assert sum(each.deliver.max_content_octets for each in shares) == whole.deliver.max_content_octets
    assert sum(each.deliver.max_waiting for each in shares) == whole.deliver.max_waiting
    assert sum(each.deliver.max_handshakes_per_host for each in shares) == max(4, workers)
    assert all(each.receive.max_message_octets == whole.receive.max_message_octets for each in shares)


@given(whole=st.integers(1, 10**9), workers=st.integers(1, 64))
def test_parts(whole: int, workers: int) -> None:
    parts = [part(whole, workers, number) for number in range(workers)]
    assert sum(parts) == max(whole, workers)
    assert max(parts) - min(parts) <= 1


def test_one_worker_has_everything() -> None:
    whole = parse("", "t.toml")
    assert share(whole, 1, 0) == whole


def test_the_two_words() -> None:
    assert {DIVIDED, EACH} == set(Sharing)
