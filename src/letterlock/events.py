"""Events of the log: one object that is a line in Postfix's words or a JSON object, whichever is written."""

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping


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


class LineHandler(logging.Handler):
    """A handler that takes the events of each message without a record, and makes their lines when it writes them."""

    @abstractmethod
    def take(self, make: "MakeEvents", *subjects: object) -> None:
        """Write the events that `make(*subjects)` will return, as of now, at level INFO."""


MakeEvents = Callable[..., Iterable[tuple[str, LogEvent]]]
"""Makes events, each with the name of its logger, of what will not change."""
_rooms = logging.getLogger("letterlock")


def log_lines(make: MakeEvents, *subjects: object) -> None:
    """Log the events that `make(*subjects)` returns, at a fifth of the cost of `log.info` for each.

    Where the server's own handler is the only one of all rooms, it makes them when it writes: many messages at once,
    in one go, take a quarter of the time that each takes between other work. Else they go the way of all others.
    """
    handlers = _rooms.handlers
    if len(handlers) == 1 and not _rooms.propagate and isinstance(handler := handlers[0], LineHandler):
        handler.take(make, *subjects)
    else:
        for name, event in make(*subjects):
            logging.getLogger(name).info(event)
