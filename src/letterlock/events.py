"""Events of the log: one object that is a line in Postfix's words or a JSON object, whichever is written."""

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from time import time
from typing import Any


class LogEvent:
    """What happened, for `log.info(LogEvent(...))`: a name that stays, the form of its line, and its values.

    The line is `form % values`; values that the form leaves out are in JSON only. Neither is made before it is written.
    Text from outside must be escaped already. docs/reference/logs.md lists the names and the values.
    """

    __slots__ = ("_form", "_values", "name")

    def __init__(self, name: str, form: str, **values: object) -> None:
        self.name = name
        self._form = form
        self._values = values

    def __str__(self) -> str:
        return self._form % self._values

    def fields(self) -> Mapping[str, object]:
        """The values by name, for JSON."""
        return self._values


class LineEvent(LogEvent):
    """An event of each message: its line is made at once, as most lines are written, and its values only for JSON.

    The line must be printable. `values_of` makes the values from `subjects`.
    """

    __slots__ = ("_line", "_subjects", "_values_of")

    def __init__(self, name: str, line: str, values_of: Callable[..., Mapping[str, object]], *subjects: object) -> None:
        # Not by the constructor above it: neither a form nor values are there.
        self.name, self._line, self._values_of, self._subjects = name, line, values_of, subjects

    def __str__(self) -> str:
        return self._line

    def fields(self) -> Mapping[str, object]:
        """The values by name, for JSON."""
        return self._values_of(*self._subjects)


@dataclass(frozen=True, slots=True, eq=False)
class MessageLines:
    """What is logged of each message, made from two subjects that will not change, in two ways that must agree.

    `events` makes the events, each with the name of its logger. `text` makes their lines in one go, with a line feed
    between them and without an object for each: it is also given how the lines of each logger begin.
    """

    events: Callable[[Any, Any], Iterable[tuple[str, LogEvent]]]
    text: Callable[[Mapping[str, str], Any, Any], str]


Waiting = str | tuple[float, MessageLines, object, object]
"""A line; or when something happened (seconds since 1970), and what makes its lines of what."""


class LineHandler(logging.Handler):
    """A handler that takes what is logged of each message without a record, and makes the lines when it writes them.

    `waiting` is what is to be written, in order: what is in no line yet at level INFO.
    """

    waiting: list[Waiting]

    @abstractmethod
    def write_soon(self) -> None:
        """Something waits, after nothing did."""


_rooms = logging.getLogger("letterlock")


def log_lines(make: MessageLines, first: object, second: object) -> None:
    """Log the lines that `make` composes from two subjects, at a tenth of the cost of `log.info` for each line.

    Where the server's own handler is the only one of all rooms, it makes the lines when it writes: many messages at
    once, in one go, take a quarter of the time that each takes between other work. Else they go the way of all others.
    """
    handlers = _rooms.handlers
    if len(handlers) == 1 and isinstance(handler := handlers[0], LineHandler) and not _rooms.propagate:
        waiting = handler.waiting
        waiting.append((time(), make, first, second))
        if len(waiting) == 1:
            handler.write_soon()
    else:
        for name, event in make.events(first, second):
            logging.getLogger(name).info(event)
