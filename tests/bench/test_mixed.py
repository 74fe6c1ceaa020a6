"""The pure parts of `bench.relay --part mixed`: the load, and the figures made of what source and receivers wrote."""

from collections import Counter

from bench.mixed_load import HEALTHY_RANKS, Behaviour, host_number, landscape, recipient_lines, recipients
from bench.mixed_report import BASE, CALM, OURS, TROUBLED, MixedReport, comparison, crowded, growth, mixed_rows
from bench.mixed_rounds import MixedOutcome, MixedPart, most_at_once, summarise
from bench.relay_stamps import CLOSED, CONNECTED, DELIVERED, HANDSHAKEN, Stamp, delivery, parts_of

PART = MixedPart(name="mixed", title="mixed", messages=10)


def outcome(peer: str, part: str = "mixed", seconds: float = 1.0, latency: float = 0.1) -> MixedOutcome:
    return MixedOutcome(
        part=part,
        peer=peer,
        wanted=100,
        delivered=100,
        seconds_to_90=seconds,
        seconds_to_all=2 * seconds,
        connections=50,
        handshakes=50,
        most_at_one_host=10,
        cpu_seconds=seconds,
        peak_octets=1_000_000,
        latencies=[latency] * 100,
    )


def test_the_landscape_is_what_the_page_says() -> None:
    found = landscape(tarpits=True)
    kinds = Counter(host.behaviour for host in found.hosts.values())
    assert len(found.domains) == 1300
    assert (kinds[Behaviour.SLOW], kinds[Behaviour.DEAD], kinds[Behaviour.TARPIT]) == (100, 20, 20)
    assert len({host.address for host in found.hosts.values()}) == 1000 + 3 + 1
    assert all(host_number(host.address) == number for number, host in found.hosts.items())
    shared = Counter(domain.host.number for domain in found.domains)
    assert sorted(shared.values())[-4:] == [1, 100, 100, 100]
    assert sum(domain.signed for domain in found.domains) == 130
    assert {domain.host.behaviour for domain in found.domains[:HEALTHY_RANKS]} == {Behaviour.FAST}


def test_trouble_changes_behaviour_and_nothing_else() -> None:
    calm, troubled = landscape(troubled=False), landscape(tarpits=True)
    assert [(each.number, each.signed) for each in calm.domains] == [
        (each.number, each.signed) for each in troubled.domains
    ]
    assert set(calm.behaviour.values()) == {Behaviour.FAST}


def test_recipients_follow_zipfs_law_and_the_seed() -> None:
    found = landscape()
    wanted = recipients(found, 3000)
    assert wanted == recipients(landscape(), 3000) != recipients(found, 3000, seed=16)
    (first, most), (second, next_most) = Counter(domains[0] for domains in wanted).most_common(2)
    assert (first, second) == (found.domains[0].number, found.domains[1].number)
    assert 1.5 < most / next_most < 2.5


def test_five_domains_are_five_different_ones() -> None:
    wanted = recipients(landscape(), 50, domains_each=5)
    assert {len(set(domains)) for domains in wanted} == {5}
    assert recipient_lines([(1, 2)]) == "bob@d1.test,bob@d2.test\n"


def test_a_delivery_is_one_number() -> None:
    assert parts_of(delivery(123456, 1399)) == (123456, 1399)


def test_figures_are_of_what_can_be_delivered() -> None:
    found = landscape()
    dead = next(number for number, kind in found.behaviour.items() if kind is Behaviour.DEAD)
    slow = next(number for number, kind in found.behaviour.items() if kind is Behaviour.SLOW)
    fast = found.domains[0].number
    wanted = [*[(fast,)] * 9, (slow,), (dead,)]
    stamps = [Stamp(CONNECTED, 100.0, fast), Stamp(HANDSHAKEN, 100.1, fast)]
    stamps += [Stamp(DELIVERED, 100.0 + number, delivery(number, fast)) for number in range(1, 10)]
    stamps += [Stamp(DELIVERED, 130.0, delivery(10, slow)), Stamp(DELIVERED, 131.0, delivery(1, 9999))]
    figures = summarise("mixed", found, wanted, 100.0, dict.fromkeys(range(1, 12), 100.5), stamps)
    assert (figures.wanted, figures.delivered) == (10, 10)
    assert (figures.seconds_to_90, figures.seconds_to_all) == (9.0, 30.0)
    assert (figures.connections, figures.handshakes) == (1, 1)
    assert (figures.rate_to_90, len(figures.latencies), figures.latencies[0]) == (1.0, 9, 0.5)
    assert (figures.slowest, figures.seconds_to_accepted) == (29.5, 0.5)


def test_what_was_not_delivered_has_no_rate() -> None:
    found = landscape()
    figures = summarise("mixed", found, [(found.domains[0].number,)], 0.0, {}, [])
    assert (figures.rate_to_90, figures.rate_to_all, figures.latencies) == (0.0, 0.0, [])
    assert (figures.slowest, figures.seconds_to_accepted) == (None, None)


def test_connections_are_counted_by_host_and_in_order_of_time() -> None:
    stamps = [Stamp(CONNECTED, 1.0, 7), Stamp(CONNECTED, 4.0, 7), Stamp(CLOSED, 2.0, 7), Stamp(CONNECTED, 3.0, 8)]
    assert most_at_once(stamps) == 1


def test_the_table_compares_with_postfix_at_its_best() -> None:
    report = MixedReport([PART], [outcome("Postfix 100"), outcome(BASE), outcome(OURS, seconds=0.4)])
    heading, *cells = mixed_rows(report, PART)
    assert [row[0] for row in cells] == ["Postfix 100", BASE, OURS]
    assert all(len(row) == len(heading) for row in cells)
    assert "2.50 times the rate until 90 %, 2.50 times until all, 0.40 of the CPU time" in comparison(report, PART)


def test_growth_compares_trouble_with_calm() -> None:
    parts = [MixedPart(name=name, title=name, messages=1) for name in (CALM, TROUBLED)]
    report = MixedReport(parts, [outcome(OURS, CALM, latency=0.4), outcome(OURS, TROUBLED, latency=0.42)])
    assert growth(MixedReport([PART], [outcome(OURS)])) is None
    assert round(growth(report) or 0, 2) == 0.05


def test_too_many_connections_at_one_host_are_a_shortfall_of_ours() -> None:
    report = MixedReport([PART], [outcome(BASE), outcome(OURS)])
    assert crowded(report) == []
    report.outcomes[0].most_at_one_host = report.outcomes[1].most_at_one_host = 21
    assert crowded(report) == ["Letterlock, mixed: 21 connections at one host, 20 are allowed"]
