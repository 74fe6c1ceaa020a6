"""What the owner of a domain is told to do next, and in which order."""

from dataclasses import replace
from typing import Any

import pytest

from letterlock.identity.strength import KeyFacts, SessionStrength
from letterlock.inspect.recommend import Advice, Reporting, SeenHost, SurveyedDestination, advise
from letterlock.mtasts.policy import Mode, StsPolicy
from letterlock.mtasts.sts_evidence import Absent, Known, PolicyUnavailable, StsEvidence
from letterlock.policy.codes import Code
from letterlock.policy.evidence import DestinationEvidence, Origin, TargetHost
from letterlock.policy.reasons import Reason
from letterlock.policy.require import require
from letterlock.resolver.answer import Absence, FailureKind
from letterlock.routing.routes import NextHop
from letterlock.tlsrpt import InvalidTLSRPTRecord, NoTLSRPTRecord, ReportAddresses, find_addresses
from tests.policy.evidence import (
    DOMAIN,
    GOOD_TLSA,
    HOST,
    INSECURE,
    LEAF,
    NOW,
    UNUSABLE_TLSA,
    answer,
    destination,
    failure,
    target,
)

REPORTS = ReportAddresses(("mailto:tls@example.org",))
UNSIGNED = target(mx_secure=False, base=None, address_security=INSECURE)


def known(mode: Mode = Mode.ENFORCE, *mx: str, trouble: str | None = None, max_age: int = 2_592_000) -> Known:
    return Known(
        policy=StsPolicy(mode=mode, max_age_seconds=max_age, mx=mx or (HOST,)),
        id="1",
        fetched_at=NOW,
        expires_at=NOW + max_age,
        from_cache=False,
        trouble=trouble,
        suspicious=trouble is not None,
    )


def odd(oddity: str) -> Known:
    sound = known()
    return replace(sound, policy=replace(sound.policy, oddities=(oddity,)))


def advised(
    host: TargetHost | None = None,
    *told: str,
    signed: bool = True,
    sts: StsEvidence | None = None,
    reporting: Reporting | None = REPORTS,
    shown: bool = True,
) -> tuple[Advice, ...]:
    """For a domain with one host, by default as good as it gets; `told` are codes that its sessions ended with."""
    host = host or target(GOOD_TLSA)
    found = destination(f"10 {host.host.name}.") if signed else destination(f"10 {HOST}.", security=INSECURE)
    evidence = replace(found, sts=sts or known(Mode.ENFORCE, host.host.name))
    seen = SeenHost(
        target=host,
        required=require(evidence, host),
        told=tuple(Reason(code=Code(code), subject=HOST, facts=(("detail", "so it is"),)) for code in told),
        chains=((LEAF.der,),) if shown else (),
    )
    return advise(SurveyedDestination(evidence=evidence, hosts=(seen,), reporting=reporting))


def kinds(advice: tuple[Advice, ...]) -> list[str]:
    return [each.kind for each in advice]


def test_where_nothing_is_missing_nothing_is_advised() -> None:
    assert advised() == ()


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (advised(target(answered=failure(f"_25._tcp.{HOST}", "TLSA"))), "fix-tlsa-lookup"),
        (
            advised(target(addresses=(), base=None, lookups=(failure(HOST, "A"),))),
            "fix-address-lookup",
        ),
        (advised(target(addresses=(), base=None)), "give-address"),
        (advised(None, "rfc7672-2.2.3-starttls-required"), "offer-starttls"),
        (advised(None, "rfc8461-5-starttls-refused"), "offer-starttls"),
        (advised(None, "rfc7435-3-clear"), "offer-starttls"),
        (advised(None, "rfc7672-3.2-dane-mismatch"), "fix-tlsa"),
        (advised(None, "rfc7672-3.1.2-dane-expired"), "fix-dane-ta-certificate"),
        (advised(None, "rfc8461-4.2-wrong-name"), "fix-certificate"),
        (advised(None, "rfc8461-5-would-hold", sts=known(Mode.TESTING)), "fix-before-enforcing"),
        (advised(sts=known(trouble="the TXT record has gone")), "fix-mta-sts"),
        (advised(sts=PolicyUnavailable("no answer")), "fix-mta-sts"),
        (advised(sts=Absent("two records")), "fix-mta-sts"),
        (advised(sts=odd("it begins with a byte order mark")), "fix-mta-sts-text"),
        (advised(sts=known(Mode.ENFORCE, "other.example.org")), "name-host-in-mta-sts"),
        (advised(UNSIGNED, signed=False), "sign-domain"),
        (advised(target(name="mx.example.net", base=None, address_security=INSECURE)), "sign-host"),
        (advised(target()), "publish-tlsa"),
        (advised(target(UNUSABLE_TLSA)), "replace-tlsa"),
        (advised(sts=Absent()), "publish-mta-sts"),
        (advised(sts=known(Mode.TESTING)), "enforce-mta-sts"),
        (advised(sts=known(Mode.NONE)), "enforce-mta-sts"),
        (advised(sts=known(max_age=86_400)), "lengthen-mta-sts"),
        (advised(reporting=NoTLSRPTRecord()), "ask-for-reports"),
        (advised(reporting=InvalidTLSRPTRecord("no rua")), "ask-for-reports"),
    ],
)
def test_each_fault_has_its_advice(given: tuple[Advice, ...], kind: str) -> None:
    assert kinds(given)[0] == kind
    assert all(each.what and each.why for each in given)


