"""Tables in files, in SQLite and in the system's list of users."""

import asyncio
import logging
import pwd
import sqlite3
from pathlib import Path

import pytest

from letterlock.lookups import sqlite_rows
from letterlock.lookups.sqlite_rows import SqliteRows
from letterlock.mail.addresses import Mailbox
from letterlock.recipients.directory import TableFailed
from letterlock.recipients.targets import Entry, Name
from letterlock.tables.file_table import LOOK_SECONDS, AliasFileTable
from letterlock.tables.row_table import RowTable
from letterlock.tables.system_users import SystemUsers


def sql(path: Path, query: str) -> RowTable:
    return RowTable("sql", SqliteRows(path, query))


class Ticks:
    """A clock that the test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def find(table: AliasFileTable | RowTable | SystemUsers, key: str) -> Entry | None:
    return asyncio.run(table.find(key))


def test_a_file_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    path, clock = tmp_path / "aliases", Ticks()
    path.write_text("root: ann\n")
    table = AliasFileTable("aliases", path, clock)
    assert find(table, "root") == (Name("ann"),)
    path.write_text("root: bob, ann\n")
    assert find(table, "root") == (Name("ann"),)
    clock.now += LOOK_SECONDS
    assert find(table, "root") == (Name("bob"), Name("ann"))


def test_a_file_that_cannot_be_read_is_a_failure_and_not_an_empty_table(tmp_path: Path) -> None:
    with pytest.raises(TableFailed, match="cannot be read: No such file"):
        find(AliasFileTable("aliases", tmp_path / "none", Ticks()), "root")


def test_a_file_that_breaks_later_keeps_what_was_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, clock = tmp_path / "aliases", Ticks()
    path.write_text("root: ann\n")
    table = AliasFileTable("aliases", path, clock)
    find(table, "root")
    path.write_bytes(b"root: \xff\xff\n")
    clock.now += LOOK_SECONDS
    assert find(table, "root") == (Name("ann"),)
    assert "what was read before is still used" in caplog.text


def test_bad_lines_are_logged_with_their_place(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "aliases"
    path.write_text('root: ann\nvac: "|/usr/bin/vacation"\n')
    with caplog.at_level(logging.WARNING):
        assert find(AliasFileTable("aliases", path, Ticks()), "vac") is None
    assert f"{path}:2: vac: a command" in caplog.text


def test_included_files_count_as_part_of_the_file(tmp_path: Path) -> None:
    members, path, clock = tmp_path / "team", tmp_path / "aliases", Ticks()
    members.write_text("ann\nbob@example.net\n")
    path.write_text(f"team: :include:{members}, carl\n")
    table = AliasFileTable("aliases", path, clock)
    assert find(table, "team") == (Name("ann"), Mailbox("bob", "example.net"), Name("carl"))
    members.write_text("dora\n")
    clock.now += LOOK_SECONDS
    assert find(table, "team") == (Name("dora"), Name("carl"))


def test_an_include_that_cannot_be_read_fails_the_table(tmp_path: Path) -> None:
    path = tmp_path / "aliases"
    path.write_text(f"team: :include:{tmp_path / 'none'}\n")
    with pytest.raises(TableFailed):
        find(AliasFileTable("aliases", path, Ticks()), "team")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "a file?.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE alias (address TEXT, target TEXT)")
        rows = [("ann@example.org", None), ("info@example.org", "ann, bob@example.net"), ("info@example.org", "carl")]
        connection.executemany("INSERT INTO alias VALUES (?, ?)", rows)
    connection.close()
    return path


QUERY = "SELECT target FROM alias WHERE address = :key"


def test_a_query_gives_targets_row_by_row(database: Path) -> None:
    table = sql(database, QUERY)
    assert find(table, "info@example.org") == (Name("ann"), Mailbox("bob", "example.net"), Name("carl"))
    assert find(table, "ann@example.org") == ()
    assert find(table, "eve@example.org") is None


def test_a_key_is_a_parameter_and_never_part_of_the_query(database: Path) -> None:
    assert find(sql(database, QUERY), "x' OR '1'='1") is None


def test_parts_of_the_key_can_be_asked_for(database: Path) -> None:
    query = "SELECT target FROM alias WHERE address = :local || '@' || :domain"
    assert find(sql(database, query), "ann@example.org") == ()


@pytest.mark.parametrize("query", ["SELECT nothing FROM alias", "DELETE FROM alias", "SELECT 1; SELECT 2"])
def test_a_query_that_cannot_be_run_fails(database: Path, query: str) -> None:
    with pytest.raises(TableFailed):
        find(sql(database, query), "@")


def test_a_database_that_is_not_there_fails_and_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "none.db"
    with pytest.raises(TableFailed, match="unable to open"):
        find(sql(path, QUERY), "@")
    assert not path.exists()


def test_a_query_without_an_end_is_stopped(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_rows, "MAX_SECONDS", 0.05)
    query = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n WHERE x < 0"
    with pytest.raises(TableFailed, match="interrupted"):
        find(sql(database, query), "@")


def test_a_target_that_cannot_be_read_fails(database: Path) -> None:
    with pytest.raises(TableFailed, match="a command"):
        find(sql(database, "SELECT '|/bin/sh'"), "@")


def test_the_users_of_this_machine_have_mailboxes() -> None:
    table = SystemUsers("system")
    assert find(table, pwd.getpwuid(0).pw_name) == ()
    assert find(table, "nobody-of-this-name") is None
    assert find(table, "root@example.org") is None
