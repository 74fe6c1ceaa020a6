"""Cut the power, at many moments of one run, and look what is left: python -m tests.soak.powercut --messages 1000

SIGKILL leaves to the kernel what was written; a power cut takes all that was not synced. So the server runs under
strace, some of its fsyncs fail, and afterwards the log is replayed on a disk that forgets (cut_disk.py), up to moments
in which a 250 had just gone out. A store that is opened on what is left must have every message that was answered 250
and that no receiver had taken by then, with its content whole.
"""

import argparse
import asyncio
import errno
import random
import re
import signal
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from letterlock.mail.checked_content import ContentLost
from letterlock.queue.store import Store
from letterlock.store.segments.segment_store import open_queue
from tests.bodies import octets_of
from tests.interop.letterlock import write_config
from tests.interop.nameservers import Place
from tests.interop.programs import find, greets, loopback_prefix, wait_until
from tests.soak.cut_disk import CALLS, CutDisk, read_calls
from tests.soak.faults import Mischief
from tests.soak.senders import Ledger, Sender
from tests.soak.sink import Sink, digest
from tests.soak.victim import CONFIG

SYNC_FAILS = "inject=fsync,fdatasync:error=EIO:when=40+23"  # of each thread
_EIO_EVENT = struct.pack("=QQqq", 0, 0, -errno.EIO, 0).hex()  # struct io_event
FLUSH_FAILS = f"inject=io_getevents:poke_exit=@arg4={_EIO_EVENT}:when=40+23"
CONNECTIONS = 8
MISCHIEF_RATE = 0.02
RUN_SECONDS = 300.0
_ANSWERED = re.compile(rb"^250 2\.\S+ .*queued as (\w+)\r\n", re.MULTILINE)
_TAKEN = re.compile(rb"^250 kept (\S+)\r\n", re.MULTILINE)
_FIELDS = re.compile(rb"X-Soak: (\S+)\r\nX-Soak-Digest: (\S+)\r\n")


@dataclass
class Cuts:
    """What was found. `lost` must be empty."""

    cuts: int = 0
    answered: int = 0
    failed_syncs: int = 0
    found: int = 0
    lost: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.answered:,} messages answered 250, {self.failed_syncs:,} fsyncs failed, power cut {self.cuts:,} "
            f"times: {self.found:,} messages had to be there, {len(self.lost):,} were not"
        )


def record(directory: Path, messages: int, seed: int) -> tuple[Path, dict[str, str]]:
    """Run a server under strace until so many messages were accepted; the log, and their numbers by id."""
    prefix = loopback_prefix()
    place, ledger, log = Place.free(f"{prefix}.1"), Ledger(), directory / "strace.log"
    with Sink(f"{prefix}.2", f"{prefix}.3", mischief=Mischief(seed, MISCHIEF_RATE)) as sink:
        marks = {"@PORT@": str(sink.port), "@WORKERS@": "1", "@UPSTREAM@": "127.0.0.1:9"}
        text = CONFIG
        for mark, value in marks.items():
            text = text.replace(mark, value)
        config = write_config(directory, place, text)
        (directory / "queue").mkdir(mode=0o700)
        ends_with_it = [find("setpriv"), "--pdeathsig", "KILL"]  # strace with us, the server with strace
        server = [*ends_with_it, sys.executable, "-m", "tests.soak.hurried", "serve", "--config", str(config)]
        tracing = [find("strace"), "-f", "-y", "-xx", "-s", "1000000", "-o", str(log), "-e", f"trace={CALLS}"]
        with (directory / "letterlock.log").open("wb") as output:
            process = subprocess.Popen(
                [*ends_with_it, *tracing, "-e", SYNC_FAILS, "-e", FLUSH_FAILS, *server],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        senders = [Sender(n, place, [f"{prefix}.2", f"{prefix}.3"], ledger, seed, 0.02) for n in range(CONNECTIONS)]
        try:
            wait_until(lambda: greets(place.address, place.port), what="the server under strace", seconds=60)
            for sender in senders:
                sender.start()
            wait_until(lambda: len(ledger.accepted) >= messages, what="messages to be accepted", seconds=RUN_SECONDS)
        finally:
            for sender in senders:
                sender.stop()
            for sender in senders:
                if sender.is_alive():
                    sender.join()
            process.send_signal(signal.SIGKILL)
            process.wait()
        refused = sink.refused  # these are returned, and gone from the queue then
    return log, {message_id: number for number, message_id in ledger.ids.items() if number not in refused}


def cut(directory: Path, log: Path, numbers: dict[str, str], cuts: int, chance: random.Random) -> Cuts:
    """Replay the log, and open a store on what is left at random moments."""
    result, disk = Cuts(), CutDisk(directory / "queue")
    moments = set(chance.sample(range(1, len(numbers) + 1), min(cuts, len(numbers))))
    waiting: dict[str, str] = {}  # by number: what was answered 250 and was not taken, as far as the server knows
    for call in read_calls(log):
        disk.play(call)
        result.failed_syncs += call.is_failed_flush
        for text in call.texts if call.name in ("sendto", "recvfrom") else ():
            for taken in _TAKEN.findall(text) if not call.began else ():
                waiting.pop(taken.decode(), None)
            for message_id in _ANSWERED.findall(text) if call.began else ():
                result.answered += 1
                if (number := numbers.get(message_id.decode())) is not None:
                    waiting[number] = message_id.decode()
                if result.answered in moments:
                    _look(disk, waiting, result)
    return result


def _look(disk: CutDisk, waiting: dict[str, str], result: Cuts) -> None:
    for names_come_back in (False, True):
        with tempfile.TemporaryDirectory(prefix="letterlock-cut-") as left:
            disk.write(Path(left), names_come_back=names_come_back)
            there = asyncio.run(_messages(Path(left), list(waiting.values())))
        result.cuts += 1
        result.found += len(waiting)
        lost = [f"{message_id} at cut {result.cuts}: {why}" for message_id, why in there if why]
        result.lost += lost


async def _messages(directory: Path, ids: list[str]) -> list[tuple[str, str]]:
    """What a server that starts on a directory has of these messages: by id, "" or what is wrong."""
    store = await open_queue(directory)
    try:
        return [(message_id, await _wrong(store, message_id)) for message_id in ids]
    finally:
        await store.close()


async def _wrong(store: Store, message_id: str) -> str:
    """Nothing, or why a message cannot be delivered from here."""
    if await store.message(message_id) is None:
        return "it is not there"
    try:
        content = octets_of(await store.body(message_id))
    except ContentLost as lost:
        return str(lost)
    fields = _FIELDS.search(content)
    payload = content.partition(b"\r\n\r\n")[2]
    return "" if fields is not None and fields[2] == digest(payload) else "its content is damaged"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak.powercut", description=(__doc__ or "").partition(":")[0]
    )
    parser.add_argument("--messages", type=int, default=1000, help="to be accepted (default 1000)")
    parser.add_argument("--cuts", type=int, default=100, help="moments to cut the power in (default 100)")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="letterlock-cut-") as directory:
        log, numbers = record(Path(directory), given.messages, given.seed)
        result = cut(Path(directory), log, numbers, given.cuts, random.Random(given.seed))
    sys.stdout.write(f"{result}\n")
    for lost in result.lost:
        sys.stderr.write(f"lost: {lost}\n")
    sys.exit(0 if result.answered and not result.lost else 1)


if __name__ == "__main__":
    main()
