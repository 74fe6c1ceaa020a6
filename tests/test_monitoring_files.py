"""packaging/prometheus: alert rules and dashboard name metrics that exist, and promtool runs the rules' tests."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from letterlock.app.facts import FACTS
from letterlock.metrics.catalogue import FAMILIES
from letterlock.metrics.family import MetricKind

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "packaging" / "prometheus"
RULES, TESTS, DASHBOARD = (
    FOLDER / name for name in ("letterlock.rules.yml", "letterlock.rules-test.yml", "letterlock-dashboard.json")
)
METRIC = re.compile(r"\b((?:letterlock|process)_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)(=~|!~|=|!=)"([^"]*)"')
FROM_PROMETHEUS = {"job", "instance"}


def known() -> dict[str, dict[str, tuple[str, ...] | None]]:
    """The labels of each metric, with their values; None: any value."""
    metrics: dict[str, dict[str, tuple[str, ...] | None]] = {}
    for family in FAMILIES:
        ends = ("_bucket", "_sum", "_count") if family.kind is MetricKind.HISTOGRAM else ("",)
        for end in ends if not family.hidden else ():
            metrics[family.name + end] = dict(family.labels)
    metrics |= {name: dict.fromkeys(labels) for name, (_, labels) in FACTS.items()}
    metrics["letterlock_workers"] = {"state": ("configured", "alive")}
    return metrics


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def expressions() -> Iterator[str]:
    for rule in rules():
        yield rule["expr"]
    for panel in panels():
        yield from (target["expr"] for target in panel.get("targets", ()))


def promtool(*arguments: str) -> None:
    program = shutil.which("promtool")
    assert program, "promtool is part of Debian's prometheus"
    done = subprocess.run([program, *arguments], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_metric_label_and_value_that_is_named_exists() -> None:
    metrics, met = known(), set()
    for expression in expressions():
        for name, inside in METRIC.findall(expression):
            assert name in metrics, name
            met.add(name)
            for label, operator, value in MATCHER.findall(inside):
                if label in FROM_PROMETHEUS:
                    continue
                values = metrics[name][label]
                wanted = (
                    [value] if "~" not in operator else [each for each in values or () if re.fullmatch(value, each)]
                )
                assert wanted, f"{name}: {label} is never {value}"
                assert values is None or set(wanted) <= set(values), f"{name}: {label} is never {value}"
    assert len(met) > 40


def test_promtool_checks_the_rules() -> None:
    promtool("check", "rules", RULES.name)


def test_promtool_runs_the_tests_of_the_rules() -> None:
    promtool("test", "rules", TESTS.name)


def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    cases: dict[str, list[bool]] = {}
    for case in yaml.safe_load(TESTS.read_text())["tests"]:
        (alert,) = case["alert_rule_test"]
        cases.setdefault(alert["alertname"], []).append(bool(alert["exp_alerts"]))
    assert cases == {rule["alert"]: [True, False] for rule in rules()}


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_each_alert_says_what_is_wrong_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"].endswith(".")
    for page in re.findall(r"docs/\S+\.md", rule["annotations"]["action"]):
        assert (ROOT / page).exists(), page


def test_the_panels_of_the_dashboard_are_whole_and_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    assert len({panel["id"] for panel in panels()}) == len(panels())
    for panel in panels():
        place = panel["gridPos"]
        columns, lines = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        cells = {(x, y) for x in columns for y in lines}
        assert not taken & cells, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["targets"]
            assert panel["title"]


def test_every_expression_of_the_dashboard_is_one(tmp_path: Path) -> None:
    """promtool parses rules only: so each expression becomes one, with the dashboard's variables filled in."""
    filled = [
        target["expr"].replace("$__rate_interval", "5m").replace("$job", "letterlock").replace("$instance", ".*")
        for panel in panels()
        for target in panel.get("targets", ())
    ]
    recorded = [{"record": f"dashboard:{number}", "expr": each} for number, each in enumerate(filled)]
    path = tmp_path / "dashboard.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
    promtool("check", "rules", str(path))


def test_every_metric_is_on_the_dashboard_or_in_a_rule() -> None:
    shown = {name for expression in expressions() for name, _ in METRIC.findall(expression)}
    of_families = {family.name: family.name for family in FAMILIES if not family.hidden}
    of_families |= {f.name: f"{f.name}_bucket" for f in FAMILIES if f.kind is MetricKind.HISTOGRAM}
    wanted = {*of_families.values(), *FACTS, "letterlock_workers"}
    assert not wanted - shown
