"""A queue takes over what former workers left: all of it, each message once, and nothing that is not a worker's."""

import asyncio
import logging
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from letterlock.mail.addresses import Mailbox
from letterlock.queue.orders import Order, OrderKind
from letterlock.queue.store import QueueInUse, Store
from letterlock.queue.tasks import Lease
from letterlock.sqlite import disk
from letterlock.sqlite.disk import RESERVE_FILE
from letterlock.store import adoption
from letterlock.store.adoption import open_adopting
from letterlock.store.sealing import IN_CLEAR, ContentSeal
from letterlock.store.segments.segment_log import SegmentLog
from letterlock.store.segments.segment_store import SegmentStore, open_queue
from letterlock.store.sqlite.sqlite_store import SqliteStore
from letterlock.store.sqlite.statements import run
from tests.bodies import octets_of
from tests.queue.messages import ANN, BODY, CAT, envelope

KEY = bytes(range(32))


def found(folder: Path, pattern: str) -> list[Path]:
    """Files by name."""
    return sorted(folder.glob(pattern))


def made(folder: Path) -> Path:
    """A folder that is there."""
    folder.mkdir(exist_ok=True)
    return folder


async def left(folder: Path, *names: str, body: bytes = BODY, seal: ContentSeal = IN_CLEAR) -> None:
    """A queue with messages in its database."""
    store = await SqliteStore.open(made(folder), seal)
    for name in names:
        await store.accept(envelope(name, ANN, CAT), body, next_attempt_at=0)
    await store.close()


async def left_in_segment(folder: Path, name: str, body: bytes = BODY) -> None:
    """A queue whose server was killed while it had a message in its fast lane, and nothing in its database."""
    kept = await SqliteStore.open(made(folder))
    store = SegmentStore(kept, SegmentLog(folder, last_number=0))
    lease = Lease("token", name, ANN.domain, 60.0)
    await store.accept(envelope(name, ANN), body, next_attempt_at=0, leases=(lease,))
    octets = {path: path.read_bytes() for path in found(folder, "*.segment")}
    await store.close()
    for path, content in octets.items():
        path.write_bytes(content)


async def whole(store: Store) -> list[tuple[str, bytes]]:
    """All messages that can be delivered."""
    found = [(each.id, octets_of(await store.body(each.id))) for each in await store.messages(limit=1000)]
    assert {task.envelope.id for task in await store.lease(1, limit=1000, lease_seconds=60)} == {
        name for name, _ in found
    }
    return found


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
async def test_whatever_the_number_of_workers_the_queues_of_former_ones_are_taken_over(
    tmp_path: Path, workers: int
) -> None:
    await left(tmp_path, "M0")
    for number in range(1, 4):
        await left(tmp_path / f"worker-{number}", f"M{number}")
    store, adopter = await open_adopting(tmp_path, workers)
    assert [name for name, _ in await whole(store)] == ["M0", *(f"M{number}" for number in range(workers, 4))]
    assert adopter.problems == {}
    assert sorted(each.name for each in found(tmp_path, "worker-*")) == [f"worker-{n}" for n in range(1, workers)]
    await store.close()


async def test_a_worker_that_is_not_the_first_takes_nothing_over(tmp_path: Path) -> None:
    await left(tmp_path / "worker-7", "M1")
    store, _ = await open_adopting(tmp_path, None)
    assert await whole(store) == []
    await store.close()


@pytest.mark.parametrize("seal", [IN_CLEAR, ContentSeal(KEY)], ids=["in cleartext", "encrypted"])
async def test_two_messages_with_one_id_stay_two_messages(tmp_path: Path, seal: ContentSeal) -> None:
    for number, folder in enumerate((tmp_path, tmp_path / "worker-1", tmp_path / "worker-2")):
        folder.mkdir(exist_ok=True)
        store = await SqliteStore.open(folder, seal)
        to = Mailbox(f"to{number}", "one.test")
        await store.accept(envelope("M1", to), b"Subject: %d\r\n\r\n" % number, next_attempt_at=0)
        await store.close()
    queue, _ = await open_adopting(tmp_path, 1, seal)
    tasks = await queue.lease(1, limit=10, lease_seconds=60)
    got = {str(task.recipients[0]): await queue.body(task.envelope.id) for task in tasks}
    assert got == {f"to{number}@one.test": b"Subject: %d\r\n\r\n" % number for number in range(3)}
    assert len({task.envelope.id for task in tasks}) == 3
    await queue.close()


