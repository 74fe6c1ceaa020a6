"""Events of the log: one object that is a line in Postfix's words or a JSON object, whichever is written."""

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
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
    """What is logged of each message or session, from two subjects that will not change, in two ways that must agree.

    `events` makes the events, each with the name of its logger. `text` makes their lines in one go, with a line feed
    between them and without an object for each: it is also given how the lines of each logger begin.
    """

    events: Callable[[Any, Any], Iterable[tuple[str, LogEvent]]]
    text: Callable[[Mapping[str, str], Any, Any], str]


Show = Callable[[Any, Any], None]
"""Shows something that happened, as two subjects that will not change, to those who log it."""


class LineHandler(logging.Handler):
    """The server's own handler, which takes what is logged of each message without a record, many events at once.

    It belongs to the thread that made it, which the event loop runs in; records come from others, too.
    """

    @abstractmethod
    def later(self, show: Show, first: object, second: object) -> None:
        """Call `show` with the subjects soon, and before what happens next is shown: its lines stand here, as of now.

        Code that runs for a hundred events at once takes a third of the time that it takes between other work.
        """

    @abstractmethod
    def take(self, make: MessageLines, first: object, second: object) -> None:
        """Log the lines that `make` composes."""


_rooms = logging.getLogger("letterlock")


def own_handler() -> LineHandler | None:
    """The server's own handler, where it is the only one of all rooms."""
    handlers = _rooms.handlers
    alone = len(handlers) == 1 and not _rooms.propagate
    return handlers[0] if alone and isinstance(handlers[0], LineHandler) else None


def log_lines(make: MessageLines, first: object, second: object) -> None:
    """Log the lines that `make` composes from two subjects: without records where the server's own handler is alone."""
    handlers = _rooms.handlers  # as own_handler, without a call
    if len(handlers) == 1 and isinstance(handlers[0], LineHandler) and not _rooms.propagate:
        handlers[0].take(make, first, second)
        return
    for name, event in make.events(first, second):
        logging.getLogger(name).info(event)
