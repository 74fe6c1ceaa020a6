"""Frozen dataclasses for the path of each message: mypy refuses an assignment, and making one costs no more for that.

A frozen dataclass sets each of its fields by `object.__setattr__`, which makes an object of ten fields three times as
dear as one that is not frozen: with some ninety fields per message that was 3 % of the relay's time. So here `frozen`
is for mypy, which treats these classes as what they say; at run time they are compared and hashed alike, and only the
assignment after the fact is not stopped. What must hold against hostile code, like the proof that a session may have
mail, is an ordinary frozen dataclass.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

__all__ = ["changed", "frozen_dataclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass as frozen_dataclass
    from dataclasses import replace as changed
else:
    _Class = TypeVar("_Class")
    _parts: dict[type, tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]] = {}

    def changed(one: _Class, /, **changes: object) -> _Class:
        """`dataclasses.replace`, at a quarter of its price: that one looks through the fields in Python each time."""
        kind = type(one)
        names, values = _parts.get(kind) or _learn(kind)
        return kind(**(dict(zip(names, values(one), strict=True)) | changes))

    def _learn(kind: type) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:
        names = tuple([each.name for each in fields(kind) if each.init])
        values = attrgetter(*names)
        _parts[kind] = found = names, values if len(names) > 1 else lambda one: (values(one),)
        return found

    def frozen_dataclass(
        *, frozen: bool, slots: bool = False, kw_only: bool = False, order: bool = False
    ) -> Callable[[type[_Class]], type[_Class]]:
        """`dataclasses.dataclass`, whose `frozen=True` is spelled out where it is used and checked by mypy alone."""
        return dataclass(slots=slots, kw_only=kw_only, order=order, unsafe_hash=frozen)
