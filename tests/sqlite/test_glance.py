"""A glance sees what is committed, keeps nobody away, and waits for nobody."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from letterlock.sqlite.glance import Glance, NotSeen
from letterlock.state.policies import FILE as POLICIES
from letterlock.state.policies import PolicyStore
from letterlock.state.remembered_domains import FILE as MEMORY
from letterlock.state.remembered_domains import DomainMemoryStore

ONE = "SELECT value FROM found WHERE name = ?"


def text(octets: bytes) -> str:
    return octets.decode("utf-8", "backslashreplace")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with closing(writer(tmp_path / "file.db")) as db:
        db.execute("CREATE TABLE found (name TEXT PRIMARY KEY, value TEXT) STRICT")
        db.execute("INSERT INTO found VALUES ('a', 'one')")
    return tmp_path / "file.db"


@pytest.fixture
def glance(path: Path) -> Iterator[Glance]:
    with closing(Glance(path, text)) as found:
        yield found


def writer(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=0)


def test_it_sees_what_another_process_has_committed_and_nothing_before(path: Path, glance: Glance) -> None:
    assert glance.row(ONE, ("a",)) == ("one",)
    with closing(writer(path)) as db:
        db.execute("BEGIN IMMEDIATE")
        db.execute("UPDATE found SET value = 'two'")
        assert glance.row(ONE, ("a",)) == ("one",)
        db.execute("COMMIT")
        assert glance.row(ONE, ("a",)) == ("two",)
        assert glance.row(ONE, ("b",)) is None
        db.execute("DELETE FROM found")
        assert glance.row(ONE, ("a",)) is None


def test_it_does_not_wait_for_a_lock(path: Path, glance: Glance) -> None:
    with closing(writer(path)) as db:
        db.execute("BEGIN EXCLUSIVE")
        with pytest.raises(NotSeen):
            glance.row(ONE, ("a",))
        db.execute("ROLLBACK")
    assert glance.row(ONE, ("a",)) == ("one",)


def test_it_changes_nothing_and_makes_no_file(path: Path, tmp_path: Path, glance: Glance) -> None:
    with pytest.raises(NotSeen):
        glance.row("DELETE FROM found WHERE name = ?", ("a",))
    assert glance.row(ONE, ("a",)) == ("one",)
    with closing(Glance(tmp_path / "none.db", text)) as nothing, pytest.raises(NotSeen):
        nothing.row(ONE, ("a",))
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_damage_is_not_absence(path: Path, glance: Glance) -> None:
    path.write_bytes(b"not a database" * 300)
    with pytest.raises(NotSeen):
        glance.row(ONE, ("a",))


def test_of_a_database_in_memory_it_sees_nothing() -> None:
    with pytest.raises(NotSeen):
        Glance(None, text).row(ONE, ("a",))


async def test_neither_store_takes_the_write_lock_to_find_that_nothing_is_remembered(tmp_path: Path) -> None:
    """Workers would wait for each other, five seconds at most, at every message to a destination."""
    policies, memory = PolicyStore.open(tmp_path), DomainMemoryStore.open(tmp_path)
    with closing(writer(tmp_path / POLICIES)) as first, closing(writer(tmp_path / MEMORY)) as second:
        first.execute("BEGIN IMMEDIATE")
        second.execute("BEGIN IMMEDIATE")
        assert await policies.load("example.org", 1_800_000_000.0) is None
        assert await memory.load("example.org") is None
    await policies.close()
    await memory.close()


async def test_what_a_store_has_closed_is_open_no_more(tmp_path: Path) -> None:
    def held() -> int:
        links = (each.resolve() for each in Path("/proc/self/fd").iterdir())
        return sum(link.is_relative_to(tmp_path) for link in links)

    policies, memory = PolicyStore.open(tmp_path), DomainMemoryStore.open(tmp_path)
    await policies.load("example.org")
    await memory.load("example.org")
    assert held() == 4
    await policies.close()
    await memory.close()
    assert held() == 0
