"""The advice word for word: orders that people follow, and records that they copy."""

from dataclasses import replace

import pytest

from letterlock.inspect.recommend import (
    ADVISED_MAX_AGE_SECONDS,
    SHORT_MAX_AGE_SECONDS,
    Advice,
    SeenHost,
    SurveyedDestination,
    advise,
)
from letterlock.mtasts.policy import Mode
from letterlock.mtasts.sts_evidence import Absent, PolicyUnavailable
from letterlock.policy.codes import Code
from letterlock.policy.evidence import Origin
from letterlock.policy.reasons import Reason, sentence
from letterlock.policy.require import require
from letterlock.resolver.answer import ProofStep, Security
from letterlock.tlsrpt import InvalidTLSRPTRecord, NoTLSRPTRecord
from tests.certificates import authority
from tests.inspect.test_recommend import REPORTS, UNSIGNED, advised, kinds, known
from tests.policy.evidence import (
    DOMAIN,
    GOOD_TLSA,
    HOST,
    INSECURE,
    LEAF,
    UNUSABLE_TLSA,
    answer,
    destination,
    failure,
    target,
)

OTHER = "mx.example.net"
LINE = f"_25._tcp.{HOST}. IN TLSA {GOOD_TLSA}"
SHOWN_NOW = "; take the digest from the key on the server, because this one is of the certificate shown just now"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            advised(target(answered=failure(f"_25._tcp.{HOST}", "TLSA"))),
            Advice(
                kind="fix-tlsa-lookup",
                subject=HOST,
                what="fix the TLSA lookup of mx.example.org (servfail: no luck)",
                why="the host receives no mail from senders that check DANE",
            ),
        ),
        (
            advised(target(addresses=(), base=None, lookups=(failure(HOST, "A"),))),
            Advice(
                kind="fix-address-lookup",
                subject=HOST,
                what="fix the DNS of mx.example.org: could not look up its addresses (servfail: no luck)",
                why="the host receives no mail from senders that validate DNSSEC",
            ),
        ),
        (
            advised(target(addresses=(), base=None)),
            Advice(
                kind="give-address",
                subject=HOST,
                what="give mx.example.org an address, or remove it from the MX records",
                why="no sender can reach it",
            ),
        ),
        (
            advised(None, "rfc7672-3.2-dane-mismatch"),
            Advice(
                kind="fix-tlsa",
                subject=HOST,
                what="make the TLSA records of mx.example.org match its certificate",
                why="the host receives no mail from senders that check DANE. Compare with the key on the server itself "
                "first: an attacker may have shown this one",
                publish=(LINE,),
            ),
        ),
        (
            advised(sts=known(trouble="the TXT record has gone")),
            Advice(
                kind="fix-mta-sts",
                subject=DOMAIN,
                what="fix the MTA-STS policy of example.org: the TXT record has gone",
                why="it does not protect senders that have not seen it before; if it is correct, something blocks it",
            ),
        ),
        (
            advised(sts=known(Mode.ENFORCE, "other.example.org")),
            Advice(
                kind="name-host-in-mta-sts",
                subject=HOST,
                what="add mx.example.org to the MTA-STS policy of example.org, and give its TXT record a new id",
                why="senders that follow the policy do not deliver there",
                publish=("mx: mx.example.org",),
            ),
        ),
        (
            advised(UNSIGNED, signed=False),
            Advice(
                kind="sign-domain",
                subject=DOMAIN,
                what="sign example.org with DNSSEC",
                why="unsigned MX records can be forged, and DANE cannot protect the hosts they name",
            ),
        ),
        (
            advised(target(name=OTHER, base=None, address_security=INSECURE)),
            Advice(
                kind="sign-host",
                subject=OTHER,
                what="ask the operator of mx.example.net to sign its zone and publish TLSA records, or use a host "
                "with both",
                why="without signed addresses no sender looks for TLSA records (RFC 7672 section 2.2.2)",
            ),
        ),
        (
            advised(target(base=None, address_security=INSECURE)),
            Advice(
                kind="sign-host",
                subject=HOST,
                what="sign the zone of mx.example.org with DNSSEC",
                why="without signed addresses no sender looks for TLSA records (RFC 7672 section 2.2.2)",
            ),
        ),
        (
            advised(target()),
            Advice(
                kind="publish-tlsa",
                subject=HOST,
                what="publish a TLSA record for mx.example.org (its zone is signed already)",
                why="then no attacker on the path can read or intercept its mail" + SHOWN_NOW,
                publish=(LINE,),
            ),
        ),
        (
            advised(target(name=OTHER, base=OTHER), shown=False),
            Advice(
                kind="publish-tlsa",
                subject=OTHER,
                what="ask the operator of mx.example.net to publish a TLSA record for mx.example.net (its zone is "
                "signed already)",
                why="then no attacker on the path can read or intercept its mail",
            ),
        ),
        (
            advised(target(*(f"0 0 1 {digit * 64}" for digit in "abcd"))),
            Advice(
                kind="replace-tlsa",
                subject=HOST,
                what="replace the TLSA records of mx.example.org (0 0 1 aaaaaaaa, 0 0 1 bbbbbbbb, 0 0 1 cccccccc), "
                "which no mail server can use",
                why="senders encrypt because of them, but accept any certificate" + SHOWN_NOW,
                publish=(LINE,),
            ),
        ),
        (
            advised(target(UNUSABLE_TLSA), shown=False),
            Advice(
                kind="replace-tlsa",
                subject=HOST,
                what="replace the TLSA records of mx.example.org (0 0 1 abababab), which no mail server can use",
                why="senders encrypt because of them, but accept any certificate",
            ),
        ),
        (
            advised(sts=Absent()),
            Advice(
                kind="publish-mta-sts",
                subject=DOMAIN,
                what="publish an MTA-STS policy for example.org, in mode testing first",
                why="it protects mail from senders that do not check DANE, once they have seen it",
                publish=(
                    '_mta-sts.example.org. IN TXT "v=STSv1; id=1;"',
                    "https://mta-sts.example.org/.well-known/mta-sts.txt:",
                    "  version: STSv1",
                    "  mode: testing",
                    "  mx: mx.example.org",
                    "  max_age: 7776000",
                ),
            ),
        ),
        (
            advised(sts=known(Mode.NONE)),
            Advice(
                kind="enforce-mta-sts",
                subject=DOMAIN,
                what="set the MTA-STS policy of example.org from none to enforce when the TLS reports are clean",
                why="until then senders deliver whatever certificate the server presents",
                publish=("mode: enforce",),
            ),
        ),
        (
            advised(sts=known(max_age=86_400)),
            Advice(
                kind="lengthen-mta-sts",
                subject=DOMAIN,
                what="make the MTA-STS policy of example.org last longer than 86400 seconds",
                why="an attacker who blocks it only needs to wait that long",
                publish=("max_age: 7776000",),
            ),
        ),
        (
            advised(reporting=NoTLSRPTRecord()),
            Advice(
                kind="ask-for-reports",
                subject=DOMAIN,
                what="ask for TLS reports",
                why="senders then report failed deliveries to you, and attacks become visible (RFC 8460)",
                publish=('_smtp._tls.example.org. IN TXT "v=TLSRPTv1; rua=mailto:tls-reports@example.org"',),
            ),
        ),
    ],
    ids=lambda value: value.kind if isinstance(value, Advice) else "",
)
def test_the_first_advice_is(given: tuple[Advice, ...], expected: Advice) -> None:
    assert given[0] == expected


