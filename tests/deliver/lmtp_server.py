"""An LMTP server behind a UNIX socket that answers what it is told to answer."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

MAX_MESSAGE_OCTETS = 1 << 24
CLOSE = b""  # among the replies: end the connection
RESET = b"reset"  # the same, without a good-bye


@dataclass
class LmtpServer:
    """`replies` are what a message gets, one for each accepted recipient unless it is told otherwise; used in turn,
    the last one stays. `refused` maps addresses to what RCPT gets. `closes_idle`: hang up after every message."""

    replies: Sequence[Sequence[bytes]] = ((b"250 2.1.5 saved\r\n",) * 100,)
    refused: dict[str, bytes] = field(default_factory=dict)
    greeting: bytes = b"220 mail LMTP\r\n"
    hello: bytes = b"250-mail\r\n250-8BITMIME\r\n250 PIPELINING\r\n"
    data: bytes = b"354 go\r\n"
    exact: bool = False  # send all replies, however many recipients there are
    closes_idle: bool = False
    said: list[str] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    connections: int = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        try:
            writer.write(self.greeting)
            await self._serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted = 0
        while line := (await reader.readline()).decode("latin-1").rstrip("\r\n"):
            self.said.append(line)
            match line.partition(" ")[0].upper():
                case "LHLO":
                    writer.write(self.hello)
                case "RCPT":
                    answer = self.refused.get(line[9:].partition(">")[0], b"250 2.1.5 Ok\r\n")
                    accepted += answer.startswith(b"250")
                    writer.write(answer)
                case "DATA" if self.data.startswith(b"354"):
                    writer.write(self.data)
                    if not await self._message(reader, writer, accepted):
                        return
                    accepted = 0
                case "DATA":
                    writer.write(self.data)
                case "QUIT":
                    writer.write(b"221 bye\r\n")
                    return
                case _:
                    accepted = 0
                    writer.write(b"250 2.0.0 Ok\r\n")

    async def _message(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, accepted: int) -> bool:
        self.messages.append(await reader.readuntil(b"\r\n.\r\n"))
        script = self.replies[min(len(self.messages), len(self.replies)) - 1]
        for reply in script if self.exact else script[:accepted]:
            if reply == RESET:
                writer.transport.abort()
            if reply in (CLOSE, RESET):
                return False
            writer.write(reply)
        return not self.closes_idle


@asynccontextmanager
async def serving(server: LmtpServer, path: Path) -> AsyncIterator[None]:
    """The server behind a socket."""
    async with _ending(server) as connected:
        listening = await asyncio.start_unix_server(connected, path, limit=MAX_MESSAGE_OCTETS)
        yield
        listening.close()


@asynccontextmanager
async def serving_on_loopback(server: LmtpServer) -> AsyncIterator[int]:
    """The server at a port of 127.0.0.1."""
    async with _ending(server) as connected:
        listening = await asyncio.start_server(connected, "127.0.0.1", 0)
        yield listening.sockets[0].getsockname()[1]
        listening.close()


@asynccontextmanager
async def _ending(server: LmtpServer) -> AsyncIterator[Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]]:
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(task := asyncio.create_task(server(reader, writer)))
        # A task that is cancelled before its first step closes nothing by itself.
        task.add_done_callback(lambda _: writer.close())

    try:
        yield connected
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
