"""Reads a file of aliases: `name: target, target` as aliases(5) has it, or `address target` as virtual(5). Pure.

Lines that begin with white space continue the line before; `#` begins a comment line. Names are compared without
regard to case. A name alone on its line is an entry without targets, as lists of mailboxes have them.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from letterlock.recipients.targets import BadEntry, Ending, Entry, no_ending, parse_targets

MAX_LINES = 2_000_000  # a bound on memory: about 500 MB; files of real sites have a hundredth of that
_LINE = re.compile(r'(?P<key>"(?:[^"\\]|\\.)*"(?:@[^\s:]+)?|[^\s:,"]+)[ \t]*(?P<colon>:?)[ \t]*(?P<rest>.*)', re.DOTALL)


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that cannot be used: its number (from 1) and the reason."""

    number: int
    why: str


def read_aliases(text: str, ending: Callable[[str], Ending] = no_ending) -> tuple[dict[str, Entry], list[BadLine]]:
    """The entries by key, in lower case, and the lines that cannot be used. Of a key given twice, the first counts.

    `ending` reads commands and files.
    """
    entries: dict[str, Entry] = {}
    bad: list[BadLine] = []
    for number, line in _logical_lines(text):
        if number > MAX_LINES:
            bad.append(BadLine(number, f"more than {MAX_LINES} lines"))
            break
        found = _LINE.fullmatch(line.rstrip())
        if found is None:
            bad.append(BadLine(number, "neither `name: target` nor `address target`"))
            continue
        key = _key(found["key"])
        try:
            entry = parse_targets(found["rest"], ending)
        except BadEntry as error:
            bad.append(BadLine(number, f"{key}: {error}"))
            continue
        if key in entries:
            bad.append(BadLine(number, f"{key} is given twice; the first entry counts"))
        entries.setdefault(key, entry)
    return entries, bad


def read_members(text: str) -> tuple[Entry, list[BadLine]]:
    """The targets in a file that `:include:` names: separated by commas or line ends. Commands are not run from it."""
    members: list[Entry] = []
    bad: list[BadLine] = []
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            try:
                members.append(parse_targets(stripped))
            except BadEntry as error:
                bad.append(BadLine(number, str(error)))
    return tuple(target for entry in members for target in entry), bad


def _key(text: str) -> str:
    if text.startswith('"') and text.endswith('"'):
        text = text[1:-1]
    return text.lower()


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their continuations, each under the number of its first line; without comments and empty lines."""
    begun, parts = 0, list[str]()
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0] in " \t" and parts:
            parts.append(line.strip())
            continue
        if parts:
            yield begun, " ".join(parts)
        begun, parts = number, [line.strip()]
    if parts:
        yield begun, " ".join(parts)
