"""The contract of the statistics that several workers share: counts add up, and the file is bounded."""

import asyncio
import random
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from letterlock.queue.store import NewerStore, StoreFailed
from letterlock.state import statistics_store
from letterlock.state.statistics_rows import (
    DAY_SECONDS,
    HOUR_SECONDS,
    OTHER,
    OTHER_DESTINATIONS,
    DeliveryShape,
    Grain,
    KeptPeriods,
)
from letterlock.state.statistics_store import (
    MAX_SHAPES_OF_DESTINATION,
    STATISTICS_FILE,
    StatisticsKey,
    StatisticsStore,
)

NOON = 1_796_040_000  # 2026-11-30 12:00 UTC: tomorrow is in another month
KEPT = KeptPeriods(hours=48, days=60, months=12, destinations=10)
CLEAR = DeliveryShape("delivered", protection="clear")
TLS = DeliveryShape("delivered", "", "encrypted", "", "", "starttls", "TLSv1.3", "TLS_AES_256_GCM_SHA384", "X25519")
EVER = (0, NOON + 40 * DAY_SECONDS)


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[tuple[StatisticsStore, StatisticsStore]]:
    """One database as two workers see it."""
    ours, theirs = StatisticsStore.open(tmp_path), StatisticsStore.open(tmp_path)
    yield ours, theirs
    await ours.close()
    await theirs.close()


@pytest.fixture
async def store() -> AsyncIterator[StatisticsStore]:
    """A database in memory."""
    opened = StatisticsStore.open(None)
    yield opened
    await opened.close()


def key(destination: str, shape: DeliveryShape = CLEAR, hour: int = NOON) -> StatisticsKey:
    return StatisticsKey(hour, destination, shape)


async def test_what_workers_count_adds_up_in_any_order(both: tuple[StatisticsStore, StatisticsStore]) -> None:
    chance, whole, work = random.Random(5), Counter[StatisticsKey](), []
    for _ in range(30):
        part = Counter(
            key(
                f"d{chance.randrange(5)}.example",
                chance.choice((CLEAR, TLS)),
                NOON + chance.randrange(3) * HOUR_SECONDS,
            )
            for _ in range(chance.randrange(1, 20))
        )
        whole += part
        work.append(chance.choice(both).add(part, KEPT, NOON))
    await asyncio.gather(*work)
    for store in both:
        for grain in Grain:
            found = await store.totals(grain, *EVER)
            assert sum(each.attempts for each in found) == whole.total()
        hours = {
            (each.start, each.shape): each.attempts
            for each in await store.of_destination(Grain.HOUR, *EVER, "d1.example")
        }
        assert hours == {(at.hour, at.shape): n for at, n in whole.items() if at.destination == "d1.example"}


async def test_hours_days_and_months_begin_at_their_utc_boundaries(store: StatisticsStore) -> None:
    for hour in (NOON, NOON + 13 * HOUR_SECONDS):
        await store.add({key("a.example", hour=hour): 1}, KEPT, NOON)
    starts = [[each.start for each in await store.totals(grain, *EVER)] for grain in Grain]
    midnight = NOON + 12 * HOUR_SECONDS
    assert starts[0] == [NOON, NOON + 13 * HOUR_SECONDS]
    assert starts[1] == [NOON - 12 * HOUR_SECONDS, midnight]
    assert starts[2] == [midnight - 30 * DAY_SECONDS, midnight], "the first of November, and of December"


async def test_a_period_names_the_largest_and_its_total_is_exact(store: StatisticsStore) -> None:
    small = {key(f"s{number}.example"): 1 for number in range(19)}
    await store.add({**small, key("large.example"): 50}, KEPT, NOON)
    names, named = await store.largest(Grain.HOUR, *EVER, 100)
    assert named == len(names) == 20, "twice as many as are kept have room"
    await store.add({key("one-more.example"): 7}, KEPT, NOON)
    names, named = await store.largest(Grain.HOUR, *EVER, 3)
    assert named == 10
    assert names[:2] == ["large.example", "one-more.example"]
    others = await store.of_destination(Grain.HOUR, *EVER, OTHER_DESTINATIONS)
    assert [each.attempts for each in others] == [11]
    assert sum(each.attempts for each in await store.totals(Grain.MONTH, *EVER)) == 76


async def test_a_latecomer_with_much_mail_stays_named(store: StatisticsStore) -> None:
    chance = random.Random(3)
    for _ in range(40):
        crowd = {key(f"c{chance.randrange(10_000)}.example"): 1 for _ in range(15)}
        await store.add({**crowd, key("late.example"): 3}, KEPT, NOON)
    names, named = await store.largest(Grain.MONTH, *EVER, 1)
    assert names == ["late.example"]
    assert named <= 2 * KEPT.destinations
    assert [each.attempts for each in await store.of_destination(Grain.MONTH, *EVER, "late.example")] == [120]


async def test_destinations_of_many_shapes_have_no_more_rows_than_others(store: StatisticsStore) -> None:
    for number in range(12):
        shapes = [TLS._replace(cipher=f"c{each}") for each in range(10)]
        await store.add({key(f"d{number}.example", each): 20 - number for each in shapes}, KEPT, NOON)
    names, named = await store.largest(Grain.DAY, *EVER, 20)
    rows = [await store.of_destination(Grain.DAY, *EVER, name) for name in names]
    assert sum(map(len, rows)) <= 4 * KEPT.destinations
    assert names[0] == "d0.example", "the largest stays"
    assert 2 <= named <= 4
    assert sum(each.attempts for each in await store.totals(Grain.DAY, *EVER)) == 10 * sum(range(9, 21))


