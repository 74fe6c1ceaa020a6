"""How many messages a second the receiving side takes: `python -m bench.smtp_server [--messages N] [--octets N]`.

With `--dkim ed25519`, `rsa` or `both` the listener signs each message.

`protocol` is the sans-IO server alone on one core. `listener` is the listener over loopback with a store that keeps
nothing, its clients in a process of their own: what is left for the disk to take. Its CPU time a message hardly depends
on what else the machine does: compare that between versions.
"""

import argparse
import asyncio
import itertools
import multiprocessing
import socket
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import cast

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from letterlock.cli.allocator import give_back_large_blocks
from letterlock.mail.envelope import Envelope
from letterlock.mailauth.dkim.sign import Signer
from letterlock.mailauth.dkim.signing_key import SigningKey
from letterlock.queue.store import AcceptStore
from letterlock.queue.tasks import Lease
from letterlock.receive.listener import Listener
from letterlock.receive.options import ReceiveOptions
from letterlock.receive.profiles import Profile
from letterlock.smtp.server import SmtpServer
from letterlock.smtp.server_events import MessageReceived, RecipientOffered, SenderOffered, ServerLimits

ENVELOPE = b"MAIL FROM:<ann@example.org> SIZE=4096\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n"
CONNECTIONS = 20


class Clock:
    """The machine's time."""

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()


class Nowhere:
    """A store that keeps nothing: for messages that need no file."""

    async def accept(
        self,
        envelope: Envelope,
        body: bytes,
        *,
        next_attempt_at: float,
        leases: Sequence[Lease] = (),
        quarantined: str | None = None,
    ) -> None:
        """Take it."""


def content(octets: int) -> bytes:
    """A message of about that size, in lines of 72 octets, with its end."""
    return b"From: ann@example.org\r\nSubject: bench\r\n\r\n" + (b"x" * 70 + b"\r\n") * (octets // 72) + b".\r\n"


def protocol_rate(messages: int, octets: int) -> float:
    """Messages a second through the sans-IO server, two reads a message."""
    server = SmtpServer("mx.example.org", ServerLimits(max_message_octets=1 << 25), starttls=False)
    server.greet()
    _answer(server, b"EHLO client.example\r\n")
    body = content(octets)
    start = time.perf_counter()
    for _ in range(messages):
        _answer(server, ENVELOPE)
        _answer(server, body)
    return messages / (time.perf_counter() - start)


def _answer(server: SmtpServer, data: bytes) -> None:
    server.feed(data)
    while (event := server.next_event()) is not None:
        if isinstance(event, SenderOffered | RecipientOffered | MessageReceived):
            server.accept()
    assert server.take_output()[:1] in b"23"


def signer(kinds: str) -> Signer | None:
    """With a new key of each kind that the command line names."""
    keys: list[SigningKey] = []
    if kinds in ("ed25519", "both"):
        keys.append(SigningKey("example.org", "e1", ed25519.Ed25519PrivateKey.generate()))
    if kinds in ("rsa", "both"):
        keys.append(SigningKey("example.org", "r1", rsa.generate_private_key(65537, 2048)))
    return Signer(keys) if keys else None


async def listener_rate(messages: int, octets: int, dkim: str) -> tuple[float, float]:
    """Messages a second through the listener, from CONNECTIONS clients at once, and our CPU time a message in µs."""
    ids = itertools.count(1)
    options = ReceiveOptions(hostname="mx.example.org", signer=signer(dkim))
    listener = Listener(options, store=cast("AcceptStore", Nowhere()), clock=Clock(), new_id=lambda: f"{next(ids):X}")
    with socket.create_server(("127.0.0.1", 0), backlog=CONNECTIONS) as bound:
        await listener.start([bound], Profile())
        ours, theirs = multiprocessing.Pipe()
        clients = multiprocessing.Process(target=run_clients, args=(bound.getsockname(), messages, octets, theirs))
        clients.start()
        begun = time.process_time()
        seconds: float = await asyncio.to_thread(ours.recv)
        cpu = time.process_time() - begun
        clients.join()
        await listener.stop(0)
    count = messages // CONNECTIONS * CONNECTIONS
    return count / seconds, cpu / count * 1e6


def run_clients(address: tuple[str, int], messages: int, octets: int, result: Connection) -> None:
    """In another process: send, and tell how many seconds it took."""
    result.send(asyncio.run(_send_all(address, messages, octets)))


async def _send_all(address: tuple[str, int], messages: int, octets: int) -> float:
    start = time.perf_counter()
    await asyncio.gather(*(_send(address, messages // CONNECTIONS, content(octets)) for _ in range(CONNECTIONS)))
    return time.perf_counter() - start


async def _send(address: tuple[str, int], count: int, body: bytes) -> None:
    reader, writer = await asyncio.open_connection(*address)
    await reader.readline()
    writer.write(b"EHLO client.example\r\n")
    await reader.readuntil(b"\r\n250 HELP\r\n")
    for _ in range(count):
        writer.write(ENVELOPE)
        await reader.readuntil(b"354 Send the message; end it with <CRLF>.<CRLF>\r\n")
        writer.write(body)
        assert (await reader.readline()).startswith(b"250 2.0.0 Ok: queued")
    writer.close()
    await writer.wait_closed()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--octets", type=int, default=4096)
    parser.add_argument("--dkim", choices=["none", "ed25519", "rsa", "both"], default="none")
    given = parser.parse_args()
    give_back_large_blocks()  # as the server does
    print(f"protocol  {protocol_rate(given.messages, given.octets):8.0f} messages/s of {given.octets} octets")
    rate, cpu = asyncio.run(listener_rate(given.messages, given.octets, given.dkim))
    print(f"listener  {rate:8.0f} messages/s, {CONNECTIONS} clients, {cpu:.1f} µs of CPU a message")


if __name__ == "__main__":
    main()
