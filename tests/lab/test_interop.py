"""The lab's DNS judged by real validators: Unbound as a forwarder's client, and delv. All on loopback."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import pytest

from letterlock.lab.box import Box, running_box
from letterlock.lab.scenarios import Attack

pytestmark = pytest.mark.interop

SECURE, INSECURE, BOGUS = "secure", "insecure", "bogus"


def questions(box: Box) -> list[tuple[str, str, str]]:
    """Names and types of every kind of answer, and the state that each must have."""
    tlsa = f"_{box.berths.port}._tcp.mx"
    return [
        (".", "NS", SECURE),
        ("dane-ee.test", "MX", SECURE),
        ("mx.dane-ee.test", "A", SECURE),
        ("mx.dane-ee.test", "AAAA", SECURE),
        (f"{tlsa}.dane-ee.test", "TLSA", SECURE),
        ("_tcp.mx.dane-ee.test", "TXT", SECURE),
        ("a.b.dane-ee.test", "A", SECURE),
        ("dane-ta.example", "MX", SECURE),
        (f"{tlsa}.dane-ta.example", "TLSA", SECURE),
        ("_tcp.mx.dane-ta.example", "TXT", SECURE),
        ("a.b.mx.dane-ta.example", "A", SECURE),
        ("nobody.test", "MX", SECURE),
        ("nobody.example", "MX", SECURE),
        ("nobody", "MX", SECURE),
        ("verify.test", "DS", SECURE),
        ("require-tls.example", "DS", SECURE),
        ("none.test", "MX", INSECURE),
        ("mx.none.test", "AAAA", INSECURE),
        ("nobody.verify.test", "A", INSECURE),
        ("mx.require-tls.example", "A", INSECURE),
        ("mallory.example", "MX", INSECURE),
    ]


async def run(*arguments: str) -> str:
    """The output of a program, errors included."""
    process = await asyncio.create_subprocess_exec(
        *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return output.decode()


def free_port(address: str) -> int:
    """A UDP port of an address of the box's own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


UNBOUND = """
server:
  interface: {address}@{port}
  access-control: 127.0.0.0/8 allow
  do-not-query-localhost: no
  do-daemonize: no
  do-ip6: no
  use-syslog: no
  username: ""
  chroot: ""
  directory: "{directory}"
  pidfile: ""
  trust-anchor-file: "{anchor}"
  local-zone: "test." nodefault
  num-threads: 1
remote-control:
  control-enable: no
forward-zone:
  name: "."
  forward-addr: {upstream}
"""


@asynccontextmanager
async def unbound(box: Box, directory: Path) -> AsyncIterator[tuple[str, int]]:
    """Unbound, validating what the box's DNS says."""
    address = box.berths.address(200)
    port = free_port(address)
    config = directory / "unbound.conf"
    config.write_text(
        UNBOUND.format(
            address=address,
            port=port,
            directory=directory,
            anchor=box.anchor_file,
            upstream=box.resolver.replace(":", "@"),
        )
    )
    program = shutil.which("unbound", path="/usr/sbin:/usr/bin:/sbin:/bin")
    assert program is not None, "install unbound"
    process = await asyncio.create_subprocess_exec(
        program, "-c", str(config), stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(10):
            while b"start of service" not in (line := await process.stderr.readline()):
                assert line, "unbound did not start"
        yield address, port
    finally:
        process.terminate()
        await process.communicate()


async def state_by_unbound(server: tuple[str, int], name: str, rdtype: str) -> str:
    """What Unbound thinks of an answer."""
    query = dns.message.make_query(name, rdtype, want_dnssec=True, payload=1232)
    response = await dns.asyncquery.udp(query, server[0], port=server[1], timeout=10)
    if response.rcode() == dns.rcode.SERVFAIL:
        return BOGUS
    return SECURE if response.flags & dns.flags.AD else INSECURE


async def test_unbound_gives_every_answer_the_state_that_the_world_was_made_with(tmp_path: Path) -> None:
    async with running_box(Attack.NONE) as box, unbound(box, tmp_path) as server:
        asked = questions(box)
        states = [await state_by_unbound(server, name, rdtype) for name, rdtype, _ in asked]
    assert [(*question[:2], state) for question, state in zip(asked, states, strict=True)] == asked


async def test_unbound_is_not_deceived_by_the_attackers(tmp_path: Path) -> None:
    for attack in (Attack.MX_FORGED, Attack.TLSA_REMOVED, Attack.TLSA_EXPIRED, Attack.NSEC_REPLAYED, Attack.DS_REMOVED):
        async with running_box(attack) as box, unbound(box, tmp_path) as server:
            for domain in ("dane-ee.test", "dane-ta.example"):
                of_mx = attack in (Attack.MX_FORGED, Attack.DS_REMOVED)
                name = domain if of_mx else f"_{box.berths.port}._tcp.mx.{domain}"
                rdtype = "MX" if of_mx else "TLSA"
                assert await state_by_unbound(server, name, rdtype) == BOGUS, (attack, domain)


async def test_delv_gives_every_answer_the_state_that_the_world_was_made_with(tmp_path: Path) -> None:
    async with running_box(Attack.NONE) as box:
        tag, algorithm, digest_type, digest = box.anchor_file.read_text().split()[3:]
        keys = tmp_path / "keys"
        keys.write_text(f'trust-anchors {{ "." static-ds {tag} {algorithm} {digest_type} "{digest}"; }};\n')
        address, _, port = box.resolver.partition(":")
        for name, rdtype, state in questions(box):
            output = await run("delv", f"@{address}", "-p", port, "-a", str(keys), "+root=.", name, rdtype)
            seen = SECURE if "fully validated" in output else INSECURE if "unsigned answer" in output else BOGUS
            assert seen == state, output
