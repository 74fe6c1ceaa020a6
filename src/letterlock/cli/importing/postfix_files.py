"""Postfix's configuration as values: main.cf and master.cf with the lines they stand on, and lookup tables. Pure."""

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

MAX_EXPANSIONS = 1_000  # of one value: parameters that name each other would expand without end
MASTER_COLUMNS = 7  # service, type, private, unprivileged, chroot, wakeup, processes; then the command (master(5))
_NAMED = re.compile(r"\$(?:\{(\w+)(?:([?:])([^{}]*))?\}|\((\w+)\)|(\w+))")
_TIME = re.compile(r"(\d+)\s*([smhdw]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True, slots=True)
class PostfixParameter:
    """One parameter of main.cf, or an override of a service, and where it stands."""

    name: str
    value: str
    place: str


@dataclass(frozen=True, slots=True)
class PostfixService:
    """One service of master.cf. `place` is where it stands; `overrides` are its `-o name=value`."""

    name: str
    kind: str
    program: str
    overrides: tuple[PostfixParameter, ...]
    place: str


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their continuations, and the numbers on which they begin (postconf(5))."""
    number, gathered = 0, ""
    for here, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0].isspace() and gathered:
            gathered += " " + line.strip()
            continue
        if gathered:
            yield number, gathered
        number, gathered = here, line.strip()
    if gathered:
        yield number, gathered


def read_main(text: str, name: str = "main.cf") -> dict[str, PostfixParameter]:
    """The parameters; of one that is there twice, the last one counts."""
    found = {}
    for number, line in logical_lines(text):
        key, equals, value = line.partition("=")
        if equals:
            found[key.strip()] = PostfixParameter(key.strip(), value.strip(), f"{name}:{number}")
    return found


def read_master(text: str, name: str = "master.cf") -> Iterator[PostfixService]:
    """The services."""
    for number, line in logical_lines(text):
        columns = line.split(None, MASTER_COLUMNS)
        if len(columns) <= MASTER_COLUMNS:
            continue
        words = columns[MASTER_COLUMNS].split()
        place = f"{name}:{number}"
        overrides = [
            PostfixParameter(*_split(word), place) for option, word in itertools.pairwise(words) if option == "-o"
        ]
        yield PostfixService(columns[0], columns[1], words[0], tuple(overrides), place)


def _split(word: str) -> tuple[str, str]:
    key, _, value = word.partition("=")
    return key, value


def expanded(value: str, known: Mapping[str, str]) -> str:
    """A value with `$name` replaced: unknown names are empty, as in Postfix."""
    for _ in range(MAX_EXPANSIONS):
        found = _NAMED.search(value)
        if found is None:
            break
        name = found[1] or found[4] or found[5]
        here = known.get(name, "")
        if found[2] == "?":
            here = found[3] if here else ""
        elif found[2] == ":":
            here = here or found[3]
        value = value[: found.start()] + here + value[found.end() :]
    return value


def words(value: str) -> list[str]:
    """The parts of a list: separated by commas and white space."""
    return [each for each in re.split(r"[,\s]+", value) if each]


def seconds(value: str, unit: str = "s") -> float | None:
    """A time; a number alone is in `unit`. None: it is none."""
    found = _TIME.fullmatch(value)
    return None if found is None else float(found[1]) * _SECONDS[found[2] or unit]


def table_entries(text: str) -> Iterator[tuple[int, str, str]]:
    """A lookup table in text form: line, key, value."""
    for number, line in logical_lines(text):
        key, *value = line.split(None, 1)
        if value:
            yield number, key, value[0]
