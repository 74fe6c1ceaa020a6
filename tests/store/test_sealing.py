"""What lies on the disk: damage is told from content, and with a key nobody else can read it."""

import logging
import sqlite3
from pathlib import Path

import pytest

from letterlock.queue.store import StoreFailed
from letterlock.queue.tasks import Lease
from letterlock.store.rows import Damaged
from letterlock.store.sealing import ContentSeal
from letterlock.store.segments.segment_store import open_queue
from tests.queue.messages import ANN, BODY, SENDER, envelope

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
SECRET = b"Subject: nobody reads this\r\n\r\nsecret\r\n"
FRESH = Lease("mine", "M1", ANN.domain, 60.0)


def contents(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


@pytest.mark.parametrize("seal", [ContentSeal(), ContentSeal(KEY)])
def test_every_octet_that_changed_is_noticed(seal: ContentSeal) -> None:
    closed = seal.close("M1", BODY)
    assert seal.open("M1", closed) == BODY
    for place in range(4, len(closed)):
        changed = bytearray(closed)
        changed[place] ^= 1
        with pytest.raises(Damaged):
            seal.open("M1", bytes(changed))
    with pytest.raises(Damaged):
        seal.open("M1", closed[: len(closed) // 2])


def test_an_encrypted_content_opens_only_with_its_key_and_as_its_own_message() -> None:
    closed = ContentSeal(KEY).close("M1", SECRET)
    assert b"secret" not in closed
    for seal, message_id in ((ContentSeal(OTHER), "M1"), (ContentSeal(KEY), "M2"), (ContentSeal(), "M1")):
        with pytest.raises(Damaged):
            seal.open(message_id, closed)


def test_the_same_content_never_looks_the_same_twice() -> None:
    assert ContentSeal(KEY).close("M1", SECRET) != ContentSeal(KEY).close("M1", SECRET)


def test_what_an_older_version_wrote_is_served_as_it_is() -> None:
    assert ContentSeal(KEY).open("M1", BODY) == BODY


def test_a_key_has_32_octets() -> None:
    with pytest.raises(ValueError, match="32"):
        ContentSeal(b"short")


@pytest.mark.parametrize("leases", [(), (FRESH,)], ids=["database", "fast lane"])
async def test_with_a_key_no_content_lies_on_the_disk(tmp_path: Path, leases: tuple[Lease, ...]) -> None:
    queue = await open_queue(tmp_path, ContentSeal(KEY))
    await queue.accept(envelope("M1", ANN), SECRET, next_attempt_at=0, leases=leases)
    assert await queue.body("M1") == SECRET
    assert b"secret" not in contents(tmp_path)
    await queue.close()
    assert b"secret" not in contents(tmp_path)
    again = await open_queue(tmp_path, ContentSeal(KEY))
    assert await again.body("M1") == SECRET
    await again.close()


async def test_in_the_fast_lane_addresses_are_encrypted_too(tmp_path: Path) -> None:
    queue = await open_queue(tmp_path, ContentSeal(KEY))
    await queue.accept(envelope("M1", ANN), SECRET, next_attempt_at=0, leases=(FRESH,))
    assert str(SENDER).encode() not in contents(tmp_path)
    await queue.close()


async def test_an_encrypted_queue_is_not_opened_without_its_key(tmp_path: Path) -> None:
    await (await open_queue(tmp_path, ContentSeal(KEY))).close()
    with pytest.raises(StoreFailed, match=r"encrypted, and .* is not set"):
        await open_queue(tmp_path)
    with pytest.raises(StoreFailed, match="another key"):
        await open_queue(tmp_path, ContentSeal(OTHER))
    await (await open_queue(tmp_path, ContentSeal(KEY))).close()


async def test_a_queue_that_was_in_clear_goes_on_encrypted(tmp_path: Path) -> None:
    before = await open_queue(tmp_path)
    await before.accept(envelope("M1", ANN), BODY, next_attempt_at=0)
    await before.close()
    after = await open_queue(tmp_path, ContentSeal(KEY))
    assert await after.body("M1") == BODY
    await after.close()


async def test_a_damaged_content_is_quarantined_and_told_and_never_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    queue = await open_queue(tmp_path)
    await queue.accept(envelope("M1", ANN), BODY, next_attempt_at=0)
    await queue.close()
    with sqlite3.connect(tmp_path / "queue.db") as database:
        [(content,)] = database.execute("SELECT content FROM body").fetchall()
        database.execute("UPDATE body SET content = ?", (content.replace(b"hello", b"hallo"),))
    database.close()
    queue = await open_queue(tmp_path)
    [leased] = await queue.lease(0, limit=10, lease_seconds=60)
    with caplog.at_level(logging.CRITICAL), pytest.raises(KeyError):
        await queue.body("M1")
    assert "M1: quarantined" in caplog.text
    assert await queue.lease(leased.lease.expires_at + 1, limit=10, lease_seconds=60) == []
    [message] = await queue.messages(limit=10)
    assert [each.state for each in message.recipients] == ["quarantined"]
    await queue.close()
