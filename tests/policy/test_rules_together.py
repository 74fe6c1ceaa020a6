"""What several rules come to for one message: nothing that one of them demands is lowered by another."""

from dataclasses import replace

import pytest

from letterlock.routing.destination_rule import DestinationRule, RuleException, TlsRule
from letterlock.routing.rules import Heard, Rules
from tests.policy.evidence import DOMAIN, rule

SENDER = "sender.example"
MILD = RuleException(allow_clear=True, why="they move", until=2e9)


def heard(by_domain: DestinationRule, by_sender: DestinationRule) -> Heard:
    return Rules({DOMAIN: by_domain}, {SENDER: by_sender}).for_message(DOMAIN, SENDER)


def demand(
    tls: TlsRule = TlsRule.MAY,
    *,
    version: str | None = None,
    source: str = "one.toml:1",
    audit: bool = False,
    exception: RuleException | None = None,
) -> DestinationRule:
    return replace(rule(tls), minimum_version=version, source=source, audit=audit, exception=exception)


@pytest.mark.parametrize("strict", [TlsRule.REQUIRE_TLS, TlsRule.VERIFY, TlsRule.DANE_ONLY])
@pytest.mark.parametrize("lax", [TlsRule.MAY, TlsRule.REQUIRE_TLS, TlsRule.VERIFY])
def test_the_strictest_holds_wherever_it_is_written(strict: TlsRule, lax: TlsRule) -> None:
    order = list(TlsRule)
    wanted = max(strict, lax, key=order.index)
    for one, other in ((strict, lax), (lax, strict)):
        found = heard(demand(one), demand(other)).rule
        assert found is not None
        assert found.tls is wanted


@pytest.mark.parametrize(
    ("strict", "lax", "version", "source"),
    [
        ("TLSv1.2", None, "TLSv1.2", ""),
        (None, "TLSv1.2", "TLSv1.2", "lax.toml:2"),
        ("TLSv1.2", "TLSv1.3", "TLSv1.3", "lax.toml:2"),
        ("TLSv1.3", "TLSv1.2", "TLSv1.3", ""),
        ("TLSv1.3", "TLSv1.3", "TLSv1.3", ""),
        (None, None, None, ""),
    ],
)
def test_the_highest_version_holds_and_tells_whose_it_is(
    strict: str | None, lax: str | None, version: str | None, source: str
) -> None:
    verify = demand(TlsRule.VERIFY, version=strict, source="strict.toml:1")
    may = demand(version=lax, source="lax.toml:2")
    for found in (heard(verify, may).rule, heard(may, verify).rule):
        assert found is not None
        assert (found.tls, found.source) == (TlsRule.VERIFY, "strict.toml:1")
        assert (found.minimum_version, found.minimum_source) == (version, source)


@pytest.mark.parametrize(
    ("audited", "kept"),
    [(TlsRule.MAY, False), (TlsRule.REQUIRE_TLS, True), (TlsRule.VERIFY, True), (TlsRule.DANE_ONLY, True)],
)
def test_a_rule_in_audit_is_weighed_apart_if_it_demands_as_much_or_more(audited: TlsRule, kept: bool) -> None:
    enforced, in_audit = demand(TlsRule.REQUIRE_TLS), demand(audited, audit=True)
    for found in (heard(enforced, in_audit), heard(in_audit, enforced)):
        assert found == Heard(rule=enforced, audited=in_audit if kept else None)
    assert heard(in_audit, in_audit) == Heard(rule=in_audit)


def test_an_exception_counts_only_where_no_other_rule_demands_anything() -> None:
    lenient = demand(TlsRule.VERIFY, exception=MILD)
    assert heard(lenient, demand()).rule == lenient
    assert heard(demand(), lenient).rule == lenient
    for strict in (TlsRule.REQUIRE_TLS, TlsRule.DANE_ONLY):
        found = heard(lenient, demand(strict)).rule
        assert found is not None
        assert found.exception is None
        assert found.tls is max(TlsRule.VERIFY, strict, key=list(TlsRule).index)


def test_the_null_reverse_path_has_no_rule_of_a_sender() -> None:
    rules = Rules({DOMAIN: demand()}, {"*": demand(TlsRule.DANE_ONLY)})
    assert rules.for_message(DOMAIN, None) == Heard(rule=demand())
    assert rules.for_message(DOMAIN, SENDER).rule == demand(TlsRule.DANE_ONLY)


@pytest.mark.parametrize(("one", "other", "lifted"), [(True, True, True), (True, False, False), (False, True, False)])
def test_the_header_lifts_rules_only_when_each_of_them_says_so(*, one: bool, other: bool, lifted: bool) -> None:
    verify = replace(demand(TlsRule.VERIFY), lifted_by_header=one)
    encrypt = replace(demand(TlsRule.REQUIRE_TLS), lifted_by_header=other)
    for found in (heard(verify, encrypt).rule, heard(encrypt, verify).rule):
        assert found is not None
        assert (found.tls, found.lifted_by_header) == (TlsRule.VERIFY, lifted)


def test_a_rule_that_demands_nothing_does_not_keep_the_header_from_lifting_the_other() -> None:
    found = heard(replace(demand(TlsRule.VERIFY), lifted_by_header=True), demand(TlsRule.MAY)).rule
    assert found is not None
    assert found.lifted_by_header
