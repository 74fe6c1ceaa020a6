"""Memory as a demand: what is held, what is only told, and what it never does."""

from dataclasses import replace

import pytest

from letterlock.identity.handshake import Completed, HandshakeFailed
from letterlock.identity.keys_shown import key_of
from letterlock.mail.envelope import TlsDemand
from letterlock.memory.learning import Sighting, VerifiedKey, learn
from letterlock.memory.remembered import DomainMemory
from letterlock.memory.traces import DAY_SECONDS, LIFETIME_SECONDS
from letterlock.mtasts import Absent, Known, Mode, StsPolicy
from letterlock.policy.absence import unless_expected
from letterlock.policy.by_memory import missing
from letterlock.policy.codes import Code
from letterlock.policy.decision import (
    Cleared,
    Defer,
    Demander,
    Encryption,
    Level,
    Refuse,
    Requirement,
    SkipHost,
    SkipKind,
)
from letterlock.policy.evidence import (
    DestinationEvidence,
    MemoryUnreadable,
    Origin,
    SessionEvidence,
    StartTls,
    TargetHost,
)
from letterlock.policy.judge import judge, next_requirement
from letterlock.policy.reasons import Reason, sentence, status
from letterlock.policy.require import require
from letterlock.resolver.answer import Absence
from letterlock.routing.destination_rule import DestinationRule, MemoryMode, RuleException, TlsRule
from letterlock.routing.rules import Rules
from tests.certificates import self_signed
from tests.memory.lives import daily, remembered
from tests.policy.evidence import (
    DOMAIN,
    GOOD_TLSA,
    HOST,
    INSECURE,
    LEAF,
    NOW,
    ROOT,
    ROOTS,
    SECURE,
    destination,
    failure,
    target,
)

KEY = VerifiedKey(key_of(LEAF.chain) or "", "Test Root")
GOOD = Sighting(domain=DOMAIN, host=HOST, at=NOW, hosts=(HOST,), encrypted=True, certificate=KEY)
HOLD, OBSERVE, OFF = MemoryMode.HOLD, MemoryMode.OBSERVE, MemoryMode.OFF
PLAIN = target(base=None, mx_secure=False, address_security=INSECURE)


def knowing(
    memory: DomainMemory | MemoryUnreadable | None, mode: MemoryMode = HOLD, *, host: str = HOST, signed: bool = False
) -> DestinationEvidence:
    found = destination(f"10 {host}.", security=SECURE if signed else INSECURE)
    return replace(found, memory=memory, memory_mode=mode, public_roots=ROOTS, at=NOW)


def shown(chain: tuple[bytes, ...] | None, starttls: StartTls = StartTls.OFFERED) -> SessionEvidence:
    tls = Completed(version="TLSv1.3", cipher="X", group=None, sni=None, chain=chain) if chain is not None else None
    kind = starttls if tls is not None or starttls is not StartTls.OFFERED else StartTls.NOT_OFFERED
    return SessionEvidence(address="192.0.2.1", port=25, starttls=kind, handshake=tls)


CLEAR, GENUINE, OTHER = shown(None), shown(LEAF.chain), shown(self_signed(HOST).chain)


def demanded(evidence: DestinationEvidence, host: TargetHost = PLAIN) -> Requirement:
    found = require(evidence, host)
    assert isinstance(found, Requirement), found
    return found


def codes(reasons: tuple[Reason, ...]) -> list[str]:
    return [each.code.value for each in reasons]


# --- hold -------------------------------------------------------------------------------------------------------------


def test_tls_that_was_always_there_is_demanded() -> None:
    found = demanded(knowing(remembered(replace(GOOD, certificate=None))))
    assert (found.encryption, found.authentication, found.fallback) == (Encryption.MANDATORY, None, None)
    assert found.demanders == {Demander.MEMORY}
    verdict = judge(found, CLEAR, NOW)
    assert isinstance(verdict, SkipHost)
    assert verdict.kind is SkipKind.MEMORY
    assert codes(verdict.reasons) == ["memory-no-starttls"]
    assert sentence(verdict.reasons[0]) == (
        "STARTTLS was not offered, though mail to example.org went inside TLS on 30 days from 2026-12-17 to 2027-01-15;"
        " an attacker on the path may have removed it"
    )
    assert isinstance(judge(found, OTHER, NOW), Cleared)


@pytest.mark.parametrize(
    ("session", "code"),
    [
        (replace(CLEAR, starttls=StartTls.REFUSED), "memory-starttls-refused"),
        (replace(CLEAR, starttls=StartTls.OFFERED, handshake=HandshakeFailed("reset")), "memory-handshake-failed"),
        (replace(CLEAR, starttls=StartTls.INJECTED), "rfc3207-4.2-injected"),
        (OTHER, "memory-other-certificate"),
    ],
)
def test_there_is_no_way_around_what_is_remembered(session: SessionEvidence, code: str) -> None:
    found = demanded(knowing(remembered(GOOD)))
    verdict = judge(found, session, NOW)
    assert isinstance(verdict, SkipHost)
    assert codes(verdict.reasons) == [code]
    assert next_requirement(found, session) is None