@pytest.mark.parametrize("trouble", [PolicyUnavailable("two records"), Absent("two records")])
def test_why_a_policy_cannot_be_had_is_told(trouble: PolicyUnavailable | Absent) -> None:
    assert advised(sts=trouble)[0].what == "fix the MTA-STS policy of example.org: two records"


def test_why_a_reporting_record_is_bad_is_told() -> None:
    assert advised(reporting=InvalidTLSRPTRecord("no rua"))[0].what == "ask for TLS reports (no rua)"


@pytest.mark.parametrize(
    "code",
    [
        "rfc7672-2.2.3-starttls-required",
        "rfc7672-2.2.3-starttls-refused",
        "rfc8461-5-starttls-required",
        "rfc8461-5-starttls-refused",
    ],
)
def test_starttls_that_is_missing_though_demanded(code: str) -> None:
    assert advised(None, code) == (
        Advice(
            kind="offer-starttls",
            subject=HOST,
            what="offer STARTTLS at mx.example.org: what is published for it demands TLS",
            why="senders that check it deliver nothing. If it does offer STARTTLS, something on the path removes it",
        ),
    )


@pytest.mark.parametrize("code", ["rfc7435-3-clear", "rfc7435-3-clear-refused"])
def test_starttls_that_is_missing_and_nobody_demands(code: str) -> None:
    assert advised(None, code) == (
        Advice(
            kind="offer-starttls",
            subject=HOST,
            what="offer STARTTLS at mx.example.org",
            why="mail to it goes out in cleartext: everybody on the path can read it without an active attack",
        ),
    )


