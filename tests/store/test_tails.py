"""Large contents on the disk: whole or not at all, hidden by a key, and removed when nobody needs them."""

import errno
import os
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from letterlock.mail.checked_content import PIECE_OCTETS, ContentLost, LargeContent
from letterlock.queue.orders import Order, OrderKind
from letterlock.queue.store import StoreFull
from letterlock.queue.tasks import DeliveryTask, Lease, OutcomeKind
from letterlock.store.adoption import open_adopting
from letterlock.store.rows import Damaged
from letterlock.store.sealing import IN_CLEAR, ContentSeal
from letterlock.store.segments.segment_store import SegmentStore, open_queue
from letterlock.store.sqlite.sqlite_store import SqliteStore
from letterlock.store.tails import FOLDER, FileTail, Tails
from tests.bodies import octets_of
from tests.contract.delivering import settled
from tests.queue.messages import ANN, BEN, CAT, envelope, outcome

HEAD = b"Subject: large\r\n\r\n"
PIECES = [b"one" * 1000 + b"\r\n", b".two\r\n" * 500, b"three\r\n"]
SEALS = [IN_CLEAR, ContentSeal(b"k" * 32)]
LEASE = Lease("mine", "M1", "one.test", 60.0)


async def written(directory: Path, seal: ContentSeal = IN_CLEAR, pieces: Sequence[bytes] = PIECES) -> FileTail:
    """A tail of these pieces."""
    writer = Tails(directory, seal).writer()
    await writer.write(pieces[:1])
    await writer.write(pieces[1:2])
    return await writer.finish(pieces[2:])


async def large(directory: Path, seal: ContentSeal = IN_CLEAR) -> LargeContent:
    """A content with a tail."""
    tail = await written(directory, seal)
    return LargeContent(pieces=(HEAD,), octets=len(HEAD) + tail.octets, ascii_only=True, dotless=False, tail=tail)


def files(directory: Path) -> list[Path]:
    """The tails there."""
    return sorted((directory / FOLDER).glob("*"))


def in_all(tail: FileTail) -> bytes:
    return b"".join(tail.blocks())


@pytest.mark.parametrize("seal", SEALS)
async def test_what_was_written_is_read_block_by_block(tmp_path: Path, seal: ContentSeal) -> None:
    tail = await written(tmp_path, seal)
    assert list(tail.blocks()) == PIECES
    assert tail.octets == sum(map(len, PIECES))
    [file] = files(tmp_path)
    assert file.stat().st_mode & 0o777 == 0o600
    assert (b"three" in file.read_bytes()) is not seal.encrypts


async def test_a_piece_that_is_large_is_read_in_blocks_of_whole_lines(tmp_path: Path) -> None:
    whole = b"x" * 900 + b"\r\n"
    long = b"y" * (3 * PIECE_OCTETS) + b"\r\n"
    pieces = [whole * 5000 + long + whole]
    tail = await written(tmp_path, pieces=pieces)
    blocks = list(tail.blocks())
    assert b"".join(blocks) == pieces[0]
    assert len(blocks) > 10
    assert all(block.endswith(b"\r\n") for block in blocks)
    assert max(map(len, blocks)) <= len(long)


