"""Keys of the configuration, each declared once: beside the field of the options that it fills.

    max_connections: Annotated[int, DIVIDED, Key("smtp.max_connections", "Most connections.", least=1)] = 500

Type and default are the field's own, `DIVIDED` or `EACH` says what several workers make of it, and the class that holds
the field is its consumer. From this the tables of the file, the reference and the JSON Schema are made
(`config/declared.py`), and the value is carried over. So a new key is this line, and the code that uses the field.

A table that the file has once per name, such as `[route."example.org"]` or each `[[listener]]`, has `RowKey`s:

    port: Annotated[int, Key("delivery.port", …), RowKey("route.port", …, inherits=True)] = 25
"""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, get_args, get_type_hints

from letterlock.shares import Sharing, sharing

MAX_SECONDS = 60 * 86400  # of any wait: what takes longer than two months is a mistake in the file


@dataclass(frozen=True, slots=True)
class Key:
    """A value's place in the file, its meaning to the operator, and its limits.

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
class RowKey(Key):
    """A key of a table that the file has once per name.

    `inherits`: where a row leaves it out, it has the value of the options that all rows are based on.
    """

    inherits: bool = False


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
    return {name: each for name, each in _declared(consumer) if not isinstance(each.key, RowKey)}


@cache
def row_declared(consumer: type, table: str) -> Mapping[str, Declared]:
    """The keys of each row of a table that are declared beside the fields of a dataclass, by the name of the field."""
    return {
        name: each for name, each in _declared(consumer) if isinstance(each.key, RowKey) and each.key.table == table
    }


def _declared(consumer: type) -> Iterator[tuple[str, Declared]]:
    if not is_dataclass(consumer):
        raise TypeError(f"{consumer!r} declares no keys: it is no dataclass")
    hints = get_type_hints(consumer, include_extras=True)
    for field in fields(consumer):
        for key in _keys(hints[field.name]):
            share = sharing(consumer).get(field.name)
            yield field.name, Declared(key, _bare(hints[field.name]), field, consumer, share)


def _keys(hint: Any) -> Iterator[Key]:
    return (mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Key))


def _bare(hint: Any) -> Any:
    """The type without our marks around it."""
    others = [mark for mark in hint.__metadata__ if not isinstance(mark, Key | Sharing)]
    kind = get_args(hint)[0]
    return Annotated[kind, *others] if others else kind
