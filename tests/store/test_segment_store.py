"""The fast lane: what is delivered at once stays out of the database, and nothing gets lost between the two."""

import asyncio
import errno
import gc
import logging
import resource
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from letterlock.mail.addresses import Mailbox
from letterlock.mail.checked_content import Body
from letterlock.mail.envelope import BodyType, Envelope, TlsDemand
from letterlock.mail.wishes import Event, RecipientWishes, Ret, Wishes
from letterlock.queue.orders import Order, OrderKind
from letterlock.queue.settle import RetrySchedule, settle
from letterlock.queue.store import LeaseLost, StoreFailed, StoreFull, UnreadableMessage
from letterlock.queue.tasks import DeliveryTask, Lease, OutcomeKind
from letterlock.store.envelopes import read_whole_envelope, write_envelope
from letterlock.store.rows import Damaged
from letterlock.store.sealing import IN_CLEAR, ContentSeal
from letterlock.store.segments import segment_log
from letterlock.store.segments.kernel_flush import KernelFlush
from letterlock.store.segments.records import RecordKind
from letterlock.store.segments.segment_log import ContentLocation, SegmentLog
from letterlock.store.segments.segment_store import SegmentStore
from tests.memory_store import MemoryStore
from tests.queue.messages import ANN, BEN, BODY, CAT, attempt, envelope, outcome

SCHEDULE = RetrySchedule(first_seconds=300)
DELIVERED, DEFERRED = OutcomeKind.DELIVERED, OutcomeKind.DEFERRED


