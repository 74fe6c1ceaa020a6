"""Fuzz the adoption of left-over queues. `python -m tests.fuzz.adoption_fuzz --cases N --seed S`.

A queue directory is filled at random: messages in databases, in segments, in both, some tried before or half delivered,
some with one id in several folders, some damaged; folders without a database, with a broken one, with files that are
not ours; copies. Then servers with other numbers of workers start on it in processes of their own, which are killed at
random points and deliver between the kills. The oracle: every recipient of every accepted message is in exactly one
queue, with the content that was meant for them, or was delivered to once; and what is not ours is as it was.
"""

import argparse
import asyncio
import fcntl
import json
import logging
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import Envelope
from letterlock.queue.settle import RetrySchedule, settle
from letterlock.queue.store import Store
from letterlock.queue.tasks import DeliveryTask, Lease, OutcomeKind
from letterlock.store import adoption
from letterlock.store.adoption import open_adopting
from letterlock.store.sealing import ContentSeal
from letterlock.store.segments.segment_log import SegmentLog
from letterlock.store.segments.segment_store import SegmentStore
from letterlock.store.sqlite.opening import FILE, LOCK_FILE
from letterlock.store.sqlite.sqlite_store import SqliteStore
from tests.bodies import octets_of
from tests.queue.messages import attempt, outcome

MAX_WORKERS = 4
MAX_MESSAGES = 5  # of each kind in one folder
IDS = 8  # so few that many folders have the same
MAX_ROUNDS = 4
MAX_STEPS = 40  # before a kill
KILLED = 9
KEY = bytes(range(32))
HOPS = ("one.test", "two.test")
LATER = 1e10
MEMORY = "/dev/shm"  # noqa: S108  # a folder with a name of its own is made there; a disk would flush for hours
STRANGERS = ("worker-1.bak", "worker-01", "worker-", "worker-0", "worker-x", "worker-2 (copy)")


@dataclass
class Case:
    """One layout. `expected`: recipients who wait, with the content for them; `excused`: their only copy is damaged."""

    directory: Path
    chance: random.Random
    seal: ContentSeal
    expected: set[tuple[str, str]] = field(default_factory=set)
    excused: set[tuple[str, str]] = field(default_factory=set)
    in_database: dict[Path, set[tuple[str, str]]] = field(default_factory=dict)
    broken: dict[Path, bytes] = field(default_factory=dict)
    untouched: dict[Path, bytes] = field(default_factory=dict)
    serial: int = 0

    def message(self, name: str, recipients: int) -> tuple[Envelope, bytes]:
        """A message with a content and recipients of its own."""
        self.serial += 1
        text = self.chance.randbytes(self.chance.choice((9, 900))).hex()
        body = f"Subject: {self.serial}\r\n\r\n{text}\r\n".encode()
        mailboxes = [Mailbox(f"r{self.serial}-{number}", HOPS[number % 2]) for number in range(recipients)]
        envelope = Envelope(
            id=name,
            reverse_path=Mailbox("sender", "from.test"),
            recipients=tuple(mailboxes),
            size=len(body),
            accepted_at=1000.0 + self.serial,
            expires_at=9e8,
        )
        return envelope, body


def pairs(envelope: Envelope, body: bytes) -> set[tuple[str, str]]:
    """Each recipient with the content."""
    return {(body.decode(), str(mailbox)) for mailbox in envelope.recipients}


# --- layouts ---------------------------------------------------------------------------------------------------------


async def _fill(case: Case, directory: Path) -> None:
    """One worker's queue as its server left it when it was killed."""
    chance = case.chance
    kept = await SqliteStore.open(directory, case.seal)
    in_database: set[tuple[str, str]] = set()
    for number in chance.sample(range(IDS), chance.randrange(MAX_MESSAGES)):
        in_database |= await _wait(case, kept, f"M{number}")
    fresh = SegmentStore(kept, SegmentLog(directory, last_number=chance.randrange(3)), case.seal)
    moved: list[tuple[Envelope, bytes]] = []
    for number in chance.sample(range(IDS), chance.randrange(MAX_MESSAGES)):
        envelope, body = case.message(f"M{number}", 1)
        lease = Lease(f"token-{number}", envelope.id, HOPS[0], LATER)
        await fresh.accept(envelope, body, next_attempt_at=0, leases=(lease,))
        match chance.choice(("waits", "waits", "done", "moved")):
            case "done":
                await _deliver(
                    fresh, DeliveryTask(lease=lease, envelope=envelope, recipients=envelope.recipients, attempts=0)
                )
                continue
            case "moved":
                moved.append((envelope, body))
        case.expected |= pairs(envelope, body)
    left = {path: path.read_bytes() for path in directory.glob("*.segment")}  # noqa: ASYNC240  # nothing else runs here
    for envelope, body in moved:
        if await kept.message(envelope.id) is None:
            await kept.accept(envelope, body, next_attempt_at=0)
    await fresh.close()
    for path, octets in left.items():
        path.write_bytes(octets)
    case.expected |= in_database
    case.in_database[directory] = in_database


