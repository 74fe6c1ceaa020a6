"""What large messages at once take in memory: `python -m bench.memory`.

Sends so many messages of one size at the same moment, waits until all have arrived at a receiver, and prints the most
memory that the server process had (VmHWM of /proc). A message that is put off with 452 is sent again after a moment, as
a client would. `--limit` sets `memory_octets`, which otherwise fits the machine;
`--machine` has the server believe that the machine has so many megabytes.
"""

import argparse
import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

MEGABYTE = 1_000_000
RETRY_SECONDS = 0.5
GONE = "421 closed without a word"
SECONDS = 600.0
CONFIG = """\
hostname = "memory.test"
{limit}
[smtp]
listen = ["127.0.0.1:{port}"]
[queue]
directory = "{directory}/queue"
retry_first_seconds = 2
retry_max_seconds = 2
[resolver]
upstream = ["127.0.0.1:9"]
[delivery]
mta_sts = false
port = {sink}
loopback_hosts = true
"""


class Sink(asyncio.Protocol):
    """A receiver that throws everything away, and counts; `pause` seconds pass before it answers a message."""

    arrived = 0
    pause = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._tail, self._content = transport, b"", False
        transport.write(b"220 sink ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        """Answer commands, and the end of a message."""
        data = self._tail + data
        if self._content:
            self._tail = data[-4:]
            if data.endswith(b"\r\n.\r\n"):
                self._content, self._tail = False, b""
                asyncio.get_running_loop().call_later(self.pause, self._accept)
            return
        *lines, self._tail = data.split(b"\r\n")
        for line in lines:
            verb = line[:4].upper()
            self._content = verb == b"DATA"
            self._transport.write(b"354 go on\r\n" if self._content else b"250 ok\r\n")

    def _accept(self) -> None:
        type(self).arrived += 1
        self._transport.write(b"250 ok\r\n")


async def send(port: int, octets: int, number: int) -> Counter[str]:
    """Send one message until it is accepted; how often which reply came."""
    seen: Counter[str] = Counter()
    line = b"x" * 76 + b"\r\n"
    content = b"Subject: large\r\n\r\n" + line * (octets // len(line)) + b".\r\n"
    while True:
        reply = await _try(port, content, number)
        seen[reply[:3]] += 1
        if reply.startswith("250"):
            return seen
        await asyncio.sleep(RETRY_SECONDS)


async def _try(port: int, content: bytes, number: int) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    reply = (await reader.readline()).decode() or GONE  # too many connections for one client are turned away with 421
    commands = (f"HELO {number}.test", f"MAIL FROM:<a@{number}.test>", f"RCPT TO:<b@[127.0.{number}.1]>", "DATA")
    for command in commands:
        writer.write(f"{command}\r\n".encode())
        if (reply := (await reader.readline()).decode() or GONE)[0] in "45":
            break
    else:
        writer.write(content)
        await writer.drain()
        reply = (await reader.readline()).decode()
    writer.close()
    return reply


def memory(pid: int, key: str) -> float:
    """A figure of /proc, in megabytes."""
    found = re.search(rf"^{key}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024 / MEGABYTE


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serve(machine: float | None, config: Path) -> list[str]:
    """The command of the server."""
    if machine is None:
        return [sys.executable, "-m", "letterlock", "serve", "--config", str(config)]
    believe = f"from letterlock import machine; machine.memory_octets = lambda root=None: {int(machine * MEGABYTE)}"
    return [
        sys.executable,
        "-c",
        f"{believe}; from letterlock.cli.main import main; main()",
        "serve",
        "--config",
        str(config),
    ]


async def measure(
    count: int, octets: int, limit: int | None, pause: float, directory: Path, machine: float | None = None
) -> dict[str, object]:
    """One run."""
    Sink.pause = pause
    loop = asyncio.get_running_loop()
    sink = await loop.create_server(Sink, "0.0.0.0", 0)  # noqa: S104  # the domains are addresses of 127/8
    port = free_port()
    config = directory / "memory.toml"
    limit_line = f"memory_octets = {limit}" if limit else ""
    config.write_text(
        CONFIG.format(port=port, directory=directory, sink=sink.sockets[0].getsockname()[1], limit=limit_line)
    )
    command = serve(machine, config)
    with (directory / "log").open("wb") as log:
        server = subprocess.Popen(command, stderr=log)  # noqa: ASYNC220  # begins before anything is measured
    try:
        await _listening(port)
        idle, began = memory(server.pid, "VmRSS"), time.monotonic()
        replies = sum(await asyncio.gather(*(send(port, octets, number) for number in range(count))), Counter[str]())
        accepted = time.monotonic() - began
        async with asyncio.timeout(SECONDS):
            while Sink.arrived < count:  # noqa: ASYNC110  # the sink has no event
                await asyncio.sleep(0.05)
        return {
            "messages": count,
            "megabytes_each": octets / MEGABYTE,
            "idle_megabytes": round(idle),
            "most_megabytes": round(memory(server.pid, "VmHWM")),
            "seconds_to_accept": round(accepted, 1),
            "seconds_to_deliver": round(time.monotonic() - began, 1),
            "replies": dict(replies),
        }
    finally:
        server.terminate()
        server.wait()
        sink.close()


async def _listening(port: int) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


def main() -> None:
    """Measure once, and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=10)
    parser.add_argument("--megabytes", type=float, default=24.0)
    parser.add_argument("--limit", type=int, help="memory_octets; unset: what fits the machine")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds that the receiver takes to answer a message")
    parser.add_argument("--machine", type=float, help="megabytes that the server takes the machine to have")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as directory:
        octets = int(given.megabytes * MEGABYTE)
        made = asyncio.run(measure(given.messages, octets, given.limit, given.pause, Path(directory), given.machine))
    print(json.dumps(made, indent=2))


if __name__ == "__main__":
    main()