@pytest.fixture(autouse=True, params=["kernel", "thread"])
def flushed_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who flushes: the same holds for both."""
    if request.param == "thread":
        monkeypatch.setattr(KernelFlush, "if_allowed", lambda: None)


class Disk(SegmentLog):
    """A log that fails when told to, as a disk does."""

    fails: RecordKind | None = None

    async def append(self, kind: RecordKind, note: bytes, *content: bytes) -> ContentLocation:
        if kind is self.fails:
            raise StoreFailed("the disk failed")
        return await super().append(kind, note, *content)


def lease(message_id: str, until: float = 60.0) -> Lease:
    return Lease(f"token-{message_id}", message_id, ANN.domain, until)


def task(message_id: str, until: float = 60.0) -> DeliveryTask:
    return DeliveryTask(
        lease=lease(message_id, until), envelope=envelope(message_id, ANN), recipients=(ANN,), attempts=0
    )


async def accept(store: SegmentStore, message_id: str, *, until: float = 60.0, body: bytes = BODY) -> DeliveryTask:
    await store.accept(envelope(message_id, ANN), body, next_attempt_at=0, leases=(lease(message_id, until),))
    return task(message_id, until)


async def end(store: SegmentStore, done: DeliveryTask, kind: OutcomeKind = DELIVERED, *, now: float = 10.0) -> None:
    made = attempt(done, outcome(ANN, kind), at=now)
    await store.settle(done.lease, settle(done, made, now=now, schedule=SCHEDULE), made, now=now)


@asynccontextmanager
async def killed(directory: Path, kept: MemoryStore) -> AsyncIterator[SegmentStore]:
    """A store whose process is killed at the end: what it wrote stays as it is."""
    log = SegmentLog(directory, last_number=0)
    yield SegmentStore(kept, log)
    names = {path: path.read_bytes() for path in segments(directory)}
    await log.close()
    for path, octets in names.items():
        path.write_bytes(octets)


def segments(directory: Path, ending: str = ".segment") -> list[Path]:
    return sorted(directory.glob("*" + ending))


async def waiting(store: MemoryStore | SegmentStore) -> list[str]:
    return [each.id for each in await store.messages(limit=100)]


async def test_what_is_delivered_at_once_never_gets_into_the_store_behind(tmp_path: Path) -> None:
    kept = MemoryStore()
    store = await SegmentStore.open(tmp_path, kept)
    done = await accept(store, "M1")
    assert await store.body("M1") == BODY
    await end(store, done)
    assert await waiting(kept) == []
    assert await store.message("M1") is None
    await store.close()
    assert segments(tmp_path) == [], "no content stays on the disk"


async def test_after_a_kill_what_was_accepted_is_due_at_once_and_what_was_done_is_not_there(tmp_path: Path) -> None:
    async with killed(tmp_path, MemoryStore()) as store:
        done, _ = await accept(store, "M1"), await accept(store, "M2")
        await end(store, done)
    kept = MemoryStore()
    again = await SegmentStore.open(tmp_path, kept)
    [leased] = await again.lease(0, limit=10, lease_seconds=60)
    assert leased.envelope == envelope("M2", ANN)
    assert await again.body("M2") == BODY
    await again.close()
    third = await SegmentStore.open(tmp_path, MemoryStore())
    assert await waiting(third) == [], "it was moved, and its segment removed"
    await third.close()


async def test_what_is_deferred_is_moved_with_its_attempt_and_comes_once(tmp_path: Path) -> None:
    kept = MemoryStore()
    async with killed(tmp_path, kept) as store:
        await end(store, await accept(store, "M1"), DEFERRED)
        [message] = await kept.messages(limit=10)
        assert [each.attempts for each in message.recipients] == [1]
    again = await SegmentStore.open(tmp_path, kept)
    [message] = await again.messages(limit=10)
    assert [each.attempts for each in message.recipients] == [1]
    await again.close()


async def test_a_kill_between_the_move_and_its_word_leaves_one_message(tmp_path: Path) -> None:
    kept = MemoryStore()
    log = Disk(tmp_path, last_number=0)
    store = SegmentStore(kept, log)
    done = await accept(store, "M1")
    log.fails = RecordKind.DONE
    with pytest.raises(StoreFailed):
        await end(store, done, DEFERRED)
    assert await waiting(kept) == ["M1"]
    await log.close()
    again = await SegmentStore.open(tmp_path, kept)
    assert await waiting(again) == ["M1"]
    await again.close()


async def test_a_settlement_that_the_disk_refused_can_be_tried_again(tmp_path: Path) -> None:
    kept = MemoryStore()
    log = Disk(tmp_path, last_number=0)
    store = SegmentStore(kept, log)
    first, second = await accept(store, "M1"), await accept(store, "M2")
    log.fails = RecordKind.DONE
    with pytest.raises(StoreFailed):
        await end(store, first)
    with pytest.raises(StoreFailed):
        await end(store, second, DEFERRED)
    log.fails = None
    await end(store, first)
    await end(store, second, DEFERRED)
    assert await waiting(store) == ["M2"]
    await store.close()


async def test_a_move_that_stopped_half_way_is_not_overtaken_by_the_fast_lane(tmp_path: Path) -> None:
    """The store behind has the message already: a word in the segment alone would leave it there, to be sent twice."""
    kept = MemoryStore()
    log = Disk(tmp_path, last_number=0)
    store = SegmentStore(kept, log)
    done = await accept(store, "M1")
    log.fails = RecordKind.DONE
    with pytest.raises(StoreFailed):
        await store.message("M1")
    log.fails = None
    await end(store, done)
    assert await waiting(kept) == []
    await store.close()


class StuckStore(MemoryStore):
    """A store whose disk hangs until `resume`, and then fails."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.resume = asyncio.Event(), asyncio.Event()

    async def accept(
        self,
        envelope: Envelope,
        body: Body,
        *,
        next_attempt_at: float,
        leases: Sequence[Lease] = (),
        quarantined: str | None = None,
    ) -> None:
        self.asked.set()
        await self.resume.wait()
        raise StoreFailed("the disk failed")


