"""Remembered MTA-STS policies on disk: RFC 8461 sections 3.3 and 10.2."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from letterlock.mtasts import Change, KnownPolicy, Mode, StsPolicy
from letterlock.queue.store import StoreFailed
from letterlock.store.sts import FILE, PolicyStore

NOW = 1_800_000_000.0
FULL = KnownPolicy(
    domain="example.org",
    id="20270115",
    policy=StsPolicy(mode=Mode.ENFORCE, max_age_seconds=604_800, mx=("mx.example.org", "*.example.net")),
    fetched_at=NOW,
    expires_at=NOW + 604_800,
    refresh_at=NOW + 86_400.5,
    last_failure="nicht erreichbar: \u00fc",
    https_blocked_since=NOW + 1,
    txt_blocked_since=NOW + 2,
    history=(
        Change(at=NOW - 1, old_mode=None, old_id=None, new_mode=Mode.TESTING, new_id="1"),
        Change(at=NOW, old_mode=Mode.TESTING, old_id="1", new_mode=Mode.ENFORCE, new_id="20270115"),
    ),
)
BARE = KnownPolicy(
    domain="none.example",
    id="1",
    policy=StsPolicy(mode=Mode.NONE, max_age_seconds=0, mx=()),
    fetched_at=NOW,
    expires_at=NOW + 10,
    refresh_at=NOW,
)


async def stored(directory: Path, *policies: KnownPolicy) -> None:
    store = PolicyStore.open(directory)
    for known in policies:
        await store.save(known)
    await store.close()


async def read(directory: Path) -> list[KnownPolicy]:
    store = PolicyStore.open(directory)
    found = await store.load_all()
    await store.close()
    return list(found)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def damage(directory: Path, sql: str) -> None:
    connection = sqlite3.connect(directory / FILE)
    with connection:
        connection.execute(sql)
    connection.close()


async def test_rfc8461_3_3_what_is_remembered_survives_a_restart(tmp_path: Path) -> None:
    await stored(tmp_path, BARE, FULL)
    store = PolicyStore.open(tmp_path)
    assert await store.load("example.org") == FULL
    assert await store.load("none.example") == BARE
    assert await store.load("other.example") is None
    assert await store.load_all() == [FULL, BARE]
    await store.close()
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


async def test_a_domain_has_one_policy_and_can_be_forgotten(tmp_path: Path) -> None:
    await stored(tmp_path, FULL, replace(FULL, id="2"))
    store = PolicyStore.open(tmp_path)
    assert await store.load_all() == [replace(FULL, id="2")]
    await store.delete("example.org")
    await store.delete("example.org")
    assert await store.load("example.org") is None
    await store.close()
    assert await read(tmp_path) == []


async def test_rfc8461_10_2_due_are_those_that_hold_the_longest_due_first(tmp_path: Path) -> None:
    def entry(name: str, refresh_at: float, expires_at: float) -> KnownPolicy:
        return replace(BARE, domain=name, refresh_at=refresh_at, expires_at=expires_at)

    store = PolicyStore.open(tmp_path)
    for known in (
        entry("now.example", NOW, NOW + 1),
        entry("earlier.example", NOW - 5, NOW + 1),
        entry("later.example", NOW + 0.1, NOW + 1),
        entry("expired.example", NOW - 9, NOW),
    ):
        await store.save(known)
    assert [known.domain for known in await store.due(NOW, 10)] == ["earlier.example", "now.example"]
    assert [known.domain for known in await store.due(NOW, 1)] == ["earlier.example"]
    await store.close()


async def test_the_number_of_policies_is_bounded_and_what_expires_first_goes() -> None:
    store = PolicyStore.open(None, max_policies=3)
    for number, expires_at in enumerate((30.0, 10.0, 20.0, 5.0, 40.0)):
        await store.save(replace(BARE, domain=f"{number}.example", expires_at=expires_at))
    assert [known.expires_at for known in await store.load_all()] == [30.0, 20.0, 40.0]
    await store.save(replace(BARE, domain="new.example", expires_at=1.0))
    assert (await store.load("new.example")) is not None  # what was learnt just now stays
    assert len(await store.load_all()) == 3
    await store.close()


@pytest.mark.parametrize(
    "change",
    [
        "mode = 'enforced'",
        "mx = '[1]'",
        "mx = '{}'",
        "mx = 'mx.example.org'",
        "mx = '[]'",
        "history = '[[1]]'",
        "history = '7'",
        """history = '[[1, null, null, "loud", "2"]]'""",
        """history = '[["x", null, null, "none", "2"]]'""",
        "mx = replace(hex(zeroblob(30000)), '00', '[')",
        "mx = CAST(x'ff' AS TEXT)",
    ],
)
async def test_a_damaged_row_is_dropped_and_told_of(
    change: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await stored(tmp_path, FULL, BARE)
    damage(tmp_path, f"UPDATE sts_policy SET {change} WHERE domain = 'example.org'")  # noqa: S608  # a test's own text
    assert await read(tmp_path) == [BARE]
    assert "'example.org' is damaged and dropped" in caplog.text
    caplog.clear()
    assert await read(tmp_path) == [BARE]
    assert caplog.text == ""


async def test_a_file_that_is_no_database_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE).write_bytes(b"no database " * 100)
    await stored(tmp_path, FULL)
    assert await read(tmp_path) == [FULL]
    assert names(tmp_path) == ["policies.damaged", "policies.db"]
    assert "set aside" in caplog.text


async def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    await stored(tmp_path, FULL)
    damage(tmp_path, "PRAGMA user_version = 2")
    with pytest.raises(StoreFailed, match="newer Letterlock"):
        PolicyStore.open(tmp_path)


async def test_a_directory_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(StoreFailed, match="cannot open"):
        PolicyStore.open(tmp_path / "missing")


async def test_a_store_that_lost_its_table_says_so(tmp_path: Path) -> None:
    store = PolicyStore.open(tmp_path)
    damage(tmp_path, "DROP TABLE sts_policy")
    with pytest.raises(StoreFailed):
        await store.load("example.org")
    await store.close()


async def test_two_processes_may_have_the_file_open(tmp_path: Path) -> None:
    one, other = PolicyStore.open(tmp_path), PolicyStore.open(tmp_path)
    await one.save(FULL)
    assert await other.load("example.org") == FULL
    await other.delete("example.org")
    assert await one.load("example.org") is None
    await one.close()
    await other.close()
