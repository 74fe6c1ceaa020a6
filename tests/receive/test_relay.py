"""Who may relay, by address."""

import ipaddress

import pytest

from letterlock.receive.options import LOOPBACK
from letterlock.receive.relay import DENIED, refuse_relaying

NETWORKS = (*LOOPBACK, ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("2001:db8::/32"))


@pytest.mark.parametrize(
    "client", ["127.0.0.1", "127.9.9.9", "::1", "192.0.2.255", "2001:db8::1", "::ffff:192.0.2.1", "::ffff:127.0.0.1"]
)
def test_the_configured_networks_may_relay(client: str) -> None:
    assert refuse_relaying(client, NETWORKS) is None


@pytest.mark.parametrize("client", ["192.0.3.1", "10.0.0.1", "2001:db9::1", "::ffff:10.0.0.1", "::2", "::"])
def test_nobody_else_may(client: str) -> None:
    assert refuse_relaying(client, NETWORKS) == DENIED
    assert DENIED.enhanced == "5.7.1"


@pytest.mark.parametrize("address", ["192.0.3.1", "2001:db9::1"])
def test_a_client_that_has_the_address_it_came_to_is_this_machine(address: str) -> None:
    assert refuse_relaying(address, LOOPBACK, met_at=address) is None
    assert refuse_relaying(address, LOOPBACK, met_at="198.51.100.1") is DENIED


def test_by_default_only_loopback_may() -> None:
    assert refuse_relaying("127.0.0.1", LOOPBACK) is None
    assert refuse_relaying("192.0.2.1", LOOPBACK) is DENIED
    assert refuse_relaying("127.0.0.1", ()) is DENIED