async def test_a_move_that_fails_when_nobody_waits_for_it_any_more_loses_nothing_and_raises_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = StuckStore()
    async with killed(tmp_path, kept) as store:
        await accept(store, "M1")
        looking = asyncio.create_task(store.message("M1"))
        await kept.asked.wait()
        looking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await looking
        kept.resume.set()
        await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})
    gc.collect()
    assert "never retrieved" not in caplog.text
    again = await SegmentStore.open(tmp_path, MemoryStore())
    assert await waiting(again) == ["M1"]
    await again.close()


async def test_who_looks_at_the_queue_sees_what_is_being_delivered(tmp_path: Path) -> None:
    store = await SegmentStore.open(tmp_path, MemoryStore())
    done = await accept(store, "M1")
    [message] = await store.messages(limit=10)
    assert [each.state for each in message.recipients] == ["leased"]
    await end(store, done)
    assert await waiting(store) == []
    await store.close()


async def test_looking_while_messages_end_neither_loses_nor_keeps_one(tmp_path: Path) -> None:
    store = await SegmentStore.open(tmp_path, MemoryStore())
    tasks = [await accept(store, f"M{number}") for number in range(50)]
    async with asyncio.TaskGroup() as group:
        for number, each in enumerate(tasks):
            group.create_task(end(store, each))
            if number % 5 == 0:
                group.create_task(waiting(store))
    assert await waiting(store) == []
    await store.close()


async def test_a_lease_that_ran_out_makes_a_fresh_message_due(tmp_path: Path) -> None:
    store = await SegmentStore.open(tmp_path, MemoryStore())
    late = await accept(store, "M1", until=60)
    assert await store.next_due() == 60
    [again] = await store.lease(61, limit=10, lease_seconds=60)
    assert again.envelope.id == "M1"
    with pytest.raises(LeaseLost):
        await end(store, late, now=62)
    await end(store, again, now=62)
    assert await waiting(store) == []
    await store.close()


async def test_an_outcome_that_comes_after_the_lease_is_not_written(tmp_path: Path) -> None:
    store = await SegmentStore.open(tmp_path, MemoryStore())
    late = await accept(store, "M1", until=60)
    with pytest.raises(LeaseLost):
        await end(store, late, now=60)
    assert await waiting(store) == ["M1"]
    await store.close()


async def test_segments_end_the_oldest_first_for_the_younger_know_what_is_done(tmp_path: Path) -> None:
    log = SegmentLog(tmp_path, last_number=0, max_segment_octets=1)
    store = SegmentStore(MemoryStore(), log)
    tasks = [await accept(store, f"M{number}") for number in range(5)]
    for each in tasks[1:]:
        await end(store, each)
    assert len(segments(tmp_path)) > 5, "the oldest has a message that is not done"
    await end(store, tasks[0])
    await end(store, await accept(store, "M9"))
    assert len(segments(tmp_path)) < 3
    await store.close()


async def test_a_damaged_segment_is_set_aside_and_told_and_the_rest_is_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with killed(tmp_path, MemoryStore()) as store:
        for name in ("M1", "M2", "M3"):
            await accept(store, name)
    [path] = segments(tmp_path)
    octets = path.read_bytes()
    path.write_bytes(octets.replace(b'"id":"M2"', b'"id":"X2"'))
    with caplog.at_level(logging.CRITICAL):
        again = await SegmentStore.open(tmp_path, MemoryStore())
    assert await waiting(again) == ["M1", "M3"]
    assert "damaged" in caplog.text
    assert [each.name for each in segments(tmp_path, ".damaged")] == [path.name + ".damaged"]
    await again.close()


async def test_damaged_segments_of_two_runs_are_both_kept(tmp_path: Path) -> None:
    (tmp_path / "worker-2-000000000001.segment.damaged").touch()  # of a queue that was taken over
    for name in ("M1", "M2"):
        store = await SegmentStore.open(tmp_path, MemoryStore())
        for each in (name, "M3"):
            await accept(store, each)
        [path] = segments(tmp_path)
        octets = path.read_bytes()
        await store.close()
        path.write_bytes(octets.replace(name.encode(), b"X2"))
        await (await SegmentStore.open(tmp_path, MemoryStore())).close()
    assert len(segments(tmp_path, ".damaged")) == 3


