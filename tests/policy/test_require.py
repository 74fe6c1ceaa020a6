"""What must hold for one host: RFC 7672 sections 2.1 to 2.2, 3.2.2, 6 and 8.1, and the operator's rules."""

from dataclasses import replace

import pytest

from letterlock.identity.trust import TrustRoots
from letterlock.policy.codes import Code
from letterlock.policy.decision import (
    DaneAuthentication,
    Defer,
    Encryption,
    PkixAuthentication,
    Refuse,
    Requirement,
    SkipHost,
    SkipKind,
)
from letterlock.policy.evidence import DestinationEvidence, Origin, TargetHost
from letterlock.policy.reasons import Reason, sentence
from letterlock.policy.require import exhausted, require
from letterlock.policy.sts import NO_ROOTS
from letterlock.resolver.answer import Absence, FailureKind
from letterlock.routing.destination_rule import TlsRule
from letterlock.routing.routes import NextHop
from tests.policy.evidence import (
    DOMAIN,
    GOOD_TLSA,
    HOST,
    INDETERMINATE,
    INSECURE,
    OTHER_TLSA,
    ROOTS,
    SECURE,
    UNUSABLE_TLSA,
    answer,
    destination,
    failure,
    required,
    rule,
    skipped,
    target,
)

SIGNED = destination(f"10 {HOST}.")
UNSIGNED = destination(f"10 {HOST}.", security=INSECURE)


def signed_with(tls: TlsRule, names: tuple[str, ...] = (), trust: TrustRoots | None = ROOTS) -> DestinationEvidence:
    return destination(f"10 {HOST}.", demand=rule(tls, names, trust))


def unsigned_with(tls: TlsRule, names: tuple[str, ...] = ()) -> DestinationEvidence:
    return destination(f"10 {HOST}.", security=INSECURE, demand=rule(tls, names))


def codes(found: Requirement) -> list[str]:
    return [reason.code for reason in found.reasons]


def dane_of(found: Requirement) -> DaneAuthentication:
    assert isinstance(found.authentication, DaneAuthentication)
    return found.authentication


def pkix_of(found: Requirement) -> PkixAuthentication:
    assert isinstance(found.authentication, PkixAuthentication)
    return found.authentication


def test_rfc7672_2_2_usable_secure_records_demand_authenticated_tls() -> None:
    found = required(target(GOOD_TLSA, UNUSABLE_TLSA))
    assert (found.encryption, found.fallback) == (Encryption.MANDATORY, None)
    assert [str(record) for record in dane_of(found).records] == [GOOD_TLSA]
    assert dane_of(found).names_secure
    assert codes(found) == ["rfc7672-2.2-usable"]
    told = f"the signed TLSA records at _25._tcp.{HOST} identify the server (1 usable)"
    assert sentence(found.reasons[0]) == told


def test_rfc7672_2_2_all_unusable_demands_tls_without_authentication_and_never_clear() -> None:
    found = required(target(UNUSABLE_TLSA))
    assert (found.encryption, found.authentication, found.fallback) == (Encryption.MANDATORY, None, None)
    assert codes(found) == ["rfc7672-2.2-unusable"]
    assert found.sni == HOST


def test_rfc7672_2_2_proven_absence_is_opportunistic_with_an_earned_fallback() -> None:
    for absence in Absence:
        found = required(target(answered=answer(f"_25._tcp.{HOST}", "TLSA", absence=absence)))
        assert (found.encryption, found.authentication) == (Encryption.OPTIONAL, None)
        assert codes(found) == ["rfc7672-2.2-no-tlsa", "rfc7435-3-opportunistic"]
        assert ("proof", "proven") in found.reasons[0].facts
        fallback = found.fallback
        assert fallback is not None
        assert (fallback.encryption, fallback.authentication, fallback.fallback) == (Encryption.NONE, None, None)
        assert codes(fallback) == ["rfc7672-2.2-cleartext-fallback", "rfc7672-2.2-no-tlsa"]


def test_rfc7672_2_2_insecure_records_prove_nothing() -> None:
    found = required(target(answered=answer(f"_25._tcp.{HOST}", "TLSA", GOOD_TLSA, security=INSECURE)))
    assert (found.encryption, found.authentication) == (Encryption.OPTIONAL, None)
    assert codes(found)[0] == "rfc7672-2.2-insecure-tlsa"


