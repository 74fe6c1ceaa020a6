"""A client of the policy door, as Postfix is one: one netstring asked, one answered."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from letterlock.companion.answer_memory import AnswerMemory
from letterlock.companion.deciding import Decided, decide
from letterlock.companion.operating import Operating
from letterlock.companion.options import PolicyServerOptions
from letterlock.companion.policy_door import PolicyDoor
from letterlock.routing.routes import NextHop
from letterlock.socketmap.netstrings import NetstringReader, netstring
from tests.companion.world import World
from tests.discover.test_sts_finder import Clock


@dataclass
class Client:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def __post_init__(self) -> None:
        self._frames = NetstringReader(100_000)
        self._found: list[bytes] = []

    def send(self, *requests: str) -> None:
        self.writer.write(b"".join(netstring(each.encode()) for each in requests))

    async def reply(self) -> str:
        while not self._found:
            data = await self.reader.read(65_536)
            if not data:
                raise EOFError
            self._found += self._frames.feed(data)
        return self._found.pop(0).decode()

    async def ask(self, request: str) -> str:
        self.send(request)
        return await self.reply()

    async def ended(self) -> bool:
        return await self.reader.read(1) == b""


class Worlds:
    """Decides by the world of each domain; `gate` holds decisions back."""

    def __init__(self, **worlds: World) -> None:
        self.worlds = worlds
        self.default = World()
        self.gate: asyncio.Event | None = None
        self.asked: list[str] = []
        self.begun = asyncio.Event()

    async def __call__(self, hop: NextHop) -> Decided:
        self.asked.append(str(hop))
        self.begun.set()
        if self.gate is not None:
            await self.gate.wait()
        world = replace(self.worlds.get(hop.domain.replace(".", "_"), self.default), domain=hop.domain)

        discoverer, _ = world.discoverer()
        return await decide(discoverer, hop)


@dataclass
class Running:
    """A door, and how to reach it."""

    door: PolicyDoor
    memory: AnswerMemory
    worlds: Worlds
    port: int
    clients: list[Client]

    async def client(self, host: str = "127.0.0.1") -> Client:
        reader, writer = await asyncio.open_connection(host, self.port)
        self.clients.append(Client(reader, writer))
        return self.clients[-1]

    async def ask(self, request: str) -> str:
        return await (await self.client()).ask(request)


@asynccontextmanager
async def open_door(worlds: Worlds | None = None, options: PolicyServerOptions | None = None) -> AsyncIterator[Running]:
    """A policy door on loopback."""
    worlds, clock = worlds or Worlds(), Clock()
    memory = AnswerMemory(worlds, clock.monotonic)
    door = PolicyDoor(options or PolicyServerOptions(), memory, Operating(memory, worlds).commands)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        await door.start([listening])
        running = Running(door, memory, worlds, listening.getsockname()[1], [])
        try:
            yield running
        finally:
            await door.stop()
            for client in running.clients:
                client.writer.close()
