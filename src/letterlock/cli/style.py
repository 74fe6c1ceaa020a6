"""Colour and weight on a terminal, and nothing where there is none. What is printed reads the same without it."""

import os
from dataclasses import dataclass
from typing import TextIO

_CODES = {"bold": "1", "dim": "2", "good": "32", "bad": "1;31", "warn": "33"}


@dataclass(frozen=True, slots=True)
class Style:
    """Paints words, if somebody can see it."""

    colour: bool

    @classmethod
    def of(cls, stream: TextIO) -> "Style":
        """Colour only on a terminal, and not against the reader's will (no-color.org)."""
        return cls(stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb")

    def __call__(self, text: str, look: str) -> str:
        """The text in a look: bold, dim, good, bad, warn."""
        return f"\x1b[{_CODES[look]}m{text}\x1b[0m" if self.colour else text

    def state(self, word: str) -> str:
        """A security state or level in its colour."""
        looks = {
            "secure": "good",
            "authenticated": "good",
            "PROTECTED": "good",
            "insecure": "warn",
            "encrypted": "warn",
        }
        return self(word, looks.get(word, "bad"))