def test_a_new_certificate_for_the_host_is_as_good_as_the_old_one() -> None:
    found = demanded(knowing(remembered(GOOD)))
    verdict = judge(found, shown(ROOT.leaf(HOST).chain), NOW)
    assert isinstance(verdict, Cleared)
    assert verdict.achieved.by == "pkix-unsigned-name"
    assert verdict.achieved.level is Level.ENCRYPTED, "the name came from unsigned DNS: it proves nothing of the domain"


def test_a_certificate_that_nobody_renewed_has_the_same_key() -> None:
    found = demanded(knowing(remembered(GOOD)))
    verdict = judge(found, GENUINE, NOW + 5_000 * DAY_SECONDS)
    assert isinstance(verdict, Cleared)
    assert (verdict.achieved.by, verdict.achieved.level) == ("memory", Level.ENCRYPTED)
    assert codes(verdict.reasons)[-1] == "memory-same-key"


def test_a_new_host_of_an_unsigned_mx_waits() -> None:
    memory = remembered(GOOD)
    found = require(
        knowing(memory, host="mx.evil.example"), replace(PLAIN, host=replace(PLAIN.host, name="mx.evil.example"))
    )
    assert isinstance(found, SkipHost)
    assert found.kind is SkipKind.MEMORY
    assert codes(found.reasons)[0] == "memory-new-host"
    assert "but to mx.example.org" in sentence(found.reasons[0])
    assert "seen first on 2027-01-15" in sentence(found.reasons[0])
    assert "accepted" not in sentence(found.reasons[0]), "unsigned DNS never settles it"


def test_rfc5321_5_1_the_domain_itself_is_a_new_host_where_unsigned_dns_denies_the_mx_records() -> None:
    """Found by the lab: who can forge an MX record can also deny it, and forge the domain's own address."""
    itself = replace(PLAIN, host=replace(PLAIN.host, name=DOMAIN, origin=Origin.IMPLICIT_MX))
    found = require(knowing(remembered(GOOD), host=DOMAIN), itself)
    assert isinstance(found, SkipHost)
    assert codes(found.reasons)[0] == "memory-new-host"
    signed = replace(itself, host=replace(itself.host, secure=True))
    assert isinstance(require(knowing(remembered(GOOD), host=DOMAIN), signed), Requirement)


def test_a_new_host_of_a_signed_mx_or_a_policy_goes() -> None:
    new = target(name="mx.new.example", base=None, address_security=INSECURE)
    assert isinstance(require(knowing(remembered(GOOD), host="mx.new.example", signed=True), new), Requirement)
    policy = Known(
        policy=StsPolicy(mode=Mode.ENFORCE, max_age_seconds=9, mx=("mx.new.example",)), id="1", fetched_at=NOW,
        expires_at=NOW + 9, from_cache=False,
    )  # fmt: skip
    evidence = replace(knowing(remembered(GOOD), host="mx.new.example"), sts=policy)
    assert isinstance(require(evidence, replace(new, host=replace(new.host, secure=False))), Requirement)


def test_dane_dnssec_and_mta_sts_that_went_are_named() -> None:
    memory = remembered(replace(GOOD, dane=True, signed=True, mta_sts=True))
    found = require(replace(knowing(memory), sts=Absent()), PLAIN)
    assert isinstance(found, SkipHost)
    assert {"memory-dane-gone", "memory-dnssec-gone", "memory-mta-sts-gone"} <= set(codes(found.reasons))
    assert "memory-mta-sts-gone" not in codes(require(knowing(memory), PLAIN).reasons), "nobody asked for a policy"


def test_dane_is_enough_where_it_holds() -> None:
    evidence = knowing(remembered(replace(GOOD, dane=True, signed=True)), signed=True)
    found = demanded(evidence, target(GOOD_TLSA))
    assert found == demanded(replace(evidence, memory=None), target(GOOD_TLSA))


def test_memory_adds_and_never_lowers() -> None:
    rule = DestinationRule(domain=DOMAIN, tls=TlsRule.VERIFY, source="t:1", trust=ROOTS)
    with_rule = demanded(replace(knowing(remembered(GOOD)), rule=rule))
    assert with_rule == demanded(replace(knowing(None), rule=rule))


@pytest.mark.parametrize("memory", [None, remembered(GOOD, days=4), remembered(GOOD, until=NOW - LIFETIME_SECONDS - 9)])
def test_what_is_not_known_or_faded_demands_nothing(memory: DomainMemory | None) -> None:
    assert demanded(knowing(memory)).encryption is Encryption.OPTIONAL


