"""`letterlock stats`: for people on any terminal, and the same as JSON and CSV."""

import asyncio
import csv
import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from letterlock.cli.main import main
from letterlock.cli.stats.bars import Bars
from letterlock.cli.stats.text import StatisticsScreen
from letterlock.cli.style import Style
from letterlock.state.statistics_rows import DAY_SECONDS, DeliveryShape, Grain, KeptPeriods
from letterlock.state.statistics_store import STATISTICS_FILE, StatisticsKey, StatisticsStore
from letterlock.statistics.summary import MEASURES, Statistics, statistics, usual_grain

KEPT = KeptPeriods(hours=24 * 14, days=400, months=120, destinations=1_000)
CLEAR = DeliveryShape("delivered", protection="clear", would_fail="mta-sts")
TLS = DeliveryShape(
    "delivered", "", "encrypted", "", "", "starttls", "TLSv1.2", "ECDHE-RSA-AES256-GCM-SHA384", "X25519"
)
DANE = TLS._replace(protection="authenticated", proof="dane-ee", demanded_by="dane+rule", begun_by="implicit")
QUANTUM = DANE._replace(tls_version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384", key_exchange="X25519MLKEM768")
HELD = DeliveryShape("held", "rfc7672-3.2-dane-mismatch")
LATER = DeliveryShape("deferred", "4.4")


async def fill(directory: Path | None, now: float) -> StatisticsStore:
    store = StatisticsStore.open(directory)
    hour = Grain.HOUR.start(now)
    counts = {}
    for days in range(7):
        for name, shape, count in (
            ("a.example", QUANTUM, 80),
            ("a.example", DANE, 10),
            ("b.example", TLS, 40 + days),
            ("c.example", CLEAR, 1),
            ("a.example", HELD, 2),
            ("c.example", LATER, 3),
        ):
            counts[StatisticsKey(hour - days * DAY_SECONDS, name, shape)] = count
    await store.add(counts, KEPT, now)
    return store


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "queue").mkdir()
    path = tmp_path / "letterlock.toml"
    path.write_text(f'[queue]\ndirectory = "{tmp_path}/queue"\n')
    return path


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("stats")

    async def work() -> None:
        await (await fill(directory, time.time())).close()

    asyncio.run(work())
    path = directory / "letterlock.toml"
    path.write_text(f'[queue]\ndirectory = "{directory}"\n')
    return path