class FullStore(MemoryStore):
    """A store whose disk is full."""

    async def accept(
        self,
        envelope: Envelope,
        body: Body,
        *,
        next_attempt_at: float,
        leases: Sequence[Lease] = (),
        quarantined: str | None = None,
    ) -> None:
        raise StoreFull("the disk with the queue is full")


async def test_what_the_disk_has_no_room_for_at_the_start_stays_in_its_segment(tmp_path: Path) -> None:
    async with killed(tmp_path, MemoryStore()) as store:
        await accept(store, "M1")
        await accept(store, "M2")
    with pytest.raises(StoreFull, match="disk with the queue is full"):
        await SegmentStore.open(tmp_path, FullStore())
    again = await SegmentStore.open(tmp_path, MemoryStore())
    assert await waiting(again) == ["M1", "M2"]
    await again.close()


@contextmanager
def full_disk(octets: int) -> Iterator[None]:
    """No file can grow beyond so many octets."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_full_disk_refuses_and_what_was_accepted_before_and_after_is_kept(tmp_path: Path) -> None:
    async with killed(tmp_path, MemoryStore()) as store:
        await accept(store, "M1")
        with full_disk(2000):
            for _ in range(3):
                with pytest.raises(StoreFull):
                    await accept(store, "M2", body=BODY * 2000)
        await accept(store, "M3")
    again = await SegmentStore.open(tmp_path, MemoryStore())
    assert await waiting(again) == ["M1", "M3"]
    await again.close()


async def test_what_a_closed_queue_is_asked_for_fails_plainly(tmp_path: Path) -> None:
    store = await SegmentStore.open(tmp_path, MemoryStore())
    await store.close()
    with pytest.raises(StoreFailed):
        await accept(store, "M1")


def test_an_envelope_comes_back_as_it_was() -> None:
    whole: Envelope = replace(
        envelope("M1", ANN, BEN),
        body_type=BodyType.EIGHT_BIT_MIME,
        tls_demand=TlsDemand.REQUIRETLS,
        wishes=Wishes(Ret.HDRS, "abc", {ANN: RecipientWishes(frozenset({Event.SUCCESS}), "rfc822;a@b.example")}),
    )
    for one in (
        whole,
        replace(whole, reverse_path=None, wishes=Wishes(recipients={BEN: RecipientWishes(frozenset())})),
    ):
        assert read_whole_envelope(write_envelope(one)) == one


@pytest.mark.parametrize("note", [b"", b"[]", b"{}", b'{"id":1}', b"\xff", b'{"id":"M","from":"no address","to":[]}'])
def test_an_envelope_that_cannot_be_read_is_damaged(note: bytes) -> None:
    with pytest.raises(Damaged):
        read_whole_envelope(note)


async def test_a_segment_is_longer_than_its_records_and_is_read_back_without_a_word_of_damage(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with killed(tmp_path, MemoryStore()) as store:
        for number in range(3):
            await accept(store, f"M{number}")
    [path] = segments(tmp_path)
    assert path.stat().st_size > 1 << 18
    assert path.read_bytes().endswith(bytes(1 << 16))
    again = await SegmentStore.open(tmp_path, MemoryStore())
    assert await waiting(again) == ["M0", "M1", "M2"]
    assert not caplog.records
    await again.close()


async def test_a_disk_that_has_no_room_for_zeros_may_have_some_for_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int, _octets: bytes, _at: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    async with killed(tmp_path, MemoryStore()) as store:
        await accept(store, "M1")
        await accept(store, "M2")
    again = await SegmentStore.open(tmp_path, MemoryStore())
    assert await waiting(again) == ["M1", "M2"]
    await again.close()


# --- messages to several next hops ------------------------------------------------------------------------------------

DAN = Mailbox("dan", "three.test")
MANY = (ANN, CAT, DAN)


async def accept_many(store: SegmentStore, message_id: str = "M1", *, until: float = 60.0) -> dict[str, DeliveryTask]:
    """A message to three next hops; the task of each."""
    whole = envelope(message_id, *MANY)
    leases = tuple(Lease(f"{message_id}-{each.domain}", message_id, each.domain, until) for each in MANY)
    await store.accept(whole, BODY, next_attempt_at=0, leases=leases)
    made = (
        DeliveryTask(lease=each, envelope=whole, recipients=(to,), attempts=0)
        for each, to in zip(leases, MANY, strict=True)
    )
    return {task.lease.next_hop: task for task in made}


async def end_part(store: SegmentStore, done: DeliveryTask, kind: OutcomeKind = DELIVERED, now: float = 10.0) -> None:
    made = attempt(done, outcome(done.recipients[0], kind), at=now)
    await store.settle(done.lease, settle(done, made, now=now, schedule=SCHEDULE), made, now=now)


async def left(store: SegmentStore) -> list[str]:
    """The recipients of the only message who are left."""
    [message] = await store.messages(limit=10)
    return [each.recipient for each in message.recipients if each.state not in ("delivered", "failed")]


async def test_a_message_to_several_next_hops_never_gets_into_the_store_behind(tmp_path: Path) -> None:
    kept = MemoryStore()
    store = await SegmentStore.open(tmp_path, kept)
    tasks = await accept_many(store)
    for each in tasks.values():
        assert await store.count() == 1
        await end_part(store, each)
    assert (await store.count(), await waiting(kept)) == (0, [])
    await store.close()
    assert segments(tmp_path) == []


async def test_parts_that_end_together_end_the_message(tmp_path: Path) -> None:
    store = await SegmentStore.open(tmp_path, MemoryStore())
    messages = [await accept_many(store, f"M{number}") for number in range(20)]
    await asyncio.gather(*(end_part(store, part) for tasks in messages for part in tasks.values()))
    assert await waiting(store) == []
    await store.close()
    assert segments(tmp_path) == []


@pytest.mark.parametrize("sealed", [False, True])
async def test_after_a_kill_only_the_parts_are_due_that_were_not_done(tmp_path: Path, sealed: bool) -> None:
    seal = ContentSeal(bytes(32)) if sealed else IN_CLEAR
    log = SegmentLog(tmp_path, last_number=0)
    store = SegmentStore(MemoryStore(), log, seal)
    tasks = await accept_many(store)
    await end_part(store, tasks["two.test"])
    [path] = segments(tmp_path)
    octets = path.read_bytes()
    await log.close()
    path.write_bytes(octets)
    if sealed:
        assert b"two.test" not in octets
    again = await SegmentStore.open(tmp_path, MemoryStore(), seal)
    leased = await again.lease(0, limit=10, lease_seconds=60)
    assert sorted(each.lease.next_hop for each in leased) == sorted([ANN.domain, "three.test"])
    assert await again.body("M1") == BODY
    await again.close()


async def test_a_kill_after_the_last_part_leaves_nothing(tmp_path: Path) -> None:
    async with killed(tmp_path, MemoryStore()) as store:
        for each in (await accept_many(store)).values():
            await end_part(store, each)
    again = await SegmentStore.open(tmp_path, MemoryStore())
    assert await waiting(again) == []
    await again.close()


async def test_a_part_that_is_deferred_moves_the_message_without_those_that_are_done(tmp_path: Path) -> None:
    kept = MemoryStore()
    store = await SegmentStore.open(tmp_path, kept)
    tasks = await accept_many(store)
    await end_part(store, tasks[ANN.domain])
    await end_part(store, tasks["two.test"], DEFERRED)
    assert await left(store) == [str(CAT), str(DAN)]
    await end_part(store, tasks["three.test"])
    assert await left(store) == [str(CAT)]
    await store.close()


async def test_a_kill_in_the_middle_of_such_a_move_leaves_one_message(tmp_path: Path) -> None:
    kept = MemoryStore()
    log = Disk(tmp_path, last_number=0)
    store = SegmentStore(kept, log)
    tasks = await accept_many(store)
    await end_part(store, tasks[ANN.domain])
    log.fails = RecordKind.DONE
    with pytest.raises(StoreFailed):
        await end_part(store, tasks["two.test"], DEFERRED)
    await log.close()
    again = await SegmentStore.open(tmp_path, kept)
    assert await waiting(again) == ["M1"]
    assert await left(again) == [str(CAT), str(DAN)]
    await again.close()


async def test_a_part_that_ends_while_the_message_moves_is_done_once(tmp_path: Path) -> None:
    """Whichever comes first: neither is the part due again, nor does its word end the others."""
    for number in range(8):
        kept = MemoryStore()
        (directory := tmp_path / f"{number}").mkdir()
        store = await SegmentStore.open(directory, kept)
        tasks = await accept_many(store)

        async def look(after: int, store: SegmentStore = store) -> None:
            for _ in range(after):
                await asyncio.sleep(0)
            await store.messages(limit=10)

        await asyncio.gather(end_part(store, tasks["two.test"]), look(number))
        assert await left(store) == [str(ANN), str(DAN)]
        await asyncio.gather(end_part(store, tasks[ANN.domain]), end_part(store, tasks["three.test"]))
        assert await waiting(store) == []
        await store.close()


async def test_the_word_of_a_part_that_the_disk_refused_can_be_written_again(tmp_path: Path) -> None:
    log = Disk(tmp_path, last_number=0)
    store = SegmentStore(MemoryStore(), log)
    tasks = await accept_many(store)
    log.fails = RecordKind.DONE
    for each in tasks.values():
        with pytest.raises(StoreFailed):
            await end_part(store, each)
    failed = await asyncio.gather(*(end_part(store, each) for each in tasks.values()), return_exceptions=True)
    assert all(isinstance(each, StoreFailed) for each in failed)
    log.fails = None
    for each in tasks.values():
        await end_part(store, each)
    assert await waiting(store) == []
    await store.close()


async def test_a_part_is_settled_once_and_only_under_its_lease(tmp_path: Path) -> None:
    store = await SegmentStore.open(tmp_path, MemoryStore())
    tasks = await accept_many(store)
    await end_part(store, tasks["two.test"])
    with pytest.raises(LeaseLost):
        await end_part(store, tasks["two.test"])
    stolen = replace(tasks["three.test"], lease=replace(tasks["three.test"].lease, token="of somebody else"))
    with pytest.raises(LeaseLost):
        await end_part(store, stolen)
    assert await left(store) == [str(ANN), str(DAN)]
    await store.close()


async def test_one_lease_that_ran_out_makes_its_part_due_and_leaves_the_others(tmp_path: Path) -> None:
    store = await SegmentStore.open(tmp_path, MemoryStore())
    whole = envelope("M1", *MANY)
    leases = [Lease(f"of {each.domain}", "M1", each.domain, 60.0 + place) for place, each in enumerate(MANY)]
    await store.accept(whole, BODY, next_attempt_at=0, leases=leases)
    assert await store.next_due() == 60.0
    [again] = await store.lease(60.5, limit=10, lease_seconds=60)
    assert (again.lease.next_hop, again.recipients) == (ANN.domain, (ANN,))
    other = DeliveryTask(lease=leases[1], envelope=whole, recipients=(CAT,), attempts=0)
    await end_part(store, other, now=60.6)
    assert await left(store) == [str(ANN), str(DAN)]
    await store.close()


async def test_on_a_full_disk_the_parts_stay_and_are_delivered_from_where_they_are(tmp_path: Path) -> None:
    store = SegmentStore(FullStore(), SegmentLog(tmp_path, last_number=0))
    tasks = await accept_many(store)
    await end_part(store, tasks["two.test"])
    again = await store.lease(61, limit=10, lease_seconds=60)
    assert [each.recipients for each in again] == [(ANN,), (DAN,)]
    assert await left(store) == [str(ANN), str(DAN)]
    removal = Order(kind=OrderKind.REMOVE, at=62.0, next_hop="three.test")
    assert await store.obey(removal, ["M1"]) == ["M1"]
    assert await left(store) == [str(ANN)]
    await end_part(store, again[0], now=62)
    assert await waiting(store) == []
    await store.close()


def damage(directory: Path, what: bytes) -> None:
    """Change octets of a segment on the disk, as it may happen below us."""
    [path] = segments(directory)
    octets = path.read_bytes()
    at = octets.index(what)
    with path.open("r+b") as file:
        file.seek(at)
        file.write(what[::-1])


async def test_a_content_that_was_damaged_on_the_disk_is_not_served(tmp_path: Path) -> None:
    """It has its checksum in the segment; that was looked at only after a crash."""
    store = await SegmentStore.open(tmp_path, MemoryStore())
    await accept(store, "M1")
    damage(tmp_path, BODY)
    with pytest.raises(StoreFailed, match="checksum"):
        await store.body("M1")
    await store.close()


async def test_a_message_that_cannot_be_read_any_more_keeps_no_other_one_waiting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One damaged content, and nothing of the whole queue was leased, listed or removed until the next start."""
    store = await SegmentStore.open(tmp_path, MemoryStore())
    await accept(store, "M1")
    damage(tmp_path, BODY)
    await accept(store, "M2")
    assert [each.envelope.id for each in await store.lease(61, limit=10, lease_seconds=60)] == ["M2"]
    assert "M1: cannot be moved out of its segment" in caplog.text
    assert (await store.next_due() or 0) > 61, "the next look is not at once"
    assert await waiting(store) == ["M1", "M2"]
    seen = await store.message("M1")
    assert seen is not None
    assert [each.recipient for each in seen.recipients] == [str(ANN)]
    with pytest.raises(UnreadableMessage):
        await store.copy("M1")
    assert await store.obey(Order(kind=OrderKind.REMOVE, at=62.0), ["M1"]) == ["M1"]
    assert await waiting(store) == ["M2"]
    await store.close()


