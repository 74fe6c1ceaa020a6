"""Keys of the configuration, each declared once: beside the field of the options that it fills.

    max_connections: Annotated[int, DIVIDED, Key("smtp.max_connections", "Most connections.", least=1)] = 500

Type and default are the field's own, `DIVIDED` or `EACH` says what several workers make of it, and the class that holds
the field is its consumer. From this the tables of the file, the reference and the JSON Schema are made
(`config/declared.py`), and the value is carried over. So a new key is this line, and the code that uses the field.
"""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, get_args, get_type_hints

from letterlock.shares import Sharing, sharing

MAX_SECONDS = 60 * 86400  # of any wait: what takes longer than two months is a mistake in the file


@dataclass(frozen=True, slots=True)
class Key:
    """Where a value stands in the file, what it means to the operator, and its limits.

    `least` and `most` are included, `above` is not; of a list they are its length. `restart`: a changed value takes
    effect only after a restart.
    """

    path: str
    text: str
    least: float | None = None
    most: float | None = None
    above: float | None = None
    restart: bool = False

    @property
    def table(self) -> str:
        """The table that holds the key; empty for the top of the file."""
        return self.path.rpartition(".")[0]

    @property
    def name(self) -> str:
        """The key in its table."""
        return self.path.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Declared:
    """A key with the field that it fills."""

    key: Key
    kind: Any
    field: Field[Any]
    consumer: type
    share: Sharing | None

    @property
    def is_required(self) -> bool:
        """Whether there is no default."""
        return self.field.default is MISSING and self.field.default_factory is MISSING

    @property
    def default(self) -> Any:
        """What holds where the file says nothing."""
        return self.field.default if self.field.default_factory is MISSING else self.field.default_factory()


@cache
def declared(consumer: type) -> Mapping[str, Declared]:
    """The keys that are declared beside the fields of a dataclass, by the name of the field."""
    if not is_dataclass(consumer):
        raise TypeError(f"{consumer!r} declares no keys: it is no dataclass")
    hints = get_type_hints(consumer, include_extras=True)
    return {
        field.name: Declared(key, _bare(hints[field.name]), field, consumer, sharing(consumer).get(field.name))
        for field in fields(consumer)
        for key in _keys(hints[field.name])
    }


def _keys(hint: Any) -> Iterator[Key]:
    return (mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Key))


def _bare(hint: Any) -> Any:
    """The type without our marks around it."""
    others = [mark for mark in hint.__metadata__ if not isinstance(mark, Key | Sharing)]
    kind = get_args(hint)[0]
    return Annotated[kind, *others] if others else kind
