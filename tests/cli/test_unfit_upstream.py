"""An upstream that drops signatures: everything is bogus behind it, and the operator is told who is to blame."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import dns.message
import dns.rdatatype

from letterlock.lab.box import Box, running_box
from letterlock.lab.dns_server import serving
from letterlock.lab.scenarios import Attack
from tests.cli.running import letterlock


@asynccontextmanager
async def stripping(box: Box) -> AsyncIterator[str]:
    """A forwarder to the box's DNS that loses all signatures and proofs on the way; its address."""

    def answer(query: dns.message.Message) -> dns.message.Message:
        response = box.world.names.answer(query)
        lost = (dns.rdatatype.RRSIG, dns.rdatatype.NSEC, dns.rdatatype.NSEC3)
        for section in (response.answer, response.authority):
            section[:] = [rrset for rrset in section if rrset.rdtype not in lost]
        return response

    address = box.resolver.rpartition(":")[0]
    async with serving(address, answer) as port:
        yield f"{address}:{port}"


async def test_check_names_the_upstream_that_drops_signatures() -> None:
    async with running_box(Attack.NONE) as box, stripping(box) as upstream:
        ran = await letterlock("check", "--upstream", upstream, "--anchor", box.anchor_file, "dane-ee.test")
    assert ran.status == 3
    assert f"warning: upstream {upstream} removes the signatures (RRSIG)" in ran.err
    assert "hint: name another resolver" in ran.err


async def test_serve_warns_at_its_start(tmp_path: Path) -> None:
    async with running_box(Attack.NONE) as box, stripping(box) as upstream:
        config = tmp_path / "letterlock.toml"
        config.write_text(
            f'hostname = "mx.test"\n[smtp]\nlisten = ["127.0.0.1:0"]\n[queue]\ndirectory = "{tmp_path / "queue"}"\n'
            f'[resolver]\nupstream = ["{upstream}"]\nanchors = ["{box.anchor_file}"]\n'
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "letterlock", "serve", "--config", str(config), stderr=asyncio.subprocess.PIPE
        )
        assert process.stderr is not None
        async with asyncio.timeout(30):
            while b"removes the signatures" not in (line := await process.stderr.readline()):
                assert line, "the server ended without a warning"
            process.terminate()
            await process.communicate()
    assert process.returncode == 0
