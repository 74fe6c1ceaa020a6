"""DMARC verdicts: alignment, policies, failures, and the operator's choice."""

import pytest

from letterlock.mailauth.dmarc.actions import OBSERVE, Action, Choice, Override, disposition
from letterlock.mailauth.dmarc.evaluate import (
    AuthMechanism,
    DmarcVerdict,
    Evidence,
    Identifier,
    MechanismOutcome,
    evaluate,
)
from letterlock.mailauth.dmarc.reasons import DmarcCode, DmarcResult
from letterlock.mailauth.dmarc.record import Policy, parse_record
from letterlock.mailauth.dmarc.walk import names_of
from letterlock.resolver.answer import FailureKind, Security
from tests.mailauth.dns_world import World


def dkim(domain: str, outcome: MechanismOutcome = MechanismOutcome.PASS) -> Identifier:
    return Identifier(AuthMechanism.DKIM, domain, outcome)


def spf(domain: str, outcome: MechanismOutcome = MechanismOutcome.PASS) -> Identifier:
    return Identifier(AuthMechanism.SPF, domain, outcome)


def check(world: World, *identifiers: Identifier, author: str = "example.org") -> DmarcVerdict:
    return world.run(evaluate(Evidence(authors=(author,), identifiers=identifiers)))


def published(**records: str) -> World:
    """A world with records at these domains, underscores for dots."""
    world = World()
    for name, text in records.items():
        world.add(f"_dmarc.{name.replace('_', '.')}", "TXT", text)
    return world


def test_rfc9989_5_3_5_one_aligned_identifier_is_enough() -> None:
    verdict = check(published(example_org="v=DMARC1; p=reject"), dkim("lists.test"), spf("example.org"))
    assert verdict.result is DmarcResult.PASS
    assert (verdict.aligned_by(AuthMechanism.SPF), verdict.aligned_by(AuthMechanism.DKIM)) == (True, False)
    assert str(verdict.reason) == "example.org is aligned with example.org by SPF (RFC 9989 section 5.3.5)"


@pytest.mark.parametrize(
    ("tags", "identifier", "passes"),
    [
        ("", dkim("mail.example.org"), True),
        ("adkim=r", dkim("mail.example.org"), True),
        ("adkim=s", dkim("mail.example.org"), False),
        ("adkim=s", dkim("example.org"), True),
        ("adkim=s", spf("mail.example.org"), True),
        ("aspf=s", spf("mail.example.org"), False),
        ("aspf=s", dkim("mail.example.org"), True),
        ("", dkim("example.net"), False),
        ("", dkim("badexample.org"), False),
        ("", dkim("example.org", MechanismOutcome.FAIL), False),
    ],
)
def test_rfc9989_4_4_relaxed_and_strict_alignment(tags: str, identifier: Identifier, passes: bool) -> None:
    verdict = check(published(example_org=f"v=DMARC1; p=reject; {tags}"), identifier)
    assert verdict.result is (DmarcResult.PASS if passes else DmarcResult.FAIL)


def test_rfc9989_4_10_2_organizational_domains_that_differ_are_not_aligned() -> None:
    world = published(example_org="v=DMARC1; p=reject", dep_example_org="v=DMARC1; p=reject; psd=n")
    assert check(world, dkim("a.dep.example.org")).result is DmarcResult.FAIL
    assert check(world, dkim("a.dep.example.org"), author="b.dep.example.org").result is DmarcResult.PASS
    assert check(world, dkim("example.org"), author="dep.example.org").result is DmarcResult.FAIL


def test_a_public_suffix_does_not_align_its_customers() -> None:
    world = published(bank="v=DMARC1; p=reject; psd=y")
    assert check(world, dkim("other.bank"), author="mine.bank").result is DmarcResult.FAIL
    assert check(world, dkim("a.mine.bank"), author="mine.bank").result is DmarcResult.PASS


@pytest.mark.parametrize(
    ("tags", "author", "wanted"),
    [
        ("p=reject", "example.org", Policy.REJECT),
        ("p=reject; sp=none", "example.org", Policy.REJECT),
        ("p=reject; sp=none", "there.example.org", Policy.NONE),
        ("p=none; np=reject", "there.example.org", Policy.NONE),
        ("p=none; np=reject", "gone.example.org", Policy.REJECT),
        ("p=none; sp=quarantine; np=reject", "gone.example.org", Policy.REJECT),
        ("p=none; sp=quarantine", "gone.example.org", Policy.QUARANTINE),
        ("p=reject; sp=bad; rua=mailto:a@b.test", "there.example.org", Policy.NONE),
    ],
)
def test_rfc9989_4_10_1_which_policy_applies(tags: str, author: str, wanted: Policy) -> None:
    world = published(example_org=f"v=DMARC1; {tags}").add("there.example.org", "A", "192.0.2.1")
    verdict = check(world, author=author)
    assert (verdict.result, verdict.published, verdict.policy) == (DmarcResult.FAIL, wanted, wanted)


@pytest.mark.parametrize(("policy", "below"), [("reject", "quarantine"), ("quarantine", "none"), ("none", "none")])
def test_rfc9989_4_7_a_domain_that_tests_asks_for_one_level_less(policy: str, below: str) -> None:
    verdict = check(published(example_org=f"v=DMARC1; p={policy}; t=y"))
    assert (verdict.published.value, verdict.policy.value) == (policy, below)
    override = disposition(verdict, Choice()).override
    assert override is (None if policy == below else Override.POLICY_TEST_MODE)


