"""Bars and sparklines of characters, in plain ASCII where the terminal has no others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

_BLOCKS = "▏▎▍▌▋▊▉█"  # eighths of a character, from the left
_LEVELS = "▁▂▃▄▅▆▇█"
_ASCII_LEVELS = ".:-=+*#@"
_NOTHING = " "


@dataclass(frozen=True, slots=True)
class Bars:
    """Draws numbers in one line."""

    ascii_only: bool

    @classmethod
    def of(cls, stream: TextIO) -> "Bars":
        """Block characters only where the stream's encoding has them."""
        try:
            (_BLOCKS + _LEVELS).encode(stream.encoding or "ascii")
        except (UnicodeEncodeError, LookupError):
            return cls(ascii_only=True)
        return cls(ascii_only=False)

    def bar(self, share: float, width: int) -> str:
        """A share of 1 as a bar, as wide as `width` when it is whole; anything above nothing can be seen."""
        share = max(0.0, min(1.0, share))
        if self.ascii_only:
            full = round(share * width)
            return "#" * max(full, 1 if share else 0)
        eighths = max(round(share * width * 8), 1 if share else 0)
        whole, rest = divmod(eighths, 8)
        return _BLOCKS[-1] * whole + (_BLOCKS[rest - 1] if rest else "")

    def spark(self, values: Sequence[int], width: int) -> str:
        """Values as heights, the highest as high as a line; more of them than `width` are summed up in groups."""
        if width <= 0:
            return ""
        size = -(-len(values) // width)
        grouped = [sum(values[at : at + size]) for at in range(0, len(values), max(1, size))]
        highest = max(grouped, default=0)
        levels = _ASCII_LEVELS if self.ascii_only else _LEVELS
        return "".join(levels[-(-value * len(levels) // highest) - 1] if value else _NOTHING for value in grouped)
