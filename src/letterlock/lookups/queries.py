"""What a database is asked: a query with named parameters, and the rows that it finds."""

import re
from collections.abc import Collection, Mapping
from typing import Protocol

MAX_ROWS = 10_000  # of one answer: the largest list of members that a recipient may have
MAX_REASON = 300  # characters of a database's own words that reach the log
Row = tuple[object, ...]

_SQL = re.compile(
    r"""
      [eE]'(?:[^'\\]|\\.|'')*'            # a text with backslash escapes (PostgreSQL)
    | '(?:[^']|'')*'                      # a text
    | "(?:[^"]|"")*"                      # a name
    | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$     # a dollar-quoted text (PostgreSQL)
    | --[^\n]*                            # a comment
    | /\*.*?\*/
    | ::                                  # a cast (PostgreSQL)
    | :(?P<name>[A-Za-z_]\w*)             # a parameter
    """,
    re.VERBOSE | re.DOTALL,
)


class LookupFailed(Exception):
    """The database did not answer; `str()` says why, in one line. That is not the same as "no row"."""


class BadParameters(ValueError):
    """A query uses parameters that it does not get."""


class RowSource(Protocol):
    """A database with a query."""

    async def rows(self, values: Mapping[str, str]) -> list[Row]:
        """The rows that the query finds for its parameters. Raises LookupFailed."""


def check_parameters(query: str, known: Collection[str]) -> None:
    """Whether a query uses parameters, and only known ones. Raises BadParameters."""
    used = {found["name"] for found in _SQL.finditer(query) if found["name"]}
    names = ", ".join(f":{name}" for name in known)
    if unknown := sorted(used - set(known)):
        raise BadParameters(f"uses :{unknown[0]}, but its parameters are {names}")
    if not used:
        raise BadParameters(f"uses none of its parameters, {names}: it would find the same for everybody")


def with_percent_names(query: str) -> str:
    """The query in the form of the PostgreSQL driver: `%(key)s` for `:key`, and `%%` for `%`."""
    parts, at = list[str](), 0
    for found in _SQL.finditer(query):
        if found["name"]:
            parts += [query[at : found.start()].replace("%", "%%"), f"%({found['name']})s"]
            at = found.end()
    return "".join([*parts, query[at:].replace("%", "%%")])


def in_one_line(text: str) -> str:
    """A database's own words, for the log."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_REASON else line[:MAX_REASON] + "..."
