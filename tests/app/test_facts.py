"""Facts for the metrics: certificates of ours, the disk, the clock, the last reload."""

from pathlib import Path
from typing import Any

import pytest

from letterlock.app import measuring as module
from letterlock.app.facts import FACTS, Loaded, facts
from letterlock.app.measuring import Meter, MetricsPlace
from letterlock.config import Options, parse
from letterlock.config.dangers import dangers
from letterlock.config.reload_effects import contexts
from tests.certificates import self_signed


def options(directory: Path) -> Options:
    certificate, key = self_signed("mx.example.org").write(directory)
    key.chmod(0o600)
    text = f'hostname = "mx.example.org"\n[smtp]\ncertificate = "{certificate}"\nkey = "{key}"\n'
    return parse(f'{text}[queue]\ndirectory = "{directory}"\n', "t.toml")


def test_a_certificate_that_ends_within_21_days_is_in_the_metrics_and_a_warning(tmp_path: Path) -> None:
    made = options(tmp_path)
    (context,) = contexts(made)
    now = context.not_after - 20 * 86_400
    known = {fact.name: fact for fact in facts(made, 1, Loaded(5.0, mistakes=True), now)}
    assert set(known) == set(FACTS)
    ((labels, end),) = known["letterlock_certificate_not_after_timestamp_seconds"].series
    assert (dict(labels), end) == ({"certificate": str(context.certificate_path)}, context.not_after)
    assert [value for _, value in known["letterlock_warnings"].series] == [1]
    assert "expires in 20 days: renew it" in next(dangers(made, now))
    assert [value for _, value in known["letterlock_config_last_reload_successful"].series] == [0]
    earlier = facts(made, 1, Loaded(5.0), now - 2 * 86_400)
    (warned,) = [fact.series for fact in earlier if fact.name == "letterlock_warnings"]
    assert [value for _, value in warned] == [0]


def test_each_fact_has_the_labels_that_are_documented(tmp_path: Path) -> None:
    for fact in facts(options(tmp_path), 1, Loaded(5.0), 0.0):
        assert all(set(labels) == set(FACTS[fact.name][1]) for labels, _ in fact.series)


async def test_a_bug_in_measuring_is_logged_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    meter, slept = Meter(MetricsPlace(), lambda: parse("", "t")), list[float]()

    class Over(Exception):
        """The test has seen enough."""

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            raise Over

    monkeypatch.setattr("asyncio.sleep", sleep)
    parts: Any = None  # measuring fails at the first of them
    with pytest.raises(Over):
        await meter.run(parts)
    assert slept == [module.BUG_SECONDS, module.BUG_SECONDS]
    assert "internal error while measuring" in caplog.text
