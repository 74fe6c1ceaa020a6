"""Reports all mistakes in a configuration, each with its line and a hint."""

import difflib
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from pydantic_core import ErrorDetails, PydanticCustomError

from letterlock.config.wording import alternatives, as_written, choices, in_words

EX_CONFIG = 78  # of sysexits.h

Lines = Mapping[tuple[str, ...], int]
KnownKeys = Callable[[tuple[str, ...]], Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One mistake in a configuration: where (the key, and the line of the file from 1), what, and what to do."""

    key: str
    message: str
    line: int | None = None
    hint: str | None = None


class BadConfig(Exception):
    """The configuration cannot be used. `str()` is the whole report for the operator."""

    def __init__(self, source: str, mistakes: Iterable[Mistake]) -> None:
        self.source = source
        self.mistakes = tuple(sorted(mistakes, key=lambda mistake: (mistake.line or 0, mistake.key)))
        super().__init__(self.report("Nothing was started."))

    def report(self, ending: str) -> str:
        """All mistakes, and what was therefore not done."""
        lines = []
        for mistake in self.mistakes:
            place = f"{self.source}:{mistake.line}" if mistake.line else self.source
            lines.append(f"{place}: {mistake.key}" if mistake.key else place)
            lines.append(f"  {mistake.message}")
            if mistake.hint:
                lines.append(f"  hint: {mistake.hint}")
        count = len(self.mistakes)
        lines.append(f"{count} mistake{'s' if count != 1 else ''}. {ending}")
        return "\n".join(lines)


def wrong(message: str, hint: str = "", at: str | tuple[str | int, ...] = ()) -> PydanticCustomError:
    """A mistake for pydantic to place; `at` is the path of the key inside a table that was checked as a whole."""
    return PydanticCustomError(
        "letterlock", "{message}", {"message": message, "hint": hint, "at": (at,) if isinstance(at, str) else at}
    )


def guess(text: str, known: Iterable[str]) -> str:
    """The hint that somebody meant another word; empty when none is close."""
    close = difflib.get_close_matches(text, list(known), n=1)
    return f'did you mean "{close[0]}"?' if close else ""


def locate(text: str) -> dict[tuple[str, ...], int]:
    """The line (from 1) on which each key and table of a TOML text is first named.

    Of tables in a list, as under `[[listener]]`, each has its number in the path: `("listener", "0", "role")`.
    """
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    counts: Counter[tuple[str, ...]] = Counter()
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("["):
            table = _key_path(stripped + "\n") or table
            if stripped.startswith("[[") and "=" not in stripped:
                counts[table] += 1
                table = (*table, str(counts[table] - 1))
            path = table
        else:
            path = table + _key_path(stripped.partition("=")[0] + "= 0") if "=" in stripped else ()
        for depth in range(1, len(path) + 1):
            lines.setdefault(path[:depth], number)
    return lines


def _key_path(line: str) -> tuple[str, ...]:
    """The dotted key that a line of TOML names, by asking the TOML parser itself; () when it names none."""
    try:
        value: object = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return ()
    path: list[str] = []
    while value and isinstance(value, dict | list):
        value = value[0] if isinstance(value, list) else next(iter(value.items()))
        if isinstance(value, tuple):
            path.append(value[0])
            value = value[1]
    return tuple(path)


def placed(errors: Iterable[ErrorDetails], data: object, lines: Lines, known_keys: KnownKeys) -> list[Mistake]:
    """Pydantic's errors with their places in the file, in our own wording; `known_keys` are those of a table, with
    their descriptions.

    `data` is the file as it was read. Where a value could be one of several things, pydantic has an error for each of
    them: they become one mistake.
    """
    found: dict[tuple[str | int, ...], list[tuple[str, str]]] = {}
    for details in errors:
        place = _place(details, data)
        names = tuple(part for part in place if isinstance(part, str))
        found.setdefault(place, []).append(_words(details, names, known_keys))
    return [_mistake(place, words, lines) for place, words in found.items()]


def _mistake(place: tuple[str | int, ...], words: list[tuple[str, str]], lines: Lines) -> Mistake:
    path = tuple(map(str, place))
    line = next((lines[path[:depth]] for depth in range(len(path), 0, -1) if path[:depth] in lines), None)
    message = alternatives([message for message, _ in words])
    return Mistake(key=_dotted(place), message=message, hint=words[0][1] or None, line=line)


def _place(details: ErrorDetails, data: object) -> tuple[str | int, ...]:
    """The keys of the file that an error is about, without pydantic's names for what a value could be."""
    keys: list[str | int] = []
    for part in details["loc"]:
        below = _below(data, part)
        if below is not None:
            keys.append(part)
            data = below[0]
    if details["type"] == "missing":
        keys.append(details["loc"][-1])
    return (*keys, *details.get("ctx", {}).get("at", ()))


def _below(data: object, part: str | int) -> tuple[object] | None:
    """What a key or a number leads to, in a tuple; None: nowhere."""
    match data:
        case dict() if part in data:
            return (data[part],)
        case list() if isinstance(part, int) and part < len(data):
            return (data[part],)
    return None


_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def _dotted(place: tuple[str | int, ...]) -> str:
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE_KEY.fullmatch(part) else f'"{part}"')
    return text


def _to_add(key: str, description: str) -> str:
    """What a key that is missing is for: the first sentence about it."""
    sentence = description.partition(". ")[0].rstrip(".")
    if sentence[1:2].islower():
        sentence = sentence[:1].lower() + sentence[1:]
    return f"add {key}: {sentence}" if sentence else f"add {key}"


def _words(details: ErrorDetails, names: tuple[str, ...], known_keys: KnownKeys) -> tuple[str, str]:
    kind, context = details["type"], details.get("ctx", {})
    if kind == "letterlock":
        return str(context["message"]), str(context["hint"])
    if kind == "extra_forbidden":
        known = known_keys(names[:-1])
        return "unknown key", guess(names[-1], known) or f"known here: {', '.join(known)}"
    if kind == "missing":
        return "is missing", _to_add(names[-1], known_keys(names[:-1]).get(names[-1], ""))
    value = details["input"]
    meant = guess(value, choices(details)) if isinstance(value, str) else ""
    return in_words(details), meant or f"it is {as_written(value)} here"
