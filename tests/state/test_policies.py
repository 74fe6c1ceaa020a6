"""Remembered MTA-STS policies on disk: RFC 8461 sections 3.3 and 10.2."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from letterlock.mtasts import Change, KnownPolicy, Mode, StsPolicy
from letterlock.queue.store import StoreFailed
from letterlock.state import policies as policies_module
from letterlock.state.policies import FILE, PolicyStore

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


async def keep(store: PolicyStore, known: KnownPolicy, *, at: float = NOW) -> None:
    """Store a policy, whatever is there."""
    assert await store.swap(known.domain, await store.load(known.domain), known, at)


async def stored(directory: Path, *policies: KnownPolicy) -> None:
    store = PolicyStore.open(directory)
    for known in policies:
        await keep(store, known)
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
    assert await store.swap("example.org", replace(FULL, id="2"), None, NOW)
    assert await store.swap("example.org", None, None, NOW)
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
        await keep(store, known)
    assert [known.domain for known in await store.due(NOW, 10)] == ["earlier.example", "now.example"]
    assert [known.domain for known in await store.due(NOW, 1)] == ["earlier.example"]
    await store.close()


def short(domain: str) -> KnownPolicy:
    return replace(BARE, domain=domain, expires_at=NOW + 604_800)


def long(domain: str) -> KnownPolicy:
    return replace(BARE, domain=domain, expires_at=NOW + 31_557_600)


async def domains(store: PolicyStore) -> set[str]:
    return {known.domain for known in await store.load_all()}


async def test_the_number_of_policies_is_bounded_and_expired_ones_go_first() -> None:
    store = PolicyStore.open(None, max_policies=3)
    for number, expires_at in enumerate((NOW + 30, NOW - 1, NOW + 20)):
        await keep(store, replace(BARE, domain=f"{number}.example", expires_at=expires_at), at=NOW - 100 + number)
    await keep(store, replace(BARE, domain="new.example", expires_at=NOW - 2))
    assert await domains(store) == {"0.example", "2.example", "new.example"}  # what was learnt just now stays
    await store.close()


@pytest.mark.parametrize("names", ["{}.evil.test", "{}.x.evil.test", "{}.evil.co.uk", "a.{}.evil.co.uk"])
async def test_long_policies_of_one_owner_do_not_push_out_a_short_one(names: str) -> None:
    """However late they come, and whatever the public suffix is."""
    store = PolicyStore.open(None, max_policies=20)
    honest = {"bank.test", "other.test", "bank.co.uk", "mail.bank.co.uk", "shop.co.uk"}
    for name in honest:
        await keep(store, short(name), at=NOW)
    for number in range(100):
        await keep(store, long(names.format(number)), at=NOW + 1 + number)
    assert honest < await domains(store)
    assert len(await domains(store)) == 20
    await store.close()


async def test_of_equals_the_least_recently_used_is_forgotten_and_a_refresh_is_no_use() -> None:
    store = PolicyStore.open(None, max_policies=3)
    for number, name in enumerate(("idle.test", "busy.test", "refreshed.test")):
        await keep(store, short(name), at=NOW + number)
    await store.load("busy.test", NOW + 86_400)
    await store.load("idle.test", NOW + 3_600)  # within the step in which use is written down
    known = await store.load("refreshed.test")
    assert await store.swap("refreshed.test", known, replace(short("refreshed.test"), id="2"), NOW + 86_400)
    await keep(store, long("first.example"), at=NOW + 90_000)
    assert await domains(store) == {"busy.test", "refreshed.test", "first.example"}
    await keep(store, long("second.example"), at=NOW + 90_001)
    assert await domains(store) == {"busy.test", "first.example", "second.example"}
    await store.close()


async def test_room_is_made_for_many_at_once(tmp_path: Path) -> None:
    store = PolicyStore.open(tmp_path, max_policies=200)
    for number in range(201):
        await keep(store, long(f"{number}.evil.test"), at=NOW + number)
    assert len(await domains(store)) == 199
    await store.close()


async def test_a_file_of_version_1_is_taken_over(tmp_path: Path) -> None:
    await stored(tmp_path, FULL)
    damage(tmp_path, "ALTER TABLE sts_policy DROP COLUMN used_at")
    damage(tmp_path, "PRAGMA user_version = 1")
    one, other = PolicyStore.open(tmp_path), PolicyStore.open(tmp_path)
    assert await other.load("example.org", NOW) == FULL
    await one.close()
    await other.close()


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
    damage(tmp_path, "PRAGMA user_version = 3")
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


async def test_a_damaged_row_is_replaced_by_who_remembers_what_it_was(tmp_path: Path) -> None:
    store = PolicyStore.open(tmp_path)
    await keep(store, FULL)
    damage(tmp_path, "UPDATE sts_policy SET mode = 'enforced'")
    assert await store.swap("example.org", FULL, replace(FULL, id="2"), NOW)
    assert await store.load("example.org") == replace(FULL, id="2")
    await store.close()


async def test_a_worker_does_not_set_aside_what_another_has_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both find the damaged file; the slower one must not take the new file from the other."""
    (tmp_path / FILE).write_bytes(b"no database at all, and long enough to be seen as such" * 20)
    connect, faster = policies_module._connect, list[PolicyStore]()

    def connecting(path: str) -> sqlite3.Connection:
        try:
            return connect(path)
        except sqlite3.DatabaseError:
            if not faster:
                monkeypatch.setattr(policies_module, "_connect", connect)
                faster.append(PolicyStore.open(tmp_path))
            raise

    monkeypatch.setattr(policies_module, "_connect", connecting)
    slower = PolicyStore.open(tmp_path)
    await keep(faster[0], FULL)
    assert await slower.load(FULL.domain) == FULL
    for store in (slower, *faster):
        await store.close()
    assert await read(tmp_path) == [FULL]
