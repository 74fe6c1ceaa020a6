"""Frozen dataclasses for the path of each message: mypy refuses an assignment, and making one costs no more for that.

A frozen dataclass sets each of its fields by `object.__setattr__`, which makes an object of ten fields three times as
dear as one that is not frozen: with some ninety fields per message that was 3 % of the relay's time. So here `frozen`
is for mypy, which treats these classes as what they say; at run time they are compared and hashed alike, and only the
assignment after the fact is not stopped. What must hold against hostile code, like the proof that a session may have
mail, is an ordinary frozen dataclass.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

__all__ = ["frozen_dataclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass as frozen_dataclass
else:
    _Class = TypeVar("_Class")

    def frozen_dataclass(
        *, frozen: bool, slots: bool = False, kw_only: bool = False, order: bool = False
    ) -> Callable[[type[_Class]], type[_Class]]:
        """`dataclasses.dataclass`, whose `frozen=True` is spelled out where it is used and checked by mypy alone."""
        return dataclass(slots=slots, kw_only=kw_only, order=order, unsafe_hash=frozen)
