"""The outcome of a translation: sections of TOML, and a note on each line of the other configuration. Pure."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from letterlock.app.output import json_text


class Translatable(Protocol):
    """A statement of another configuration: its name, and the file and line where it stands."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def place(self) -> str:
        """FILE:LINE."""


class TranslationFate(StrEnum):
    """What became of a parameter."""

    TRANSLATED = "translated"
    NEEDLESS = "needless"  # it is so here anyway
    LOST = "not translated"


@dataclass(frozen=True, slots=True)
class TranslationNote:
    """What became of one parameter or line, and why."""

    place: str
    name: str
    fate: TranslationFate
    text: str


@dataclass(slots=True)
class Translation:
    """Sections of TOML with their keys, in order; and the notes."""

    sections: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: list[TranslationNote] = field(default_factory=list)

    def set(self, section: str, key: str, value: object) -> None:
        """A key; "" is the top of the file."""
        self.sections.setdefault(section, {})[key] = toml(value)

    def note(self, parameter: Translatable, fate: TranslationFate, text: str) -> None:
        """What became of it."""
        self.notes.append(TranslationNote(parameter.place, parameter.name, fate, text))


def toml(value: object) -> str:
    """A value of TOML: that of JSON, but for tables."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(each)}" for key, each in value.items()) + " }"
    return json_text(value)


def as_toml(made: Translation) -> str:
    """The file. A section of listeners, or of rules, is one of an array."""
    parts = []
    for section, keys in sorted(made.sections.items(), key=lambda each: each[0] != ""):
        lines = [f"{key} = {value}" for key, value in keys.items()]
        array = section.startswith(("[listener]", "[rule]"))
        head = [f"[{section.partition('#')[0]}]"] if array else [f"[{section}]"] if section else []
        parts.append("\n".join([*head, *lines]))
    return "\n\n".join(parts) + "\n"
