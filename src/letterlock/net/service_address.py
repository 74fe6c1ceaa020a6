"""Where a program of this site listens that we ask: a UNIX socket, or an IP address and a port."""

import asyncio
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServiceAddress:
    """An address; with `path`, that of a UNIX socket."""

    path: str | None = None
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect. Raises OSError; the caller bounds the time."""
        if self.path is not None:
            return await asyncio.open_unix_connection(self.path)
        return await asyncio.open_connection(self.host, self.port)
