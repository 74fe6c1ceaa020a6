"""The whole server, with signed DNS and real attackers, sending mail by the operator's route."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from letterlock.app import server as app
from letterlock.config import load
from letterlock.lab.box import Box, running_box
from letterlock.lab.scenarios import Attack, SiteProtection
from letterlock.lab.subject import ObservedState, OperatorRecord, Subject, write_config
from letterlock.policy.decision import Level

SECRET = "swordfish"
RECIPIENT = "ann@nowhere.test"  # a domain that does not exist: its mail goes where the route leads
USUAL_PORT = 9  # nobody listens there: the relay hosts have another port
BY_HOST = '[route."nowhere.test"]\nnext_hop = "[mx.dane-ee.test]"\nport = {port}\n'
BY_DOMAIN = '[route."nowhere.test"]\nnext_hop = "dane-ta.example"\nport = {port}\ntls = "dane-only"\n'
UNPROTECTED = '[route."nowhere.test"]\nnext_hop = "none.test"\nport = {port}\n'
DEMANDING = '\n[domain."nowhere.test"]\ntls = "dane-only"\n'


@asynccontextmanager
async def sending(box: Box, tables: str) -> AsyncIterator[Subject]:
    """The server under test, with routes in its configuration."""
    config = write_config(box, f"{box.subject_address}:{box.berths.port}")
    text = config.read_text().replace(f"port = {box.berths.port}", f"port = {USUAL_PORT}")
    config.write_text(text + tables.format(port=box.berths.port))
    async with app.running(load(config)) as server:
        yield Subject(server)


async def tried(box: Box, tables: str) -> OperatorRecord:
    """The first attempt at mail for RECIPIENT."""
    async with sending(box, tables) as subject:
        message_id = await subject.submit(RECIPIENT, SECRET)
        record = await subject.record_of(message_id, RECIPIENT, timeout_seconds=20)
    assert record is not None
    assert "rule-route" in {reason["code"] for reason in record.reasons}
    return record


@pytest.mark.parametrize(
    ("tables", "by"), [(BY_HOST, SiteProtection.DANE_EE), (BY_DOMAIN, SiteProtection.DANE_TA)], ids=["host", "domain"]
)
async def test_rfc7672_2_2_2_mail_arrives_at_the_relay_host_authenticated_by_dane(
    tables: str, by: SiteProtection
) -> None:
    async with running_box(Attack.NONE) as box:
        record = await tried(box, tables)
        assert (record.state, record.level) == (ObservedState.DELIVERED, Level.AUTHENTICATED)
        assert box.delivered(by, SECRET.encode())


@pytest.mark.parametrize("attack", [Attack.STARTTLS_STRIPPED, Attack.SELF_SIGNED, Attack.TLSA_REMOVED])
async def test_rfc7672_2_2_2_nothing_goes_to_who_attacks_the_way_to_the_relay_host(attack: Attack) -> None:
    async with running_box(attack) as box:
        record = await tried(box, BY_HOST)
        assert record.state is ObservedState.DEFERRED
        assert not box.stolen(SiteProtection.DANE_EE, SECRET.encode())


async def test_a_route_to_an_unprotected_host_does_not_lower_what_the_recipients_rule_demands() -> None:
    async with running_box(Attack.NONE) as box:
        record = await tried(box, UNPROTECTED + DEMANDING)
        assert record.state is ObservedState.DEFERRED
        assert not box.delivered(SiteProtection.NONE, SECRET.encode())
