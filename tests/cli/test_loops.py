"""Mail that leads back to the server itself ends after one attempt (RFC 5321 section 5.1)."""

import asyncio
import smtplib
from pathlib import Path

import pytest

from tests.app.test_supervisor import CONTENT, SECONDS, configuration, free_port, serving


@pytest.mark.parametrize("literal", ["0.0.0.0", "127.0.0.1", "127.0.0.2", "IPv6:::", "IPv6:::ffff:127.0.0.1"])
@pytest.mark.parametrize("port", ["ours", "another"])
async def test_rfc5321_5_1_what_leads_back_here_is_tried_once(tmp_path: Path, literal: str, port: str) -> None:
    """`another`: a server beside us on this machine, as Postfix, would give it back."""
    with free_port() as ours:
        config = configuration(tmp_path, ours, ours if port == "ours" else 9, "2")
        config.write_text(config.read_text().replace("loopback_hosts = true\n", ""))
        async with serving(config) as server:

            def send() -> None:
                with smtplib.SMTP("127.0.0.1", ours, timeout=SECONDS) as client:
                    client.sendmail("", [f"to@[{literal}]"], CONTENT)

            await asyncio.to_thread(send)
            await server.until("status=bounced")
            assert await server.stop() == 0
    (line,) = [line for line in server.log if "status=" in line]
    assert "dsn=5.4.6" in line
    assert "loops back to this server" in line
    assert sum("(queue active)" in line for line in server.log) == 1


async def test_a_relay_host_on_this_machine_is_reached_and_one_that_is_ourselves_waits(tmp_path: Path) -> None:
    with free_port() as ours:
        config = configuration(tmp_path, ours, 9, "2")
        routes = (
            f'[route."us.example"]\nnext_hop = "[127.0.0.1]"\nport = {ours}\n'
            '[route."filter.example"]\nnext_hop = "[127.0.0.1]"\nport = 9\n'
        )
        config.write_text(config.read_text().replace("loopback_hosts = true\n", "") + routes)
        async with serving(config) as server:

            def send() -> None:
                with smtplib.SMTP("127.0.0.1", ours, timeout=SECONDS) as client:
                    client.sendmail("", ["a@us.example", "b@filter.example"], CONTENT)

            await asyncio.to_thread(send)
            await server.until("status=deferred", 2)
            assert await server.stop() == 0
    (us,) = [line for line in server.log if "to=<a@us.example>" in line]
    (other,) = [line for line in server.log if "to=<b@filter.example>" in line]
    assert "dsn=4.4.6" in us
    assert "Connection refused" in other
