"""The table of what theory says, reviewed by itself: whole, with its reasons, and consistent from cell to cell."""

import re

import pytest

from letterlock.lab.arsenal import ARSENAL
from letterlock.lab.scenarios import SHORT, Attack, Exposure, SiteProtection, TrialOutcome
from letterlock.lab.theory import TheoryError, expected, read, story, theory, title
from letterlock.policy.reasons import all_codes

DANE = (SiteProtection.DANE_EE, SiteProtection.DANE_TA, SiteProtection.DANE_AND_STS)
AT_ANOTHER_PORT = tuple(each for each in Attack if each.startswith("implicit-"))
MADE_BY_THE_DOMAIN = (Attack.NONE, Attack.COMMANDS_INJECTED, Attack.EXPIRED_GENUINE)  # nobody has to be stopped
SEVERITY = list(Exposure)
_SECTION = re.compile(r"\bRFC \d{4,5} sections? \d")


def test_there_are_at_least_35_attacks_and_11_protections_and_a_word_on_every_cell() -> None:
    assert len(Attack) - 1 >= 35
    assert len(SiteProtection) >= 11
    assert set(theory().cells) == {(attack, protection) for attack in Attack for protection in SiteProtection}
    assert set(ARSENAL) == set(Attack)
    assert set(Attack) > SHORT


def test_every_expectation_has_a_reason_that_the_server_can_give_and_the_section_of_a_standard() -> None:
    for cell in theory().cells.values():
        assert cell.because is None or cell.because in set(all_codes())
        assert _SECTION.search(cell.why), cell.why


def test_every_attack_is_told_and_has_a_title_of_its_own() -> None:
    titles = [title(attack) for attack in Attack]
    assert len(set(titles)) == len(titles)
    assert all(len(each) <= 24 for each in titles)
    assert all(story(attack) and not story(attack).endswith(".") for attack in Attack)


def test_more_protection_never_gives_the_attacker_more() -> None:
    """The partial order of `above`: for every attack, what is stronger exposes no more than what is weaker."""
    pairs = theory().stronger_pairs()
    assert len(pairs) >= 2 * len(SiteProtection)
    for attack in Attack:
        for weaker, stronger in pairs:
            less, more = (SEVERITY.index(expected(attack, each).exposure) for each in (stronger, weaker))
            assert less <= more, (attack, weaker, stronger)


def test_the_order_is_one_and_nothing_protects_less_than_nothing() -> None:
    pairs = theory().stronger_pairs()
    assert all((stronger, weaker) not in pairs for weaker, stronger in pairs)
    assert all((SiteProtection.NONE, each) in pairs for each in SiteProtection if each is not SiteProtection.NONE)


def test_every_order_that_is_declared_is_needed() -> None:
    """Where two protections differ for some attack, the stronger one is stronger at least once or as strong always."""
    for weaker, stronger in theory().stronger_pairs():
        differs = [
            attack for attack in Attack if expected(attack, weaker).exposure != expected(attack, stronger).exposure
        ]
        assert all(
            SEVERITY.index(expected(each, stronger).exposure) < SEVERITY.index(expected(each, weaker).exposure)
            for each in differs
        )


def test_nobody_reads_what_nobody_attacks_and_it_arrives() -> None:
    for protection in SiteProtection:
        assert expected(Attack.NONE, protection).exposure is Exposure.NOTHING
        assert expected(Attack.NONE, protection).outcome is not TrialOutcome.HELD


def test_what_is_held_is_never_readable() -> None:
    for cell in theory().cells.values():
        assert not (cell.outcome is TrialOutcome.HELD and cell.readable)


def test_rfc7672_dane_is_read_only_where_the_domain_publishes_unusable_records() -> None:
    """RFC 7672 section 2.2: then nothing identifies the server. Beside an MTA-STS policy not even that."""
    read_in = {(attack, each) for attack in Attack for each in DANE if expected(attack, each).readable}
    assert read_in == {(Attack.TLSA_UNUSABLE, each) for each in (SiteProtection.DANE_EE, SiteProtection.DANE_TA)}


def test_rfc7672_dane_delivers_nothing_unauthenticated_under_attack() -> None:
    for attack in set(Attack) - {Attack.TLSA_UNUSABLE}:
        for protection in DANE:
            assert expected(attack, protection).outcome in (TrialOutcome.HELD, TrialOutcome.AUTHENTICATED)
            if attack not in MADE_BY_THE_DOMAIN + AT_ANOTHER_PORT:
                assert expected(attack, protection).outcome is TrialOutcome.HELD