async def _wait(case: Case, store: SqliteStore, name: str) -> set[tuple[str, str]]:
    """A message in the database, new, tried before or half delivered; who waits of it."""
    envelope, body = case.message(name, case.chance.randrange(1, 4))
    await store.accept(envelope, body, next_attempt_at=0)
    waiting = pairs(envelope, body)
    kind = case.chance.choice((None, OutcomeKind.DEFERRED, OutcomeKind.DELIVERED))
    if kind is not None and len(envelope.recipients) > 1:
        tasks = await store.lease(1.0, limit=100, lease_seconds=60)
        for task in tasks:
            if task.envelope.id == name and task.lease.next_hop == HOPS[0]:
                waiting -= await _deliver(store, task, kind)
    return waiting


async def _deliver(store: Store, task: DeliveryTask, kind: OutcomeKind = OutcomeKind.DELIVERED) -> set[tuple[str, str]]:
    """Settle a task; whoever has the message now."""
    body = octets_of(await store.body(task.envelope.id))
    made = attempt(task, *(outcome(each, kind) for each in task.recipients), at=2.0)
    await store.settle(task.lease, settle(task, made, now=2.0, schedule=RetrySchedule()), made, now=2.0)
    return {(body.decode(), str(each)) for each in task.recipients} if kind is OutcomeKind.DELIVERED else set()


def _spoil(case: Case, folder: Path) -> None:
    """What else can be wrong with a folder of a former worker."""
    match case.chance.choice(("", "", "", "no database", "broken", "damaged", "foreign", "locked out")):
        case "no database":
            for path in folder.glob(f"{FILE}*"):
                path.unlink()
            case.expected -= case.in_database[folder]
        case "broken":
            case.broken[folder / FILE] = (folder / FILE).read_bytes()
            (folder / FILE).write_bytes(b"not a database" * 300)
        case "damaged":
            _damage(case, folder)
        case "foreign":
            (folder / "notes.txt").write_text("the operator's own")
            case.untouched[folder / "notes.txt"] = (folder / "notes.txt").read_bytes()


def _damage(case: Case, folder: Path) -> None:
    for path in folder.glob("*.segment"):
        octets = path.read_bytes()
        for body, mailbox in sorted(case.expected):
            if (at := octets.find(body.encode())) > 0:
                path.write_bytes(octets[: at + 12] + bytes([octets[at + 12] ^ 1]) + octets[at + 13 :])
                case.excused.add((body, mailbox))
                return


def make_case(directory: Path, chance: random.Random) -> Case:
    """A queue directory with up to MAX_WORKERS queues in it, and other things."""
    case = Case(directory, chance, ContentSeal(KEY if chance.random() < 0.3 else None))
    folders = [
        directory,
        *(directory / f"worker-{number}" for number in range(1, chance.randrange(1, MAX_WORKERS + 1))),
    ]
    for folder in folders:
        folder.mkdir(exist_ok=True)
        asyncio.run(_fill(case, folder))
    for folder in folders[1:]:
        if chance.random() < 0.2:
            copy = directory / chance.choice(STRANGERS)
            shutil.copytree(folder, copy, dirs_exist_ok=True)
            case.untouched |= {path: path.read_bytes() for path in copy.iterdir()}
        _spoil(case, folder)
    return case


# --- servers ---------------------------------------------------------------------------------------------------------