@pytest.mark.parametrize("seal", SEALS)
async def test_whatever_is_changed_in_the_file_is_found_before_its_last_block_is_given(
    tmp_path: Path, seal: ContentSeal
) -> None:
    tail = await written(tmp_path, seal)
    [file] = files(tmp_path)
    octets = file.read_bytes()
    for at in [*range(60), *range(0, len(octets), 97), len(octets) - 1]:
        file.write_bytes(octets[:at] + bytes([octets[at] ^ 1]) + octets[at + 1 :])
        given: list[bytes] = []
        with pytest.raises(ContentLost):
            given.extend(tail.blocks())
        assert sum(map(len, given)) < tail.octets
    for cut in (0, 1, 19, 30, len(octets) // 2, len(octets) - 1):
        file.write_bytes(octets[:cut])
        with pytest.raises(ContentLost):
            in_all(tail)
    file.write_bytes(octets)
    assert in_all(tail) == b"".join(PIECES)
    file.unlink()
    with pytest.raises(ContentLost, match="No such file"):
        in_all(tail)


@pytest.mark.parametrize("seal", SEALS)
async def test_chunks_cannot_be_left_out_exchanged_repeated_or_taken_from_elsewhere(
    tmp_path: Path, seal: ContentSeal
) -> None:
    same = [b"first line\r\n", b"secondline\r\n", b"third line\r\n"]
    tail, other = await written(tmp_path, seal, same), await written(tmp_path, seal, same)
    path = tmp_path / FOLDER / tail.name
    octets, others = path.read_bytes(), (tmp_path / FOLDER / other.name).read_bytes()
    opening = 19
    length = (len(octets) - opening) // 3
    one, two, three = (octets[opening + length * number :][:length] for number in range(3))
    foreign = others[opening : opening + length]
    for chunks in ((two, one, three), (one, three), (one, one, three), (one, two, two), (foreign, two, three)):
        path.write_bytes(octets[:opening] + b"".join(chunks))
        with pytest.raises(ContentLost):
            in_all(tail)
    path.write_bytes(others)
    with pytest.raises(ContentLost):
        in_all(tail)
    path.write_bytes(octets[:opening] + one + two)
    with pytest.raises(ContentLost):
        in_all(replace(tail, octets=2 * len(same[0])))  # and not even with a shorter reference


async def test_another_key_and_none_open_nothing(tmp_path: Path) -> None:
    tail = await written(tmp_path, SEALS[1])
    with pytest.raises(ContentLost, match="another key's"):
        in_all(replace(tail, seal=ContentSeal(b"x" * 32)))
    with pytest.raises(ContentLost, match="there is no key"):
        in_all(replace(tail, seal=IN_CLEAR))


async def test_what_is_discarded_leaves_nothing_even_while_it_is_being_written(tmp_path: Path) -> None:
    writer = Tails(tmp_path, IN_CLEAR).writer()
    writer.discard()
    await writer.write(PIECES)
    assert not files(tmp_path)
    other = Tails(tmp_path, IN_CLEAR).writer()
    await other.write(PIECES)
    assert len(files(tmp_path)) == 1
    other.discard()
    await other.write(PIECES)
    other._disk.shutdown()
    assert not files(tmp_path)


async def test_a_store_that_was_closed_first_leaves_nothing_either(tmp_path: Path) -> None:
    tails = Tails(tmp_path, IN_CLEAR)
    writer = tails.writer()
    await writer.write(PIECES)
    await tails.close()
    writer.discard()
    assert not files(tmp_path)


async def test_a_full_disk_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    writer = Tails(tmp_path, IN_CLEAR).writer()
    await writer.write(PIECES)
    monkeypatch.setattr(os, "writev", full)
    with pytest.raises(StoreFull):
        await writer.finish([])
    writer._discard()


@asynccontextmanager
async def queue(directory: Path, seal: ContentSeal = IN_CLEAR) -> AsyncIterator[SegmentStore]:
    """The queue of one machine."""
    store = await open_queue(directory, seal)
    try:
        yield store
    finally:
        await store.close()


@pytest.mark.parametrize("seal", SEALS)
async def test_a_large_message_is_delivered_from_the_fast_lane_and_its_file_removed(
    tmp_path: Path, seal: ContentSeal
) -> None:
    async with queue(tmp_path, seal) as store:
        body = await large(tmp_path, seal)
        await store.accept(envelope("M1", ANN), body, next_attempt_at=0, leases=(LEASE,))
        read = await store.body("M1")
        assert isinstance(read, LargeContent)
        assert (read.head, read.dotless, read.ascii_only, len(read)) == (HEAD, False, True, len(body))
        assert octets_of(read) == HEAD + b"".join(PIECES)
        task = DeliveryTask(lease=LEASE, envelope=envelope("M1", ANN), recipients=(ANN,), attempts=0)
        assert len(files(tmp_path)) == 1
        await settled(store, task, outcome(ANN, OutcomeKind.DELIVERED))
        assert not files(tmp_path)


@pytest.mark.parametrize("seal", SEALS)
async def test_it_keeps_its_file_through_the_database_until_the_last_recipient(
    tmp_path: Path, seal: ContentSeal
) -> None:
    async with queue(tmp_path, seal) as store:
        body = await large(tmp_path, seal)
        await store.accept(envelope("M1", ANN, BEN), body, next_attempt_at=0, leases=(LEASE,))
        task = DeliveryTask(lease=LEASE, envelope=envelope("M1", ANN, BEN), recipients=(ANN, BEN), attempts=0)
        await settled(store, task, outcome(ANN, OutcomeKind.DELIVERED), outcome(BEN, OutcomeKind.DEFERRED))
        assert len(files(tmp_path)) == 1
    async with queue(tmp_path, seal) as store:
        [task] = await store.lease(1000, limit=1, lease_seconds=60)
        assert octets_of(await store.body("M1")) == HEAD + b"".join(PIECES)
        await settled(store, task, outcome(BEN, OutcomeKind.DELIVERED), now=1000)
        assert not files(tmp_path)


@pytest.mark.parametrize("hops", [(ANN,), (ANN, CAT)])
async def test_removed_by_an_operator_its_file_goes_too(tmp_path: Path, hops: Sequence[object]) -> None:
    async with queue(tmp_path) as store:
        leases = (LEASE,) if len(hops) == 1 else ()
        sent = envelope("M1", *hops)  # type: ignore[arg-type]  # both are mailboxes
        await store.accept(sent, await large(tmp_path), next_attempt_at=0, leases=leases)
        assert await store.obey(Order(kind=OrderKind.REMOVE, at=1), ["M1"]) == ["M1"]
        assert not files(tmp_path)


async def test_the_start_removes_files_that_no_message_has_and_no_others(tmp_path: Path) -> None:
    async with queue(tmp_path) as store:
        await store.accept(envelope("M1", ANN, CAT), await large(tmp_path), next_attempt_at=0)
        await store.accept(envelope("M2", ANN), await large(tmp_path), next_attempt_at=0, leases=(LEASE,))
        await written(tmp_path)  # its message was never accepted
        (tmp_path / FOLDER / "notes.txt").write_text("an operator's")
        assert len(files(tmp_path)) == 4
    async with queue(tmp_path) as store:
        assert len(files(tmp_path)) == 3
        for name in ("M1", "M2"):
            assert octets_of(await store.body(name)) == HEAD + b"".join(PIECES)


async def test_beside_damaged_segments_nothing_is_removed(tmp_path: Path) -> None:
    await written(tmp_path)
    (tmp_path / "000000000001.segment.damaged").write_bytes(b"?")
    async with queue(tmp_path):
        assert len(files(tmp_path)) == 1


async def test_a_damaged_tail_is_quarantined_with_its_reason(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with queue(tmp_path) as store:
        await store.accept(envelope("M1", ANN), await large(tmp_path), next_attempt_at=0, leases=(LEASE,))
        await store.quarantine("M1", "its content ends early")
        assert not await store.lease(10_000, limit=1, lease_seconds=60)
        found = await store.message("M1")
        assert found is not None
        assert [(each.state, each.held_because) for each in found.recipients] == [
            ("quarantined", "its content ends early")
        ]
        assert "M1: quarantined: its content ends early" in caplog.text
        await store.obey(Order(kind=OrderKind.REMOVE, at=1), ["M1"])
        assert not files(tmp_path)


@pytest.mark.parametrize(
    "stored", [b"\0LLt", b"\0LLt\xff\xff\xff\xff", b"\0LLt\0\0\0\2[]", b'\0LLt\0\0\0\x17["../../x",1,true,true]..']
)
def test_a_reference_that_cannot_be_read_is_damage_and_leads_nowhere(tmp_path: Path, stored: bytes) -> None:
    with pytest.raises(Damaged):
        Tails(tmp_path, IN_CLEAR).unpack(stored)


@pytest.mark.parametrize("seal", SEALS)
async def test_what_a_former_worker_left_is_taken_over_with_its_files(tmp_path: Path, seal: ContentSeal) -> None:
    old = tmp_path / "worker-1"
    old.mkdir()
    async with queue(old, seal) as store:
        await store.accept(envelope("M1", ANN, CAT), await large(old, seal), next_attempt_at=0)
        await store.accept(envelope("M2", ANN), await large(old, seal), next_attempt_at=0, leases=(LEASE,))
    store, _ = await open_adopting(tmp_path, 1, seal)
    assert not old.exists()
    assert len(files(tmp_path)) == 2
    for name in ("M1", "M2"):
        assert octets_of(await store.body(name)) == HEAD + b"".join(PIECES)
    assert await store.obey(Order(kind=OrderKind.REMOVE, at=1), ["M1", "M2"]) == ["M1", "M2"]
    assert not files(tmp_path)
    await store.close()


async def test_a_queue_of_version_6_is_taken_over(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path)
    await store.accept(envelope("M1", ANN), HEAD, next_attempt_at=0)
    await store.close()
    with sqlite3.connect(tmp_path / "queue.db") as old:
        old.executescript("DROP TABLE tail; PRAGMA user_version = 6;")
    old.close()
    async with queue(tmp_path) as again:
        assert await again.body("M1") == HEAD
        await again.accept(envelope("M2", ANN, CAT), await large(tmp_path), next_attempt_at=0)
        assert octets_of(await again.body("M2")) == HEAD + b"".join(PIECES)


async def test_a_message_that_was_removed_while_it_was_read_is_no_damage(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with queue(tmp_path) as store:
        await store.accept(envelope("M1", ANN, CAT), await large(tmp_path), next_attempt_at=0)
        body = await store.body("M1")
        await store.obey(Order(kind=OrderKind.REMOVE, at=1), ["M1"])
        with pytest.raises(ContentLost):
            octets_of(body)
        await store.quarantine("M1", "No such file or directory")
    assert not [each for each in caplog.records if each.levelname == "CRITICAL"]


async def test_shared_by_two_messages_each_keeps_its_own(tmp_path: Path) -> None:
    """An alias that leads to several senders makes several messages of one."""
    for seal in SEALS:
        directory = tmp_path / str(seal.encrypts)
        directory.mkdir()
        async with queue(directory, seal) as store:
            body = await large(directory, seal)
            second = await store.share(body)
            await store.accept(envelope("M1", ANN, CAT), body, next_attempt_at=0)
            await store.accept(envelope("M2", ANN, CAT), second, next_attempt_at=0)
            assert len(files(directory)) == 2
            await store.obey(Order(kind=OrderKind.REMOVE, at=1), ["M1"])
            assert len(files(directory)) == 1
        async with queue(directory, seal) as store:
            assert octets_of(await store.body("M2")) == HEAD + b"".join(PIECES)


@pytest.mark.parametrize("seal", SEALS)
@pytest.mark.parametrize("in_clear", [True, False])
async def test_a_copy_for_an_archive_is_whole_and_spooled_again_where_it_is_restored(
    tmp_path: Path, seal: ContentSeal, in_clear: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("letterlock.store.tails.SPOOLED_OCTETS", 1000)
    one, two = tmp_path / "one", tmp_path / "two"
    for directory in (one, two):
        directory.mkdir()
    async with queue(one, seal) as store:
        body = await large(one, seal)
        sent = replace(envelope("M1", ANN, CAT), size=len(body))
        await store.accept(sent, body, next_attempt_at=0)
        copy = await store.copy("M1", in_clear=in_clear)
    assert copy is not None
    assert copy.sealed is (seal.encrypts and not in_clear)
    async with queue(two, seal) as store:
        assert await store.restore("archive", copy)
        assert not await store.restore("archive", copy)
        restored = await store.body("M1")
        assert isinstance(restored, LargeContent)
        assert (restored.head, restored.dotless) == (HEAD, False)
        assert octets_of(restored) == HEAD + b"".join(PIECES)
        assert len(files(two)) == 1
        await store.obey(Order(kind=OrderKind.REMOVE, at=1), ["M1"])
        assert not files(two)


@pytest.mark.parametrize("content", [HEAD + b"a\nb\r\n" * 500, HEAD + b"x" * 2000, b"x\r\n" * 500])
async def test_what_could_not_have_arrived_in_pieces_stays_whole(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("letterlock.store.tails.SPOOLED_OCTETS", 1000)
    assert await Tails(tmp_path, IN_CLEAR).spooled(content) is content
    assert not files(tmp_path)
