"""The lab's MTA-STS policy hosts, asked by a naive client that follows redirects, and by one of its DNS answers."""

import asyncio
import ssl
from urllib.parse import urlsplit

import dns.asyncquery
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from letterlock.lab.box import Box, running_box
from letterlock.lab.policy_server import PATH
from letterlock.lab.scenarios import Attack


async def ask(box: Box, name: str, rdtype: str) -> dns.message.Message:
    """What the box's DNS answers."""
    address, _, port = box.resolver.partition(":")
    query = dns.message.make_query(name, rdtype, want_dnssec=True, payload=1232)
    return await dns.asyncquery.udp(query, address, port=int(port), timeout=5)


async def get(box: Box, host: str, path: str = PATH) -> bytes:
    """The response to a GET over TLS that the lab's public authority vouches for. Raises ssl.SSLError."""
    response = await ask(box, host, "A")
    context = ssl.create_default_context(cafile=str(box.authority_file))
    reader, writer = await asyncio.open_connection(
        response.answer[0][0].address, box.berths.port, ssl=context, server_hostname=host
    )
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        return await reader.read()
    finally:
        writer.close()


async def test_the_honest_policy_names_the_domains_own_host_and_nothing_else_is_served() -> None:
    async with running_box(Attack.NONE) as box:
        found = await get(box, box.world.policy_host)
        assert found.startswith(b"HTTP/1.1 200 ")
        assert b"\nmx: mx.sts.example\n" in found
        assert (await get(box, box.world.policy_host, "/")).startswith(b"HTTP/1.1 404 ")


async def test_rfc8461_3_3_who_follows_the_redirect_gets_the_attackers_policy_over_valid_tls() -> None:
    async with running_box(Attack.STS_REDIRECTED) as box:
        redirect = await get(box, box.world.policy_host)
        assert redirect.startswith(b"HTTP/1.1 301 ")
        (location,) = [line[10:].decode() for line in redirect.splitlines() if line.startswith(b"Location: ")]
        target = urlsplit(location)
        assert target.port == box.berths.port
        assert f"\nmx: {box.world.attacker_host}\n".encode() in await get(box, target.hostname or "", target.path)


async def test_in_peace_the_redirecting_host_serves_the_true_policy_and_the_dns_is_honest() -> None:
    async with running_box(Attack.STS_REDIRECTED) as box:
        box.peace.set()
        assert b"\nmx: mx.sts.example\n" in await get(box, box.world.policy_host)
        assert box.world.attacker_host not in (await ask(box, "sts.example", "MX")).to_text()


async def test_the_forged_policy_host_is_not_who_it_says_it_is() -> None:
    async with running_box(Attack.STS_FORGED) as box:
        assert "id=20261124" in (await ask(box, f"_{box.world.policy_host}", "TXT")).to_text()
        with pytest.raises(ssl.SSLCertVerificationError):
            await get(box, box.world.policy_host)


async def test_hidden_are_the_record_and_the_policy_host_and_nothing_else() -> None:
    async with running_box(Attack.STS_HIDDEN) as box:
        for name, rdtype in ((f"_{box.world.policy_host}", "TXT"), (box.world.policy_host, "A")):
            assert (await ask(box, name, rdtype)).rcode() == dns.rcode.NXDOMAIN
        assert (await ask(box, "sts.example", "MX")).answer[0].rdtype == dns.rdatatype.MX