def test_what_is_broken_comes_first_then_dane_then_mta_sts_then_reports() -> None:
    host = target(name=HOST, mx_secure=False)
    given = advised(host, "rfc8461-4.2-expired", signed=False, sts=known(Mode.TESTING), reporting=NoTLSRPTRecord())
    assert kinds(given) == ["fix-certificate", "sign-domain", "publish-tlsa", "enforce-mta-sts", "ask-for-reports"]


def test_rfc7672_3_1_the_record_to_publish_is_3_1_1_of_the_key_that_was_shown() -> None:
    [advice] = advised(target())
    assert advice.publish == (f"_25._tcp.{HOST}. IN TLSA {GOOD_TLSA}",)
    assert "of the certificate shown just now" in advice.why


def test_without_a_chain_no_record_is_made_up() -> None:
    [advice] = advised(target(), shown=False)
    assert advice.publish == ()


def test_a_host_of_somebody_else_is_asked_for() -> None:
    [advice] = advised(target(name="mx.example.net", base="mx.example.net"))
    assert advice.what.startswith("ask the operator of mx.example.net")


def test_rfc8461_3_the_policy_to_publish_names_the_hosts_and_begins_in_testing() -> None:
    [advice] = advised(sts=Absent())
    assert f'_mta-sts.{DOMAIN}. IN TXT "v=STSv1; id=1;"' in advice.publish
    assert f"  mx: {HOST}" in advice.publish
    assert "  mode: testing" in advice.publish


def test_mta_sts_that_is_not_asked_for_is_not_advised_on() -> None:
    evidence = destination(f"10 {HOST}.")
    host = SeenHost(target=target(GOOD_TLSA), required=require(evidence, target(GOOD_TLSA)))
    assert advise(SurveyedDestination(evidence=evidence, hosts=(host,))) == ()


def test_an_mx_lookup_that_fails_is_all_there_is_to_mend() -> None:
    evidence = replace(destination(f"10 {HOST}."), mx=failure(DOMAIN, "MX"))
    assert kinds(advise(SurveyedDestination(evidence=evidence, hosts=()))) == ["fix-mx-lookup"]


def test_a_resolver_that_is_silent_is_what_to_look_at_and_not_the_domain() -> None:
    mx = DestinationEvidence(
        next_hop=NextHop(DOMAIN), mx=failure(DOMAIN, "MX", FailureKind.NO_UPSTREAM), rule=None, at=NOW
    )
    assert kinds(advise(SurveyedDestination(evidence=mx, hosts=()))) == ["fix-resolver"]
    silent = failure(f"_25._tcp.{HOST}", "TLSA", FailureKind.NO_UPSTREAM)
    assert kinds(advised(target(answered=silent), shown=False)) == ["fix-resolver"]


