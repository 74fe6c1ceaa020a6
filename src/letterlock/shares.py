"""Limits, and what becomes of them when several workers share a server's work.

Every limit says beside its field whether it holds for the server as a whole, so that each worker gets a part of it
(`Annotated[int, DIVIDED]`), or for something that one worker does alone (`Annotated[int, EACH]`).
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from functools import cache
from typing import Any, TypeVar, get_type_hints

_T = TypeVar("_T")


class Sharing(Enum):
    """What several workers make of a limit."""

    DIVIDED = "divided among workers"
    EACH = "the same for each worker"


DIVIDED = Sharing.DIVIDED
EACH = Sharing.EACH


@cache
def sharing(kind: type) -> Mapping[str, Sharing]:
    """The fields of a dataclass that say what becomes of them."""
    hints = get_type_hints(kind, include_extras=True)
    said = {name: getattr(hint, "__metadata__", ()) for name, hint in hints.items()}
    return {name: mark for name, marks in said.items() for mark in marks if isinstance(mark, Sharing)}


def part(whole: int, workers: int, number: int) -> int:
    """One worker's part: all parts add up to the whole. But nobody can work with nothing, so each has at least one."""
    return max(1, whole // workers + (number < whole % workers))


def share(options: _T, workers: int, number: int) -> _T:
    """Options as one of several workers has them, numbered from 0: its part of every limit that is divided."""
    if not is_dataclass(options) or isinstance(options, type):
        raise TypeError(f"{options!r} holds no options")
    changes: dict[str, Any] = {}
    for field in fields(options):
        value = getattr(options, field.name)
        shared = _share(value, sharing(type(options)).get(field.name), workers, number)
        if shared is not value:
            changes[field.name] = shared
    return replace(options, **changes) if changes else options


def _share(value: object, mark: Sharing | None, workers: int, number: int) -> object:
    if mark is DIVIDED and isinstance(value, int):
        return part(value, workers, number)
    if mark is DIVIDED and isinstance(value, Mapping):
        return {name: part(whole, workers, number) for name, whole in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return share(value, workers, number)
    return value
