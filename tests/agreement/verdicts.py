"""What each validator says of a question, in the same words: a state, and what was found."""

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
from dns.name import Name
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DNSKEY import DNSKEY

from letterlock.companion.dns_answering import Client, DnsAnswering
from letterlock.companion.dns_query import Query
from letterlock.resolver import Answer, FailureKind, LookupFailure, Resolver
from tests.agreement.libunbound import Result
from tests.agreement.signers import own_key

DELV_SECONDS = 90  # of some bogus names it takes half a minute by itself, and the machine may be busy
_DELV_ABSENCE = {"ncache nxrrset": "nodata", "ncache nxdomain": "nxdomain"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """`state`: secure, insecure, bogus or failed. `found`: records, nodata, nxdomain, or nothing."""

    state: str
    found: str = ""
    why: str = ""

    @property
    def usable(self) -> bool:
        """Whether there is an answer at all."""
        return self.state in ("secure", "insecure")

    def agrees(self, other: "Verdict") -> bool:
        """The same answer, or none: a lookup that fails and one that is bogus both keep the data from use."""
        if not self.usable or not other.usable:
            return self.usable == other.usable
        return (
            (self.state, self.found) == (other.state, other.found)
            if self.found and other.found
            else self.state == other.state
        )

    def __str__(self) -> str:
        return f"{self.state} {self.found}".strip() + (f" ({self.why})" if self.why else "")


def by_us(result: Answer | LookupFailure) -> Verdict:
    """Our own."""
    if isinstance(result, LookupFailure):
        return Verdict("bogus" if result.kind is FailureKind.BOGUS else "failed", why=f"{result.kind}: {result.detail}")
    return Verdict(result.security.value, result.absence.value if result.absence else "records")


async def by_door(resolver: Resolver, name: Name, rdtype: RdataType) -> Verdict:
    """Ours, as a client of the resolver door sees it in the message."""
    answering, client = DnsAnswering(resolver, time.time), Client(b"\x7f\0\0\1", over_tcp=True, is_local=True)
    query = dns.message.make_query(name, rdtype, want_dnssec=True)
    asked = answering.at_once(query.to_wire(), client)
    wire = await answering.after_lookup(asked, client) if isinstance(asked, Query) else asked
    if wire is None:
        return Verdict("failed", why="no response")
    reply = dns.message.from_wire(wire)
    if reply.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return Verdict("failed")
    records = any(each.rdtype == rdtype for each in reply.answer)
    found = "nxdomain" if reply.rcode() == dns.rcode.NXDOMAIN else "records" if records else "nodata"
    return Verdict("secure" if reply.flags & dns.flags.AD else "insecure", found)


def by_unbound(result: Result) -> Verdict:
    """Unbound's."""
    if result.bogus or result.rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return Verdict(
            "bogus" if result.bogus else "failed", why=result.why or dns.rcode.to_text(dns.rcode.Rcode(result.rcode))
        )
    found = "nxdomain" if result.nxdomain else "records" if result.have_data else "nodata"
    return Verdict("secure" if result.secure else "insecure", found)


def delv_anchors(directory: Path) -> Path:
    """The root's key in delv's own form."""
    key = own_key(13, 257, 1).record
    assert isinstance(key, DNSKEY)
    path = directory / "delv.anchors"
    fields = key.to_text().split(" ", 3)
    path.write_text(f'trust-anchors {{ . static-key {fields[0]} {fields[1]} {fields[2]} "{fields[3]}"; }};\n')
    return path


def by_delv(name: Name, rdtype: RdataType, port: int, anchors: Path) -> Verdict:
    """BIND's: the weakest of what delv prints."""
    text = dns.rdatatype.to_text(rdtype)
    done = subprocess.run(
        ["delv", "@127.0.0.1", "-p", str(port), "-a", anchors, "+root=.", name.to_text(), text],
        capture_output=True, text=True, check=False, timeout=DELV_SECONDS,
    )  # fmt: skip
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(";")]
    notes = [line.lstrip("; ").lower() for line in said]
    absence = next((found for mark, found in _DELV_ABSENCE.items() if any(mark in line for line in notes)), "")
    failed = next((line for line in notes if "not validated" in line or ("failed" in line and not absence)), None)
    if failed or not notes:
        return Verdict("bogus", why=failed or "delv said nothing")
    return Verdict("insecure" if any("unsigned" in line for line in notes) else "secure", absence)
