"""The command line's end of the control socket. Blocking: a command asks one thing and ends."""

import heapq
import json
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

CONTROL_SOCKET = "control.sock"
WORKER = "worker-"
MAX_ANSWER_OCTETS = 64 << 20
TIMEOUT_SECONDS = 30.0


class NotRunning(Exception):
    """No server answers on this queue."""


class ServerError(Exception):
    """The server says that it cannot."""


def queue_directories(directory: Path) -> tuple[Path, ...]:
    """The queues of all workers: the first one's is the directory itself, the others' are in folders of it."""
    return directory, *sorted(directory.glob(f"{WORKER}*"))


class Queues:
    """Speaks to all workers of the server whose queue is in `directory`, as to one."""

    def __init__(self, directory: Path) -> None:
        first, *others = queue_directories(directory)
        self._clients = [ControlClient(first), *(ControlClient(each) for each in others if _is_served(each))]

    def messages(self) -> Iterator[dict[str, Any]]:
        """Every queued message, in order of id. Raises NotRunning, ServerError."""
        return heapq.merge(*(client.messages() for client in self._clients), key=lambda message: str(message["id"]))

    def message(self, message_id: str) -> dict[str, Any] | None:
        """One message with its attempts. Raises NotRunning, ServerError."""
        found = (client.ask("queue.show", id=message_id)["message"] for client in self._clients)
        return next((message for message in found if message is not None), None)

    def retry(self, message_id: str | None) -> int:
        """Make a message, or all, due now; how many tasks that were. Raises NotRunning, ServerError."""
        return sum(int(client.ask("queue.retry", id=message_id)["count"]) for client in self._clients)

    def remove(self, message_id: str) -> bool:
        """Drop a message; whether it was there. Raises NotRunning, ServerError."""
        return any(client.ask("queue.remove", id=message_id)["removed"] for client in self._clients)


def _is_served(directory: Path) -> bool:
    return (directory / CONTROL_SOCKET).exists()


class ControlClient:
    """Speaks to the worker whose queue is in `directory`."""

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
