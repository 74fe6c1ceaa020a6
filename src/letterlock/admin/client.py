"""The command line's end of the control socket. Blocking: a command asks one thing and ends."""

import heapq
import json
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, BinaryIO

from letterlock.queue.folders import CONTROL_SOCKET, WORKER, worker_number
from letterlock.queue.orders import MAX_ORDERED, Tally, TallyBy, Wanted

MAX_ANSWER_OCTETS = 64 << 20  # chosen: a page of the queue has some MB, and the largest message that is shown 64
TIMEOUT_SECONDS = 30.0  # chosen: an order over a large queue takes seconds a part
PIECE_OCTETS = 1 << 16  # chosen: of a content in memory at once
EVERYTHING = Wanted()


class NotRunning(Exception):
    """No server answers on this queue."""


class ServerError(Exception):
    """The server refused the request."""


def queue_directories(directory: Path) -> tuple[Path, ...]:
    """The queues of all workers: the first one's is the directory itself, the others' are in folders of it."""
    return directory, *(each for each in sorted(directory.glob(f"{WORKER}*")) if worker_number(each.name))


class Queues:
    """Speaks to all workers of the server whose queue is in `directory`, as to one.

    Every method raises NotRunning and ServerError.
    """

    def __init__(self, directory: Path) -> None:
        first, *others = queue_directories(directory)
        self._clients = [ControlClient(first), *(ControlClient(each) for each in others if _is_served(each))]

    def problems(self) -> dict[str, str]:
        """Folders with mail that nobody serves, because it could not be taken over, and why."""
        return {str(name): str(why) for name, why in self._clients[0].ask("queue.problems")["problems"].items()}

    def reload(self, reason: str | None = None) -> dict[str, Any]:
        """Have the server read its configuration again."""
        return self._clients[0].ask("reload", reason=reason)

    def first(self, verb: str, **values: object) -> dict[str, Any]:
        """Ask one worker, where any of them will do."""
        return self._clients[0].ask(verb, **values)

    def everyone(self, verb: str, **values: object) -> list[dict[str, Any]]:
        """Ask all workers."""
        return [client.ask(verb, **values) for client in self._clients]

    def messages(self, wanted: Wanted = EVERYTHING) -> Iterator[dict[str, Any]]:
        """The messages that are wanted, in order of id, page by page."""
        parts = (client.pages("queue.list", wanted=_values(wanted)) for client in self._clients)
        messages = ((message for page in pages for message in page["messages"]) for pages in parts)
        return heapq.merge(*messages, key=lambda message: str(message["id"]))

    def sample(self, wanted: Wanted, limit: int) -> list[dict[str, Any]]:
        """A few of the messages that are wanted, of each worker: as many as its first page has, `limit` at most."""
        asked = {"after": None, "wanted": _values(wanted), "limit": limit}
        return [message for client in self._clients for message in client.ask("queue.list", **asked)["messages"]]

    def message(self, message_id: str) -> dict[str, Any] | None:
        """One message with its attempts."""
        found = (client.ask("queue.show", id=message_id)["message"] for client in self._clients)
        return next((message for message in found if message is not None), None)

    def content(self, message_id: str, *, whole: bool) -> bytes | None:
        """A message's content, or its header only; None when no worker has it."""
        for client in self._clients:
            with client.session() as session:
                found = session.ask("queue.content", id=message_id, whole=whole)
                if found["found"]:
                    return b"".join(session.read(found["octets"][1]))
        return None

    def parts(self) -> tuple["ControlClient", ...]:
        """Each worker; the first one's queue is never taken over by another one."""
        return tuple(self._clients)

    def count(self, wanted: Wanted) -> int:
        """How many messages are wanted."""
        return sum(
            int(page["count"]) for part in _parts(wanted) for page in self._pages("queue.count", wanted=_values(part))
        )

    def size(self) -> int:
        """How many messages there are."""
        return sum(int(client.ask("queue.size")["count"]) for client in self._clients)

    def order(
        self, name: str, wanted: Wanted, *, reason: str | None = None, only: str | None = None
    ) -> Iterator[tuple[int, list[str]]]:
        """Carry out an order page by page: how many messages were looked at, and which of them changed."""
        for part in _parts(wanted):
            for page in self._pages("queue.order", order=name, wanted=_values(part), reason=reason, only=only):
                yield int(page["matched"]), [str(each) for each in page["ids"]]

    def stats(self, by: TallyBy) -> Iterator[list[Tally]]:
        """Counts of tasks, of each part of the queue."""
        for page in self._pages("queue.stats", by=by.value):
            yield [Tally(**each | {"ages": tuple(each["ages"])}) for each in page["tallies"]]

    def _pages(self, verb: str, **values: object) -> Iterator[dict[str, Any]]:
        for client in self._clients:
            yield from client.pages(verb, **values)