@pytest.mark.parametrize("kind", list(FailureKind))
def test_rfc9989_5_3_6_a_failed_lookup_is_never_no_record(kind: FailureKind) -> None:
    verdict = check(World().fail("_dmarc.example.org", kind), dkim("example.org"))
    assert verdict.result is DmarcResult.TEMPERROR
    assert verdict.reason.code is (DmarcCode.BOGUS if kind is FailureKind.BOGUS else DmarcCode.LOOKUP_FAILED)


def test_rfc9989_5_3_6_a_failure_above_matters_only_where_the_result_depends_on_it() -> None:
    world = published(mail_example_org="v=DMARC1; p=reject").fail("_dmarc.example.org")
    assert check(world, dkim("mail.example.org"), author="mail.example.org").result is DmarcResult.PASS
    assert check(world, dkim("example.org"), author="mail.example.org").result is DmarcResult.TEMPERROR
    assert check(world, dkim("lists.test"), author="mail.example.org").result is DmarcResult.FAIL


def test_rfc9989_5_3_6_an_aligned_identifier_that_is_unknown_is_temperror() -> None:
    world = published(example_org="v=DMARC1; p=reject")
    assert check(world, dkim("example.org", MechanismOutcome.UNKNOWN)).reason.code is DmarcCode.IDENTIFIER_UNKNOWN
    assert check(world, dkim("example.org", MechanismOutcome.UNKNOWN), spf("example.org")).result is DmarcResult.PASS
    assert check(world, dkim("lists.test", MechanismOutcome.UNKNOWN)).result is DmarcResult.FAIL


def test_whether_the_author_exists_is_asked_only_where_it_matters() -> None:
    world = published(example_org="v=DMARC1; p=none; np=reject").fail("lost.example.org")
    assert check(world, author="lost.example.org").result is DmarcResult.TEMPERROR
    assert check(world, dkim("example.org"), author="lost.example.org").result is DmarcResult.PASS
    quiet = published(example_org="v=DMARC1; p=none")
    check(quiet, author="a.example.org")
    assert all(str(each.name).startswith("_dmarc.") for each in quiet.asked)


@pytest.mark.parametrize(
    ("authors", "code"), [((), DmarcCode.NO_AUTHOR), (("a.test", "b.test"), DmarcCode.SEVERAL_AUTHORS)]
)
def test_rfc9989_5_3_1_without_exactly_one_author_there_is_no_result(authors: tuple[str, ...], code: DmarcCode) -> None:
    verdict = World().run(evaluate(Evidence(authors=authors)))
    assert (verdict.result, verdict.reason.code) == (DmarcResult.PERMERROR, code)


def test_records_without_effect() -> None:
    assert check(World()).reason.code is DmarcCode.NO_RECORD
    assert check(published(example_org="v=DMARC1; p=rejct")).reason.code is DmarcCode.NO_POLICY
    two = published(example_org="v=DMARC1; p=reject").add("_dmarc.example.org", "TXT", "v=DMARC1; p=none")
    verdict = check(two)
    assert verdict.reason.code is DmarcCode.NO_RECORD
    assert verdict.oddities == ("_dmarc.example.org has 2 policy records, which count as none",)


def test_the_dnssec_state_stands_beside_the_result() -> None:
    world = published(example_org="v=DMARC1; p=reject")
    world.security = Security.SECURE
    assert check(world, dkim("example.org")).security == "secure"


def test_the_walk_asks_eight_names_at_most() -> None:
    author = "a.b.c.d.e.f.g.h.i.j.mail.example.com"
    assert names_of(author) == (
        author,
        "g.h.i.j.mail.example.com",
        "h.i.j.mail.example.com",
        "i.j.mail.example.com",
        "j.mail.example.com",
        "mail.example.com",
        "example.com",
        "com",
    )


def test_the_choice_of_the_operator_is_data() -> None:
    failed = check(published(example_org="v=DMARC1; p=reject"))
    assert disposition(failed, Choice()).action is Action.REJECT
    softened = disposition(failed, Choice(reject=Action.QUARANTINE))
    assert (softened.action, softened.override) == (Action.QUARANTINE, Override.LOCAL_POLICY)
    assert disposition(failed, OBSERVE).action is Action.ACCEPT
    lost = check(World().fail("_dmarc.example.org"))
    assert disposition(lost, Choice()).action is Action.ACCEPT
    assert disposition(lost, Choice(temperror=Action.DEFER)).action is Action.DEFER


def test_a_policy_of_none_never_changes_anything() -> None:
    verdict = check(published(example_org="v=DMARC1; p=none"))
    assert disposition(verdict, Choice(quarantine=Action.REJECT)).action is Action.ACCEPT


def test_what_is_wrong_in_a_record_is_named_and_costs_only_its_tag() -> None:
    record = parse_record(b"v=DMARC1; p=reject; adkim=x; nonsense; rua=mailto:a@b.test!10m,bogus; pct=7")
    assert (record.policy, record.report_addresses) == (Policy.REJECT, ("mailto:a@b.test",))
    assert len(record.oddities) == 3
