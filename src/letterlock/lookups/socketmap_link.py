"""Asks a socketmap server (socketmap_table(5)), as Postfix does: over one connection, one question after the other."""

import asyncio
from collections.abc import Awaitable, Callable

from letterlock.lookups.queries import LookupFailed, in_one_line
from letterlock.socketmap.netstrings import MAX_REPLY_OCTETS, MAX_REQUEST_OCTETS, BadNetstring, NetstringReader
from letterlock.socketmap.questions import BadReply, TemporaryReply, read_reply, request

MAX_SECONDS = 10.0  # for a connection and an answer; a client waits at RCPT for 5 minutes (RFC 5321 4.5.3.2.3)
IDLE_SECONDS = 60.0  # then the connection ends: after a reload, the one of the old configuration does so, too
READ_OCTETS = 1 << 16  # chosen: a usual reply in one read
Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class SocketmapLink:
    """A map of a server, by its name there."""

    def __init__(self, connect: Connect, where: str, map_name: str) -> None:
        """`where` is for the log."""
        self._connect = connect
        self._where = where
        self._map = map_name
        self._kept: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._one_at_a_time = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None

    async def find(self, key: str) -> str | None:
        """What the map has for a key; None: nothing. Raises LookupFailed."""
        question = request(self._map, key)
        if len(question) > MAX_REQUEST_OCTETS:
            return None  # no map has a key that Postfix could never ask for
        try:
            async with asyncio.timeout(MAX_SECONDS), self._one_at_a_time:
                return read_reply(await self._answer(question))
        except (BadNetstring, BadReply, TemporaryReply) as error:
            raise LookupFailed(f"{self._where}: {in_one_line(str(error))}") from None
        except TimeoutError:
            raise LookupFailed(f"{self._where}: no answer within {MAX_SECONDS:g} seconds") from None
        except OSError as error:
            raise LookupFailed(f"{self._where}: {error.strerror or error}") from None

    async def _answer(self, question: bytes) -> bytes:
        """The answer; asked again once if the server has ended the connection since the last question."""
        is_old = self._kept is not None
        try:
            return await self._ask(question)
        except (ConnectionError, EOFError) as error:
            if not is_old:
                raise ConnectionResetError(f"{self._where} closed the connection") from error
        try:
            return await self._ask(question)
        except EOFError as error:
            raise ConnectionResetError(f"{self._where} closed the connection") from error

    async def _ask(self, question: bytes) -> bytes:
        kept, self._kept = self._kept, None  # of no more use, if this fails halfway
        reader, writer = kept or await self._connect()
        try:
            writer.write(question)
            found = await _one_reply(reader)
        except BaseException:
            writer.close()
            raise
        self._keep(reader, writer)
        return found

    def _keep(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._kept = reader, writer
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(IDLE_SECONDS, self.close)

    def close(self) -> None:
        """End the connection. Who asks later makes a new one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._kept is not None:
            self._kept[1].close()
            self._kept = None


async def _one_reply(reader: asyncio.StreamReader) -> bytes:
    replies, found = NetstringReader(MAX_REPLY_OCTETS), list[bytes]()
    while not found:
        data = await reader.read(READ_OCTETS)
        if not data:
            raise EOFError
        found = replies.feed(data)
    if len(found) > 1 or replies.waiting:
        raise BadReply("it answers more than it was asked")
    return found[0]