async def test_one_id_in_a_segment_and_another_message_in_the_database_stay_two_messages(tmp_path: Path) -> None:
    folder = tmp_path / "queue"
    await left_in_segment(folder, "M1", b"Subject: mine\r\n\r\n")
    other = await SqliteStore.open(folder)
    await other.accept(replace(envelope("M1", CAT), accepted_at=5.0), b"Subject: other\r\n\r\n", next_attempt_at=0)
    await other.close()
    kept = {path: path.read_bytes() for path in found(folder, "*.segment")}
    for _ in range(2):  # as after a kill before the segment was removed
        store = await open_queue(folder)
        assert sorted(body for _, body in await whole(store)) == [b"Subject: mine\r\n\r\n", b"Subject: other\r\n\r\n"]
        await store.close()
        for path, content in kept.items():
            path.write_bytes(content)


async def test_a_folder_with_segments_and_no_database_is_taken_over_and_not_removed_with_its_mail(
    tmp_path: Path,
) -> None:
    await left_in_segment(tmp_path / "worker-1", "M1")
    for path in (tmp_path / "worker-1").glob("queue.db*"):
        path.unlink()
    store, _ = await open_adopting(tmp_path, 1)
    assert await whole(store) == [("M1", BODY)]
    assert not (tmp_path / "worker-1").exists()
    await store.close()


async def test_a_copy_is_mentioned_and_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    await left(tmp_path / "worker-1", "M1")
    names = ("worker-1.bak", "worker-01", "worker-x", "worker-0")
    for name in names:
        shutil.copytree(tmp_path / "worker-1", tmp_path / name)
    store, adopter = await open_adopting(tmp_path, 1)
    assert await whole(store) == [("M1", BODY)]
    for name in names:
        assert (tmp_path / name / "queue.db").exists()
        assert caplog.text.count(f"{name} is not a worker's folder by its name") == 1
    await adopter.adopt()
    assert caplog.text.count("is not a worker's folder by its name") == len(names), "once is enough"
    await store.close()


async def test_files_that_are_not_ours_and_damaged_segments_are_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        await left(tmp_path / "worker-1", "M1")
        (tmp_path / "worker-1" / "000000000001.segment.damaged").write_bytes(b"what is left")
        store, adopter = await open_adopting(tmp_path, 1)
        await store.close()
    assert adopter.problems == {}
    kept = sorted(path.name for path in found(tmp_path, "*.damaged"))
    assert kept == ["worker-1-000000000001.segment-2.damaged", "worker-1-000000000001.segment.damaged"]
    await left(tmp_path / "worker-2", "M2")
    (tmp_path / "worker-2" / "notes.txt").write_text("mine")
    store, adopter = await open_adopting(tmp_path, 1)
    assert (tmp_path / "worker-2" / "notes.txt").read_text() == "mine"
    assert adopter.problems == {}
    assert "worker-2 has been taken over, but cannot be removed" in caplog.text
    await store.close()


async def test_what_cannot_be_taken_over_waits_is_told_and_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adoption, "RETRY_SECONDS", 0.001)
    await left(tmp_path / "worker-1", "M1")
    await left(tmp_path / "worker-2", "M2")
    ending = await SqliteStore.open(tmp_path / "worker-1")  # its server has not ended yet
    store, adopter = await open_adopting(tmp_path, 1)
    assert [name for name, _ in await whole(store)] == ["M2"]
    assert list(adopter.problems) == ["worker-1"]
    assert "another server is running" in adopter.problems["worker-1"]
    [told] = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert "worker-1 cannot be taken over, and its mail waits there" in told.message
    came: list[str] = []
    trying = asyncio.create_task(adopter.keep_trying(lambda: came.append("mail")))
    await ending.close()
    await trying
    assert (came, adopter.problems) == (["mail"], {})
    assert await store.message("M1") is not None
    await store.close()


