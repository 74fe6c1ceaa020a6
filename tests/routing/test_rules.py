"""Which of the operator's rules holds: the most specific one, whole."""

from letterlock.routing.destination_rule import DestinationRule
from letterlock.routing.rules import Rules
from tests.policy.evidence import rule


def rules(*domains: str) -> Rules:
    return Rules({domain: rule(domain=domain) for domain in domains})


def domain_of(found: DestinationRule | None) -> str | None:
    return found.domain if found else None


def test_no_rule_is_none() -> None:
    assert rules().for_next_hop("example.org") is None
    assert rules("example.net", "*.example.org").for_next_hop("example.org") is None


def test_a_domain_is_that_domain_alone() -> None:
    book = rules("example.org")
    assert domain_of(book.for_next_hop("example.org")) == "example.org"
    assert domain_of(book.for_next_hop("EXAMPLE.org.")) == "example.org"
    assert book.for_next_hop("a.example.org") is None
    assert book.for_next_hop("badexample.org") is None


def test_a_star_or_a_dot_is_everything_below_at_any_depth() -> None:
    for written in ("*.example.org", ".example.org", "*.Example.ORG."):
        book = rules(written)
        assert domain_of(book.for_next_hop("a.example.org")) == written
        assert domain_of(book.for_next_hop("a.b.example.org")) == written
        assert book.for_next_hop("example.org") is None
        assert book.for_next_hop("badexample.org") is None


def test_the_most_specific_holds() -> None:
    book = rules("*", "*.org", "*.example.org", "a.example.org")
    wanted = {
        "a.example.org": "a.example.org",
        "b.example.org": "*.example.org",
        "b.a.example.org": "*.example.org",
        "example.org": "*.org",
        "org": "*",
        "example.net": "*",
    }
    assert {name: domain_of(book.for_next_hop(name)) for name in wanted} == wanted


def test_an_address_literal_has_its_own_rule_or_the_general_one() -> None:
    book = rules("*", "[192.0.2.1]", "*.2.1]")
    assert domain_of(book.for_next_hop("[192.0.2.1]")) == "[192.0.2.1]"
    assert domain_of(book.for_next_hop("[198.51.2.1]")) == "*"
