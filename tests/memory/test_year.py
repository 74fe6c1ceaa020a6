"""A slice of the simulated year: the figures of docs/concepts/memory.md come from `python -m bench.memory_year`."""

from bench.memory_year import report, year


def test_a_year_notices_attacks_on_known_destinations_and_lets_honest_mail_go() -> None:
    counts = year(250, 18, hold=True)
    kinds = set(counts.attacked) - {"MX forged for days"}  # those are accepted after the first day
    assert sum(counts.noticed[each] for each in kinds) > sum(counts.attacked[each] for each in kinds) / 2
    assert len(counts.hours) < counts.messages / 200
    assert max(counts.octets) < 4_000
    assert counts.octets
    assert len(report(counts, 250, hold=True)) > 5
    assert year(20, 17, hold=True) == year(20, 17, hold=True), "the same seed makes the same year"


def test_observing_delays_nothing() -> None:
    counts = year(60, 17, hold=False)
    assert counts.messages > 1_000
    assert not counts.hours
    assert not counts.expired
