"""Is an upstream fit for validation? A few questions about a signed zone find out.

Many forwarders drop signatures or fail on queries with DO; behind them every signed name looks forged. That is found
out by asking, and named plainly, so that the operator can point to another upstream.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype

from letterlock.net.dns.upstream import Upstream
from letterlock.resolver.wire import Frames, Unreadable, read_frames

Exchange = Callable[[bytes, bool], Awaitable[bytes]]
PROBE_SECONDS = 3.0  # chosen: a healthy upstream needs much less, even for what it has not cached
PAYLOAD_OCTETS = 1232  # as lookups send it; see EDNS_PAYLOAD in letterlock.resolver.dns_message
_NSEC, _NSEC3, _RRSIG = dns.rdatatype.NSEC, dns.rdatatype.NSEC3, dns.rdatatype.RRSIG


class UpstreamFinding(StrEnum):
    """The possible faults of an upstream; the value is a code, `sentence` is for people."""

    SILENT = "silent"
    CHOKES_ON_DO = "chokes-on-do"
    REFUSES = "refuses"
    STRIPS_SIGNATURES = "strips-signatures"
    STRIPS_DENIALS = "strips-denials"
    NO_TCP = "no-tcp"

    @property
    def sentence(self) -> str:
        """One sentence, to stand after the name of the upstream."""
        return _SENTENCES[self]


_SENTENCES = {
    UpstreamFinding.SILENT: "does not answer at all",
    UpstreamFinding.CHOKES_ON_DO: "answers plain queries, but not those that ask for DNSSEC records",
    UpstreamFinding.REFUSES: "refuses to answer queries from here",
    UpstreamFinding.STRIPS_SIGNATURES: "removes the signatures (RRSIG), so that every signed name would look forged",
    UpstreamFinding.STRIPS_DENIALS: "removes the proofs of absence (NSEC), so that nothing can be proven absent",
    UpstreamFinding.NO_TCP: "does not answer over TCP, so that long answers cannot be had",
}
_DEMERITS = {UpstreamFinding.NO_TCP: 1, UpstreamFinding.STRIPS_DENIALS: 2, UpstreamFinding.STRIPS_SIGNATURES: 3}
_UNFIT_DEMERITS = 4  # more than any finding above: there are no usable answers from such an upstream


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamReport:
    """The findings about an upstream, and its round trip in seconds (None: it never answered)."""

    upstream: Upstream
    findings: tuple[UpstreamFinding, ...]
    round_trip: float | None

    @property
    def fit(self) -> bool:
        """Whether answers through this upstream can be validated."""
        return self.demerits <= _DEMERITS[UpstreamFinding.NO_TCP]

    @property
    def demerits(self) -> int:
        """How bad it is; 0 is good. Upstreams with fewer are asked first."""
        return sum(_DEMERITS.get(finding, _UNFIT_DEMERITS) for finding in self.findings)

    def __str__(self) -> str:
        if not self.findings:
            return f"{self.upstream} is fit for validation"
        return f"{self.upstream} " + "; it ".join(finding.sentence for finding in self.findings)


async def examine(upstream: Upstream, exchange: Exchange, zone: dns.name.Name = dns.name.root) -> UpstreamReport:
    """Ask an upstream about a zone that is known to be signed: one that has a trust anchor.

    `exchange(wire, tcp)` sends a query to this upstream alone and raises OSError, such as
    `UpstreamTransport([upstream])`. Every probe may take 3 seconds. Never raises for what the upstream does.
    """
    loop = asyncio.get_running_loop()
    begun = loop.time()
    signed = await _probe(exchange, zone, dns.rdatatype.SOA)
    round_trip = loop.time() - begun if signed else None
    if signed is None or signed.rcode != dns.rcode.NOERROR:
        plain = await _probe(exchange, zone, dns.rdatatype.SOA, want_dnssec=False)
        return UpstreamReport(upstream=upstream, findings=(_deaf(signed, plain),), round_trip=round_trip)
    absent, over_tcp = await asyncio.gather(
        _probe(exchange, zone, dns.rdatatype.HINFO), _probe(exchange, zone, dns.rdatatype.SOA, tcp=True)
    )
    findings = []
    if not _has(signed, _RRSIG):
        findings.append(UpstreamFinding.STRIPS_SIGNATURES)
    if absent is not None and not absent.answer and not _has(absent, _NSEC, _NSEC3):
        findings.append(UpstreamFinding.STRIPS_DENIALS)
    if over_tcp is None:
        findings.append(UpstreamFinding.NO_TCP)
    return UpstreamReport(upstream=upstream, findings=tuple(findings), round_trip=round_trip)


def _deaf(signed: Frames | None, plain: Frames | None) -> UpstreamFinding:
    """What is wrong with an upstream that does not answer a query with DO as it should."""
    if plain is not None and plain.rcode == dns.rcode.NOERROR:
        return UpstreamFinding.CHOKES_ON_DO
    return UpstreamFinding.SILENT if signed is None and plain is None else UpstreamFinding.REFUSES


def _has(message: Frames, *rdtypes: dns.rdatatype.RdataType) -> bool:
    return any(frame.rdtype in rdtypes for frame in (*message.answer, *message.authority))


async def _probe(
    exchange: Exchange,
    zone: dns.name.Name,
    rdtype: dns.rdatatype.RdataType,
    *,
    want_dnssec: bool = True,
    tcp: bool = False,
) -> Frames | None:
    """The parsed reply, or None: no reply, or nothing that can be read."""
    query = dns.message.make_query(zone, rdtype, id=secrets.randbits(16))
    if want_dnssec:
        query.use_edns(0, dns.flags.DO, PAYLOAD_OCTETS)
        query.flags |= dns.flags.CD
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            reply = read_frames(await exchange(query.to_wire(), tcp))
            if reply.flags & dns.flags.TC and not tcp:
                reply = read_frames(await exchange(query.to_wire(), True))
    except (OSError, Unreadable):  # that it says nothing usable is the finding
        return None
    return reply
