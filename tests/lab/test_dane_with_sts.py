"""A domain with DANE and MTA-STS both, through the whole server: which of the two has the last word."""

import pytest

from letterlock.lab.box import Box, running_box
from letterlock.lab.scenarios import Attack, SiteProtection
from letterlock.lab.subject import ObservedState, OperatorRecord, recipient_of, running_subject
from letterlock.policy.decision import Level

SECRET = "swordfish"


BOTH = SiteProtection.DANE_AND_STS


async def tried(attack: Attack, protection: SiteProtection = BOTH) -> tuple[Box, OperatorRecord, set[str]]:
    """The first attempt at mail to the domain that has DANE and an MTA-STS policy, and the codes of its reasons."""
    async with running_box(attack) as box, running_subject(box) as subject:
        recipient = recipient_of(box, protection)
        message_id = await subject.submit(recipient, SECRET)
        record = await subject.record_of(message_id, recipient, timeout_seconds=20)
    assert record is not None
    return box, record, {reason["code"] for reason in record.reasons}


async def test_rfc8461_2_a_certificate_that_satisfies_mta_sts_does_not_override_a_failing_dane() -> None:
    """The bought certificate is read under MTA-STS alone; the same one, where DANE is published too, is held."""
    alone, record, codes = await tried(Attack.BOUGHT_CERTIFICATE, SiteProtection.MTA_STS)
    assert record.state is ObservedState.DELIVERED
    assert "rfc8461-4.2-verified" in codes
    assert alone.stolen(SiteProtection.MTA_STS, SECRET.encode())
    both, record, codes = await tried(Attack.BOUGHT_CERTIFICATE)
    assert record.state is ObservedState.DEFERRED
    assert "rfc7672-3.2-dane-mismatch" in codes
    assert not both.stolen(BOTH, SECRET.encode())
    assert not both.delivered(BOTH, SECRET.encode())


async def test_rfc8461_2_when_nobody_attacks_the_server_is_authenticated_by_both() -> None:
    box, record, codes = await tried(Attack.NONE)
    assert (record.state, record.level) == (ObservedState.DELIVERED, Level.AUTHENTICATED)
    assert {"rfc7672-3.1.1-dane-ee", "rfc8461-4.2-verified"} <= codes
    assert box.delivered(BOTH, SECRET.encode())


@pytest.mark.parametrize("attack", [Attack.STS_HIDDEN, Attack.STS_FORGED, Attack.STS_REDIRECTED])
async def test_rfc8461_2_dane_holds_where_mta_sts_is_hidden_or_forged(attack: Attack) -> None:
    box, record, codes = await tried(attack)
    assert record.state is ObservedState.DEFERRED
    assert codes & {"rfc7672-3.2-dane-mismatch", "rfc7672-2.1.2-mx-bogus"}
    assert not box.stolen(BOTH, SECRET.encode())
