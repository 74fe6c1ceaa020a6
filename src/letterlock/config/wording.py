"""What pydantic finds wrong with a value, in words that operators know. How the check is written stays hidden."""

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any

from pydantic_core import ErrorDetails

MAX_SHOWN_CHARACTERS = 60  # of a wrong value: enough to recognise it
_KINDS = {
    "true or false": ("bool_type", "bool_parsing"),
    "a whole number": ("int_type", "int_parsing", "int_parsing_size", "int_from_float"),
    "a number": ("float_type", "float_parsing", "finite_number"),
    "text in quotes": ("string_type", "string_unicode"),
    "a list in square brackets": ("list_type", "tuple_type", "set_type", "frozen_set_type", "iterable_type"),
    "a table": ("dict_type", "mapping_type", "model_type", "model_attributes_type", "dataclass_type"),
}
_BY_TYPE = {kind: words for words, kinds in _KINDS.items() for kind in kinds}
_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
_LENGTHS = {
    "too_short": ("at least", "min_length", "entries"),
    "too_long": ("at most", "max_length", "entries"),
    "string_too_short": ("at least", "min_length", "characters"),
    "string_too_long": ("at most", "max_length", "characters"),
}
MUST_BE = "must be "


def in_words(details: ErrorDetails) -> str:
    """What is wrong; for types and limits what the value must be."""
    kind, context = details["type"], details.get("ctx", {})
    if kind in _BY_TYPE:
        return MUST_BE + _BY_TYPE[kind]
    if kind in _BOUNDS:
        words, name = _BOUNDS[kind]
        return f"{MUST_BE}{words} {_number(context[name])}"
    if kind in _LENGTHS:
        words, name, unit = _LENGTHS[kind]
        count = context[name]
        return f"must have {words} {count} {unit if count != 1 else _SINGULAR[unit]}"
    if kind == "literal_error":
        return MUST_BE + str(context["expected"]).replace("'", '"')
    return "cannot be used as it is"


_SINGULAR = {"entries": "entry", "characters": "character"}


def choices(details: ErrorDetails) -> list[str]:
    """The texts that a value may be, if it may be a few only."""
    return (
        str(details.get("ctx", {}).get("expected", "")).split("'")[1::2] if details["type"] == "literal_error" else []
    )


def alternatives(messages: list[str]) -> str:
    """Several things that a value could be, as one message."""
    different = list(dict.fromkeys(messages))
    if len(different) > 1 and all(each.startswith(MUST_BE) for each in different):
        return MUST_BE + " or ".join(each.removeprefix(MUST_BE) for each in different)
    return different[0]


def as_written(value: Any) -> str:
    """A value as the file has it, short enough for a message."""
    text = toml_text(value)
    return text if len(text) <= MAX_SHOWN_CHARACTERS else text[: MAX_SHOWN_CHARACTERS - 1] + "…"


def toml_text(value: Any) -> str:
    """A value as TOML has it, on one line."""
    match value:
        case Mapping():
            entries = ", ".join(f"{name} = {toml_text(each)}" for name, each in value.items())
            return f"{{ {entries} }}" if entries else "{}"
        case list():
            return "[" + ", ".join(toml_text(each) for each in value) + "]"
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:g}"
        case dt.date() | dt.time():
            return value.isoformat()
        case str() | int():
            return json.dumps(value, ensure_ascii=False)
    return str(value)


def _number(value: Any) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:g}"