@pytest.mark.parametrize(
    "code", ["rfc7672-3.1.2-dane-untrusted", "rfc7672-3.1.2-dane-expired", "rfc7672-3.2.2-dane-wrong-name"]
)
def test_a_certificate_that_dane_ta_does_not_take(code: str) -> None:
    [advice] = advised(None, code)
    assert (advice.kind, advice.subject) == ("fix-dane-ta-certificate", HOST)
    why = sentence(Reason(code=Code(code), subject=HOST, facts=(("detail", "so it is"),)))
    assert advice.what == f"give mx.example.org a certificate that its TLSA record vouches for: {why}"
    assert advice.why == "the host receives no mail from senders that check DANE"


@pytest.mark.parametrize("code", ["rfc8461-4.2-untrusted", "rfc8461-4.2-expired", "rfc8461-4.2-wrong-name"])
def test_a_certificate_that_mta_sts_does_not_take(code: str) -> None:
    [advice] = advised(None, code)
    assert (advice.kind, advice.subject) == ("fix-certificate", HOST)
    why = sentence(Reason(code=Code(code), subject=HOST, facts=(("detail", "so it is"),)))
    assert advice.what == f"give mx.example.org a certificate of a public authority for its name: {why}"
    assert advice.why == "the MTA-STS policy of example.org demands one"


def test_what_testing_would_hold_is_mended_before_it_is_enforced() -> None:
    mend, enforce = advised(None, "rfc8461-5-would-hold", sts=known(Mode.TESTING))
    assert (mend.kind, mend.subject) == ("fix-before-enforcing", HOST)
    assert mend.what.startswith("fix mx.example.org before the policy is enforced: ? would have held this mail")
    assert mend.why == "from then on senders that follow the policy do not deliver there"
    assert enforce.what.startswith("set the MTA-STS policy of example.org from testing to enforce")


def test_an_mx_lookup_that_fails() -> None:
    evidence = replace(destination(f"10 {HOST}."), mx=failure(DOMAIN, "MX"))
    assert advise(SurveyedDestination(evidence=evidence, hosts=())) == (
        Advice(
            kind="fix-mx-lookup",
            subject=DOMAIN,
            what="fix the DNS of example.org: its MX lookup fails (servfail: no luck)",
            why="senders that validate DNSSEC cannot deliver to it",
        ),
    )


def test_the_last_step_of_the_proof_says_why_mx_records_are_not_signed() -> None:
    found = destination(f"10 {HOST}.", security=INSECURE)
    assert found.mx is not None
    steps = tuple(
        ProofStep(zone="example.org.", what="no-ds", security=Security.INSECURE, detail=detail, section="RFC 4035")
        for detail in ("the root is signed", "the zone has no DS")
    )
    evidence = replace(found, mx=replace(found.mx, proof=steps), sts=known())
    host = SeenHost(target=UNSIGNED, required=require(evidence, UNSIGNED))
    advice = advise(SurveyedDestination(evidence=evidence, hosts=(host,), reporting=REPORTS))
    assert advice[0].why.endswith("cannot protect the hosts they name (the zone has no DS)")


def test_the_host_within_an_unsigned_domain_is_signed_with_it_and_another_is_not() -> None:
    other = target(name=OTHER, mx_secure=False, base=None, address_security=INSECURE)
    evidence = replace(destination(f"10 {HOST}.", security=INSECURE), sts=known(Mode.ENFORCE, HOST, OTHER))
    hosts = tuple(SeenHost(target=one, required=require(evidence, one)) for one in (UNSIGNED, other))
    advice = advise(SurveyedDestination(evidence=evidence, hosts=hosts, reporting=REPORTS))
    assert [(one.kind, one.subject) for one in advice] == [("sign-domain", DOMAIN), ("sign-host", OTHER)]


def test_a_name_that_only_ends_alike_is_not_within_the_domain() -> None:
    name = "mxexample.org"
    [advice] = advised(target(name=name, base=None, address_security=INSECURE))
    assert advice.what.startswith(f"ask the operator of {name} ")
    [advice] = advised(target(name=DOMAIN, base=None, address_security=INSECURE))
    assert advice.what == f"sign the zone of {DOMAIN} with DNSSEC"


def test_a_host_without_an_address_is_not_asked_to_sign_any() -> None:
    assert kinds(advised(target(addresses=(), base=None))) == ["give-address", "publish-null-mx"]


