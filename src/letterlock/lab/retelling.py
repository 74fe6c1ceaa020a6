"""One cell as a lesson: what the attacker does, the conversation as they saw it, and what came of it."""

from collections.abc import Callable, Sequence
from itertools import groupby

from letterlock.lab.result_table import explain
from letterlock.lab.theory import story, theory, title
from letterlock.lab.transcript import Line, Speaker, Transcript
from letterlock.lab.trial import Cell

Paint = Callable[[str, str], str]
"""Text and a colour's name; the text as a terminal shall show it."""
_WHO = {Speaker.CLIENT: "client", Speaker.SERVER: "server", Speaker.NOTE: "*"}


def plain(text: str, _colour: str) -> str:
    """Without colour."""
    return text


def retell(cell: Cell, transcript: Transcript, paint: Paint = plain) -> list[str]:
    """A cell and its transcript, line by line."""
    return [
        paint(f"{title(cell.attack)}, against {cell.protection}", "bold"),
        f"The attacker, {story(cell.attack)}.",
        f"The domain is protected by {theory().protections[cell.protection]}.",
        "",
        "What the attacker saw (client: this server; [..]: what they cannot read):",
        *conversation(transcript.lines, paint),
        "",
        "What came of it:",
        *explain([cell])[2:],
    ]


def conversation(lines: Sequence[Line], paint: Paint = plain) -> list[str]:
    """The lines of a transcript, under a heading for each place."""
    found: list[str] = []
    channel = ""
    for place, group in groupby(lines, key=lambda line: line.channel):
        if place and place != channel:
            channel = place
            found += ["", paint(place, "bold")]
        found += [_line(line, paint) for line in group]
    return found


def _line(line: Line, paint: Paint) -> str:
    lock = "tls " if line.inside else "    "
    text = f"  {_WHO[line.speaker]:<7}{lock}{line.text}"
    return paint(text, "red") if line.bad else paint(text, "cyan") if line.speaker is Speaker.CLIENT else text