def test_who_takes_no_mail_or_has_no_domain_gets_no_advice() -> None:
    assert advise(SurveyedDestination(evidence=destination("0 ."), hosts=(), reporting=NoTLSRPTRecord())) == ()
    gone = replace(destination(), mx=answer(DOMAIN, "MX", absence=Absence.NXDOMAIN))
    assert advise(SurveyedDestination(evidence=gone, hosts=(), reporting=NoTLSRPTRecord())) == ()
    literal = DestinationEvidence(next_hop=NextHop("[192.0.2.1]"), mx=None, rule=None)
    host = target(origin=Origin.LITERAL, name="192.0.2.1", mx_secure=False, base=None, address_security=INSECURE)
    assert (
        advise(SurveyedDestination(evidence=literal, hosts=(SeenHost(target=host, required=require(literal, host)),)))
        == ()
    )


def test_the_same_advice_is_given_once() -> None:
    evidence = replace(destination(f"10 {HOST}.", f"20 {HOST}."), sts=known())
    host = SeenHost(target=target(), required=require(evidence, target()), chains=((LEAF.der,),))
    assert kinds(advise(SurveyedDestination(evidence=evidence, hosts=(host, host), reporting=REPORTS))) == [
        "publish-tlsa"
    ]


def test_a_record_that_is_nearly_one_is_in_the_advice() -> None:
    near = find_addresses([[b"v=TLSRPTV1; rua=mailto:a@example.org"]])
    assert isinstance(near, NoTLSRPTRecord)
    [asking] = [each for each in advised(reporting=near) if each.kind == "ask-for-reports"]
    assert "upper and lower case matter" in asking.what


def looked(host: TargetHost, *told: str, sts: StsEvidence, **shown: Any) -> list[str]:
    """The kinds of advice for a signed domain without a TLSA record, whose host showed something."""
    evidence = replace(destination(f"10 {HOST}."), sts=sts)
    reasons = tuple(Reason(code=Code(code), subject=HOST) for code in told)
    seen = SeenHost(target=host, required=require(evidence, host), told=reasons, **shown)
    return kinds(advise(SurveyedDestination(evidence=evidence, hosts=(seen,), reporting=REPORTS)))


@pytest.mark.parametrize("sts", [Absent(), known(Mode.TESTING)])
@pytest.mark.parametrize(
    ("told", "shown", "first"),
    [
        (("rfc7435-3-handshake-failed",), {"broken": ("the peer refused with an alert",)}, "fix-tls"),
        (("rfc7435-3-clear",), {}, "offer-starttls"),
        (("rfc8461-5-starttls-required",), {}, "offer-starttls"),
    ],
)
def test_rfc8461_2_nothing_that_demands_tls_is_advised_before_tls_works(
    sts: StsEvidence, told: tuple[str, ...], shown: dict[str, Any], first: str
) -> None:
    found = looked(target(answered=answer(f"_25._tcp.{HOST}", "TLSA")), *told, sts=sts, **shown)
    assert found[0] == first
    assert not {"publish-mta-sts", "enforce-mta-sts", "publish-tlsa"} & {*found}


def test_a_short_key_and_a_session_without_forward_secrecy_are_advised_on() -> None:
    weak = SessionStrength(version="TLSv1.2", cipher="AES128-SHA", key=KeyFacts("RSA", 1024), forward_secret=False)
    advice = looked(target(GOOD_TLSA), sts=known(), strengths=(weak, weak))
    assert advice == ["lengthen-key", "offer-forward-secrecy"]


def test_rfc7505_a_domain_with_neither_mx_nor_address_may_say_that_it_takes_no_mail() -> None:
    host = target(addresses=(), base=None)
    implicit = replace(host, host=replace(host.host, origin=Origin.IMPLICIT_MX))
    [advice] = [each for each in advised(implicit) if each.kind == "publish-null-mx"]
    assert advice.publish == ("example.org. IN MX 0 .",)
    assert kinds(advised(implicit)) == ["publish-null-mx"]


def test_rfc8461_3_2_no_policy_is_advised_where_it_could_name_no_host() -> None:
    host = target(origin=Origin.LITERAL, name="192.0.2.1", mx_secure=False, base=None, address_security=INSECURE)
    evidence = replace(destination("10 192.0.2.1."), sts=Absent())
    seen = SeenHost(target=host, required=require(evidence, host))
    found = advise(SurveyedDestination(evidence=evidence, hosts=(seen,), reporting=REPORTS))
    assert "publish-mta-sts" not in kinds(found)