def test_tlsa_records_are_asked_for_only_where_they_and_the_addresses_are_signed() -> None:
    unsigned = answer(f"_25._tcp.{HOST}", "TLSA", security=INSECURE)
    assert kinds(advised(target(answered=unsigned))) == []
    assert kinds(advised(target(address_security=INSECURE))) == ["sign-host"]


def test_records_are_made_for_the_port_and_the_base_that_senders_ask_for() -> None:
    [advice] = advised(target(port=2525, base="base.example.org"))
    assert advice.publish == (f"_2525._tcp.base.example.org. IN TLSA {GOOD_TLSA}",)


def test_a_record_for_each_key_that_was_shown_at_most_four() -> None:
    root = authority()
    leaves = [root.leaf(HOST) for _ in range(5)]
    evidence = replace(destination(f"10 {HOST}."), sts=known())
    shown = ((), (b"no certificate",), (LEAF.der,), (LEAF.der,), *((leaf.der,) for leaf in leaves))
    host = SeenHost(target=target(), required=require(evidence, target()), chains=shown)
    [advice] = advise(SurveyedDestination(evidence=evidence, hosts=(host,), reporting=REPORTS))
    assert len(advice.publish) == 4
    assert advice.publish[0] == LINE


def test_several_hosts_each_get_their_own_advice() -> None:
    """A fault of one host does not hide that of the next."""
    first, second = target(GOOD_TLSA), target(UNUSABLE_TLSA, name=OTHER, base=OTHER)
    evidence = replace(destination(f"10 {HOST}.", f"20 {OTHER}."), sts=known(Mode.ENFORCE, "nowhere.example"))
    expired = Code.RFC8461_4_2_EXPIRED, Code.RFC7672_3_1_2_DANE_EXPIRED
    bad = tuple(Reason(code=code, subject=HOST) for code in expired)
    hosts = tuple(SeenHost(target=one, required=require(evidence, one), told=bad) for one in (first, second))
    given = advise(SurveyedDestination(evidence=evidence, hosts=hosts, reporting=REPORTS))
    assert [(one.kind, one.subject) for one in given] == [
        ("fix-dane-ta-certificate", HOST),
        ("fix-dane-ta-certificate", OTHER),
        ("name-host-in-mta-sts", HOST),
        ("fix-certificate", HOST),
        ("name-host-in-mta-sts", OTHER),
        ("fix-certificate", OTHER),
        ("replace-tlsa", OTHER),
    ]


def test_a_host_in_an_unsigned_zone_does_not_hide_the_next_that_only_lacks_records() -> None:
    unsigned, bare = target(base=None, address_security=INSECURE), target(name=OTHER, base=OTHER)
    evidence = replace(destination(f"10 {HOST}.", f"20 {OTHER}."), sts=known(Mode.ENFORCE, HOST, OTHER))
    hosts = tuple(SeenHost(target=one, required=require(evidence, one)) for one in (unsigned, bare))
    given = advise(SurveyedDestination(evidence=evidence, hosts=hosts, reporting=REPORTS))
    assert [(one.kind, one.subject) for one in given] == [("sign-host", HOST), ("publish-tlsa", OTHER)]


def test_a_policy_in_mode_none_names_nobody_and_is_not_asked_to() -> None:
    assert kinds(advised(None, "rfc8461-4.2-expired", sts=known(Mode.NONE, "other.example.org"))) == ["enforce-mta-sts"]


def test_a_literal_among_the_hosts_is_left_out() -> None:
    literal = target(origin=Origin.LITERAL, name="192.0.2.1", mx_secure=False, base=None, address_security=INSECURE)
    evidence = replace(destination(f"10 {HOST}."), sts=Absent())
    hosts = tuple(SeenHost(target=one, required=require(evidence, one)) for one in (literal, target(GOOD_TLSA)))
    [advice] = advise(SurveyedDestination(evidence=evidence, hosts=hosts, reporting=REPORTS))
    assert [line for line in advice.publish if "mx:" in line] == [f"  mx: {HOST}"]


def test_rfc8461_10_2_a_week_is_long_enough() -> None:
    assert (SHORT_MAX_AGE_SECONDS, ADVISED_MAX_AGE_SECONDS) == (7 * 24 * 3600, 90 * 24 * 3600)
    assert advised(sts=known(max_age=SHORT_MAX_AGE_SECONDS)) == ()
    assert kinds(advised(sts=known(max_age=SHORT_MAX_AGE_SECONDS - 1))) == ["lengthen-mta-sts"]
