"""The lab must notice a server that is worse than theory: what it proves is worth no more than that."""

import pytest

from letterlock.deliver import session
from letterlock.lab.scenarios import Attack, SiteProtection, TrialOutcome
from letterlock.lab.trial import Cell, run_cells
from letterlock.policy import decision
from letterlock.policy.decision import Achieved, Cleared, Level, Requirement, Verdict
from letterlock.policy.evidence import SessionEvidence


async def run(attack: Attack, protection: SiteProtection) -> Cell:
    """One cell."""
    (cell,) = [cell async for cell in run_cells([attack], [protection])]
    return cell


def believe_everything(requirement: Requirement, session: SessionEvidence, now: float) -> Verdict:
    """A judge who finds every server authenticated: the proof is his to make, and nobody else's."""
    achieved = Achieved(level=Level.AUTHENTICATED, by="dane-ee")
    return Cleared(
        requirement=requirement,
        achieved=achieved,
        reasons=requirement.reasons,
        session=session.session,
        seal=decision._SEAL,
    )


async def test_a_server_that_believes_everything_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "judge", believe_everything)
    cell = await run(Attack.SELF_SIGNED, SiteProtection.DANE_EE)
    assert cell.worse
    assert not cell.passed
    assert cell.outcome is TrialOutcome.AUTHENTICATED  # as it says itself, while the attacker read everything


async def test_a_server_that_claims_tls_over_a_clear_session_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "judge", believe_everything)
    cell = await run(Attack.STARTTLS_STRIPPED, SiteProtection.DANE_TA)
    assert cell.worse
    assert cell.outcome is TrialOutcome.INCONSISTENT


async def test_a_cell_tells_what_happened_why_and_how_long_it_took() -> None:
    cell = await run(Attack.MX_FORGED, SiteProtection.DANE_TA)
    assert cell.passed
    assert not cell.worse
    assert [reason["section"] for reason in cell.reasons] == ["RFC 7672 section 2.1.2"]
    assert 0 < cell.seconds < 30


async def test_rfc8461_10_2_a_hidden_policy_holds_and_is_told_as_a_sign_of_attack() -> None:
    cell = await run(Attack.STS_HIDDEN, SiteProtection.MTA_STS)
    assert cell.passed
    assert {"rfc8461-4.2-untrusted", "rfc8461-10.2-blocked"} <= {reason["code"] for reason in cell.reasons}


async def test_rfc8461_3_3_a_redirect_is_not_followed_and_the_policy_that_is_known_holds() -> None:
    cell = await run(Attack.STS_REDIRECTED, SiteProtection.MTA_STS)
    assert cell.passed
    (blocked,) = [reason["text"] for reason in cell.reasons if reason["code"] == "rfc8461-10.2-blocked"]
    assert "redirects are not followed" in blocked


async def test_rfc8461_4_2_nobody_attacks_and_the_policy_was_really_fetched() -> None:
    cell = await run(Attack.NONE, SiteProtection.MTA_STS)
    assert cell.outcome is TrialOutcome.AUTHENTICATED
    assert "rfc8461-5-enforce" in {reason["code"] for reason in cell.reasons}
