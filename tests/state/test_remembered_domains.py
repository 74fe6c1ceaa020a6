"""What is remembered of domains, on disk: it survives restarts, is shared and bounded, and damage is no absence."""

import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from letterlock.memory.comparison import expectation
from letterlock.memory.remembered import Difference
from letterlock.queue.store import StoreFailed
from letterlock.state.memory_reader import MemoryReader, is_readable
from letterlock.state.remembered_domains import FILE, DomainMemoryStore, MemoryDamaged
from letterlock.state.shared_state import STATE_ENGINES, open_state
from tests.memory.lives import CLEAR, DOMAIN, GOOD, HOST, NOW, daily, remembered

LOST = replace(CLEAR, at=NOW + 1, missing=frozenset({Difference.TLS}))


async def test_it_survives_a_restart(tmp_path: Path) -> None:
    first = DomainMemoryStore.open(tmp_path)
    assert await first.learn(daily(GOOD), NOW) == []
    await first.close()
    second = DomainMemoryStore.open(tmp_path)
    assert await second.load(DOMAIN) == remembered()
    assert await second.load("other.example") is None
    assert await second.count() == 1
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    await second.close()


@pytest.mark.parametrize("engine", ["", *STATE_ENGINES])
async def test_workers_add_to_one_memory(engine: str, tmp_path: Path) -> None:
    """Each day another worker delivers: none of them has enough by itself, and no copy wins over the row."""
    states = [open_state(engine, tmp_path) for _ in range(3)] if engine else [open_state(engine, None)]
    for number, each in enumerate(daily(GOOD, days=6)):
        await states[number % len(states)].memory().learn([each], each.at)
    for state in states:
        assert await state.memory().load(DOMAIN) == remembered(days=6)
    for state in states:
        await state.close()


async def test_workers_learn_at_once(tmp_path: Path) -> None:
    ours, theirs = DomainMemoryStore.open(tmp_path), DomainMemoryStore.open(tmp_path)
    other = replace(GOOD, host="mx2.example.org")
    await asyncio.gather(*(store.learn([each], NOW) for store, each in ((ours, GOOD), (theirs, other)) * 20))
    memory = await ours.load(DOMAIN)
    assert memory is not None
    assert [each.name for each in memory.hosts] == [HOST, "mx2.example.org"]
    await ours.close()
    await theirs.close()


async def test_only_one_worker_is_told_that_a_difference_began(tmp_path: Path) -> None:
    ours, theirs = DomainMemoryStore.open(tmp_path), DomainMemoryStore.open(tmp_path)
    await ours.learn(daily(GOOD), NOW)
    told = [await each.learn([LOST], NOW + 1) for each in (ours, theirs)]
    assert [[change.what for one in each for change in one.began] for each in told] == [[Difference.TLS], []]
    assert [each.domain for each in await theirs.alarms(NOW + 2, 10)] == [DOMAIN]
    assert await theirs.alarms(NOW + 30 * 86_400, 10) == []
    await ours.close()
    await theirs.close()


async def test_forget_takes_effect_for_all(tmp_path: Path) -> None:
    ours, theirs = DomainMemoryStore.open(tmp_path), DomainMemoryStore.open(tmp_path)
    await ours.learn([*daily(GOOD), replace(GOOD, domain="b.example"), replace(GOOD, domain="c.example")], NOW)
    assert await theirs.forget([DOMAIN, "unknown.example"]) == 1
    assert await ours.load(DOMAIN) is None
    assert [domain for domain, _ in await ours.page("", 10)] == ["b.example", "c.example"]
    assert [domain for domain, _ in await ours.page("b.example", 10)] == ["c.example"]
    assert await theirs.forget(None) == 2
    assert await ours.count() == 0
    assert await ours.learn([LOST, replace(LOST, delivered=False)], NOW) == []
    await ours.close()
    await theirs.close()


async def test_it_is_bounded_and_a_crowd_of_subdomains_goes_first() -> None:
    store = DomainMemoryStore.open(None, max_domains=100)
    await store.learn(daily(GOOD), NOW)
    crowd = [replace(GOOD, domain=f"d{number}.evil.example", at=NOW + number) for number in range(1_000)]
    for start in range(0, len(crowd), 50):
        await store.learn(crowd[start : start + 50], NOW + 1_000)
    assert await store.count() <= 100
    assert await store.load(DOMAIN) is not None
    await store.close()