def test_rfc7672_2_2_absence_in_an_unsigned_zone_counts_as_absence() -> None:
    found = required(target(answered=answer(f"_25._tcp.{HOST}", "TLSA", security=INSECURE)))
    assert found.encryption is Encryption.OPTIONAL
    assert ("proof", "in an unsigned zone") in found.reasons[0].facts


CODES = {FailureKind.BOGUS: "tlsa-bogus", FailureKind.NO_UPSTREAM: "no-resolver"}


@pytest.mark.parametrize("kind", list(FailureKind))
@pytest.mark.parametrize("tls", list(TlsRule))
def test_rfc7672_2_1_2_a_failed_tlsa_lookup_skips_the_host_whatever_the_rule(kind: FailureKind, tls: TlsRule) -> None:
    lost = target(answered=failure(f"_25._tcp.{HOST}", "TLSA", kind))
    assert skipped(lost, signed_with(tls)) == f"rfc7672-2.1.2-{CODES.get(kind, 'tlsa-lookup-failed')}"


def test_rfc7672_2_1_1_indeterminate_tlsa_skips_the_host() -> None:
    for records in ((), (GOOD_TLSA,)):
        lost = target(answered=answer(f"_25._tcp.{HOST}", "TLSA", *records, security=INDETERMINATE))
        assert skipped(lost) == "rfc7672-2.1.1-indeterminate"


@pytest.mark.parametrize("kind", list(FailureKind))
def test_rfc7672_2_1_2_a_failed_address_lookup_skips_the_host(kind: FailureKind) -> None:
    lookups = (answer(HOST, "AAAA"), failure(HOST, "A", kind))
    lost = target(addresses=(), base=None, lookups=lookups)
    code = "address-bogus" if kind is FailureKind.BOGUS else CODES.get(kind, "address-lookup-failed")
    assert skipped(lost) == f"rfc7672-2.1.2-{code}"


def test_rfc7672_2_1_1_indeterminate_addresses_skip_the_host() -> None:
    lookups = (answer(HOST, "AAAA"), answer(HOST, "A", "192.0.2.1", security=INDETERMINATE))
    assert skipped(target(address_security=INDETERMINATE, base=None, lookups=lookups)) == "rfc7672-2.1.1-indeterminate"


def test_one_failed_address_family_beside_a_good_one_lowers_nothing() -> None:
    lookups = (failure(HOST, "AAAA"), answer(HOST, "A", "192.0.2.1"))
    found = required(target(GOOD_TLSA, lookups=lookups))
    assert len(dane_of(found).records) == 1


def test_rfc5321_5_1_a_host_without_address_is_skipped() -> None:
    lookups = (answer(HOST, "AAAA"), answer(HOST, "A"))
    assert skipped(target(addresses=(), base=None, lookups=lookups)) == "rfc5321-5.1-no-address"


def test_rfc7672_2_2_2_insecure_addresses_have_no_dane() -> None:
    found = required(target(address_security=INSECURE, base=None))
    assert codes(found)[0] == "rfc7672-2.2.2-insecure-address"
    assert found.sni == HOST


def test_rfc7672_2_2_an_ip_address_has_no_dane_and_no_sni() -> None:
    host = target(origin=Origin.LITERAL, mx_secure=False, name="192.0.2.1", base=None, address_security=INSECURE)
    found = required(host)
    assert (found.encryption, found.sni) == (Encryption.OPTIONAL, None)
    assert codes(found)[0] == "rfc7672-2.2-literal"


def test_rfc7672_8_1_sni_is_the_tlsa_base_domain() -> None:
    assert required(target(GOOD_TLSA, base="real.example.net")).sni == "real.example.net"
    assert required(target(UNUSABLE_TLSA, base="real.example.net")).sni == "real.example.net"


def test_rfc7672_2_2_3_the_port_really_used_is_told() -> None:
    found = required(target(GOOD_TLSA, port=587))
    assert ("base", f"_587._tcp.{HOST}") in found.reasons[0].facts


def test_rfc7672_3_2_2_references_with_a_signed_mx() -> None:
    aliased = destination(f"10 {HOST}.", aliases=[("Real.example.net", SECURE)])
    found = required(target(GOOD_TLSA, base="mx.real.example.net"), aliased)
    assert dane_of(found).references == ("mx.real.example.net", DOMAIN, "real.example.net")
    assert dane_of(required(target(GOOD_TLSA), SIGNED)).references == (HOST, DOMAIN)


