"""The text that Prometheus reads: both formats, escapes, histograms, and what promtool says of all of it."""

import shutil
import subprocess

import pytest

from letterlock.metrics.catalogue import FAMILIES, LAYOUT
from letterlock.metrics.exposition import Fact, exposition
from letterlock.metrics.family import Family, Layout, Merge, MetricKind, observe

COUNTER = Family(name="x_total", kind=MetricKind.COUNTER, text='A "count" \\ of\nthings.', labels=(("of", ("a", "b")),))
TIMES = Family(name="x_seconds", kind=MetricKind.HISTOGRAM, text="Times.", buckets=(1.0, 2.5))
SECRET = Family(name="secret", kind=MetricKind.GAUGE, text="", hidden=True)
LITTLE = Layout.of((COUNTER, TIMES, SECRET))


def test_the_prometheus_text_format() -> None:
    values = [0.0] * LITTLE.size
    values[LITTLE.place("x_total", "b")] = 3
    for seconds in (0.5, 1.0, 2.0, 7.25):
        observe(values, LITTLE.place("x_seconds"), TIMES.buckets, seconds)
    facts = [Fact("y", "A fact.", (({"path": 'a"b\\c\n'}, 1.5),))]
    assert exposition(LITTLE, values, facts).splitlines() == [
        '# HELP x_total A "count" \\\\ of\\nthings.',
        "# TYPE x_total counter",
        'x_total{of="a"} 0',
        'x_total{of="b"} 3',
        "# HELP x_seconds Times.",
        "# TYPE x_seconds histogram",
        'x_seconds_bucket{le="1"} 2',
        'x_seconds_bucket{le="2.5"} 3',
        'x_seconds_bucket{le="+Inf"} 4',
        "x_seconds_sum 10.75",
        "x_seconds_count 4",
        "# HELP y A fact.",
        "# TYPE y gauge",
        'y{path="a\\"b\\\\c\\n"} 1.5',
    ]


def test_openmetrics_names_a_counter_without_total_and_ends_in_eof() -> None:
    lines = exposition(LITTLE, [0.0] * LITTLE.size, (), openmetrics=True).splitlines()
    assert lines[1] == "# TYPE x counter"
    assert lines[2] == 'x_total{of="a"} 0'
    assert lines[-1] == "# EOF"


def test_promtool_finds_no_fault_with_the_catalogue() -> None:
    program = shutil.which("promtool")
    assert program, "promtool is part of Debian's prometheus"
    text = exposition(LAYOUT, [1.0] * LAYOUT.size, ())
    done = subprocess.run([program, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_number_of_series_is_fixed_and_small() -> None:
    assert len(exposition(LAYOUT, [0.0] * LAYOUT.size, ()).splitlines()) < 1_000
    assert all(family.text.endswith(".") for family in FAMILIES if not family.hidden)


def test_workers_become_one_as_each_family_says() -> None:
    most = Family(name="most", kind=MetricKind.GAUGE, text="", merge=Merge.MOST)
    least = Family(name="least", kind=MetricKind.GAUGE, text="", merge=Merge.LEAST)
    total = Family(name="total", kind=MetricKind.COUNTER, text="")
    layout = Layout.of((most, least, total))
    rows = [[1.0, 5.0, 10.0], [3.0, 4.0, 20.0], [9.0, 1.0, 40.0]]
    assert layout.merged(rows, [True, True, False]) == [3.0, 4.0, 70.0], "what a dead worker has counted stays counted"
    assert layout.merged(rows, [False, False, False]) == [0.0, 0.0, 70.0]


def test_a_family_that_is_declared_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="declared twice"):
        Layout.of((SECRET, SECRET))