class _Killer:
    """Ends the process at the n-th step of adoption, before or after it."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def step(self) -> None:
        self._left -= 1
        if self._left == 0:
            os._exit(KILLED)

    def around(self, owner: Any, name: str) -> None:
        """Make a function of a class two steps."""
        real: Callable[..., Any] = getattr(owner, name)
        if asyncio.iscoroutinefunction(real):

            async def waited(*args: Any, **named: Any) -> Any:
                self.step()
                result = await real(*args, **named)
                self.step()
                return result

            setattr(owner, name, waited)
            return

        def called(*args: Any, **named: Any) -> Any:
            self.step()
            result = real(*args, **named)
            self.step()
            return result

        setattr(owner, name, called)


async def _serve(case: Case, workers: int, deliveries: int) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """Start, deliver some, end; who got what, and which folders are problems."""
    store, adopter = await open_adopting(case.directory, workers, case.seal)
    done: list[tuple[str, str]] = []
    for task in await store.lease(LATER, limit=deliveries, lease_seconds=60) if deliveries else ():
        done += await _deliver(store, task)
    problems = adopter.problems
    await store.close()
    return done, problems


def _killed_server(case: Case, workers: int, deliveries: int, steps: int) -> list[tuple[str, str]]:
    """The same in a process that is killed in the middle of adoption; what it delivered, if it came so far."""
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            os.close(readable)
            killer = _Killer(steps)
            for owner, name in (
                *((SqliteStore, each) for each in ("take_over", "forget_adopted", "accept")),
                *((adoption._Source, each) for each in ("drop", "next_batch")),
                *((Path, each) for each in ("unlink", "rename", "rmdir")),
            ):
                killer.around(owner, name)
            done, _ = asyncio.run(_serve(case, workers, deliveries))
            with os.fdopen(writable, "w") as sink:
                json.dump(done, sink)
            status = 0
        finally:
            os._exit(status)
    os.close(writable)
    with os.fdopen(readable) as source:
        text = source.read()
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) in (0, KILLED)
    return [(body, mailbox) for body, mailbox in json.loads(text)] if text else []


async def _waiting(directory: Path, seal: ContentSeal) -> list[tuple[str, str]]:
    """Whoever waits in a queue, with the content."""
    store = await SqliteStore.open(directory, seal)
    found = [
        (octets_of(await store.body(task.envelope.id)).decode(), str(mailbox))
        for task in await store.lease(1e11, limit=10_000, lease_seconds=1)
        for mailbox in task.recipients
    ]
    await store.close()
    return found


def play(case: Case) -> int:
    """Start servers and kill them, then start one that is left alone; how many recipients were looked after."""
    chance, delivered = case.chance, Counter[tuple[str, str]]()
    for _ in range(chance.randrange(MAX_ROUNDS + 1)):
        locked = chance.choice(sorted(case.directory.glob("worker-[1-9]")) or [None])
        holder = (locked / LOCK_FILE).open("ab") if locked is not None and chance.random() < 0.3 else None
        if holder is not None:  # its worker is still ending
            fcntl.flock(holder, fcntl.LOCK_EX)
        workers = chance.randrange(1, MAX_WORKERS + 1)
        delivered.update(_killed_server(case, workers, chance.randrange(4), chance.randrange(1, MAX_STEPS)))
        if holder is not None:
            holder.close()
    _, problems = asyncio.run(_serve(case, 1, 0))
    assert set(problems) == {path.parent.name for path in case.broken}, problems
    for path, octets in case.broken.items():
        assert path.read_bytes() == b"not a database" * 300
        path.write_bytes(octets)
    _, problems = asyncio.run(_serve(case, 1, 0))
    assert problems == {}
    delivered.update(asyncio.run(_waiting(case.directory, case.seal)))
    assert max(delivered.values(), default=1) == 1, "somebody is served twice"
    assert set(delivered) <= case.expected, "somebody is served what is not theirs"
    assert case.expected - set(delivered) <= case.excused, "somebody is not served"
    assert all(path.read_bytes() == octets for path, octets in case.untouched.items())
    kept = {path.parent for path in case.untouched}
    assert {each for each in case.directory.glob("worker-*") if each.is_dir()} <= kept
    return len(delivered)


def fuzz(cases: int, seed: int) -> int:
    """Play that many cases; how many recipients they had. Raises AssertionError, with the case's seed, on a fault."""
    recipients = 0
    logging.disable(logging.CRITICAL)
    fast = MEMORY if os.access(MEMORY, os.W_OK) else None
    batch, adoption.BATCH = adoption.BATCH, 2  # so that there is much to be killed in between
    try:
        for number in range(seed, seed + cases):
            with tempfile.TemporaryDirectory(dir=fast) as name:
                try:
                    recipients += play(make_case(Path(name), random.Random(number)))
                except Exception as fault:
                    fault.add_note(f"python -m tests.fuzz.adoption_fuzz --cases 1 --seed {number}")
                    raise
    finally:
        adoption.BATCH = batch
        logging.disable(logging.NOTSET)
    return recipients


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print(f"{given.cases} cases, {fuzz(given.cases, given.seed)} recipients, no fault")


if __name__ == "__main__":
    main()
