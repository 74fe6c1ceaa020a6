"""Upstreams that are not fit for validation are recognised."""

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from letterlock.net.dns import Upstream, UpstreamFinding, UpstreamReport
from letterlock.net.dns import examination as examination_module
from tests.net.dns_servers import Script, asking, query, serving, silent, text_of

RRSIG = "SOA 13 0 60 20400101000000 20200101000000 1 . AAAA"


def signed_root(wire: bytes) -> dns.message.Message:
    """What a good resolver says of the root's SOA and HINFO."""
    asked = dns.message.from_wire(wire)
    made = dns.message.make_response(asked)
    section = made.answer if asked.question[0].rdtype == dns.rdatatype.SOA else made.authority
    section.append(dns.rrset.from_text(".", 60, "IN", "SOA", ". . 1 2 3 4 5"))
    if asked.ednsflags & dns.flags.DO:
        section.append(dns.rrset.from_text(".", 60, "IN", "RRSIG", RRSIG))
        if section is made.authority:
            section.append(dns.rrset.from_text(".", 60, "IN", "NSEC", "aaa. NS SOA RRSIG NSEC DNSKEY"))
    if asked.question[0].rdtype == dns.rdatatype.A:
        made.answer = [dns.rrset.from_text(asked.question[0].name, 60, "IN", "TXT", "fit")]
    return made


async def fit(wire: bytes) -> list[bytes]:
    return [signed_root(wire).to_wire()]


async def stripping(wire: bytes) -> list[bytes]:
    made = signed_root(wire)
    for section in (made.answer, made.authority):
        section[:] = [each for each in section if each.rdtype not in (dns.rdatatype.RRSIG, dns.rdatatype.NSEC)]
    return [made.to_wire()]


async def choking(wire: bytes) -> list[bytes]:
    return [] if dns.message.from_wire(wire).ednsflags & dns.flags.DO else await fit(wire)


async def confused(wire: bytes) -> list[bytes]:
    made = signed_root(wire)
    if dns.message.from_wire(wire).edns >= 0:
        made.set_rcode(dns.rcode.FORMERR)
    return [made.to_wire()]


async def refusing(wire: bytes) -> list[bytes]:
    made = signed_root(wire)
    made.set_rcode(dns.rcode.REFUSED)
    return [made.to_wire()]


async def shouting(wire: bytes) -> list[bytes]:
    return [wire[:2] + b"\xff" * 9]


async def cutting(wire: bytes) -> list[bytes]:
    made = signed_root(wire)
    made.flags |= dns.flags.TC
    made.answer.clear()
    return [made.to_wire()]


@pytest.mark.parametrize(
    ("udp", "tcp", "findings"),
    [
        (fit, fit, ()),
        (cutting, fit, ()),
        (fit, None, (UpstreamFinding.NO_TCP,)),
        (stripping, stripping, (UpstreamFinding.STRIPS_SIGNATURES, UpstreamFinding.STRIPS_DENIALS)),
        (choking, fit, (UpstreamFinding.CHOKES_ON_DO,)),
        (confused, fit, (UpstreamFinding.CHOKES_ON_DO,)),
        (refusing, fit, (UpstreamFinding.REFUSES,)),
        (silent, None, (UpstreamFinding.SILENT,)),
        (shouting, None, (UpstreamFinding.SILENT,)),
    ],
)
async def test_what_is_wrong_is_named(
    udp: Script, tcp: Script | None, findings: tuple[UpstreamFinding, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examination_module, "PROBE_SECONDS", 0.1)
    async with serving(udp, tcp) as server, asking(server) as transport:
        (report,) = await transport.examine()
    assert report.findings == findings
    assert report.fit == (not set(findings) - {UpstreamFinding.NO_TCP})
    assert all(finding.sentence in str(report) for finding in findings)
    assert (report.round_trip is None) == (
        report.findings in ((UpstreamFinding.SILENT,), (UpstreamFinding.CHOKES_ON_DO,)) and udp != confused
    )


async def test_a_fit_upstream_is_preferred_after_the_examination() -> None:
    async with serving(stripping, stripping) as bad, serving(fit, fit) as better, asking(bad, better) as transport:
        reports = await transport.examine(dns.name.root)
        bad.datagrams.clear()
        for _ in range(30):
            assert text_of(await transport(query(), False)) == "fit"
    assert [report.fit for report in reports] == [False, True]
    assert not bad.datagrams


def test_a_good_report_says_so() -> None:

    report = UpstreamReport(upstream=Upstream("192.0.2.1"), findings=(), round_trip=0.1)
    assert str(report) == "192.0.2.1:53 is fit for validation"
