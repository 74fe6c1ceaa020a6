"""The command line's end of the control socket. Blocking: a command asks one thing and ends."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

CONTROL_SOCKET = "control.sock"
MAX_ANSWER_OCTETS = 64 << 20
TIMEOUT_SECONDS = 30.0


class NotRunning(Exception):
    """No server answers on this queue."""


class ServerError(Exception):
    """The server says that it cannot."""


class ControlClient:
    """Speaks to the server whose queue is in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / CONTROL_SOCKET

    def ask(self, verb: str, **values: object) -> dict[str, Any]:
        """Ask one thing. Raises NotRunning, ServerError."""
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as connection:
            connection.settimeout(TIMEOUT_SECONDS)
            try:
                connection.connect(os.fspath(self._path))
                connection.sendall(json.dumps({"verb": verb, **values}).encode() + b"\n")
                with connection.makefile("rb") as file:
                    line = file.readline(MAX_ANSWER_OCTETS)
            except OSError as error:
                raise NotRunning(f"no server answers at {self._path}: {error.strerror or error}") from None
        if not line.endswith(b"\n"):
            raise ServerError("the server ended the connection before it had answered")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ServerError(str(answer["error"]))
        return answer

    def messages(self) -> Iterator[dict[str, Any]]:
        """Every queued message, page by page. Raises NotRunning, ServerError."""
        after: str | None = None
        while True:
            page = self.ask("queue.list", after=after)
            yield from page["messages"]
            if not page["more"]:
                return
            after = page["messages"][-1]["id"]
