"""A reply of an SMTP server: code, text, enhanced status code (RFC 5321 section 4.2, RFC 2034)."""

import re

from letterlock.frozen import frozen_dataclass

_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:[ \t]+|$)")


@frozen_dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply, one or several lines, without the code and the line ends."""

    code: int
    lines: tuple[str, ...]

    @property
    def enhanced(self) -> str | None:
        """The enhanced status code (RFC 3463) that opens the last line, when its class fits the reply code."""
        found = _ENHANCED.match(self.lines[-1]) if self.lines else None
        return found[1] if found and int(found[1][0]) == self.code // 100 else None

    @property
    def text(self) -> str:
        """All lines in one, for a log."""
        return " ".join(line for line in self.lines if line)

    @property
    def positive(self) -> bool:
        """Whether the server did or will do what was asked (2yz, 3yz)."""
        return 200 <= self.code < 400

    @property
    def transient(self) -> bool:
        """Whether the same command may work later (4yz)."""
        return 400 <= self.code < 500

    @property
    def permanent(self) -> bool:
        """Whether the same command will never work (5yz)."""
        return 500 <= self.code < 600

    def __str__(self) -> str:
        text = self.lines[0] if len(self.lines) == 1 else self.text
        return f"{self.code} {text}".rstrip()
