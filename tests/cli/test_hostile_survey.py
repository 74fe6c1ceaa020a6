"""What `check` shows of a hostile world: certificate, replies, TXT records and policies that steer terminals."""

import io
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import dns.rdatatype
import pytest

from letterlock.app.output import harmless
from letterlock.cli.check.outputs import Blocks, Json, JsonLines, Output, PageOutput, TableOutput
from letterlock.cli.check.values import survey_values
from letterlock.cli.style import Style
from letterlock.inspect.recommend import Reporting
from letterlock.inspect.shared_sessions import SharedSessions
from letterlock.inspect.survey import Survey, survey
from letterlock.mtasts import Absent, Known
from letterlock.mtasts.policy import Mode, StsPolicy
from letterlock.net.tls import ServerContext
from letterlock.resolver.answer import Answer, Security
from letterlock.tlsrpt import InvalidTLSRPTRecord, ReportAddresses
from tests.certificates import authority
from tests.deliver.world import HandDiscoverer, MemoryDialer, Server, answer, make_ports
from tests.inspect.test_survey import WIDE

EVIL = "\x1b[2J\x07\x7f\x9b31m\u202e\u2066\u2028<script>alert(1)</script>"
WIRE = EVIL.encode()
SHORT = 30  # a common name has 64 octets at most (RFC 5280 appendix A)
REPORTING: tuple[Reporting, ...] = (InvalidTLSRPTRecord(EVIL), ReportAddresses((f"mailto:{EVIL}",)))
POLICY = StsPolicy(mode=Mode.TESTING, max_age_seconds=9, mx=(EVIL,))
STS = (
    Absent(EVIL),
    Known(policy=POLICY, id=EVIL, fetched_at=0.0, expires_at=9e9, from_cache=False, trouble=EVIL, suspicious=True),
)
FORMS: dict[str, Callable[[Callable[[str], None]], Output]] = {
    "blocks": lambda write: Blocks(write, Style(colour=False)),
    "table": lambda write: TableOutput(write, Style(colour=False)),
    "json": Json,
    "jsonl": JsonLines,
}


class NoReports:
    """DNS without any TXT record."""

    async def resolve(self, name: str, rdtype: dns.rdatatype.RdataType) -> Answer:
        return answer(name, rdtype.name, security=Security.SECURE)


@pytest.fixture
async def dialer() -> AsyncIterator[MemoryDialer]:
    """Outgoing connections to servers in memory."""
    dialer = MemoryDialer()
    yield dialer
    await dialer.aclose()


@pytest.fixture(params=[0, 1, 2])
async def hostile(request: pytest.FixtureRequest, dialer: MemoryDialer, tmp_path: Path) -> Survey:
    """A survey of a server that shows a hostile certificate, refuses STARTTLS, or greets with an insult."""
    credential = authority(EVIL[:SHORT]).leaf("mx.example.org", common_name=EVIL[:SHORT])
    context = ServerContext.load(*credential.write(tmp_path))
    dialer.handlers["192.0.2.1"] = [
        Server(context),
        Server(extensions=("STARTTLS",), starttls_answer=b"454 " + WIRE + b"\r\n"),
        Server(greeting=b"554 " + WIRE + b"\r\n"),
    ][request.param]
    sts = STS[request.param % 2]
    ports, sessions = make_ports(dialer, HandDiscoverer(sts=sts)), SharedSessions()
    found = await survey("example.org", ports=ports, options=WIDE, resolver=NoReports(), sessions=sessions)
    return replace(found, reporting=REPORTING[request.param % 2])


@pytest.mark.parametrize("form", FORMS)
async def test_nothing_from_outside_steers_the_terminal(hostile: Survey, form: str) -> None:
    written = io.StringIO()

    def write(text: str) -> None:
        written.write(harmless(text))

    output = FORMS[form](write)
    output.add(hostile)
    output.end(whole=True)
    assert all(line.isprintable() for line in written.getvalue().split("\n"))
    if form == "json":
        assert json.loads(written.getvalue()) == {
            "domains": [json.loads(json.dumps(survey_values(hostile)))],
            "complete": True,
        }


async def test_the_page_runs_nothing_and_turns_nothing_round(hostile: Survey, tmp_path: Path) -> None:
    page = PageOutput(tmp_path / "page.html")
    page.add(hostile)
    page.end(whole=True)
    text = (tmp_path / "page.html").read_text()
    assert all(line.isprintable() for line in text.split("\n"))
    assert "<script" not in text
