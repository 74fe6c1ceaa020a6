"""A queue that cannot be opened at start: the hint says what helps against this very error."""

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from letterlock.queue.store import NewerStore, QueueInUse, StoreFailed, StoreFull, WrongKey
from letterlock.sqlite.writer import explain
from letterlock.store.sealing import ContentSeal
from letterlock.store.sqlite.opening import VERSION
from letterlock.store.sqlite.sqlite_store import FILE, SqliteStore
from tests.cli.running import letterlock


async def hint_at_start(directory: Path) -> str:
    """What `letterlock serve` on this queue says after "hint:"."""
    config = directory.with_suffix(".toml")
    config.write_text(
        f'[queue]\ndirectory = "{directory}"\n'
        '[smtp]\nlisten = ["127.0.0.1:0"]\n[resolver]\nupstream = ["127.0.0.1:1"]\n'
    )
    ran = await letterlock("serve", "--config", config)
    assert ran.status == 1, ran.err
    return ran.err.rpartition("hint: ")[2].strip()


async def test_for_a_key_that_is_not_set_it_is_to_restore_the_key(tmp_path: Path) -> None:
    directory = tmp_path / "queue"
    directory.mkdir(mode=0o700)
    await (await SqliteStore.open(directory, ContentSeal(bytes(32)))).close()
    assert await hint_at_start(directory) == WrongKey.hint


async def test_for_a_queue_of_a_newer_version_it_is_to_install_that_one(tmp_path: Path) -> None:
    directory = tmp_path / "queue"
    directory.mkdir(mode=0o700)
    with sqlite3.connect(directory / FILE) as newer:
        newer.execute(f"PRAGMA user_version = {VERSION + 1}")
    newer.close()
    assert await hint_at_start(directory) == NewerStore.hint


def test_each_kind_of_failure_has_a_hint_of_its_own() -> None:
    kinds = (StoreFailed, StoreFull, WrongKey, NewerStore, QueueInUse)
    assert len({kind.hint for kind in kinds}) == len(kinds)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_disk_without_room_is_full_whatever_was_being_opened(number: int) -> None:
    assert isinstance(explain(OSError(number, os.strerror(number)), "cannot read the queue in /q"), StoreFull)


def test_any_other_error_names_what_could_not_be_opened() -> None:
    failed = explain(OSError(errno.EIO, os.strerror(errno.EIO)), "cannot read the queue in /q")
    assert (type(failed), str(failed)) == (StoreFailed, "cannot read the queue in /q: Input/output error")
