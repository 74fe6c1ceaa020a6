"""Letterlock as the command that it is: `serve` in a process of its own, and the other verbs beside it."""

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import warm_start
from tests.interop.nameservers import Place
from tests.interop.programs import Program, greets, running

COMMAND_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Done:
    """A command that ended."""

    status: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Letterlock:
    """A running server."""

    config: Path
    place: Place
    program: Program

    def log(self) -> str:
        """All that it logged."""
        return self.program.text()

    def log_line(self, *words: str) -> str:
        """The last line of the log that has all the words; "" when none has."""
        lines = [line for line in self.log().splitlines() if all(word in line for word in words)]
        return lines[-1] if lines else ""

    def command(self, *arguments: str) -> Done:
        """Run a verb with this server's configuration."""
        verb, *rest = arguments
        return letterlock(verb, "--config", str(self.config), *rest)

    def queue(self, *arguments: str) -> Done:
        """Run `letterlock queue` against this server."""
        verb, *rest = arguments
        return letterlock("queue", verb, "--config", str(self.config), *rest)

    def queued(self) -> list[dict[str, Any]]:
        """The messages that `letterlock queue list --json` shows."""
        done = self.queue("list", "--json")
        assert done.status == 0, done
        messages: list[dict[str, Any]] = json.loads(done.stdout)["messages"]
        return messages

    def senders(self) -> set[str]:
        """Whose messages are queued."""
        return {message["sender"] for message in self.queued()}

    def waiting(self, recipient: str) -> list[dict[str, Any]]:
        """The queue's entries for a recipient."""
        entries = (entry for message in self.queued() for entry in message["recipients"])
        return [entry for entry in entries if entry["recipient"] == recipient]

    def terminate(self) -> int:
        """SIGTERM, and wait for the orderly end; the exit status."""
        self.program.process.send_signal(signal.SIGTERM)
        return self.program.process.wait(30)


def letterlock(*arguments: str, environment: Mapping[str, str] | None = None, seconds: float = COMMAND_SECONDS) -> Done:
    """Run the command to its end. A traceback on stderr is a failure whatever else it did."""
    done = warm_start.run(*arguments, seconds=seconds, environment={**os.environ, **(environment or {})})
    out, err = done.out.decode(), done.err.decode()
    assert "Traceback" not in err, err
    return Done(done.status, out, err)


@contextmanager
def serving(directory: Path, place: Place, config: str, name: str = "letterlock") -> Iterator[Letterlock]:
    """`letterlock serve` with a configuration, in which `listen` and the queue's directory are filled in."""
    path = write_config(directory, place, config)
    command: list[str | Path] = [sys.executable, "-m", "letterlock", "serve", "--config", path]
    log = directory / f"{name}.log"

    def ready() -> bool:
        return greets(place.address, place.port)

    with running(name, command, log=log, ready=ready) as program:
        yield Letterlock(path, place, program)
    assert "Traceback" not in program.text(), program.text()


def write_config(directory: Path, place: Place, config: str) -> Path:
    """Write `letterlock.toml` into a directory; its queue lies beside it."""
    path = directory / "letterlock.toml"
    text = config.replace("@LISTEN@", f"{place.address}:{place.port}").replace("@QUEUE@", str(directory / "queue"))
    path.write_text(text)
    return path