async def test_what_has_faded_goes_before_what_crowds() -> None:
    store = DomainMemoryStore.open(None, max_domains=10)
    await store.learn([replace(GOOD, domain=f"old{number}.example", at=NOW - 91 * 86_400) for number in range(10)], NOW)
    await store.learn([replace(GOOD, domain=f"d{number}.evil.example") for number in range(5)], NOW)
    domains = {domain for domain, _ in await store.page("", 100)}
    assert {each for each in domains if each.endswith(".evil.example")} == {f"d{n}.evil.example" for n in range(5)}
    await store.close()


async def filled(directory: Path) -> None:
    store = DomainMemoryStore.open(directory)
    await store.learn([*daily(GOOD), replace(GOOD, domain="b.example")], NOW)
    await store.close()


async def test_a_damaged_file_is_could_not_find_out_until_an_operator_begins_anew(tmp_path: Path) -> None:
    await filled(tmp_path)
    (tmp_path / FILE).write_bytes(b"no database at all" * 100)
    ours, theirs = DomainMemoryStore.open(tmp_path), DomainMemoryStore.open(tmp_path)
    for verb in (ours.load(DOMAIN), ours.learn([GOOD], NOW), ours.count(), ours.page("", 1), ours.alarms(NOW, 1)):
        with pytest.raises(MemoryDamaged):
            await verb
    with pytest.raises(MemoryDamaged):
        await ours.forget([DOMAIN])
    aside = (tmp_path / FILE).with_suffix(".damaged")
    assert not aside.exists(), "nothing is set aside without an operator"
    assert [await each.forget(None) for each in (ours, theirs)] == [0, 0]
    await ours.learn(daily(GOOD), NOW)
    assert await theirs.load(DOMAIN) == remembered()
    assert aside.read_bytes().startswith(b"no database"), "the second worker does not set aside the new file"
    await ours.close()
    await theirs.close()


async def test_a_damaged_row_fails_for_its_domain_alone(tmp_path: Path) -> None:
    await filled(tmp_path)
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("UPDATE domain_memory SET record = CAST(x'ff00' AS TEXT) WHERE domain = ?", (DOMAIN,))
    store = DomainMemoryStore.open(tmp_path)
    with pytest.raises(MemoryDamaged, match=DOMAIN):
        await store.load(DOMAIN)
    assert await store.learn([GOOD], NOW) == []
    with pytest.raises(MemoryDamaged):
        await store.load(DOMAIN)
    assert await store.load("b.example") is not None
    assert [(domain, memory is None) for domain, memory in await store.page("", 9)] == [
        ("b.example", False),
        (DOMAIN, True),
    ]
    assert await store.forget([DOMAIN]) == 1
    assert await store.load(DOMAIN) is None
    await store.close()


async def test_a_later_version_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreFailed, match="newer"):
        DomainMemoryStore.open(tmp_path)


async def test_a_reader_changes_nothing(tmp_path: Path) -> None:
    assert not is_readable(tmp_path)
    await filled(tmp_path)
    before = (tmp_path / FILE).read_bytes()
    reader = MemoryReader(tmp_path)
    assert await reader.load(DOMAIN) == remembered()
    assert [domain for domain, _ in reader.all()] == ["b.example", DOMAIN]
    assert (tmp_path / FILE).read_bytes() == before
    (tmp_path / FILE).write_bytes(b"no database at all" * 100)
    with pytest.raises(MemoryDamaged):
        reader.look(DOMAIN)


async def test_the_row_of_a_usual_domain_is_small(tmp_path: Path) -> None:
    await filled(tmp_path)
    with sqlite3.connect(tmp_path / FILE) as db:
        ((octets,),) = db.execute("SELECT length(record) FROM domain_memory WHERE domain = ?", (DOMAIN,)).fetchall()
    assert octets < 700
    assert expectation(remembered(), HOST, NOW).tls is not None
