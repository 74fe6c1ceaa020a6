"""A disk that is full: new mail is refused in time, and everything else goes on."""

import asyncio
import contextlib
import json
import os
import sqlite3
import sys
from pathlib import Path

import pytest

from letterlock.queue.orders import Order, OrderKind, TallyBy, Wanted
from letterlock.queue.settle import RetrySchedule, settle
from letterlock.queue.store import StoreFull
from letterlock.queue.tasks import DeliveryTask, Lease, OutcomeKind
from letterlock.sqlite import disk as disks
from letterlock.sqlite.disk import COPIES, LAST_OCTETS, Disk, Reserve
from letterlock.sqlite.writer import Writer
from letterlock.store.adoption import open_adopting
from letterlock.store.segments.segment_log import SegmentLog
from letterlock.store.segments.segment_store import SegmentStore
from letterlock.store.sqlite.sqlite_store import SqliteStore
from tests.queue.messages import ANN, BODY, attempt, envelope, outcome

FREE = 1 << 40


class Room:
    """What statvfs(2) says, for tests."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, octets: int = FREE) -> None:
        self.octets = octets
        monkeypatch.setattr(disks, "free_octets", lambda _directory: self.octets)
        monkeypatch.setattr(disks, "LOOK_SECONDS", 0.0)


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Room:
    return Room(monkeypatch)


async def test_a_queue_on_3_megabytes_is_never_locked_in_by_what_fills_them(tmp_path: Path) -> None:
    """In a mount namespace of its own, on a real tmpfs; whatever gets free is taken by another file at once."""
    small, state = tmp_path / "queue", tmp_path / "state"
    small.mkdir()
    state.mkdir()
    script = f'ip link set lo up; mount -t tmpfs -o size=3m small {small} && exec "$@"'
    alone = ("unshare", "--user", "--map-root-user", "--mount", "--net", "sh", "-c", script, "sh")
    process = await asyncio.create_subprocess_exec(
        *alone, sys.executable, "-m", "tests.store.full_disk", small, state, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(300):
        out, _ = await process.communicate()
    assert process.returncode == 0
    did = json.loads(out)
    assert did["accepted"] > 20
    assert did["refusal"] == "452 4.3.1 Insufficient system storage"
    assert did["listed"] == did["counted"] == did["accepted"]
    assert did["removed"] == 2
    assert did["refused while full"] == "452"
    assert did["after a restart"] == did["delivered"] == did["accepted"] - 2
    assert did["twice"] == []
    assert did["accepted with room"] == "250"
    assert did["left with room"] == 0
    assert did["delivered in all"] == did["accepted"] - 2 + 1


def test_the_reserve_is_given_up_but_for_its_last_part_and_taken_again(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path)
    assert reserve.hold()
    size = (tmp_path / "reserve").stat().st_size
    assert size >= LAST_OCTETS
    assert (tmp_path / "reserve").stat().st_blocks * 512 >= size, "it has its blocks"
    assert reserve.give_up()
    assert (tmp_path / "reserve").stat().st_size == LAST_OCTETS
    assert not reserve.give_up()
    assert reserve.give_up(all_of_it=True)
    assert reserve.missing == size
    assert reserve.hold()


def test_the_reserve_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"mine")
    (tmp_path / "reserve").symlink_to(tmp_path / "other")
    Reserve(tmp_path).hold()
    assert (tmp_path / "other").read_bytes() == b"mine"


def test_mail_is_refused_before_the_room_of_what_was_accepted_is_gone(
    tmp_path: Path, room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "letterlock.store")
    disk = Disk(tmp_path, 1000, Reserve(tmp_path))
    disk.hold_reserve()
    asked: list[str] = []
    disk.shrink = lambda: asked.append("shrink")
    room.octets = 1000 + COPIES * 100
    assert disk.has_room(100)
    assert not disk.has_room(101)
    assert asked == ["shrink"]
    assert not disk.has_room(101)
    assert asked == ["shrink"], "not each time"
    disk.accepted(100)
    assert not disk.has_room(100), "it will need two more copies"
    disk.settled(100)
    assert disk.has_room(100)
    room.octets = 999
    assert not disk.has_room(0)
    room.octets = FREE
    assert disk.has_room(0)
    assert [each.levelname for each in caplog.records] == ["ERROR", "INFO"]
    assert "999 octets free, and min_free_octets is 1000" in caplog.text


def test_without_its_reserve_a_queue_takes_no_mail_until_there_is_room_for_both(tmp_path: Path, room: Room) -> None:
    reserve = Reserve(tmp_path)
    disk = Disk(tmp_path, 1000, reserve)
    room.octets = missing = reserve.missing
    assert not disk.has_room(1)
    assert reserve.missing == missing
    room.octets = FREE
    assert disk.has_room(1)
    assert reserve.missing == 0


async def test_a_write_that_finds_no_room_is_made_again_when_the_reserve_was_given_up(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "db", isolation_level=None, check_same_thread=False)
    connection.execute("CREATE TABLE t (x)")
    connection.execute("PRAGMA max_page_count = 2")

    def relief() -> bool:
        connection.execute("PRAGMA max_page_count = 1000")
        helped.append(True)
        return len(helped) == 1

    helped: list[bool] = []
    writer = Writer(connection, relief)
    await writer.do(lambda db: db.execute("INSERT INTO t VALUES (randomblob(20000))"))
    assert helped == [True]
    connection.execute("PRAGMA max_page_count = 8")
    helped += [True]
    with pytest.raises(StoreFull):
        await writer.do(lambda db: db.execute("INSERT INTO t VALUES (randomblob(900000))"))
    await writer.close()


async def test_a_record_that_finds_no_room_is_written_when_the_reserve_was_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, full = os.pwritev, [True]

    def pwritev(descriptor: int, pieces: list[bytes], at: int) -> int:
        if full[0]:
            raise OSError(28, "No space left on device")
        return real(descriptor, pieces, at)

    def relief() -> bool:
        full[0] = False
        return True

    monkeypatch.setattr(os, "pwritev", pwritev)
    kept = await SqliteStore.open(tmp_path)
    store = SegmentStore(kept, SegmentLog(tmp_path, last_number=0, relief=relief))
    await store.accept(envelope("M1", ANN), BODY, next_attempt_at=0, leases=(Lease("t", "M1", ANN.domain, 60.0),))
    assert await store.body("M1") == BODY
    await store.close()


async def full_queue(directory: Path, room: Room, *names: str) -> SegmentStore:
    """A queue with fresh messages that are being tried; then its disk is full."""
    store, _ = await open_adopting(directory, 1)
    store.started()
    for name in names:
        lease = Lease(f"token-{name}", name, ANN.domain, 60.0)
        await store.accept(envelope(name, ANN), BODY, next_attempt_at=0, leases=(lease,))
    room.octets = 0
    return store


async def delivered(store: SegmentStore, task: DeliveryTask, now: float = 10.0) -> None:
    made = attempt(task, outcome(ANN, OutcomeKind.DELIVERED), at=now)
    await store.settle(task.lease, settle(task, made, now=now, schedule=RetrySchedule()), made, now=now)


async def test_on_a_full_disk_what_is_in_the_fast_lane_is_shown_removed_and_delivered_where_it_is(
    tmp_path: Path, room: Room
) -> None:
    store = await full_queue(tmp_path, room, "M1", "M2", "M3")
    assert [each.id for each in await store.messages(limit=2)] == ["M1", "M2"]
    assert [each.id for each in await store.messages(limit=9, after="M1")] == ["M2", "M3"]
    assert (await store.find(Wanted(), limit=10)).found[0].recipients[0].state == "leased"
    assert (await store.select(Wanted(domain="one.test"), limit=10)).found == ("M1", "M2", "M3")
    assert (await store.tally(TallyBy.DOMAIN, now=0)).found[0].total == 3
    assert (await store.message("M2")) is not None
    with pytest.raises(StoreFull):
        await store.accept(envelope("M9", ANN), BODY, next_attempt_at=0)
    assert await store.obey(Order(kind=OrderKind.RETRY, at=0.0), ["M1"]) == []
    with pytest.raises(StoreFull):
        await store.obey(Order(kind=OrderKind.HOLD, at=0.0), ["M1"])
    assert await store.obey(Order(kind=OrderKind.REMOVE, at=0.0), ["M1"]) == ["M1"]
    again = await store.lease(61, limit=10, lease_seconds=60)
    assert [task.envelope.id for task in again] == ["M2", "M3"], "their leases ran out"
    assert await store.lease(62, limit=10, lease_seconds=60) == []
    for task in again:
        await delivered(store, task, now=70)
    assert await store.count() == 0
    await store.close()


async def test_a_start_on_a_full_disk_leaves_messages_in_their_segments_and_delivers_them_from_there(
    tmp_path: Path, room: Room
) -> None:
    store = await full_queue(tmp_path, room, "M1", "M2", "M3")
    left = {path: path.read_bytes() for path in sorted(tmp_path.iterdir()) if path.suffix == ".segment"}  # noqa: ASYNC240
    await store.close()
    for path, octets in left.items():
        path.write_bytes(octets)
    store, _ = await open_adopting(tmp_path, 1)
    assert await store.count() == 3
    first, second, _ = await store.lease(1, limit=10, lease_seconds=60)
    assert await store.body(second.envelope.id) == BODY
    await delivered(store, first)
    assert [path for path in left if path.exists()], "it has messages that are not done"
    await store.close()
    room.octets = FREE
    store, _ = await open_adopting(tmp_path, 1)
    assert [each.id for each in await store.messages(limit=10)] == ["M2", "M3"]
    assert not [path for path in left if path.exists()]
    await store.close()


async def test_room_that_is_not_used_goes_back_to_the_disk(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path)
    for number in range(40):
        await store.accept(envelope(f"M{number}", ANN), bytes(100_000), next_attempt_at=0)
    await store.obey(Order(kind=OrderKind.REMOVE, at=0.0), [f"M{number}" for number in range(40)])
    await store.shrink()
    await store.close()
    assert (tmp_path / "queue.db").stat().st_size < 400_000


async def test_the_database_of_an_older_version_learns_to_shrink(tmp_path: Path) -> None:
    await (await SqliteStore.open(tmp_path)).close()
    with contextlib.closing(sqlite3.connect(tmp_path / "queue.db", isolation_level=None)) as old:
        old.execute("PRAGMA journal_mode = DELETE")
        old.execute("PRAGMA auto_vacuum = NONE")
        old.execute("VACUUM")
        assert old.execute("PRAGMA auto_vacuum").fetchone() == (0,)
    store = await SqliteStore.open(tmp_path)
    await store.accept(envelope("M1", ANN), BODY, next_attempt_at=0)
    await store.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "queue.db")) as now:
        assert now.execute("PRAGMA auto_vacuum").fetchone() == (2,)