def test_rfc7672_3_2_2_references_with_an_unsigned_mx_are_the_mx_host_only() -> None:
    assert dane_of(required(target(GOOD_TLSA, mx_secure=False), UNSIGNED)).references == (HOST,)
    expanded = target(GOOD_TLSA, mx_secure=False, base="real.example.net")
    assert dane_of(required(expanded, UNSIGNED)).references == ("real.example.net", HOST)


def test_rfc7672_3_2_2_references_of_an_implicit_mx() -> None:
    implicit = destination()
    plain = target(GOOD_TLSA, origin=Origin.IMPLICIT_MX, name=DOMAIN, base=DOMAIN)
    assert dane_of(required(plain, implicit)).references == (DOMAIN,)
    expanded = target(GOOD_TLSA, origin=Origin.IMPLICIT_MX, name=DOMAIN, base="real.example.net")
    assert dane_of(required(expanded, implicit)).references == ("real.example.net", DOMAIN)


def test_rfc7672_2_2_1_dane_on_an_unsigned_mx_is_applied_and_not_believed() -> None:
    found = required(target(GOOD_TLSA, mx_secure=False), UNSIGNED)
    assert (found.encryption, found.fallback) == (Encryption.MANDATORY, None)
    assert not dane_of(found).names_secure
    assert codes(found) == ["rfc7672-2.2-usable", "rfc7672-2.2.1-insecure-mx"]


def test_dane_of_an_implicit_mx_is_believed_whatever_the_denial_was() -> None:
    host = target(GOOD_TLSA, origin=Origin.IMPLICIT_MX, name=DOMAIN, base=DOMAIN, mx_secure=False)
    assert dane_of(required(host, destination(security=INSECURE))).names_secure


# The operator's rules.


@pytest.mark.parametrize("tls", list(TlsRule))
def test_no_rule_lowers_or_replaces_dane_from_a_signed_mx(tls: TlsRule) -> None:
    found = required(target(GOOD_TLSA), signed_with(tls, names=("x.example",) if tls is TlsRule.VERIFY else ()))
    assert found == required(target(GOOD_TLSA), SIGNED)


@pytest.mark.parametrize("tls", [TlsRule.MAY, TlsRule.REQUIRE_TLS])
def test_no_rule_lowers_dane_from_an_unsigned_mx(tls: TlsRule) -> None:
    found = required(target(GOOD_TLSA, mx_secure=False), unsigned_with(tls))
    assert found == required(target(GOOD_TLSA, mx_secure=False), UNSIGNED)


@pytest.mark.parametrize("tls", list(TlsRule))
def test_no_rule_lowers_unusable_records_to_cleartext(tls: TlsRule) -> None:
    found = require(signed_with(tls), target(UNUSABLE_TLSA))
    if tls is TlsRule.DANE_ONLY:
        assert isinstance(found, SkipHost)
    else:
        assert isinstance(found, Requirement)
        assert (found.encryption, found.fallback) == (Encryption.MANDATORY, None)


def test_rule_may_is_as_no_rule() -> None:
    assert required(target(), signed_with(TlsRule.MAY)) == required(target(), SIGNED)


def test_rule_require_tls_demands_tls_with_any_certificate() -> None:
    found = required(target(), signed_with(TlsRule.REQUIRE_TLS))
    assert (found.encryption, found.authentication, found.fallback) == (Encryption.MANDATORY, None, None)
    assert codes(found) == ["rule-require-tls", "rfc7672-2.2-no-tlsa"]
    assert sentence(found.reasons[0]) == "the rule letterlock.toml:7 demands TLS"


def test_rule_verify_demands_the_mx_host_name_and_believes_it_as_far_as_dns() -> None:
    found = required(target(), signed_with(TlsRule.VERIFY))
    assert (found.encryption, found.fallback, found.sni) == (Encryption.MANDATORY, None, HOST)
    assert pkix_of(found) == PkixAuthentication(references=(HOST,), roots=ROOTS, names_secure=True)
    unsigned = required(target(mx_secure=False), unsigned_with(TlsRule.VERIFY))
    assert not pkix_of(unsigned).names_secure
    assert codes(unsigned) == ["rule-verify", "rfc7672-2.2-no-tlsa", "rfc7672-2.2.1-insecure-mx"]


def test_rule_verify_believes_names_that_the_operator_gave() -> None:
    found = required(target(mx_secure=False), unsigned_with(TlsRule.VERIFY, names=("a.example", "b.example")))
    assert (pkix_of(found).references, pkix_of(found).names_secure) == (("a.example", "b.example"), True)


