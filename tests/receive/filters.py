"""A filter and a policy service in this process, which do as they are told."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from letterlock.milter.frames import ALL_ACTIONS, FrameReader, frame
from letterlock.net.service_address import ServiceAddress


@dataclass
class FakeMilter:
    """Answers each letter as `script` says, with `c` otherwise; b"" closes the connection, None says nothing."""

    script: dict[str, bytes | None] = field(default_factory=dict)
    steps: int = 0
    seen: list[tuple[str, bytes]] = field(default_factory=list)
    connections: int = 0
    address: ServiceAddress = field(default_factory=ServiceAddress)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def letters(self) -> str:
        return "".join(letter for letter, _ in self.seen if letter != "D")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        frames = FrameReader()
        try:
            while data := await reader.read(65536):
                frames.feed(data)
                while (found := frames.next_frame()) is not None:
                    if not self._answer(*found, writer):
                        return
        finally:
            writer.close()

    def _answer(self, letter: str, data: bytes, writer: asyncio.StreamWriter) -> bool:
        self.seen.append((letter, data))
        if letter == "Q":
            self.left.set()
        if letter == "O":
            writer.write(self.script.get("O") or frame("O", struct.pack("!III", 6, ALL_ACTIONS, self.steps)))
        elif letter not in "DAQ":
            answer = self.script.get(letter, frame("c"))
            if answer == b"":
                return False
            if answer is not None:
                writer.write(answer)
        return letter != "Q"


@asynccontextmanager
async def running_milter(milter: FakeMilter, directory: Path) -> AsyncIterator[FakeMilter]:
    """The filter, at a UNIX socket."""
    path = directory / "milter.sock"
    server = await asyncio.start_unix_server(milter.serve, path)
    milter.address = ServiceAddress(path=str(path))
    try:
        yield milter
    finally:
        server.close()


@asynccontextmanager
async def running_policy(
    directory: Path, answer: Callable[[dict[str, str]], str | None]
) -> AsyncIterator[tuple[ServiceAddress, list[dict[str, str]]]]:
    """A policy service; None closes the connection."""
    asked = list[dict[str, str]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                try:
                    request = await reader.readuntil(b"\n\n")
                except asyncio.IncompleteReadError:
                    return
                values = dict(line.split("=", 1) for line in request.decode().splitlines() if line)
                asked.append(values)
                said = answer(values)
                if said is None:
                    return
                writer.write(f"{said}\n\n".encode())
        finally:
            writer.close()

    path = directory / "policy.sock"
    server = await asyncio.start_unix_server(serve, path)
    try:
        yield ServiceAddress(path=str(path)), asked
    finally:
        server.close()
