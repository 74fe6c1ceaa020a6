"""Our validator and Unbound's give the same state for every name of the lab."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Iterable

import dns.flags
import dns.name
import dns.rcode
import dns.rdatatype
import dns.zone
import pytest
import pytest_asyncio

from letterlock.net.dns import UpstreamTransport, parse_upstream
from letterlock.resolver import Resolver, parse_anchors
from letterlock.resolver.answer import Answer, FailureKind, LookupFailure
from tests.interop.lab import Lab, delv
from tests.interop.nameservers import ask

pytestmark = pytest.mark.interop

TYPES = ("A", "AAAA", "MX", "TXT", "TLSA", "DS", "DNSKEY", "NS", "SOA", "CNAME")
ABSENT = (
    "absent",
    "x.wild",
    "y.x.wild",
    "absent.www",
    "a.b.c",
    "b.c",
    "zzz",
    "0",
    "*",
    "_25._tcp.absent",
    "absent.sub",
)


def state_by_unbound(lab: Lab, name: str, rdtype: str) -> str:
    """What Unbound says: a state and what was found."""
    response = ask(lab.unbound, name, rdtype)
    if response.rcode() == dns.rcode.SERVFAIL:
        return "bogus"
    security = "secure" if response.flags & dns.flags.AD else "insecure"
    if response.rcode() == dns.rcode.NXDOMAIN:
        return f"{security} nxdomain"
    found = any(rrset.rdtype == dns.rdatatype.from_text(rdtype) for rrset in response.answer)
    return f"{security} {'records' if found else 'nodata'}"


def state_by_letterlock(result: Answer | LookupFailure) -> str:
    """What our resolver says, in the same words."""
    if isinstance(result, LookupFailure):
        return "bogus" if result.kind is FailureKind.BOGUS else f"failure: {result.kind} {result.detail}"
    return f"{result.security.value} {result.absence.value if result.absence else 'records'}"


def made_by_dname(lab: Lab, name: str, rdtype: str, ours: str, theirs: str) -> bool:
    """Whether this is the CNAME that a DNAME makes, which Unbound fails on as it looks for DS records at the name.

    The DNAME is sufficient proof of it (RFC 6672 section 5.3.1), and delv has to agree with us
    (tests/agreement/exceptions.py has the same exception for generated zones).
    """
    below = rdtype == "CNAME" and name.endswith(".tree.nsec3.test.")
    return below and (ours, theirs) == ("secure records", "bogus") and "fully validated" in delv(lab, name, rdtype)


def names(lab: Lab) -> Iterable[str]:
    """Every owner name of every zone, and names that are not there."""
    found: set[str] = set()
    for zone in lab.zones:
        content = dns.zone.from_file(str(zone.path), origin=zone.name, relativize=False, check_origin=False)
        owners = {
            name
            for name, node in content.nodes.items()
            if not node.get_rdataset(dns.rdataclass.IN, dns.rdatatype.NSEC3)
        }
        found |= {name.to_text().lower() for name in owners}
        found |= {name.to_text().lower() for owner in owners for name in ancestors(owner, content.origin)}
        absent = ABSENT if zone.ds else ABSENT[:1]
        found |= {f"{prefix}.{zone.name}".replace("..", ".") for prefix in absent}
    found |= {"absent.", "www.tree.nsec3.test.", "leaf.a.b.c.tree.nsec3.test.", "far.tree.nsec3.test."}
    return sorted(found)


def ancestors(owner: dns.name.Name, origin: dns.name.Name | None) -> Iterable[dns.name.Name]:
    """The names between an owner and its zone's apex: empty non-terminals, perhaps."""
    assert origin is not None
    while owner != origin:
        yield owner
        owner = owner.parent()


@pytest_asyncio.fixture(name="resolver")
async def resolver_fixture(lab: Lab) -> AsyncIterator[Resolver]:
    """Our resolver, asking the lab's Unbound."""
    upstream = parse_upstream(f"{lab.unbound.address}:{lab.unbound.port}")
    transport = UpstreamTransport([upstream], timeout_seconds=5)
    try:
        yield Resolver(transport, anchors=tuple(parse_anchors(lab.anchor.read_text(), "lab")))
    finally:
        await transport.aclose()


async def test_our_validator_and_unbounds_agree_on_every_name_of_the_lab(lab: Lab, resolver: Resolver) -> None:
    disagreements, seen = [], Counter[str]()
    for name, rdtype in itertools.product(names(lab), TYPES):
        theirs = await asyncio.to_thread(state_by_unbound, lab, name, rdtype)
        ours = state_by_letterlock(await resolver.resolve(name, dns.rdatatype.from_text(rdtype)))
        seen[theirs] += 1
        if ours != theirs and not made_by_dname(lab, name, rdtype, ours, theirs):
            disagreements.append(f"{name} {rdtype}: Letterlock {ours}, Unbound {theirs}")
    assert not disagreements, "\n".join(disagreements)
    every = {
        f"{security} {found}" for security in ("secure", "insecure") for found in ("records", "nodata", "nxdomain")
    }
    assert seen.keys() == every | {"bogus"}, seen
    assert seen.total() > 1000
