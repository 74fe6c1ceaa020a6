"""A signed and an unsigned zone behind a resolver, and the door in front of it, asked by dnspython's messages."""

import time
from typing import Any

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
from dns.message import Message

from letterlock.companion.dns_answering import Client, DnsAnswering
from letterlock.companion.dns_query import Query
from letterlock.resolver import Resolver, parse_anchors
from tests.agreement.build import anchor_text
from tests.agreement.internet import Internet
from tests.agreement.plan import Plan, Site

LOCAL_UDP = Client(b"\x7f\0\0\1", over_tcp=False, is_local=True)
LOCAL_TCP = Client(b"\x7f\0\0\1", over_tcp=True, is_local=True)
FAR_UDP = Client(b"\xc0\0\2\1", over_tcp=False, is_local=False)
QUERY_ID = 0x2A17  # one for all: tests are named after queries, and every process has to find the same names
SIGNED = Plan(
    origin=dns.name.from_text("s1"),
    records=(
        ("", "MX", "10 mx.s1."),
        ("mx", "A", "192.0.2.1"),
        ("mx", "AAAA", "2001:db8::1"),
        ("_25._tcp.mx", "TLSA", "3 1 1 " + "ab" * 32),
        ("alias", "CNAME", "mx.s1."),
        ("out", "CNAME", "host.plain.s1."),
        ("tree", "DNAME", "wide.s1."),
        ("mx.wide", "A", "192.0.2.3"),
        ("*.wild", "TXT", '"from a wildcard"'),
        ("big", "TXT", " ".join(f'"{"x" * 250}"' for _ in range(8))),
        ("odd", "TYPE65400", "\\# 4 01020304"),
        ("caa", "CAA", '0 issue "ca.example"'),
        ("srv", "SRV", "1 2 3 mx.s1."),
        ("web", "HTTPS", "1 . alpn=h2"),
        ("here", "LOC", "51 30 12.748 N 0 7 39.611 W 0.00m"),
    ),
)
PLAIN = Plan(origin=dns.name.from_text("plain.s1"), records=(("host", "A", "192.0.2.8"),), algorithm=0)
SITE = Site(name=SIGNED.origin, plans=(SIGNED, PLAIN))


class DnsWorld:
    """The resolver and the answering part of the door. `broken`, `forged`: names whose upstream replies are."""

    def __init__(self, internet: Internet) -> None:
        self.internet = internet
        self.queries = 0
        self.broken: set[dns.name.Name] = set()
        self.forged: set[dns.name.Name] = set()
        self._began = time.time()  # the zones are signed for now
        self.time = 0.0
        self.resolver = Resolver(
            self._transport, anchors=parse_anchors(anchor_text()), now=self.now, keeps_sections=True
        )
        self.answering = DnsAnswering(self.resolver, self.now)

    def now(self) -> float:
        return self._began + self.time

    async def _transport(self, wire: bytes, tcp: bool) -> bytes:
        self.queries += 1
        reply = dns.message.from_wire(self.internet.answer(wire, 65_535 if tcp else 1232))
        name = reply.question[0].name
        if name in self.broken:
            reply.set_rcode(dns.rcode.SERVFAIL)
        if name in self.forged:
            forged = dns.rrset.from_text(name, 300, "IN", "A", "203.0.113.66")
            reply.answer = [forged if each.rdtype == dns.rdatatype.A else each for each in reply.answer]
        return reply.to_wire(max_size=65_535)

    async def wire(self, query: bytes, client: Client = LOCAL_UDP) -> bytes | None:
        found = self.answering.at_once(query, client)
        return await self.answering.after_lookup(found, client) if isinstance(found, Query) else found

    async def send(self, query: Message, client: Client = LOCAL_UDP) -> Message:
        wire = await self.wire(query.to_wire(), client)
        assert wire is not None
        return dns.message.from_wire(wire, one_rr_per_rrset=False)

    async def ask(self, name: str, rdtype: str, client: Client = LOCAL_UDP, **options: Any) -> Message:
        return await self.send(query(name, rdtype, **options), client)


def query(
    name: str,
    rdtype: str,
    *,
    do: bool = False,
    ad: bool = False,
    cd: bool = False,
    edns: bool = True,
    payload: int = 1232,
    cookie: bytes | None = None,
) -> Message:
    """A query as a stub resolver sends it."""
    options: list[dns.edns.Option] = (
        [] if cookie is None else [dns.edns.GenericOption(dns.edns.OptionType.COOKIE, cookie)]
    )
    made = dns.message.make_query(name, rdtype, id=QUERY_ID)
    if edns or do or options:
        made.use_edns(0, ednsflags=dns.flags.DO if do else 0, payload=payload, options=options)
    made.flags |= (dns.flags.AD if ad else 0) | (dns.flags.CD if cd else 0)
    return made


def extended_errors(message: Message) -> list[tuple[int, str]]:
    """The extended DNS errors of a response."""
    return [(int(each.code), each.text or "") for each in message.options if isinstance(each, dns.edns.EDEOption)]


def rrsets(section: list[dns.rrset.RRset]) -> list[str]:
    """The owners and types of a section, in order."""
    return [f"{each.name} {dns.rdatatype.to_text(each.rdtype)}" for each in section]
