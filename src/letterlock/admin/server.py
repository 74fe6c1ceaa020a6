"""The server's end of the control socket."""

import asyncio
import json
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

from letterlock.admin.asker import Asker, asker_at, log_order
from letterlock.admin.requests import BadRequest, Hooks, Verb, answer, forgive_nobody, no_problems
from letterlock.admin.transfers import VERBS, BadTransfer, Transferred, carried, transfer
from letterlock.ports import Clock
from letterlock.queue.store import OperatedStore, StoreFailed

log = logging.getLogger("letterlock.admin")
MAX_REQUEST_OCTETS = 65_536  # chosen: a thousand ids of messages fit
MAX_PATH_OCTETS = 107  # of sun_path, without the NUL
IDLE_SECONDS = 60.0  # chosen: a command that stands still holds one of few connections
READ_OCTETS = 1 << 18  # chosen: few turns of the event loop for a large message, and none that is long


class ControlFailed(Exception):
    """The control socket cannot be made. `str()` says why, `hint` what an operator can do."""

    hint = "the control socket is in [queue] directory"


class ControlServer:
    """Answers requests on a UNIX socket between `start` and `stop`."""

    def __init__(
        self,
        store: OperatedStore | None,
        path: Path,
        *,
        clock: Clock,
        wake: Callable[[], None],
        forgive: Callable[[str | None], None] = forgive_nobody,
        problems: Callable[[], Mapping[str, str]] = no_problems,
        reload: Callable[[], Awaitable[dict[str, object]]] | None = None,
        verbs: Mapping[str, Verb] | None = None,
    ) -> None:
        """`wake` is called when messages became due; `forgive` when a next hop (None: all) is to be flushed.

        A message that arrives in the meantime is treated as usual.
        """
        self._store = store
        self._path = path
        self._clock = clock
        self._hooks = Hooks(wake, forgive, problems, reload, verbs or {})
        self._server: asyncio.Server | None = None
        self._sessions: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. The socket of a server that died is replaced: the holder of the queue's lock owns this path.

        Raises ControlFailed.
        """
        if len(os.fsencode(self._path)) > MAX_PATH_OCTETS:
            raise ControlFailed(f"the path {self._path} is too long for a socket (at most {MAX_PATH_OCTETS} octets)")
        try:
            self._remove_old()
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
                made.bind(os.fspath(self._path))
                self._path.chmod(0o600)
                made.listen(16)  # chosen: commands of a few operators and scripts
                made.setblocking(False)
                self._server = await asyncio.start_unix_server(self._accept, sock=made.dup(), limit=MAX_REQUEST_OCTETS)
        except OSError as error:
            raise ControlFailed(f"cannot make the control socket {self._path}: {error.strerror}") from None

    def _remove_old(self) -> None:
        with suppress(FileNotFoundError):  # the usual case
            if not stat.S_ISSOCK(self._path.stat().st_mode):
                raise ControlFailed(f"{self._path} is in the way: it is not a socket")
            self._path.unlink()

    async def stop(self) -> None:
        """Stop listening, end all sessions, remove the socket."""
        if self._server is not None:
            self._server.close()
            for session in tuple(self._sessions):
                session.cancel()
            await asyncio.gather(*self._sessions, return_exceptions=True)
            await self._server.wait_closed()
            self._path.unlink(missing_ok=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = asyncio.current_task()
        if session is not None:
            self._sessions.add(session)
            session.add_done_callback(self._sessions.discard)
        try:
            await self._converse(reader, writer)
        except (OSError, ValueError) as error:  # gone, silent for too long, or a line beyond the limit
            log.debug("control session ended: %s", error)
        finally:
            writer.close()
            with suppress(OSError):  # the peer may have gone first
                await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asker = asker_at(writer.get_extra_info("socket"))
        while True:
            async with asyncio.timeout(IDLE_SECONDS):
                line = await reader.readline()
            if not line:
                return
            answered = await self._answer(line, reader, asker)
            writer.write(json.dumps(answered.values).encode() + b"\n")
            for part in answered.parts:
                writer.write(part)
            await writer.drain()

    async def _answer(self, line: bytes, reader: asyncio.StreamReader, asker: Asker) -> Transferred:
        try:
            request = json.loads(line)
            if self._store is not None and isinstance(request, dict) and request.get("verb") in VERBS:
                parts = [await _read(reader, octets) for octets in carried(request)]
                answered = await transfer(request, parts, self._store, self._clock)
            else:
                answered = Transferred(await answer(request, self._store, self._clock, self._hooks))
        except (BadRequest, BadTransfer, StoreFailed, ValueError) as error:
            return Transferred({"error": str(error)})
        if answered.changed:
            self._hooks.wake()
        log_order(request, answered.values, asker)
        return answered


async def _read(reader: asyncio.StreamReader, octets: int) -> bytes:
    """What follows a request. Raises TimeoutError, ValueError when it ends too early."""
    read = bytearray()
    while len(read) < octets:
        async with asyncio.timeout(IDLE_SECONDS):
            piece = await reader.read(min(octets - len(read), READ_OCTETS))
        if not piece:
            raise ValueError("the connection ended in the middle of a message")
        read += piece
    return bytes(read)
