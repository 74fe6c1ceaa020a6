"""A slice of the simulated year: the figures of docs/concepts/memory.md come from `python -m bench.memory_year`."""

from bench.memory_year import ANSWERED, OBSERVED, report, year


def test_a_year_notices_attacks_on_known_destinations_and_lets_honest_mail_go() -> None:
    counts = year(200, 23, ANSWERED)
    kinds = set(counts.attacked) - {"another certificate, where none could be verified before"}
    assert len(kinds) > 2
    assert sum(counts.noticed[each] for each in kinds) > 0.9 * sum(counts.attacked[each] for each in kinds)
    assert len(counts.hours) < counts.messages / 200
    assert max(counts.octets) < 4_000
    assert counts.octets
    assert len(report(counts, 200, ANSWERED)) > 5
    assert year(20, 17, ANSWERED) == year(20, 17, ANSWERED), "the same seed makes the same year"


def test_observing_delays_nothing() -> None:
    counts = year(60, 17, OBSERVED)
    assert counts.messages > 1_000
    assert not counts.hours
    assert not counts.expired
