"""Postfix's lookup tables that are databases or programs: sqlite_table(5), pgsql_table(5), socketmap_table(5). Pure."""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from letterlock.cli.importing.postfix_files import logical_lines
from letterlock.cli.importing.translation import Translation

_QUOTED = re.compile(r"'((?:[^']|'')*)'|%(.)")
_PARAMETERS = {"s": ":key", "u": ":local", "d": ":domain"}
PASSWORD_FILE = "/etc/letterlock/database.password"  # noqa: S105  # the name of a file


class Untranslatable(ValueError):
    """A table that has no counterpart; `str()` says why, without passwords."""


@dataclass(slots=True)
class LookupParts:
    """The keys of a table, and those of the database that it needs."""

    table: dict[str, str] = field(default_factory=dict)
    database: dict[str, str] = field(default_factory=dict)


def set_table(made: Translation, table: str, kind: str, path: str, read: Callable[[str], str | None]) -> str:
    """Translate a table that is a database or a program; why it cannot be, or ""."""
    try:
        if kind == "socketmap":
            parts = socketmap(path)
        elif kind in ("sqlite", "pgsql"):
            if (text := read(path)) is None:
                return "it cannot be read"
            parts = database(kind, text, mailboxes=table.startswith("mailboxes"))
        else:
            return "tables are read from files, SQLite, PostgreSQL and socketmap here"
    except Untranslatable as error:
        return str(error)
    for key, value in parts.database.items():
        made.set(f"database.{table}", key, value)
    if parts.database:
        made.set(f"table.{table}", "database", table)
    for key, value in parts.table.items():
        made.set(f"table.{table}", key, value)
    return ""


def socketmap(address: str) -> LookupParts:
    """`unix:/path:name` or `inet:host:port:name`. Raises Untranslatable."""
    kind, _, rest = address.partition(":")
    where, _, name = rest.rpartition(":")
    if kind == "unix" and where.startswith("/") and name:
        return LookupParts({"socketmap": f"unix:{where}", "map": name})
    host, _, port = where.rpartition(":")
    try:
        found = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host.strip("[]"))
    except ValueError:
        raise Untranslatable("a socketmap server is at an IP address here") from None
    shown = f"[{found}]" if found.version == 6 else str(found)
    return LookupParts({"socketmap": f"{shown}:{port}", "map": name})


def database(kind: str, text: str, *, mailboxes: bool) -> LookupParts:
    """The file of a table of the kinds sqlite and pgsql. Raises Untranslatable.

    `mailboxes`: what the query finds is a path that says nothing here; only that it finds something counts.
    """
    lines = (line.partition("=") for _, line in logical_lines(text))
    settings = {key.strip(): value.strip() for key, _, value in lines}
    if "query" not in settings or settings.get("result_format", "%s") != "%s" or "domain" in settings:
        raise Untranslatable("it has no query, or a result_format or domain")
    query = _query(settings["query"].rstrip("; "))
    table = {"query": f"SELECT NULL FROM ({query}) AS found" if mailboxes else query}  # noqa: S608  # the operator's
    if kind == "sqlite":
        return LookupParts({"sqlite": settings.get("dbpath", "")} | table)
    host = re.split(r"[ ,]+", settings.get("hosts", "localhost"))[0].removeprefix("inet:")
    words = {"host": host.removeprefix("unix:").replace("///", "/"), "dbname": settings.get("dbname", "")}
    words["user"] = settings.get("user", "postfix")
    if not host.startswith("unix:") and host.count(":") == 1:
        words["host"], _, words["port"] = host.partition(":")
    if any(not value or re.search(r"[\s'\\]", value) for value in words.values()):
        raise Untranslatable("its host, user or dbname cannot be written in a connection string")
    found = {"postgresql": " ".join(f"{name}={value}" for name, value in words.items())}
    if "password" in settings:
        found["password_file"] = PASSWORD_FILE
    return LookupParts(table, found)


def _query(text: str) -> str:
    """A query with parameters of ours: `'%u@%d'` is `:local || '@' || :domain`. Raises Untranslatable."""
    return _QUOTED.sub(lambda found: _parameter(found[2]) if found[2] else _literal(found[1]), text)


def _literal(text: str) -> str:
    if "%" not in text:
        return f"'{text}'"
    parts = re.split(r"%(.)", text)
    words = [_parameter(part) if number % 2 else f"'{part}'" for number, part in enumerate(parts) if part]
    return words[0] if len(words) == 1 else f"({' || '.join(words)})"


def _parameter(letter: str) -> str:
    if letter not in _PARAMETERS:
        raise Untranslatable(f"its query uses %{letter}")
    return _PARAMETERS[letter]
