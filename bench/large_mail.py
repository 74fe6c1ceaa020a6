"""What messages of 25 MB take while they are received with all of mail authentication: python -m bench.mailauth --large

One listener checks SPF, DKIM, DMARC and ARC, writes the results and seals with ARC; another signs with DKIM. Each gets
one message, then several at once, over TCP. The growth of this process is printed, with the client's blocks in it, and
the longest time that the event loop stood still. Bounded means: more messages, or larger ones, take hardly more.
"""

import argparse
import asyncio
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mailauth.dkim.forging import ed25519_key
from tests.mailauth.dns_world import FakeResolver
from tests.receive.test_authenticate_mail import MX, dns_world
from tests.receive.world import MovingClock

from letterlock.app.chance import SecretBits
from letterlock.discover.mail_authentication import MailJudge
from letterlock.dkim import Signer, SigningKey, split
from letterlock.queue.ids import IdMaker
from letterlock.receive.listener import Listener
from letterlock.receive.options import ReceiveOptions
from letterlock.receive.profiles import Profile
from letterlock.store.segments.segment_store import open_queue

MEGABYTE = 1_000_000
BLOCK_OCTETS = 1 << 16
TICK_SECONDS = 0.005
REPLY_SECONDS = 60.0  # of a server that does not answer
SIGNED_AT = 1_760_000_000.0
LINE = b"The quick brown fox jumps over the lazy dog, and again, and again, and again.\r\n"
HEADER = b"From: Ann <ann@example.org>\r\nTo: b@y.test\r\nSubject: Large\r\n\r\n"
AT_ONCE = (1, 4, 8)


def write_message(path: Path, octets: int) -> None:
    """A signed message of about that size; in a process of its own, as it holds all of it."""
    content = HEADER + LINE * (octets // len(LINE))
    path.write_bytes(Signer([ed25519_key()]).sign(split(content), SIGNED_AT) + content + b".\r\n")


def grown(since: int | None = None) -> int:
    """The most memory that this process has had, from `since` on; None begins to look."""
    if since is None:
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets the peak
    name = "VmRSS:" if since is None else "VmHWM:"
    lines = Path("/proc/self/status").read_text().splitlines()
    (found,) = (int(line.split()[1]) * 1024 for line in lines if line.startswith(name))
    return found - (since or 0)


def send(address: tuple[str, int], path: Path) -> bytes:
    """Send a message by blocks; the last reply."""
    with socket.create_connection(address, REPLY_SECONDS) as connection, path.open("rb") as file:
        replies = connection.makefile("rb")
        replies.readline()
        connection.sendall(b"EHLO out.example.org\r\n")
        while replies.readline()[3:4] == b"-":
            pass
        connection.sendall(b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n")
        for _ in range(3):
            assert replies.readline()[:1] in b"23"
        while block := file.read(BLOCK_OCTETS):
            connection.sendall(block)
        return replies.readline()


async def standstill(longest: list[float]) -> None:
    """Note the longest time between two turns of the event loop."""
    while True:
        begun = time.monotonic()
        await asyncio.sleep(TICK_SECONDS)
        longest[0] = max(longest[0], time.monotonic() - begun - TICK_SECONDS)


async def measure(name: str, address: tuple[str, int], path: Path, count: int) -> None:
    """Have a message received so many times at once, and print what it took."""
    longest = [0.0]
    watching = asyncio.create_task(standstill(longest))
    before, cpu, begun = grown(), time.process_time(), time.monotonic()
    with ThreadPoolExecutor(count) as clients:  # not the loop's own threads, which the server hashes in
        loop = asyncio.get_running_loop()
        replies = await asyncio.gather(*(loop.run_in_executor(clients, send, address, path) for _ in range(count)))
    spent, seconds, memory = time.process_time() - cpu, time.monotonic() - begun, grown(before)
    watching.cancel()
    assert all(each.startswith(b"250") for each in replies), replies
    print(
        f"{name:<26} {count} at once: {memory / MEGABYTE:5.1f} MB more, {spent / count:.2f} s of CPU a message, "
        f"{seconds:.1f} s in all, event loop still for {longest[0] * 1e3:.0f} ms at most"
    )


async def run(folder: Path, path: Path, octets: int) -> None:
    """Both listeners, one after the other, over a queue on the disk."""
    key = ed25519_key("example.net", "seal")
    signer = Signer([key, SigningKey("example.org", "own", key.key)])
    options = ReceiveOptions(hostname="mx.example.net", signer=signer, max_message_octets=2 * octets)
    judge, clock = MailJudge(FakeResolver(dns_world())), MovingClock()
    checking = Profile(role=MX.role, relay_networks=(), domains=MX.domains, authenticates=True, seals_as="example.net")
    (folder / "queue").mkdir(0o700)
    store = await open_queue(folder / "queue")
    for name, profile in (("checked, marked and sealed", checking), ("signed", Profile())):
        ids = IdMaker(clock.now, SecretBits())
        listener = Listener(options, store=store, clock=clock, new_id=ids, judge=judge)
        with socket.create_server(("127.0.0.1", 0)) as bound:
            await listener.start([bound], profile)
            for count in AT_ONCE:
                await measure(name, bound.getsockname(), path, count)
            await listener.stop(0)
    await store.close()


def large(octets: int) -> None:
    """Make the message, and measure."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:  # a real disk
        path = Path(folder) / "message"
        subprocess.run((sys.executable, "-m", "bench.large_mail", str(path), str(octets)), check=True)
        print(f"a message of {path.stat().st_size / MEGABYTE:.1f} MB:")
        asyncio.run(run(Path(folder), path, octets))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write a signed message.")
    parser.add_argument("path", type=Path)
    parser.add_argument("octets", type=int)
    given = parser.parse_args()
    write_message(given.path, given.octets)
