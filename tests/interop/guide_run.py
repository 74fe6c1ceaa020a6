"""Runs the commands of docs/guides/companion.md as a new user would, on a machine of its own.

Started by test_companion_guide in a mount and a network name space, where /etc/postfix is a stock configuration. In
place of the package there is this checkout; in place of systemd, this program starts the service.
"""

import asyncio
import re
import shlex
import shutil
import signal
import sys
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import dns.message
import dns.name
import dns.rdatatype
import dns.rrset

from letterlock.lab.box import running_box
from letterlock.lab.scenarios import Attack, SiteProtection
from tests.interop.companion_box import plain_forwarder
from tests.interop.programs import run
from tests.interop.test_companion import Service

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "companion.md"
NETWORK_RESOLVER = "127.99.0.53"


def commands() -> list[str]:
    """The commands of the guide's transcripts, in order."""
    blocks = re.findall(r"^```console\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    return [line.removeprefix("# ") for block in blocks for line in block.splitlines()]


def configured(text: str) -> Path:
    """The configuration that the package brings, with what a lab needs."""
    path = Path("/etc/letterlock/letterlock.toml")
    path.write_text(text)
    return path


def as_it_is(path: Path) -> bytes:
    """A file's content."""
    return path.read_bytes()


def spoiled(domain: str, wire: bytes) -> bytes:
    """A reply as somebody forges it: the MX record of one domain is another, its signature stays."""
    reply = dns.message.from_wire(wire)
    if reply.question and reply.question[0].name == dns.name.from_text(domain):
        forged = dns.rrset.from_text(reply.question[0].name, 300, "IN", "MX", "1 forged.example.")
        reply.answer = [forged if each.rdtype == dns.rdatatype.MX else each for each in reply.answer]
    return reply.to_wire(max_size=65_535)


async def type_in(command: str, *more: str) -> str:
    """Run one command of the guide; what it printed."""
    arguments = [*shlex.split(command)[1:], *more]
    return await asyncio.to_thread(run, sys.executable, "-m", "letterlock", *arguments)


async def main() -> None:
    """Enable, check, explain, disable."""
    install, enable, check, disable, explain = commands()
    assert install.startswith("apt install ./letterlock")
    stock = {path: as_it_is(path) for path in (Path("/etc/postfix/main.cf"), Path("/etc/resolv.conf"))}
    async with AsyncExitStack() as stack:
        box = await stack.enter_async_context(running_box(Attack.NONE))
        sites = box.world.sites
        good, bogus, insecure = (
            sites[each].domain for each in (SiteProtection.DANE_EE, SiteProtection.DANE_TA, SiteProtection.NONE)
        )
        stack.enter_context(plain_forwarder(NETWORK_RESOLVER, box.resolver, partial(spoiled, bogus)))
        config = configured(
            f'[smtp]\nlisten = ["127.0.0.1:2525"]\n[queue]\ndirectory = "{box.directory / "queue"}"\n'
            f'[resolver]\nanchors = ["{box.anchor_file}"]\n[delivery]\nport = {box.berths.port}\nmta_sts = false\n'
        )
        stock |= {config: as_it_is(config)}
        await type_in(enable)
        service = Service(config, "127.0.0.1", 8642)
        stack.push_async_callback(service.end, signal.SIGTERM)
        await service.start()
        names = ("--good", good, "--bogus", bogus, "--insecure", insecure)
        checked = await type_in(check, *names)
        print(checked)
        assert "Postfix enforces what the doors answer" in checked
        explained = await type_in(explain.replace("example.org", good))
        assert "TLSA" in explained, explained
        print(await type_in(disable))
    for path, octets in stock.items():
        same = as_it_is(path) == octets
        assert same or path.name == "main.cf", path
    before, after = (run_postconf(text) for text in (stock[Path("/etc/postfix/main.cf")], None))
    assert before == after


def run_postconf(main_cf: bytes | None) -> str:
    """What main.cf sets, as it was or as it is."""
    if main_cf is None:
        return run("postconf", "-n")
    directory = Path("/etc/postfix/before")
    directory.mkdir()
    (directory / "main.cf").write_bytes(main_cf)
    shutil.copy("/etc/postfix/master.cf", directory)
    found = run("postconf", "-c", str(directory), "-n")
    shutil.rmtree(directory)
    return "\n".join(line for line in found.splitlines() if not line.startswith("config_directory")) + "\n"


if __name__ == "__main__":
    asyncio.run(main())