def test_a_literal_has_no_memory() -> None:
    literal = target(origin=Origin.LITERAL, mx_secure=False, base=None, name="192.0.2.1")
    assert demanded(knowing(remembered(GOOD)), literal).encryption is Encryption.OPTIONAL


# --- could not find out -----------------------------------------------------------------------------------------------


def test_a_memory_that_cannot_be_read_holds_only_where_hold_was_asked() -> None:
    damaged = MemoryUnreadable("memory.db is damaged")
    held = require(knowing(damaged), PLAIN)
    assert isinstance(held, SkipHost)
    assert codes(held.reasons)[0] == "memory-unreadable"
    assert demanded(knowing(damaged, OFF)).encryption is Encryption.OPTIONAL
    goes = judge(demanded(knowing(damaged, OBSERVE)), CLEAR, NOW)
    assert isinstance(goes, Cleared)
    assert codes(goes.reasons)[-1] == "memory-would-hold"


@pytest.mark.parametrize("absence", list(Absence))
def test_a_domain_that_vanishes_in_unsigned_dns_waits(absence: Absence) -> None:
    refusal = Refuse(status="5.1.2", reasons=(Reason(code=Code.RFC5321_5_1_NO_SUCH_DOMAIN, subject=DOMAIN),))
    vanished = replace(destination(security=INSECURE, absence=absence), memory_mode=HOLD, at=NOW)
    found = unless_expected(replace(vanished, memory=remembered(GOOD)), refusal)
    assert isinstance(found, Defer)
    assert codes(found.reasons) == ["memory-vanished"]
    assert isinstance(unless_expected(replace(vanished, memory=MemoryUnreadable("x")), refusal), Defer)
    assert unless_expected(replace(vanished, memory=remembered(GOOD), memory_mode=OBSERVE), refusal) is refusal
    assert unless_expected(replace(vanished, memory=remembered(GOOD, days=2)), refusal) is refusal


# --- observe ----------------------------------------------------------------------------------------------------------


def test_observing_tells_and_holds_nothing() -> None:
    found = demanded(knowing(remembered(GOOD), OBSERVE))
    bare = demanded(knowing(None, OBSERVE))
    assert (found.encryption, found.demanders, found.authentication) == (bare.encryption, bare.demanders, None)
    for session, words in ((CLEAR, "STARTTLS was not offered"), (OTHER, "now it has another key")):
        verdict = judge(found, session, NOW)
        assert isinstance(verdict, Cleared)
        assert codes(verdict.reasons)[-1] == "memory-would-hold"
        assert words in sentence(verdict.reasons[-1])


def test_that_all_is_as_always_is_not_worth_a_word() -> None:
    verdict = judge(demanded(knowing(remembered(GOOD), OBSERVE)), GENUINE, NOW)
    assert isinstance(verdict, Cleared)
    assert "memory-would-hold" not in codes(verdict.reasons)


def test_cleartext_after_a_handshake_that_failed_is_told_too() -> None:
    found = demanded(knowing(remembered(GOOD), OBSERVE))
    failed = replace(CLEAR, starttls=StartTls.OFFERED, handshake=HandshakeFailed("reset"))
    fallback = next_requirement(found, failed)
    assert fallback is not None
    verdict = judge(fallback, replace(CLEAR, starttls=StartTls.NOT_TRIED), NOW)
    assert isinstance(verdict, Cleared)
    assert codes(verdict.reasons)[-1] == "memory-would-hold"


def test_a_host_that_would_be_skipped_is_sent_to_and_told() -> None:
    new = replace(PLAIN, host=replace(PLAIN.host, name="mx.evil.example"))
    verdict = judge(demanded(knowing(remembered(GOOD), OBSERVE, host="mx.evil.example"), new), GENUINE, NOW)
    assert isinstance(verdict, Cleared)
    assert "never went to this host" in sentence(verdict.reasons[-1])


# --- who says so ------------------------------------------------------------------------------------------------------


def test_the_strictest_rule_that_speaks_of_memory_counts() -> None:
    def rule(domain: str, memory: MemoryMode | None, *, audit: bool = False) -> DestinationRule:
        return DestinationRule(domain=domain, tls=TlsRule.MAY, source=f"t:{domain}", memory=memory, audit=audit)

    rules = Rules(
        {
            "held.example": rule("held.example", HOLD),
            "off.example": rule("off.example", OFF),
            "audit.example": rule("audit.example", HOLD, audit=True),
            "silent.example": rule("silent.example", None),
        },
        {"careful.example": rule("careful.example", HOLD)},
        memory=OBSERVE,
    )
    assert rules.for_message("other.example", None).memory is OBSERVE
    assert rules.for_message("other.example", None).memory_rule is None
    assert rules.for_message("held.example", None).memory is HOLD
    assert rules.for_message("off.example", None).memory is OFF
    assert rules.for_message("off.example", "careful.example").memory is HOLD
    assert rules.for_message("audit.example", None).memory is OBSERVE
    assert rules.for_message("silent.example", None).memory is OBSERVE


