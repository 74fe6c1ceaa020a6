"""Who may relay, by address."""

import ipaddress

import pytest

from letterlock.mail.addresses import Mailbox
from letterlock.receive.pipeline import Facts
from letterlock.receive.profiles import Profile
from letterlock.receive.relay import DENIED, LOOPBACK, RefuseRelaying
from letterlock.smtp.server_events import RecipientOffered

NETWORKS = (*LOOPBACK, ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("2001:db8::/32"))


@pytest.mark.parametrize(
    "client", ["127.0.0.1", "127.9.9.9", "::1", "192.0.2.255", "2001:db8::1", "::ffff:192.0.2.1", "::ffff:127.0.0.1"]
)
def test_the_configured_networks_may_relay(client: str) -> None:
    assert Profile(relay_networks=NETWORKS).may_relay(client)


@pytest.mark.parametrize("client", ["192.0.3.1", "10.0.0.1", "2001:db9::1", "::ffff:10.0.0.1", "::2", "::"])
def test_nobody_else_may(client: str) -> None:
    assert not Profile(relay_networks=NETWORKS).may_relay(client)


@pytest.mark.parametrize("address", ["192.0.3.1", "2001:db9::1"])
def test_a_client_that_has_the_address_it_came_to_is_this_machine(address: str) -> None:
    assert Profile(relay_own_machine=True).may_relay(address, met_at=address)
    assert not Profile(relay_own_machine=True).may_relay(address, met_at="198.51.100.1")
    assert not Profile().may_relay(address, met_at=address)


def test_by_default_only_loopback_may() -> None:
    assert Profile().may_relay("127.0.0.1")
    assert not Profile().may_relay("192.0.2.1")
    assert not Profile(relay_networks=()).may_relay("127.0.0.1")


@pytest.mark.parametrize(
    ("may_relay", "domain", "postmaster", "refused"),
    [
        (True, "example.net", False, False),
        (False, "example.net", False, True),
        (False, "example.org", False, False),
        (False, "sub.example.org", False, True),
        (False, "example.net", True, False),
    ],
)
def test_rfc5321_3_6_2_others_reach_the_postmaster_and_our_domains_only(
    may_relay: bool, domain: str, postmaster: bool, refused: bool
) -> None:
    facts = Facts(client="192.0.2.1", client_label="unknown[192.0.2.1]", may_relay=may_relay)
    offer = RecipientOffered(None, Mailbox("bob", domain), postmaster=postmaster)
    answer = RefuseRelaying(frozenset({"example.org"})).recipient(facts, offer)
    assert answer == (DENIED if refused else None)
    assert DENIED.enhanced == "5.7.1"