def run(config: Path, *arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(main, ["stats", "--config", str(config), *arguments], env=environment)


def data(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_nothing_is_made_by_looking(config: Path) -> None:
    result = run(config)
    assert result.exit_code == 0
    assert "nothing has been counted yet" in result.stderr
    assert "0 attempts" in result.stdout
    assert data(run(config, "--json"))["total"]["attempts"] == 0
    assert list((config.parent / "queue").iterdir()) == []


def test_the_whole_as_data(filled: Path) -> None:
    found = data(run(filled, "--json", "--since", "6d"))
    total = found["total"]
    assert found["by"] == "day"
    assert total["attempts"] == sum(each["attempts"] for each in found["over_time"]) == 7 * 136 + 21
    assert total["protection"] == {"authenticated": 630, "encrypted": 301, "clear": 7}
    assert total["demanded_by"] == {"dane": 630, "rule": 630, "nobody": 308}
    assert total["proof"] == {"dane-ee": 630, "nothing": 301}
    assert total["begun_by"] == {"implicit": 630, "starttls": 301}
    assert total["tls_version"] == {"TLSv1.3": 560, "TLSv1.2": 371}
    assert total["post_quantum"] == {"yes": 560, "no": 371}
    assert total["held_because"] == {"rfc7672-3.2-dane-mismatch": 14}
    assert total["deferred_because"] == {"4.4": 21}
    assert total["would_fail"] == {"mta-sts": 7}
    assert [each["destination"] for each in found["destinations"]] == ["a.example", "b.example", "c.example"]
    assert set(MEASURES) < set(total)


def test_one_destination(filled: Path) -> None:
    found = data(run(filled, "C.Example", "--json", "--since", "6d"))
    assert found["domain"] == "c.example"
    assert found["total"]["result"] == {"deferred": 21, "delivered": 7}
    assert found["destinations"] == []
    assert data(run(filled, "other.example", "--json"))["total"]["attempts"] == 0


def test_csv_carries_the_same_as_json(filled: Path) -> None:
    found = data(run(filled, "--json", "--since", "6d"))
    rows = list(csv.DictReader(io.StringIO(run(filled, "--csv", "--since", "6d").stdout)))
    expected = set()
    scopes = [("", "", found["total"])]
    scopes += [("", str(each["start"]), each) for each in found["over_time"]]
    scopes += [(each["destination"], "", each) for each in found["destinations"]]
    for destination, start, counts in scopes:
        expected.add((destination, start, "attempts", "", counts["attempts"]))
        for measure in MEASURES:
            expected |= {(destination, start, measure, value, count) for value, count in counts[measure].items()}
    assert {(*list(row.values())[:4], int(row["attempts"])) for row in rows} == expected
    assert len(rows) == len(expected)


@pytest.mark.parametrize(
    ("since", "grain"), [("1h", "hour"), ("48h", "hour"), ("3d", "day"), ("62d", "day"), ("63d", "month")]
)
def test_periods_follow_the_time_that_is_asked_for(filled: Path, since: str, grain: str) -> None:
    assert data(run(filled, "--json", "--since", since))["by"] == grain


def test_by_overrides_it(filled: Path) -> None:
    found = data(run(filled, "--json", "--by", "hour", "--since", "6d"))
    assert len(found["over_time"]) == 6 * 24 + 1


def test_wrong_use(filled: Path) -> None:
    assert run(filled, "--json", "--csv").exit_code == 2
    assert run(filled, "not a domain").exit_code == 2
    assert run(filled, "--since", "yesterday").exit_code == 2


def test_a_file_that_cannot_be_read(config: Path) -> None:
    (config.parent / "queue" / STATISTICS_FILE).mkdir()
    result = run(config)
    assert result.exit_code == 1
    assert "error: " in result.stderr
    assert "hint: " in result.stderr


def test_counting_that_is_off_is_said(filled: Path) -> None:
    other = filled.with_name("off.toml")
    other.write_text(filled.read_text() + "[statistics]\ncount = false\n")
    result = run(other)
    assert "count is off" in result.stderr
    assert "a.example" in result.stdout, "what was counted before is shown"


@pytest.fixture(scope="module")
def found() -> Statistics:
    async def work() -> Statistics:
        now = 1_800_000_000.0
        store = await fill(None, now)
        try:
            return await statistics(store, now=now, seconds=6 * DAY_SECONDS, grain=Grain.DAY)
        finally:
            await store.close()

    return asyncio.run(work())


@pytest.mark.parametrize("width", [20, 40, 59, 60, 80, 132, 300])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_every_width_and_every_terminal(found: Statistics, width: int, ascii_only: bool) -> None:
    lines = list(StatisticsScreen(found, Style(colour=False), Bars(ascii_only), width).lines())
    text = "\n".join(lines)
    assert text.isascii() is ascii_only or width < 60
    assert max(map(len, lines)) <= max(width, 56), "below 56 columns the numbers need more"
    for word in ("authenticated", "dane-ee", "implicit", "TLSv1.3", "X25519MLKEM768", "post-quantum", "mta-sts"):
        assert word in text
    assert "\x1b" not in text


def test_colour_says_nothing_that_words_do_not(found: Statistics) -> None:
    plain, painted = (
        "\n".join(StatisticsScreen(found, Style(colour=colour), Bars(ascii_only=False), 100).lines())
        for colour in (False, True)
    )
    assert "\x1b[32m" in painted
    for code in ("\x1b[1m", "\x1b[32m", "\x1b[33m", "\x1b[1;31m", "\x1b[0m"):
        painted = painted.replace(code, "")
    assert painted == plain


def test_an_ascii_terminal_gets_ascii(filled: Path) -> None:
    class Latin(io.StringIO):
        encoding = "ascii"

    assert Bars.of(Latin()).ascii_only
    assert run(filled, NO_COLOR="1").exit_code == 0


@pytest.mark.parametrize(
    ("share", "drawn", "plain"),
    [(0, "", ""), (0.001, "▏", "#"), (0.5, "██", "##"), (0.55, "██▎", "##"), (1, "████", "####"), (7, "████", "####")],
)
def test_bars(share: float, drawn: str, plain: str) -> None:
    assert Bars(ascii_only=False).bar(share, 4) == drawn
    assert Bars(ascii_only=True).bar(share, 4) == plain


def test_sparklines() -> None:
    bars = Bars(ascii_only=False)
    assert bars.spark([0, 1, 4, 8], 10) == " ▁▄█"
    assert bars.spark([1] * 100, 10) == "█" * 10, "groups of ten are as high as one another"
    assert bars.spark([], 10) == bars.spark([1, 2], 0) == ""
    assert Bars(ascii_only=True).spark([0, 1, 8], 10) == " .@"


def test_a_long_time_is_shown_by_months() -> None:
    assert usual_grain(400 * DAY_SECONDS) is Grain.MONTH


def test_statistics_that_cannot_be_looked_at_are_not_called_empty(tmp_path: Path) -> None:
    path = tmp_path / "letterlock.toml"
    path.write_text(f'[queue]\ndirectory = "{tmp_path}"\n')
    (tmp_path / STATISTICS_FILE).symlink_to(STATISTICS_FILE)
    result = CliRunner().invoke(main, ["stats", "--config", str(path)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ")