async def test_a_server_that_varies_its_ciphers_cannot_fill_the_file(
    store: StatisticsStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics_store, "MAX_SHAPES", 100)
    for number in range(300):
        await store.add({key("evil.example", TLS._replace(cipher=f"c{number}")): 1}, KEPT, NOON)
    found = await store.of_destination(Grain.HOUR, *EVER, "evil.example")
    assert len(found) == MAX_SHAPES_OF_DESTINATION + 1
    assert sum(each.attempts for each in found) == 300
    assert {each.shape.protection for each in found} == {"encrypted"}
    totals = await store.totals(Grain.HOUR, *EVER)
    assert len(totals) == 100, "the coarse one among them"
    assert max(totals, key=lambda each: each.attempts).shape.cipher == OTHER


async def test_what_is_older_than_is_kept_is_forgotten(store: StatisticsStore) -> None:
    await store.add({key("a.example"): 1}, KEPT, NOON)
    later = NOON + 400 * DAY_SECONDS
    await store.add({key("a.example", hour=later): 1}, KEPT, later)
    forever = (0, later + DAY_SECONDS * 40)
    for grain in Grain:
        assert [each.start for each in await store.totals(grain, *forever)] == [grain.start(later)]
        assert len(await store.of_destination(grain, *forever, "a.example")) == 1


async def test_the_oldest_period_that_is_kept_is_whole(store: StatisticsStore) -> None:
    await store.add({key("a.example"): 1}, KEPT, NOON)
    later = NOON + KEPT.hours * HOUR_SECONDS
    await store.add({key("a.example", hour=later): 1}, KEPT, later + 3_599)
    assert [each.start for each in await store.totals(Grain.HOUR, *EVER)] == [NOON, later]


async def test_it_survives_a_restart(tmp_path: Path) -> None:
    for _ in range(2):
        store = StatisticsStore.open(tmp_path)
        await store.add({key("a.example", TLS): 2}, KEPT, NOON)
        await store.close()
    store = StatisticsStore.open(tmp_path)
    assert [each.attempts for each in await store.totals(Grain.DAY, *EVER)] == [4]
    await store.close()


KILLED = """
import asyncio, sys
from pathlib import Path
from letterlock.state.statistics_rows import DeliveryShape, KeptPeriods
from letterlock.state.statistics_store import StatisticsKey, StatisticsStore

async def main():
    store = StatisticsStore.open(Path(sys.argv[1]))
    for number in range(10**6):
        key = StatisticsKey(int(sys.argv[2]), f"d{number % 50}.example", DeliveryShape("delivered", protection="clear"))
        await store.add({key: 1}, KeptPeriods(48, 60, 12, 10), float(sys.argv[2]))
        if number == 20:
            print("writing", flush=True)

asyncio.run(main())
"""


async def test_a_worker_that_is_killed_leaves_whole_transactions_and_others_go_on(tmp_path: Path) -> None:
    ours = StatisticsStore.open(tmp_path)
    writing = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, str(tmp_path), str(NOON), stdout=asyncio.subprocess.PIPE
    )
    assert writing.stdout is not None
    assert await writing.stdout.readline() == b"writing\n"
    writing.kill()
    await writing.wait()
    await ours.add({key("a.example"): 1}, KEPT, NOON)
    totals = {grain: sum(each.attempts for each in await ours.totals(grain, *EVER)) for grain in Grain}
    assert len(set(totals.values())) == 1, "each write is in all periods, or in none"
    assert totals[Grain.HOUR] > 21
    await ours.close()
    with closing(sqlite3.connect(tmp_path / STATISTICS_FILE)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        named = db.execute("SELECT sum(attempts) FROM rollup WHERE grain = 0").fetchone()[0]
        assert named == totals[Grain.HOUR], "what is named and what is not are the total"


async def test_what_could_not_be_written_leaves_nothing_behind(
    both: tuple[StatisticsStore, StatisticsStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, _ = both
    with closing(sqlite3.connect(tmp_path / STATISTICS_FILE)) as other:
        other.execute("CREATE TRIGGER t BEFORE INSERT ON total BEGIN SELECT RAISE(FAIL, 'no'); END")
        with pytest.raises(StoreFailed):
            await ours.add({key("a.example", TLS): 2}, KEPT, NOON)
        other.execute("DROP TRIGGER t")
    await ours.add({key("a.example", TLS): 2}, KEPT, NOON)
    (found,) = await ours.of_destination(Grain.HOUR, *EVER, "a.example")
    assert found.attempts == 2
    assert found.shape == TLS, "the number of a shape that was rolled back is not remembered"


async def test_a_file_of_the_future_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / STATISTICS_FILE
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(NewerStore, match="newer Letterlock"):
        StatisticsStore.open(tmp_path)


async def test_a_damaged_file_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / STATISTICS_FILE).write_bytes(b"no database" * 1000)
    store = StatisticsStore.open(tmp_path)
    await store.add({key("a.example"): 1}, KEPT, NOON)
    await store.close()
    assert (tmp_path / STATISTICS_FILE).with_suffix(".damaged").exists()


@pytest.mark.parametrize("moment", [0, 951_782_400, NOON, 4_102_444_799])  # the epoch, a leap day, 2099
@pytest.mark.parametrize("grain", list(Grain))
def test_periods_follow_one_another_without_a_gap(grain: Grain, moment: int) -> None:
    start = grain.start(moment)
    assert start <= moment < grain.after(start)
    assert grain.start(grain.after(start) - 1) == start
    if start:
        assert grain.before(grain.after(start), 1) == start