def test_rfc8314_7_3_what_happens_at_the_announced_port_never_lowers_what_must_hold() -> None:
    """Where only that port is attacked, mail goes to the usual one as in peace; where both are, as if it were not."""
    both = {
        Attack.IMPLICIT_BLOCKED_TOO: Attack.STARTTLS_STRIPPED,
        Attack.IMPLICIT_BOUGHT: Attack.BOUGHT_CERTIFICATE,
    }
    for attack in set(AT_ANOTHER_PORT) - {Attack.IMPLICIT_LEFT_OPEN}:
        for protection in set(SiteProtection) - {SiteProtection.OWN_CA}:  # its route knows no other port
            assert expected(attack, protection) == expected(both.get(attack, Attack.NONE), protection)
    for protection in SiteProtection:
        outcome = expected(Attack.IMPLICIT_LEFT_OPEN, protection).outcome
        announced = protection in DANE or protection in (SiteProtection.OWN_CA, SiteProtection.REQUIRETLS)
        assert outcome is TrialOutcome.AUTHENTICATED or not announced


def test_rfc7672_1_3_2_the_honest_rows_stay() -> None:
    assert expected(Attack.SELF_SIGNED, SiteProtection.REQUIRE_TLS).readable
    forged = expected(Attack.MX_FORGED, SiteProtection.VERIFY)
    assert (forged.outcome, forged.because) == (TrialOutcome.ENCRYPTED, "rfc7672-1.3.2-unsigned-name")
    assert forged.readable
    stripped = expected(Attack.STARTTLS_STRIPPED, SiteProtection.NONE)
    assert (stripped.outcome, stripped.exposure) == (TrialOutcome.CLEAR, Exposure.READ_CLEAR)


def test_rfc8461_10_what_mta_sts_does_not_stop_is_a_public_authority_that_certifies_the_attacker() -> None:
    """RFC 8461 section 10.1, once the policy is known; before that a hidden or replaced one, too (section 10.2)."""
    read_when_known = {attack for attack in Attack if expected(attack, SiteProtection.MTA_STS).readable}
    assert read_when_known == {
        Attack.BOUGHT_CERTIFICATE,
        Attack.STS_MODE_NONE,
        Attack.STS_OTHER_POLICY,
        Attack.IMPLICIT_BOUGHT,
        Attack.ADDRESS_HIJACKED,
    }
    read_first = {attack for attack in Attack if expected(attack, SiteProtection.STS_FIRST).readable}
    assert read_first > read_when_known
    assert all(attack.startswith("mta-sts-") for attack in read_first - read_when_known)


def test_own_authority_is_read_by_nobody() -> None:
    assert not any(expected(attack, SiteProtection.OWN_CA).readable for attack in Attack)


GOOD = "\n".join(
    [
        *(f'[protection.{each}]\nhead = ["x"]\nis = "y"' for each in SiteProtection),
        '[why]\nno-session = "z"',
        *(
            f'[attack.{attack}]\ntitle = "t"\nstory = "s"\nheld.no-session = {[str(each) for each in SiteProtection]}'
            for attack in Attack
        ),
    ]
)


def test_a_table_with_a_gap_is_refused() -> None:
    assert read(GOOD).cells
    with pytest.raises(TheoryError, match="no expectation for none: require-tls"):
        read(GOOD.rpartition("'require-tls', ")[0] + GOOD.rpartition("'require-tls', ")[2])


def test_a_table_that_says_something_twice_is_refused() -> None:
    with pytest.raises(TheoryError, match="none: dane-ee is there twice"):
        read(f"{GOOD}\nencrypted.no-session = ['dane-ee']")


def test_a_table_without_a_reason_is_refused() -> None:
    with pytest.raises(TheoryError, match=r"mx-forged: nothing in \[why\] explains held by no-session"):
        read(GOOD.replace('no-session = "z"', 'other = "z"'))


def test_a_table_with_an_attack_that_nobody_knows_is_refused() -> None:
    with pytest.raises(TheoryError, match="voodoo"):
        read(f"{GOOD}\n[attack.voodoo]\ntitle = 'v'\nstory = 'v'")
