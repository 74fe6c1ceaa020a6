"""Events of the log: one object that is a line in Postfix's words or a JSON object, whichever is written."""

from collections.abc import Mapping


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
