"""The commands as their users run them: in processes of their own, against a listener on loopback."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from letterlock.mail.envelope import Envelope
from letterlock.receive.options import ReceiveOptions
from letterlock.receive.profiles import Profile
from tests.receive.world import World, world

SECONDS = 180.0  # a guard against hanging, not a measure: a busy machine starts a process in seconds
HOSTNAME = "host.example.org"


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command printed, and how it ended."""

    status: int
    out: str
    err: str


async def run(
    module: str, *arguments: str, stdin: bytes, home: Path, config: Path | None, encoding: str = "utf-8"
) -> Ran:
    """Run `main` of a module of letterlock.sendmail, as an installer's script does."""
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "TZ": "UTC", "PYTHONIOENCODING": encoding}
    if config is not None:
        environment["LETTERLOCK_CONFIG"] = str(config)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        f"import sys; from letterlock.sendmail.{module} import main; sys.exit(main())",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    async with asyncio.timeout(SECONDS):
        out, err = await process.communicate(stdin)
    assert "Traceback" not in err.decode()
    return Ran(process.returncode or 0, out.decode(encoding), err.decode(encoding))


@dataclass(frozen=True, slots=True)
class Desk:
    """Where somebody sits who sends mail: a home, and a configuration that leads to a server."""

    home: Path
    config: Path
    world: World

    async def sendmail(self, *arguments: str, stdin: bytes = b"") -> Ran:
        return await run("command", *arguments, stdin=stdin, home=self.home, config=self.config)

    @property
    def kept(self) -> list[tuple[Envelope, bytes]]:
        """What the server has taken."""
        return [(envelope, body) for envelope, body, _ in self.world.store.kept]

    def message(self) -> tuple[Envelope, bytes]:
        """The one message that the server has taken, without the trace that it added."""
        ((envelope, body),) = self.kept
        return envelope, without_trace(body)

    def unsent(self) -> list[Path]:
        """The messages that the command has kept."""
        return sorted((self.home / ".local" / "state" / "letterlock-unsent").glob("*"))


def without_trace(body: bytes) -> bytes:
    """A message without its Received field."""
    lines = body.split(b"\r\n")
    assert lines[0].startswith(b"Received:")
    end = next(number for number, line in enumerate(lines[1:], 1) if not line.startswith((b" ", b"\t")))
    return b"\r\n".join(lines[end:])


def write_config(directory: Path, address: tuple[str, int], more: str = "") -> Path:
    """A configuration with this listener."""
    config = directory / "letterlock.toml"
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    config.write_text(f'hostname = "{HOSTNAME}"\n[smtp]\nlisten = ["{host}:{address[1]}"]\n{more}')
    return config


@contextlib.asynccontextmanager
async def desk(
    directory: Path,
    options: ReceiveOptions | None = None,
    *,
    profile: Profile | None = None,
    more: str = "",
    host: str = "127.0.0.1",
) -> AsyncIterator[Desk]:
    """A listener, and somebody who sends."""
    async with world(options, profile, host=host) as served:
        yield Desk(directory, write_config(directory, served.address, more), served)
