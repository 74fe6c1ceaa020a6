"""Where surveys go: blocks or a table for people, JSON, JSON lines, a page. Each takes them one by one, in order."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from letterlock.app.output import json_text
from letterlock.cli.check.page import page
from letterlock.cli.check.table import Row, draw_table, row
from letterlock.cli.check.text import draw_survey
from letterlock.cli.check.values import survey_values
from letterlock.cli.style import Style
from letterlock.inspect.survey import Survey

Write = Callable[[str], None]
"""Takes whole lines, each with its end."""


class Output(Protocol):
    """One way to show surveys."""

    def add(self, survey: Survey) -> None:
        """The next survey."""

    def end(self, *, whole: bool) -> None:
        """There are no more; `whole`: these are all that were asked for."""


class Blocks:
    """One block a domain."""

    def __init__(self, write: Write, style: Style) -> None:
        self._write = write
        self._style = style
        self._begun = False

    def add(self, survey: Survey) -> None:
        """Write it."""
        gap = "\n\n" if self._begun else ""
        self._begun = True
        self._write(gap + "\n".join(draw_survey(survey, self._style)) + "\n")

    def end(self, *, whole: bool) -> None:
        """Nothing is left to do."""


class TableOutput:
    """One line a domain, written when all are there, for the columns' sake."""

    def __init__(self, write: Write, style: Style) -> None:
        self._write = write
        self._style = style
        self._rows: list[Row] = []

    def add(self, survey: Survey) -> None:
        """Keep its line."""
        self._rows.append(row(survey))

    def end(self, *, whole: bool) -> None:  # noqa: ARG002  # the count below it says so
        """Write the table."""
        self._write("\n".join(draw_table(self._rows, self._style)) + "\n")


class Json:
    """One JSON document, written as it grows."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._begun = False

    def add(self, survey: Survey) -> None:
        """Write it."""
        text = json_text(survey_values(survey), indent=2)
        self._write((",\n" if self._begun else '{"domains": [\n') + text)
        self._begun = True

    def end(self, *, whole: bool) -> None:
        """Close the document."""
        if not self._begun:
            self._write('{"domains": [')
        self._write(f'\n], "complete": {json_text(whole)}}}\n')


class JsonLines:
    """One JSON object a line."""

    def __init__(self, write: Write) -> None:
        self._write = write

    def add(self, survey: Survey) -> None:
        """Write it."""
        self._write(json_text(survey_values(survey)) + "\n")

    def end(self, *, whole: bool) -> None:
        """Nothing is left to do."""


class PageOutput:
    """One self-contained HTML file; it stands there when it is whole, and not before.

    What is no plain file (a device, a pipe, a link to either) is written to as it is, and never replaced.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError when the file cannot be written."""
        self.path = path
        in_place = path.is_symlink() or (path.exists() and not path.is_file())
        self._part = path if in_place else path.with_name(f".{path.name}.{os.getpid()}.part")
        with self._part.open("a"):
            pass  # as long as nothing has been looked at yet, it is no loss to find out that this cannot be done
        self._values: list[dict[str, object]] = []

    def add(self, survey: Survey) -> None:
        """Keep it."""
        self._values.append(survey_values(survey))

    def end(self, *, whole: bool) -> None:
        """Write the file. Raises OSError."""
        self._part.write_text(page(self._values, whole=whole), encoding="utf-8")
        self._part.replace(self.path)

    def give_up(self) -> None:
        """Leave nothing behind."""
        if self._part != self.path:
            self._part.unlink(missing_ok=True)