async def test_who_stops_does_not_wait_for_what_cannot_be_taken_over(tmp_path: Path) -> None:
    (tmp_path / "worker-1" / "queue.db").mkdir(parents=True)
    store, adopter = await open_adopting(tmp_path, 1)
    assert list(adopter.problems) == ["worker-1"]
    trying = asyncio.create_task(adopter.keep_trying(lambda: None))
    await asyncio.sleep(0)
    adopter.stop()
    await trying
    await store.close()


def _killed(*_given: object) -> None:
    raise InterruptedError("killed")


@pytest.mark.parametrize(
    ("where", "what"),
    [(adoption._Source, "drop"), (SqliteStore, "forget_adopted")],
    ids=["before it has left", "before it is forgotten"],
)
async def test_what_was_taken_over_and_delivered_before_it_had_left_is_not_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: type, what: str
) -> None:
    await left(tmp_path / "worker-1", "M1", "M2")
    with monkeypatch.context() as killed:
        calls = iter(range(9))
        real: Callable[..., object] = getattr(where, what)

        def first_only(*given: object) -> object:
            return (_killed if next(calls) else real)(*given)

        killed.setattr(where, what, first_only)
        store, adopter = await open_adopting(tmp_path, 1)
    assert "killed" in adopter.problems["worker-1"]
    assert len(await whole(store)) == 2
    await store.obey(Order(kind=OrderKind.REMOVE, at=0.0), ["M1"])  # or delivered: it is no longer here
    assert await adopter.adopt() == 0
    assert adopter.problems == {}
    assert await store.message("M1") is None
    await store.close()
    db = sqlite3.connect(tmp_path / "queue.db")
    assert run(db, "adopted_ids", "worker-1").fetchall() == []
    db.close()


async def test_a_copy_that_an_older_version_made_before_it_was_killed_is_one_message(tmp_path: Path) -> None:
    await left(tmp_path, "M1")
    await left(tmp_path / "worker-1", "M1")
    store, _ = await open_adopting(tmp_path, 1)
    assert await whole(store) == [("M1", BODY)]
    await store.close()


async def test_one_message_that_cannot_be_read_does_not_keep_the_others_back(tmp_path: Path) -> None:
    await left(tmp_path / "worker-1", "M1", "M2", "M3")
    db = sqlite3.connect(tmp_path / "worker-1" / "queue.db")
    db.execute("PRAGMA ignore_check_constraints = ON")
    db.execute("UPDATE recipient SET state = 'nonsense' WHERE message_id = 'M2'")
    db.commit()
    db.close()
    store, adopter = await open_adopting(tmp_path, 1)
    assert [name for name, _ in await whole(store)] == ["M1", "M3"]
    assert "1 of its messages cannot be read, such as M2" in adopter.problems["worker-1"]
    await store.close()


async def test_a_queue_with_another_key_is_not_touched(tmp_path: Path) -> None:
    await left(tmp_path / "worker-1", "M1", seal=ContentSeal(KEY))
    store, adopter = await open_adopting(tmp_path, 1, ContentSeal(bytes(32)))
    assert "encrypted with another key" in adopter.problems["worker-1"]
    await store.close()
    old = await SqliteStore.open(tmp_path / "worker-1", ContentSeal(KEY))
    assert await whole(old) == [("M1", BODY)]
    await old.close()


async def test_a_second_server_leaves_the_reserve_of_the_first_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = await open_adopting(tmp_path, 1)
    store.started()
    held = (tmp_path / RESERVE_FILE).stat().st_size
    monkeypatch.setattr(disk, "free_octets", lambda _: 0)
    with pytest.raises(QueueInUse):
        await open_adopting(tmp_path, 1)
    assert (tmp_path / RESERVE_FILE).stat().st_size == held
    await store.close()
