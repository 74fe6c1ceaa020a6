"""The configuration as it is in effect: each key with its value, and where that comes from."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from letterlock.config.local_domains import ForwardingTable
from letterlock.config.mistakes import locate
from letterlock.config.options import Options
from letterlock.config.reading import load
from letterlock.config.reload_effects import values
from letterlock.config.tables import FileTable

DEFAULT = "default"
_FOUND_OUT = {
    "hostname": "hostname",
    "workers": "workers",
    "queue.directory": "queue_directory",
    "queue.drop_directory": "drop_directory",
    "queue.min_free_octets": "min_free_octets",
}
"""Keys that the server finds a value for where the file has none, with the field of the options that has it."""
BY_NAME = (
    "listener", "rule", "domain", "sender", "route", "sender_route", "dkim", "database", "table", "milter",
    "policy_service", "limit", "dns_list", "local", "hosted",
)  # fmt: skip
"""Lists of tables, and tables that hold a table for each name: shown as they are written."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One key. `value` is as the file has it, or would have it; None: unset. Of secrets it is the file's path."""

    key: str
    value: Any
    origin: str


def effective(path: Path | None) -> tuple[Options, tuple[Shown, ...]]:
    """The options, and every key of the file with its value. Secrets are not read. Raises BadConfig."""
    options = load(path, secrets=False)
    text = path.read_text() if path is not None else ""
    data, lines = tomllib.loads(text), locate(text)
    return options, (*_declared(options, data, lines), *_named(options, data, lines))


def _declared(options: Options, data: Mapping[str, Any], lines: Mapping[tuple[str, ...], int]) -> Iterator[Shown]:
    for each, value in values(options):
        place = tuple(each.key.path.split("."))
        table = data.get(each.key.table, {}) if each.key.table else data
        if each.key.name in table:
            yield Shown(each.key.path, table[each.key.name], _origin(options, lines, place))
        else:
            field = _FOUND_OUT.get(each.key.path)
            chosen = options.capacity.by_key.get(each.key.path)
            if chosen is not None:
                yield Shown(each.key.path, chosen.value, f"{DEFAULT}: {chosen.why}")
            else:
                yield Shown(each.key.path, _plain(value if field is None else getattr(options, field)), DEFAULT)


def _named(options: Options, data: Mapping[str, Any], lines: Mapping[tuple[str, ...], int]) -> Iterator[Shown]:
    """What is written in tables with names, and in lists of tables."""
    for table in BY_NAME:
        written = data.get(table, {})
        entries = enumerate(written) if isinstance(written, list) else written.items()
        for name, value in entries:
            yield Shown(f"{table}.{_quoted(name)}", value, _origin(options, lines, (table, str(name))))
    for name, each in ForwardingTable.model_fields.items():
        value = data.get("forwarding", {}).get(name)
        place = _origin(options, lines, ("forwarding", name)) if value is not None else DEFAULT
        yield Shown(f"forwarding.{name}", _plain(each.default) if value is None else value, place)
    for zone, value in data.get("resolver", {}).get("negative", {}).items():
        yield Shown(
            f"resolver.negative.{_quoted(zone)}", value, _origin(options, lines, ("resolver", "negative", zone))
        )


def _quoted(name: object) -> str:
    return f'"{name}"' if isinstance(name, str) else str(name)


def _origin(options: Options, lines: Mapping[tuple[str, ...], int], place: tuple[str, ...]) -> str:
    line = next((lines[place[:depth]] for depth in range(len(place), 0, -1) if place[:depth] in lines), None)
    return f"{options.source}:{line}" if line else options.source


def _plain(value: Any) -> Any:
    """A value as the file would have it."""
    if isinstance(value, tuple | frozenset):
        return [_plain(each) for each in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the file (draft 2020-12), for editors; made from the same declarations as the reference."""
    schema = FileTable.model_json_schema(mode="validation")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Letterlock's configuration (letterlock.toml)",
        **{name: value for name, value in schema.items() if name != "title"},
    }


__all__ = ["DEFAULT", "Shown", "effective", "json_schema"]
