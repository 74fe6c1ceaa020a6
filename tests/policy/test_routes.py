"""The operator's routes: RFC 7672 section 2.2.2 (relay hosts), RFC 8461 section 3.4, and how rules meet on them."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest

from letterlock.mail.envelope import TlsDemand
from letterlock.mtasts import Known, Mode, StsPolicy
from letterlock.policy.decision import (
    Achieved,
    Cleared,
    DaneAuthentication,
    Defer,
    Encryption,
    Level,
    PkixAuthentication,
    Requirement,
    SkipHost,
)
from letterlock.policy.evidence import DestinationEvidence, Origin, Route, TargetHost
from letterlock.policy.judge import judge
from letterlock.policy.reasons import sentence
from letterlock.policy.require import require
from letterlock.policy.route import relay_reasons, route
from letterlock.resolver.answer import Absence, Answer, LookupFailure, Security
from letterlock.routing.destination_rule import DestinationRule, RuleException, TlsRule
from letterlock.routing.routes import NextHop, RelayHost
from letterlock.routing.rules import Heard, Rules
from tests.policy.evidence import (
    GOOD_TLSA,
    INSECURE,
    LEAF,
    NOW,
    ROOTS,
    TA_TLSA,
    UNUSABLE_TLSA,
    answer,
    failure,
    required,
    session,
    skipped,
    target,
    tls,
)

RECIPIENTS, RELAY, SENDER = "example.org", "relay.example.net", "sender.example"
MAY, TLS, VERIFY, DANE = TlsRule.MAY, TlsRule.REQUIRE_TLS, TlsRule.VERIFY, TlsRule.DANE_ONLY
STRICTNESS = [None, MAY, TLS, VERIFY, DANE]
LENIENT = RuleException(allow_clear=True, why="they renew next week", until=NOW + 86_400)


Tables = Mapping[str, DestinationRule | None]


def demanding(tls: TlsRule | None, source: str, **more: object) -> DestinationRule | None:
    """A rule of one table."""
    if tls is None:
        return None
    made = DestinationRule(domain="any", tls=tls, source=source, trust=ROOTS)
    return replace(made, **more)  # type: ignore[arg-type]  # tests name the fields themselves


def book(tables: Tables | None = None, *, routed: bool = True, port: int | None = None) -> Rules:
    """The rules that one message from SENDER to RECIPIENTS meets: `route`, `hop`, `domain`, `sender`."""
    given = {table: rule for table, rule in (tables or {}).items() if rule}
    relay = RelayHost(domain=RELAY, source="letterlock.toml:9", rule=given.get("route"), port=port)
    return Rules(
        {domain: given[table] for domain, table in ((RECIPIENTS, "domain"), (RELAY, "hop")) if table in given},
        {SENDER: given["sender"]} if "sender" in given else {},
        {RECIPIENTS: relay} if routed else {},
    )


def heard(rules: Rules) -> Heard:
    return rules.for_message(RECIPIENTS, SENDER)


def kind_of(rules: Rules) -> TlsRule | None:
    rule = heard(rules).rule
    return rule.tls if rule else None


# Which route.


def test_the_most_specific_route_holds() -> None:
    written = ("*", ".example.org", "a.example.org")
    rules = Rules({}, {}, {name: RelayHost(domain=RELAY, source=name) for name in written})
    wanted = {"a.example.org": "a.example.org", "b.example.org": ".example.org", "example.org": "*", "[192.0.2.1]": "*"}
    for domain, source in wanted.items():
        relay = rules.relay_for(domain)
        assert relay is not None
        assert relay.source == source


def test_without_a_route_there_is_none() -> None:
    assert book(routed=False).relay_for(RECIPIENTS) is None
    assert book().relay_for("other.example") is None


@pytest.mark.parametrize(("port", "wanted"), [(None, 26), (587, 587)])
def test_a_route_has_its_own_port_or_the_usual_one(port: int | None, wanted: int) -> None:
    relay = book(port=port).relay_for(RECIPIENTS)
    assert relay is not None
    assert relay.next_hop(26) == NextHop(RELAY, wanted)


@pytest.mark.parametrize(
    ("hop", "text"),
    [
        (NextHop(RELAY), RELAY),
        (NextHop(RELAY, 587), f"{RELAY}:587"),
        (NextHop(RELAY, is_host=True), f"[{RELAY}]"),
        (NextHop(RELAY, 587, is_host=True), f"[{RELAY}]:587"),
        (NextHop("[192.0.2.1]", 587), "[192.0.2.1]:587"),
    ],
)
def test_a_next_hop_is_shown_as_the_operator_writes_it(hop: NextHop, text: str) -> None:
    assert str(hop) == text


# Which rule.


def strictest(kinds: Iterable[TlsRule | None]) -> TlsRule | None:
    return max(kinds, key=STRICTNESS.index)


@pytest.mark.parametrize(
    ("by_route", "by_hop", "by_domain", "by_sender"), list(itertools.product(STRICTNESS, repeat=4))
)
def test_of_four_rules_the_strictest_holds(
    by_route: TlsRule | None, by_hop: TlsRule | None, by_domain: TlsRule | None, by_sender: TlsRule | None
) -> None:
    kinds = {"route": by_route, "hop": by_hop, "domain": by_domain, "sender": by_sender}
    rules = book({table: demanding(kind, table) for table, kind in kinds.items()})
    assert kind_of(rules) is strictest([by_route, by_hop, by_domain, by_sender])


@pytest.mark.parametrize(("by_domain", "by_sender"), list(itertools.product(STRICTNESS, repeat=2)))
def test_a_route_never_lowers_what_was_demanded_without_it(
    by_domain: TlsRule | None, by_sender: TlsRule | None
) -> None:
    domain, sender = demanding(by_domain, "domain"), demanding(by_sender, "sender")
    without = {"domain": domain, "sender": sender}
    before = kind_of(book(without, routed=False))
    for by_route in STRICTNESS:
        after = kind_of(book({**without, "route": demanding(by_route, "route")}))
        assert STRICTNESS.index(after) >= STRICTNESS.index(before)


def test_of_equals_the_one_nearest_to_the_server_says_whom_to_verify() -> None:
    four = {table: demanding(VERIFY, table) for table in ("route", "hop", "domain", "sender")}
    while four:
        rule = heard(book(four)).rule
        assert rule is not None
        assert rule.source == next(iter(four))
        four.pop(rule.source)


def test_without_a_route_the_rules_of_a_relay_host_do_not_count() -> None:
    assert kind_of(book({"hop": demanding(DANE, "hop"), "route": demanding(DANE, "route")}, routed=False)) is None


def test_the_highest_version_holds_and_says_where_it_is_written() -> None:
    rules = book(
        {
            "route": demanding(VERIFY, "route", minimum_version="TLSv1.2"),
            "domain": demanding(TLS, "domain", minimum_version="TLSv1.3"),
        }
    )
    rule = heard(rules).rule
    assert rule is not None
    assert (rule.tls, rule.source) == (VERIFY, "route")
    assert (rule.minimum_version, rule.minimum_source) == ("TLSv1.3", "domain")
    found = require(evidence(heard(rules).rule), relay_host(GOOD_TLSA))
    assert isinstance(found, Requirement)
    assert (found.minimum_version, found.minimum_source) == ("TLSv1.3", "domain")


def test_a_version_of_its_own_is_the_rules_own() -> None:
    found = require(evidence(demanding(VERIFY, "route", minimum_version="TLSv1.3")), relay_host(GOOD_TLSA))
    assert isinstance(found, Requirement)
    assert (found.minimum_version, found.minimum_source) == ("TLSv1.3", "route")


def test_a_rule_in_audit_never_stands_in_for_one_that_is_enforced() -> None:
    rules = book({"route": demanding(DANE, "route", audit=True), "sender": demanding(TLS, "sender")})
    found = heard(rules)
    assert found.rule is not None
    assert found.audited is not None
    assert (found.rule.source, found.audited.source) == ("sender", "route")
    judged = require(replace(evidence(found.rule), audited=found.audited), relay_host())
    assert isinstance(judged, Requirement)
    assert judged.encryption is Encryption.MANDATORY
    assert [audit.what for audit in judged.audits] == ["the rule route"]
    assert isinstance(judged.audits[0].required, SkipHost)


def test_a_rule_in_audit_that_demands_less_is_not_told_of() -> None:
    found = heard(book({"route": demanding(TLS, "route", audit=True), "sender": demanding(VERIFY, "sender")}))
    assert found.audited is None


def test_a_rule_in_audit_alone_is_the_rule() -> None:
    found = heard(book({"route": demanding(DANE, "route", audit=True)}))
    assert found.rule is not None
    assert (found.rule.audit, found.audited) == (True, None)


# Exceptions.


@pytest.mark.parametrize("table", ["route", "hop"])
def test_an_exception_of_the_next_hop_counts(table: str) -> None:
    rule = heard(book({table: demanding(VERIFY, "lenient", exception=LENIENT)})).rule
    assert rule is not None
    assert rule.exception == LENIENT


@pytest.mark.parametrize("other", ["route", "hop", "domain", "sender"])
@pytest.mark.parametrize("table", ["route", "hop"])
@pytest.mark.parametrize("kind", [TLS, VERIFY, DANE])
def test_an_exception_does_not_lower_what_another_rule_demands(table: str, other: str, kind: TlsRule) -> None:
    if table == other:
        return
    tables = {table: demanding(DANE, "lenient", exception=LENIENT), other: demanding(kind, "strict")}
    rule = heard(book(tables)).rule
    assert rule is not None
    assert rule.exception is None
    assert STRICTNESS.index(rule.tls) >= STRICTNESS.index(kind)


def test_an_exception_counts_beside_rules_that_demand_nothing() -> None:
    tables = {"route": demanding(MAY, "lenient", exception=LENIENT), "sender": demanding(MAY, "sender")}
    rule = heard(book(tables)).rule
    assert rule is not None
    assert rule.exception == LENIENT


def test_an_exception_for_the_recipients_servers_is_not_for_the_relay_host() -> None:
    lenient = demanding(VERIFY, "domain", exception=LENIENT)
    for routed, wanted in ((False, LENIENT), (True, None)):
        rule = heard(book({"domain": lenient}, routed=routed)).rule
        assert rule is not None
        assert rule.exception == wanted


def test_one_rule_for_recipients_and_relay_host_keeps_its_exception() -> None:
    lenient = DestinationRule(domain="*", tls=VERIFY, source="domain", exception=LENIENT)
    rules = Rules({"*": lenient}, {}, {"*": RelayHost(domain=RELAY, source="route")})
    assert rules.for_message(RECIPIENTS, None) == Heard(lenient)


def test_an_exception_without_a_route_does_not_lower_what_the_sender_demands() -> None:
    tables = {"domain": demanding(DANE, "domain", exception=LENIENT), "sender": demanding(TLS, "sender")}
    rule = heard(book(tables, routed=False)).rule
    assert rule is not None
    assert (rule.tls, rule.exception) == (DANE, None)


# Which hosts, and what is required of them.


def evidence(
    rule: DestinationRule | None = None,
    hop: NextHop | None = None,
    mx: Answer | LookupFailure | None = None,
) -> DestinationEvidence:
    """Mail for RECIPIENTS that a route leads to the relay host itself, or to another next hop."""
    return DestinationEvidence(
        next_hop=hop or NextHop(RELAY, 587, is_host=True),
        mx=mx,
        rule=rule,
        at=NOW,
        public_roots=ROOTS,
        relay=RelayHost(domain=RELAY, source="letterlock.toml:9"),
        recipient_domain=RECIPIENTS,
    )


def relay_host(*tlsa: str, address_security: Security = Security.SECURE) -> TargetHost:
    base = RELAY if address_security is Security.SECURE else None
    return target(*tlsa, origin=Origin.STATIC, name=RELAY, base=base, port=587, address_security=address_security)


def told(found: DestinationEvidence) -> list[str]:
    return [reason.code for reason in route(found, lambda hosts: hosts).reasons]


def test_a_host_in_brackets_is_the_one_host_and_its_name_is_trusted() -> None:
    found = route(evidence(), lambda hosts: hosts)
    assert isinstance(found, Route)
    [host] = found.hosts
    assert (host.name, host.origin, host.secure) == (RELAY, Origin.STATIC, True)
    assert found.mx_security is Security.SECURE


def test_the_route_is_a_reason_with_its_place() -> None:
    [reason] = relay_reasons(evidence())
    assert (reason.code, reason.subject) == ("rule-route", RECIPIENTS)
    assert sentence(reason) == f"the route letterlock.toml:9 sends mail for {RECIPIENTS} to [{RELAY}]:587"
    assert relay_reasons(replace(evidence(), relay=None, recipient_domain=None)) == ()


def test_the_route_is_told_whatever_becomes_of_its_next_hop() -> None:
    domain = NextHop(RELAY)
    cases = {
        "rfc5321-4.1.3-literal": evidence(hop=NextHop("[192.0.2.1]")),
        "rfc5321-5.1-implicit-mx": evidence(hop=domain, mx=answer(RELAY, "MX")),
        "rfc7672-2.1.2-mx-lookup-failed": evidence(hop=domain, mx=failure(RELAY, "MX")),
    }
    for code, found in cases.items():
        assert told(found) == [code, "rule-route"]
    assert told(evidence(hop=domain, mx=answer(RELAY, "MX", "10 mx.example.net."))) == ["rule-route"]


@pytest.mark.parametrize(
    ("code", "mx"),
    [
        ("rfc7505-3-null-mx", answer(RELAY, "MX", "0 .")),
        ("rfc5321-5.1-no-such-domain", answer(RELAY, "MX", absence=Absence.NXDOMAIN)),
    ],
)
def test_a_route_that_leads_nowhere_makes_mail_wait(code: str, mx: Answer) -> None:
    found = evidence(hop=NextHop(RELAY), mx=mx)
    assert isinstance(route(found, lambda hosts: hosts), Defer)
    assert told(found) == ["rule-route-nowhere", code, "rule-route"]


def test_mandatory_dane_on_a_route_wants_a_signed_mx_of_the_next_hop() -> None:
    mx = answer(RELAY, "MX", "10 mx.example.org.", security=INSECURE)
    found = evidence(demanding(DANE, "route"), NextHop(RELAY), mx)
    assert skipped(target(GOOD_TLSA, mx_secure=False), found) == "rfc7672-6-insecure-mx"


def test_rfc7672_2_2_2_dane_counts_for_a_relay_host_on_the_port_really_used() -> None:
    found = required(relay_host(GOOD_TLSA), evidence())
    assert found.encryption is Encryption.MANDATORY
    assert isinstance(found.authentication, DaneAuthentication)
    assert found.authentication.names_secure
    assert dict(found.reasons[0].facts)["base"] == f"_587._tcp.{RELAY}"
    assert found.sni == RELAY


def test_rfc7672_3_2_2_the_references_of_a_relay_host_are_its_tlsa_base_and_the_next_hop() -> None:
    plain = required(relay_host(TA_TLSA), evidence()).authentication
    aliased = required(replace(relay_host(TA_TLSA), tlsa_base="end.example.com"), evidence()).authentication
    assert isinstance(plain, DaneAuthentication)
    assert isinstance(aliased, DaneAuthentication)
    assert plain.references == (RELAY,)
    assert aliased.references == ("end.example.com", RELAY)


def test_rfc7672_2_2_unusable_records_of_a_relay_host_demand_tls_and_never_clear() -> None:
    found = required(relay_host(UNUSABLE_TLSA), evidence())
    assert (found.encryption, found.authentication, found.fallback) == (Encryption.MANDATORY, None, None)


@pytest.mark.parametrize("security", [Security.SECURE, INSECURE])
def test_a_relay_host_that_the_operator_named_is_authenticated_by_verify(security: Security) -> None:
    named = replace(relay_host(address_security=security), host=replace(relay_host().host, name="mx.example.org"))
    found = required(named, evidence(demanding(VERIFY, "route")))
    assert isinstance(found.authentication, PkixAuthentication)
    assert found.authentication.names_secure
    cleared = judge(found, session(handshake=tls(LEAF.der, *LEAF.chain[1:])), NOW)
    assert isinstance(cleared, Cleared)
    assert cleared.achieved == Achieved(level=Level.AUTHENTICATED, by="pkix", match=cleared.achieved.match)


@pytest.mark.parametrize("tlsa", [(), (UNUSABLE_TLSA,)])
def test_rfc7672_6_mandatory_dane_holds_mail_for_a_relay_host_without_usable_records(tlsa: tuple[str, ...]) -> None:
    found = require(evidence(demanding(DANE, "route")), relay_host(*tlsa))
    assert isinstance(found, SkipHost)
    assert found.reasons[0].code == "rfc7672-6-no-usable-tlsa"


def test_rfc8689_4_2_1_a_relay_host_that_the_operator_named_may_have_requiretls() -> None:
    found = require(evidence(), relay_host(), TlsDemand.REQUIRETLS)
    assert isinstance(found, Requirement)
    assert found.requiretls
    assert isinstance(found.authentication, PkixAuthentication)
    assert found.authentication.references == (RELAY,)


@pytest.mark.parametrize(("mx", "passes"), [(RELAY, True), ("*.example.net", True), ("mx.example.org", False)])
def test_rfc8461_3_4_the_policy_of_the_relay_host_must_name_it(mx: str, *, passes: bool) -> None:
    policy = StsPolicy(mode=Mode.ENFORCE, max_age_seconds=604_800, mx=(mx,))
    sts = Known(policy=policy, id="1", fetched_at=0, expires_at=NOW + 1, from_cache=True)
    found = require(replace(evidence(), sts=sts), relay_host())
    assert isinstance(found, Requirement) is passes
    codes = [reason.code for reason in found.reasons]
    assert ("rfc8461-5-enforce" if passes else "rfc8461-4.1-mx-mismatch") in codes
