"""Records and replies that no parser has to like: RDATA by the octet, odd options, odd neighbours."""

import struct
from collections.abc import Callable

import dns.edns
import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.rdata import GenericRdata

from letterlock.lab.authority import Validity, ZoneKey
from letterlock.lab.namespace import NameSpace
from letterlock.lab.zones import TTL, Denial, Zone
from letterlock.resolver import Answer, LookupFailure, Resolver

NOW = 1_800_000_000.0
RIGHT = bytes.fromhex("030101" + "ab" * 32)
SERVICE = "_25._tcp.mx.odd.test"
Change = Callable[[dns.message.Message], None]


def raw(zone: Zone, owner: str, rdtype: str, *octets: bytes) -> None:
    """Add records by their RDATA to a zone that is not published yet, beside those that are there."""
    name, kind = dns.name.from_text(owner, zone.origin), dns.rdatatype.from_text(rdtype)
    known = zone.rrsets.setdefault(name, {}).get(kind)
    rrset = dns.rrset.RRset(name, dns.rdataclass.IN, kind)
    rrset.update_ttl(TTL)
    for record in (*(known or ()), *(GenericRdata(dns.rdataclass.IN, kind, each) for each in octets)):
        rrset.add(record)
    zone.rrsets[name][kind] = rrset


class OddZone(Zone):
    """A zone with more in its DNSKEY RRset than its key."""

    more_keys: tuple[bytes, ...] = ()

    def add(self, owner: str, rdtype: str, *rdata: str) -> None:
        super().add(owner, rdtype, *rdata)
        if rdtype == "DNSKEY":
            raw(self, owner, rdtype, *self.more_keys)


class OddWorld:
    """A signed root, `test.` and `odd.test.`, to which records may be added before the first question."""

    def __init__(self, denial: Denial = Denial.NSEC) -> None:
        self.root, self.top = Zone(".", key=ZoneKey.make()), Zone("test.", key=ZoneKey.make(), denial=denial)
        self.zone = OddZone("odd.test.", key=ZoneKey.make(), denial=denial)
        self.root.delegate(self.top)
        self.top.delegate(self.zone)
        self.zone.add("@", "MX", "10 mx.odd.test.")
        self.zone.add("mx", "A", "192.0.2.1")
        self.changes: list[Change] = []
        self.after: Callable[[bytes], bytes] = bytes
        self.asked: list[str] = []

    @property
    def zones(self) -> tuple[Zone, ...]:
        return self.root, self.top, self.zone

    def publish(self) -> NameSpace:
        for zone in self.zones:
            zone.publish(Validity.around(NOW))
        return NameSpace(self.zones)

    def resolver(self) -> Resolver:
        names = self.publish()

        async def transport(wire: bytes, _tcp: bool) -> bytes:
            query = dns.message.from_wire(wire)
            self.asked.append(query.question[0].to_text())
            response = names.answer(query)
            for change in self.changes:
                change(response)
            return self.after(response.to_wire(max_size=65_535))

        return Resolver(transport, anchors=[names.anchor()], now=NOW)

    async def resolve(self, name: str, rdtype: str) -> Answer | LookupFailure:
        return await self.resolver().resolve(name, rdtype)

    async def answer(self, name: str, rdtype: str) -> Answer:
        found = await self.resolve(name, rdtype)
        assert isinstance(found, Answer), found
        return found


def record(owner: str, rdtype: int, octets: bytes, rdclass: int = 1) -> dns.rrset.RRset:
    """One record of any type and class, with any RDATA."""
    kind, group = dns.rdatatype.RdataType.make(rdtype), dns.rdataclass.RdataClass.make(rdclass)
    return dns.rrset.from_rdata(dns.name.from_text(owner), TTL, GenericRdata(group, kind, octets))


def with_options(*options: tuple[int, bytes]) -> Change:
    """The reply's OPT record has these options."""
    made: list[dns.edns.Option] = [
        dns.edns.GenericOption(dns.edns.OptionType.make(code), octets) for code, octets in options
    ]

    def change(response: dns.message.Message) -> None:
        response.use_edns(0, 0x8000, 1232, options=made)

    return change


def with_records(section: str, *records: dns.rrset.RRset) -> Change:
    """These stand in the section, too."""

    def change(response: dns.message.Message) -> None:
        getattr(response, section).extend(records)

    return change


def with_additional(wire: bytes, octets: bytes, count: int) -> bytes:
    """The message with octets at its end that count as so many additional records."""
    (had,) = struct.unpack_from("!H", wire, 10)
    return wire[:10] + struct.pack("!H", min(had + count, 65_535)) + wire[12:] + octets


def texts(answer: Answer) -> set[str]:
    """The records as text."""
    return {one.to_text() for one in answer.records}


def rdata_of(answer: Answer) -> set[bytes]:
    """The records as octets."""
    return {one.to_wire() or b"" for one in answer.records}