@pytest.mark.parametrize("bug", [MemoryError(), RuntimeError("a bug")])
async def test_what_nobody_foresaw_in_the_thread_fails_its_group_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bug: Exception
) -> None:
    """The thread ended with it, and whoever accepted or settled a message from then on waited for ever."""
    store = await SegmentStore.open(tmp_path, MemoryStore())

    def raising(*_: object) -> None:
        raise bug

    with monkeypatch.context() as patched:
        patched.setattr(segment_log, "encode_record", raising)
        with pytest.raises(StoreFailed):
            async with asyncio.timeout(10):
                await accept(store, "M1")
    await accept(store, "M2")
    assert await waiting(store) == ["M2"]
    await store.close()


async def test_records_that_come_a_turn_later_share_the_flush(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushes: list[int] = []
    monkeypatch.setattr("os.fdatasync", flushes.append)
    log, loop = SegmentLog(tmp_path, last_number=0), asyncio.get_running_loop()
    first = asyncio.ensure_future(log.append(RecordKind.DONE, b"A"))
    later: list[asyncio.Future[ContentLocation]] = []
    loop.call_soon(lambda: later.append(asyncio.ensure_future(log.append(RecordKind.DONE, b"B"))))
    await first
    assert [each.done() for each in later] == [True]
    assert len(flushes) == 1
    await log.close()
