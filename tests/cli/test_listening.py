"""Where a server listens, and who may relay when the configuration says nothing of it."""

import smtplib
import socket
from pathlib import Path

import pytest

from letterlock.app.binding import bind
from letterlock.config import BadConfig, Endpoint, parse
from tests.app.test_supervisor import configuration, serving


def test_an_ipv6_wildcard_leaves_the_port_of_ipv4_to_others() -> None:
    (six,) = bind([Endpoint("::", 0)])
    port = six.getsockname()[1]
    (four,) = bind([Endpoint("0.0.0.0", port)])
    with six:
        four.close()
        with socket.socket() as client, pytest.raises(ConnectionRefusedError):
            client.connect(("127.0.0.1", port))


def test_our_addresses_behind_nat_are_addresses() -> None:
    assert parse('[smtp]\nown_addresses = ["2001:DB8:0::5"]', "t.toml").own_addresses == ("2001:db8::5",)
    with pytest.raises(BadConfig, match="does not appear to be an IPv4 or IPv6 address"):
        parse('[smtp]\nown_addresses = ["mx.example.org"]', "t.toml")


def test_this_machine_may_relay_unless_networks_are_named() -> None:
    assert parse("", "t.toml").profiles[0].relay_own_machine
    assert not parse('[smtp]\nrelay_networks = ["192.0.2.0/24"]', "t.toml").profiles[0].relay_own_machine


async def test_a_server_on_ipv6_everywhere_says_that_ipv4_is_left_out(tmp_path: Path) -> None:
    config = configuration(tmp_path, 0, 9, "1")
    config.write_text(config.read_text().replace("127.0.0.1:0", "[::]:0"))
    async with serving(config, ready="takes IPv6 only: for IPv4 add 0.0.0.0:") as server:
        (port,) = {int(line.split("port ")[1].split(",")[0]) for line in server.log if "listening on" in line}
        with smtplib.SMTP("::1", port) as client:
            assert client.noop()[0] == 250