def test_rule_verify_believes_the_next_hop_itself() -> None:
    host = target(origin=Origin.IMPLICIT_MX, name=DOMAIN, base=DOMAIN, mx_secure=False)
    evidence = destination(security=INSECURE, demand=rule(TlsRule.VERIFY))
    assert pkix_of(required(host, evidence)).names_secure


def test_rule_verify_without_roots_trusts_nobody() -> None:
    assert pkix_of(required(target(), signed_with(TlsRule.VERIFY, trust=None))).roots == NO_ROOTS


def test_rule_verify_asks_for_its_own_certificate_where_dane_proves_little() -> None:
    host = target(GOOD_TLSA, mx_secure=False)
    found = required(host, unsigned_with(TlsRule.VERIFY, names=("a.example",)))
    assert (found.encryption, found.fallback) == (Encryption.MANDATORY, None)
    assert pkix_of(found).references == ("a.example",)


def test_rule_verify_joins_unusable_records() -> None:
    assert pkix_of(required(target(UNUSABLE_TLSA), signed_with(TlsRule.VERIFY))).references == (HOST,)


def test_rule_verify_of_an_address_needs_a_name() -> None:
    host = target(origin=Origin.LITERAL, mx_secure=False, name="192.0.2.1", base=None, address_security=INSECURE)
    literal = DestinationEvidence(next_hop=NextHop("[192.0.2.1]"), mx=None, rule=rule(TlsRule.VERIFY))
    assert skipped(host, literal) == "rule-verify-no-name"
    named = DestinationEvidence(next_hop=NextHop("[192.0.2.1]"), mx=None, rule=rule(TlsRule.VERIFY, ("a.example",)))
    found = required(host, named)
    assert (found.sni, pkix_of(found).references) == (None, ("a.example",))


@pytest.mark.parametrize(
    "host",
    [
        target(),
        target(UNUSABLE_TLSA),
        target(base=None, address_security=INSECURE),
        target(answered=answer(f"_25._tcp.{HOST}", "TLSA", GOOD_TLSA, security=INSECURE)),
    ],
)
def test_rfc7672_6_dane_only_holds_what_dane_does_not_vouch_for(host: TargetHost) -> None:
    assert skipped(host, signed_with(TlsRule.DANE_ONLY)) == "rfc7672-6-no-usable-tlsa"


def test_rfc7672_6_dane_only_does_not_believe_an_unsigned_mx() -> None:
    host = target(GOOD_TLSA, mx_secure=False)
    assert skipped(host, unsigned_with(TlsRule.DANE_ONLY)) == "rfc7672-6-insecure-mx"


def test_rfc7672_6_dane_only_accepts_dane() -> None:
    assert len(dane_of(required(target(OTHER_TLSA), signed_with(TlsRule.DANE_ONLY))).records) == 1


# No host left.


def skip(code: str) -> SkipHost:
    kind = SkipKind.NO_ADDRESS if code == "rfc5321-5.1-no-address" else SkipKind.TLSA_UNKNOWN
    return SkipHost(kind=kind, reasons=(Reason(code=Code(code), subject=HOST),))


def test_a_domain_none_of_whose_hosts_has_an_address_is_refused() -> None:
    found = exhausted(DOMAIN, [skip("rfc5321-5.1-no-address"), skip("rfc5321-5.1-no-address")])
    assert isinstance(found, Refuse)
    assert found.status == "5.4.4"
    assert found.reasons[0].code == "rfc5321-5.1-no-host-has-an-address"


def test_any_other_reason_defers() -> None:
    for skips in (
        [],
        [skip("rfc5321-5.1-no-address"), skip("rfc7672-2.1.2-tlsa-bogus")],
        [SkipHost(kind=SkipKind.TLSA_UNKNOWN, reasons=())],
    ):
        found = exhausted(DOMAIN, skips)
        assert isinstance(found, Defer)
        assert len(found.reasons) == sum(len(one.reasons) for one in skips)


def test_rfc7672_2_2_3_signed_tlsa_records_demand_tls_whatever_their_base_is_called() -> None:
    found = required(replace(target(GOOD_TLSA), tlsa_base=None))
    assert found.encryption is Encryption.MANDATORY
    assert isinstance(found.authentication, DaneAuthentication)
    assert found.sni == HOST
