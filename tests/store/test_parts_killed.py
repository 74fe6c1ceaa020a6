"""Messages to several next hops, and kills at every moment: no part is lost, and none that was settled is due again."""

import asyncio
import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from letterlock.mail.addresses import Mailbox
from letterlock.queue.settle import RetrySchedule, settle
from letterlock.queue.tasks import DeliveryTask, Lease, OutcomeKind
from letterlock.store.segments.segment_log import SegmentLog
from letterlock.store.segments.segment_store import SegmentStore
from tests.memory_store import MemoryStore
from tests.queue.messages import BODY, attempt, envelope, outcome

SCHEDULE = RetrySchedule(first_seconds=300)
HOPS = ("one.test", "two.test", "three.test", "four.test")
MESSAGES, LONGEST_LIFE = 8, 60  # turns of the event loop: enough for a message to be accepted, settled and moved


@dataclass
class Known:
    """What the callers of a store were told: (message, next hop)."""

    accepted: set[tuple[str, str]] = field(default_factory=set)
    delivered: set[tuple[str, str]] = field(default_factory=set)
    begun: set[tuple[str, str]] = field(default_factory=set)  # to be settled as delivered; whether it was is unknown


async def live(store: SegmentStore, name: str, chance: random.Random, known: Known) -> None:
    """Accept a message, and settle its parts, each at a time and in a way of its own."""
    hops = chance.sample(HOPS, chance.randint(1, len(HOPS)))
    whole = envelope(name, *(Mailbox("ann", hop) for hop in hops))
    leases = tuple(Lease(f"{name}-{hop}", name, hop, 60.0) for hop in hops)
    await store.accept(whole, BODY, next_attempt_at=0, leases=leases)
    known.accepted |= {(name, hop) for hop in hops}

    async def part(lease: Lease) -> None:
        for _ in range(chance.randint(0, LONGEST_LIFE // 4)):
            await asyncio.sleep(0)
        recipient = Mailbox("ann", lease.next_hop)
        kind = OutcomeKind.DEFERRED if chance.random() < 0.15 else OutcomeKind.DELIVERED
        task = DeliveryTask(lease=lease, envelope=whole, recipients=(recipient,), attempts=0)
        made = attempt(task, outcome(recipient, kind), at=10.0)
        if kind is OutcomeKind.DELIVERED:
            known.begun.add((name, lease.next_hop))
        await store.settle(lease, settle(task, made, now=10.0, schedule=SCHEDULE), made, now=10.0)
        if kind is OutcomeKind.DELIVERED:
            known.delivered.add((name, lease.next_hop))

    await asyncio.gather(*(part(lease) for lease in leases))


async def look(store: SegmentStore, chance: random.Random) -> None:
    """An operator, who has messages moved by looking at them."""
    for _ in range(chance.randint(1, LONGEST_LIFE // 2)):
        await asyncio.sleep(0)
    await store.message(f"M{chance.randrange(MESSAGES)}")


async def waiting(store: SegmentStore) -> list[tuple[str, str]]:
    """The parts that are not delivered."""
    found = await store.messages(limit=100)
    return [(each.id, to.next_hop) for each in found for to in each.recipients if to.state != "delivered"]


def segments(directory: Path) -> dict[Path, bytes]:
    """What is on the disk."""
    return {path: path.read_bytes() for path in directory.glob("*.segment")}


def put_back(directory: Path, files: dict[Path, bytes]) -> None:
    """The disk as it was."""
    for path in segments(directory):
        path.unlink()
    for path, octets in files.items():
        path.write_bytes(octets)


@pytest.mark.parametrize("seed", range(25))
async def test_a_kill_loses_no_part_and_repeats_none_that_was_settled(tmp_path: Path, seed: int) -> None:
    chance, known, kept = random.Random(seed), Known(), MemoryStore()
    log = SegmentLog(tmp_path, last_number=0, max_segment_octets=chance.choice((400, 1 << 20)))
    store = SegmentStore(kept, log)
    running = [asyncio.create_task(live(store, f"M{number}", chance, known)) for number in range(MESSAGES)]
    running += [asyncio.create_task(look(store, chance)) for _ in range(3)]
    for _ in range(chance.choice((30, 100, 300, 1000, 3000))):
        await asyncio.sleep(0)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:  # moves too
        task.cancel()
    at_the_kill = Known(set(known.accepted), set(known.delivered), set(known.begun))
    files = segments(tmp_path)
    await asyncio.gather(*running, return_exceptions=True)
    await log.close()
    put_back(tmp_path, files)

    again = await SegmentStore.open(tmp_path, kept)
    left = await waiting(again)
    assert len(left) == len(set(left))
    assert not at_the_kill.delivered & set(left)
    assert at_the_kill.accepted - at_the_kill.begun <= set(left)
    await again.close()