def _parts(wanted: Wanted) -> Iterator[Wanted]:
    """Many ids in as many requests as they need."""
    if wanted.ids is None:
        yield wanted
        return
    for start in range(0, len(wanted.ids), MAX_ORDERED):
        yield replace(wanted, ids=wanted.ids[start : start + MAX_ORDERED])


def _values(wanted: Wanted) -> dict[str, object]:
    return {name: value for name, value in asdict(wanted).items() if value is not None}


def _is_served(directory: Path) -> bool:
    """Whether a server answers there; a socket that a dead one left is no reason to fail."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as connection:
        connection.settimeout(TIMEOUT_SECONDS)
        try:
            connection.connect(os.fspath(directory / CONTROL_SOCKET))
        except (FileNotFoundError, ConnectionRefusedError):  # nobody is there
            return False
        except OSError:  # asked again, it says what is wrong
            return True
    return True


class ControlClient:
    """Speaks to the worker whose queue is in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / CONTROL_SOCKET

    @contextmanager
    def session(self) -> Iterator["ControlSession"]:
        """A connection for many requests. Raises NotRunning."""
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as connection:
            connection.settimeout(TIMEOUT_SECONDS)
            try:
                connection.connect(os.fspath(self._path))
            except OSError as error:
                raise _not_running(self._path, error) from None
            with connection.makefile("rb") as file:
                yield ControlSession(self._path, connection, file)

    def ask(self, verb: str, **values: object) -> dict[str, Any]:
        """Ask one thing. Raises NotRunning, ServerError."""
        with self.session() as session:
            return session.ask(verb, **values)

    def pages(self, verb: str, **values: object) -> Iterator[dict[str, Any]]:
        """Ask for page after page. Raises NotRunning, ServerError."""
        after: str | None = None
        while True:
            page = self.ask(verb, after=after, **values)
            yield page
            after = page["after"]
            if after is None:
                return


def _not_running(path: Path, error: OSError) -> NotRunning:
    return NotRunning(f"no server answers at {path}: {error.strerror or error}")


class ControlSession:
    """One connection to a worker. Every method raises NotRunning, ServerError."""

    def __init__(self, path: Path, connection: socket.socket, file: BinaryIO) -> None:
        self._path = path
        self._connection = connection
        self._file = file

    def ask(self, verb: str, **values: object) -> dict[str, Any]:
        """Ask one thing. What follows the answer (`octets`) must be read by `read`."""
        return self.send({"verb": verb, **values})

    def send(self, request: Mapping[str, object], carried: Iterable[bytes] = ()) -> dict[str, Any]:
        """Ask something with bytes that follow it."""
        try:
            self._connection.sendall(json.dumps(request).encode() + b"\n")
            for piece in carried:
                self._connection.sendall(piece)
            line = self._file.readline(MAX_ANSWER_OCTETS)
        except OSError as error:
            raise _not_running(self._path, error) from None
        if not line.endswith(b"\n"):
            raise ServerError("the server ended the connection before it had answered")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ServerError(str(answer["error"]))
        return answer

    def read(self, octets: int) -> Iterator[bytes]:
        """The bytes that follow an answer, piece by piece."""
        while octets:
            try:
                piece = self._file.read(min(octets, PIECE_OCTETS))
            except OSError as error:
                raise _not_running(self._path, error) from None
            if not piece:
                raise ServerError("the server ended the connection in the middle of a message")
            octets -= len(piece)
            yield piece
