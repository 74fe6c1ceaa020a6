"""Group commit: who pays together, who falls alone, and what a disk that fails does to whom."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from letterlock.queue.store import StoreFailed, StoreFull
from letterlock.sqlite.writer import MAX_SHORT_GROUP, Writer

Work = Callable[[sqlite3.Connection], object]


class Disk(sqlite3.Connection):
    """A connection that fails when it is told to, and counts commits."""

    failing: str | None = None
    commits = 0

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if self.failing is not None and sql.startswith(self.failing):
            raise sqlite3.OperationalError("disk I/O error")
        if sql == "COMMIT":
            self.commits += 1
        return super().execute(sql, *parameters)


@asynccontextmanager
async def writing(directory: Path) -> AsyncIterator[tuple[Writer, Disk]]:
    disk = sqlite3.connect(directory / "db", isolation_level=None, check_same_thread=False, factory=Disk)
    disk.execute("PRAGMA journal_mode = WAL")
    disk.execute("CREATE TABLE line (text TEXT NOT NULL UNIQUE)")
    writer = Writer(disk)
    try:
        yield writer, disk
    finally:
        await writer.close()


def insert(text: str) -> Work:
    def work(db: sqlite3.Connection) -> str:
        db.execute("INSERT INTO line VALUES (?)", (text,))
        return text

    return work


def lines(directory: Path) -> set[str]:
    """What is on disk, as another process would see it."""
    with sqlite3.connect(directory / "db") as other:
        found = {text for (text,) in other.execute("SELECT text FROM line")}
    other.close()
    return found


@pytest.mark.parametrize("aside", [False, True], ids=["in the loop", "in the thread"])
async def test_those_who_come_together_pay_one_commit(tmp_path: Path, aside: bool) -> None:
    async with writing(tmp_path) as (writer, disk):
        do = writer.do_aside if aside else writer.do
        assert await asyncio.gather(*(do(insert(f"l{number}")) for number in range(20))) == [
            f"l{number}" for number in range(20)
        ]
        assert disk.commits == 1
        assert len(lines(tmp_path)) == 20


async def test_a_turn_of_the_loop_does_only_so_much(tmp_path: Path) -> None:
    async with writing(tmp_path) as (writer, disk):
        await asyncio.gather(*(writer.do(insert(f"l{number}")) for number in range(3 * MAX_SHORT_GROUP)))
        assert disk.commits == 3


async def test_short_and_long_work_keep_their_order(tmp_path: Path) -> None:
    seen: list[int] = []

    def look(number: int) -> Work:
        return lambda _: seen.append(number)

    async with writing(tmp_path) as (writer, _):
        await asyncio.gather(*((writer.do if number % 3 else writer.do_aside)(look(number)) for number in range(30)))
    assert seen == list(range(30))


@pytest.mark.parametrize("aside", [False, True], ids=["in the loop", "in the thread"])
async def test_who_fails_takes_only_himself_back(tmp_path: Path, aside: bool) -> None:
    def half(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO line VALUES ('half')")
        raise KeyError("mine")

    async with writing(tmp_path) as (writer, _):
        do = writer.do_aside if aside else writer.do
        results = await asyncio.gather(
            do(insert("a")), do(half), do(insert("a")), do(insert("b")), return_exceptions=True
        )
    assert results[0] == "a"
    assert isinstance(results[1], KeyError)
    assert isinstance(results[2], StoreFailed), "the same line twice"
    assert results[3] == "b"
    assert lines(tmp_path) == {"a", "b"}


async def test_a_commit_that_fails_is_tried_for_each_alone(tmp_path: Path) -> None:
    class Once(Disk):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            if sql == "COMMIT" and self.failing == "once":
                self.failing = None
                raise sqlite3.OperationalError("disk I/O error")
            return (
                super().execute(sql, *parameters)
                if self.failing != "once"
                else sqlite3.Connection.execute(self, sql, *parameters)
            )

    disk = sqlite3.connect(tmp_path / "db", isolation_level=None, check_same_thread=False, factory=Once)
    disk.execute("CREATE TABLE line (text TEXT NOT NULL UNIQUE)")
    disk.failing = "once"
    writer = Writer(disk)
    assert await asyncio.gather(*(writer.do(insert(text)) for text in "abc")) == ["a", "b", "c"]
    await writer.close()
    assert lines(tmp_path) == {"a", "b", "c"}


@pytest.mark.parametrize("statement", ["COMMIT", "BEGIN"])
async def test_a_disk_that_fails_accepts_nothing_and_recovers(tmp_path: Path, statement: str) -> None:
    async with writing(tmp_path) as (writer, disk):
        disk.failing = statement
        results = await asyncio.gather(*(writer.do(insert(text)) for text in "abc"), return_exceptions=True)
        assert all(isinstance(each, StoreFailed) for each in results)
        disk.failing = None
        assert lines(tmp_path) == set()
        assert await writer.do(insert("d")) == "d"
    assert lines(tmp_path) == {"d"}


async def test_a_full_disk_says_so_and_what_fits_is_kept(tmp_path: Path) -> None:
    async with writing(tmp_path) as (writer, disk):
        (pages,) = disk.execute("PRAGMA page_count").fetchone()
        disk.execute(f"PRAGMA max_page_count = {pages + 20}")
        results = await asyncio.gather(
            writer.do(insert("a")), writer.do(insert("x" * 1_000_000)), writer.do(insert("b")), return_exceptions=True
        )
        assert results[0] == "a"
        assert isinstance(results[1], StoreFull)
        assert results[2] == "b"
    assert lines(tmp_path) == {"a", "b"}


async def test_who_gave_up_waiting_takes_nothing_from_the_others(tmp_path: Path) -> None:
    async with writing(tmp_path) as (writer, _):
        waiting = [asyncio.ensure_future(writer.do(insert(text))) for text in "abc"]
        await asyncio.sleep(0)
        waiting[1].cancel()
        assert await waiting[0] == "a"
        assert await waiting[2] == "c"


async def test_close_finishes_what_was_asked_for_and_then_nothing_is_taken(tmp_path: Path) -> None:
    async with writing(tmp_path) as (writer, _):
        asked = [asyncio.ensure_future(writer.do(insert(f"l{number}"))) for number in range(100)]
        await asyncio.sleep(0)
        await writer.close()
        assert len(await asyncio.gather(*asked)) == 100
        with pytest.raises(StoreFailed, match="closed"):
            await writer.do(insert("late"))
        await writer.close()
    assert len(lines(tmp_path)) == 100