def test_an_exception_lifts_memory_too() -> None:
    exception = RuleException(allow_clear=True, why="they know", until=NOW + 9)
    rule = DestinationRule(domain=DOMAIN, tls=TlsRule.MAY, source="t:1", exception=exception, memory=HOLD)
    evidence = replace(knowing(remembered(GOOD)), rule=rule, memory_rule=rule)
    assert isinstance(judge(demanded(evidence), CLEAR, NOW), Cleared)


def test_rfc8689_4_2_2_the_header_lifts_what_is_remembered_but_not_a_rule() -> None:
    evidence = knowing(remembered(GOOD))
    rule = DestinationRule(domain=DOMAIN, tls=TlsRule.MAY, source="t:1", memory=HOLD)
    for memory_rule, encryption in ((None, Encryption.OPTIONAL), (rule, Encryption.MANDATORY)):
        found = require(replace(evidence, memory_rule=memory_rule), PLAIN, TlsDemand.TLS_REQUIRED_NO)
        assert isinstance(found, Requirement)
        assert found.encryption is encryption
    lifted = replace(rule, lifted_by_header=True)
    found = require(replace(evidence, memory_rule=lifted), PLAIN, TlsDemand.TLS_REQUIRED_NO)
    assert isinstance(found, Requirement)
    assert found.encryption is Encryption.OPTIONAL


def test_rfc8689_4_2_1_a_remembered_key_is_no_verified_certificate_for_a_message_that_demands_one() -> None:
    """Memory takes a host for the same whose certificate has expired; REQUIRETLS does not, whatever is remembered."""
    evidence, signed = knowing(remembered(GOOD), signed=True), target(base=None, address_security=INSECURE)
    found = require(evidence, signed, TlsDemand.REQUIRETLS)
    assert isinstance(found, Requirement)
    assert isinstance(judge(found, GENUINE, NOW), Cleared)
    late = judge(found, GENUINE, NOW + 40_000 * DAY_SECONDS)
    assert isinstance(late, SkipHost)
    assert "rfc8689-4.2.1-not-verified" in codes(late.reasons)


def test_rfc8689_5_a_message_with_requiretls_waits_like_any_other_for_a_new_host() -> None:
    evil = replace(PLAIN, host=replace(PLAIN.host, name="mx.evil.example"))
    found = require(knowing(remembered(GOOD), host="mx.evil.example"), evil, TlsDemand.REQUIRETLS)
    assert isinstance(found, SkipHost)
    assert found.kind is SkipKind.MEMORY
    assert status(found.reasons[0]).startswith("4.")


def test_what_is_missing_is_found_without_reading_reasons() -> None:
    memory = remembered(replace(GOOD, dane=True))
    evidence = knowing(memory)
    assert {each.value for each in missing(evidence, PLAIN, CLEAR, NOW)} == {"dane", "tls"}
    assert {each.value for each in missing(evidence, PLAIN, OTHER, NOW)} == {"dane", "certificate"}
    assert {each.value for each in missing(evidence, PLAIN, GENUINE, NOW)} == {"dane"}
    dane = target(GOOD_TLSA)
    assert missing(evidence, dane, OTHER, NOW, demanded(evidence, dane)) == frozenset()


def test_a_memory_that_no_delivery_made_is_none() -> None:
    assert all(learn(None, replace(each, delivered=False)) is None for each in daily(GOOD))


LOST = target(answered=failure(f"_25._tcp.{HOST}", "TLSA"))


def test_a_tlsa_lookup_that_failed_holds_like_records_that_are_gone_and_says_so() -> None:
    rule = DestinationRule(domain=DOMAIN, tls=TlsRule.MAY, source="t:1", memory=HOLD)
    evidence = replace(knowing(remembered(replace(GOOD, dane=True))), memory_rule=rule)
    found = require(evidence, LOST, TlsDemand.TLS_REQUIRED_NO)
    assert isinstance(found, SkipHost)
    assert found.kind is SkipKind.MEMORY
    assert codes(found.reasons)[0] == "rfc7672-2.1.2-tlsa-lookup-failed"


def test_a_tlsa_lookup_that_failed_is_not_noted_as_an_absence() -> None:
    """Else blocking it for a day would settle the change, which is for absences that are proven."""
    evidence = knowing(remembered(replace(GOOD, dane=True)))
    assert missing(evidence, LOST, None, NOW) == frozenset()
    assert {each.value for each in missing(evidence, target(), None, NOW)} == {"dane"}
