"""Read damaged records here and with dnspython: `python -m tests.fuzz.rdata_fuzz --cases N --seed S`.

Records of all kinds that a lookup reads, most of them damaged, stand in a message whose question they may point to.
What dnspython reads is read here as the same record with the same canonical form (RFC 4034 section 6.2), and what it
refuses stays opaque. Anything else stops the run with the case that did it.
"""

import argparse
import random
import struct
import sys
from collections import Counter

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.wire
from dns.rdata import GenericRdata, Rdata
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.SOA import SOA

from letterlock.resolver.known_names import from_text
from letterlock.resolver.rdata import read_rdata, record_octets, soa_minimum
from letterlock.resolver.signatures import key_tag
from letterlock.resolver.wire import Names

_IN = dns.rdataclass.IN
_TEXTS = {
    "A": ("192.0.2.1", "0.0.0.0", "255.255.255.255"),
    "AAAA": (
        "2001:db8::1",
        "::",
        "::1",
        "::ffff:192.0.2.1",
        "64:ff9b::1",
        "1:0:0:2:0:0:0:3",
        "1:0:0:2:3:0:0:4",
        "fe80::",
    ),
    "MX": ("10 mx.EXAMPLE.org.", "0 .", "65535 a.b.c.d.e.example."),
    "NS": ("ns.Example.org.", "."),
    "CNAME": ("Target.example.", "*.example."),
    "DNAME": ("Target.example.",),
    "SRV": ("1 2 465 MX.example.org.", "0 0 0 ."),
    "SOA": ("Ns.example.org. Host\\.master.example. 1 2 3 4 5", ". . 4294967295 0 0 0 0"),
    "TXT": ('"v=STSv1; id=1;"', '"" ""', '"a" "b" "c"', f'"{"x" * 255}" "y"'),
    "TLSA": (f"3 1 1 {'ab' * 32}", f"2 0 2 {'cd' * 64}", "3 1 0 3000", "255 255 255 00"),
    "DS": (
        f"4711 13 2 {'ab' * 32}",
        f"1 8 1 {'cd' * 20}",
        f"65535 15 4 {'ef' * 48}",
        "1 250 200 00",
        f"1 8 3 {'00' * 32}",
    ),
    "DNSKEY": ("257 3 13 " + "QUJD" * 16, "256 3 8 " + "AwEA" * 90, "385 3 1 " + "AwEA" * 9 + "AA==", "0 255 255 AA=="),
    "RRSIG": (
        f"MX 13 2 3600 20300101000000 20200101000000 4711 Example.org. {'QUJD' * 16}",
        f"TYPE65280 8 0 0 20300101000000 20200101000000 0 . {'QUJD' * 40}",
    ),
    "NSEC": ("Next.example.org. A MX RRSIG NSEC TYPE65280", ". NS SOA", "*.a.example."),
    "NSEC3": (
        "1 1 10 aabb 2vptu5timamqttgl4luu9kg21e0aor3s A RRSIG TYPE1234",
        "1 0 0 - 2vptu5timamqttgl4luu9kg21e0aor3s",
    ),
    "NAPTR": ('1 2 "s" "SIP" "" Other.example.',),
    "CAA": ('0 issue "ca.test"',),
}
SAMPLES = [
    (RdataType.make(kind), dns.rdata.from_text(_IN, kind, text).to_wire() or b"")
    for kind, texts in _TEXTS.items()
    for text in texts
]
_QUESTION = from_text("mail.example.org").to_wire() or b""
_HEAD = bytes(12) + _QUESTION + struct.pack("!2H", RdataType.MX, _IN)
_ENDS = (b"\xc0\x0c", b"\xc0\x11", b"\1B\xc0\x11", b"\xc0\x19", b"\0", b"\xff\xff", b"\x40\0")


class Differs(AssertionError):
    """A record was read otherwise than dnspython reads it."""


def damaged(octets: bytes, chance: random.Random) -> bytes:
    """RDATA after an accident, or a bad will."""
    wire = bytearray(octets)
    match chance.randrange(6):
        case 0 if wire:
            for _ in range(chance.randint(1, 3)):
                wire[chance.randrange(len(wire))] ^= 1 << chance.randrange(8)
        case 1:
            del wire[chance.randint(0, len(wire)) :]
        case 2:
            wire += chance.randbytes(chance.randint(1, 4))
        case 3:
            at = chance.randint(0, len(wire))
            wire[at:at] = chance.choice(_ENDS)
        case 4:  # a name ends with a pointer, most likely
            if (end := wire.find(b"\0", chance.randint(0, len(wire)))) >= 0:
                wire[end : end + 1] = chance.choice(_ENDS)
        case _:
            pass
    return bytes(wire)


class Expanding(dns.wire.Parser):
    """The parser of dnspython, but names are decompressed in every type (RFC 3597 section 4: be liberal)."""

    def get_name(self, origin: dns.name.Name | None = None, decompress: bool = False) -> dns.name.Name:
        labels: list[bytes] = []
        lowest, octets = self.current, self.get_bytes
        while length := octets(1)[0]:
            if length < 0x40:
                labels.append(octets(length))
                continue
            target = (length & 0x3F) << 8 | octets(1)[0]
            if length < 0xC0 or target >= lowest:
                raise dns.name.BadPointer
            lowest, octets = target, dns.wire.Parser(self.wire, target).get_bytes
        return dns.name.Name([*labels, b""])


def reference(wire: bytes, kind: RdataType, start: int, length: int) -> tuple[Rdata, bytes] | None:
    """What dnspython makes of the RDATA in a message; None where it refuses it."""
    parser = Expanding(wire, start)
    try:
        with parser.restrict_to(length):
            record = dns.rdata.from_wire_parser(_IN, kind, parser)
    except (dns.exception.DNSException, ValueError):
        return None
    return record, record.to_digestable(dns.name.root)


def compare(kind: RdataType, octets: bytes, behind: bytes) -> str:
    """Read one record in both ways; what it came to, in a word. Raises Differs."""
    start = len(_HEAD)
    end = start + len(octets)
    wanted = reference(_HEAD + octets + behind, kind, start, len(octets))
    names = Names(_HEAD + octets + behind)
    found, canonical = read_rdata(names, kind, start, end)
    what = f"{kind.name} {octets.hex()}"
    if wanted is None:
        if type(found) is not GenericRdata:
            raise Differs(f"{what}: refused, but read as {found}")
        return "refused"
    record, digestable = wanted
    if (found.to_text(), canonical) != (record.to_text(), digestable):
        raise Differs(f"{what}: {record} {digestable.hex()}, but read as {found} {canonical.hex()}")
    if type(found) is not GenericRdata and (found != record or hash(found) != hash(record)):
        raise Differs(f"{what}: {record} is not equal to {found}")
    if record_octets(found) != record.to_wire():
        raise Differs(f"{what}: {record} is written otherwise")
    if isinstance(record, DNSKEY) and isinstance(found, DNSKEY) and key_tag(found) != record.key_id():
        raise Differs(f"{what}: another key tag")
    if isinstance(record, SOA) and soa_minimum(Names(_HEAD + octets + behind), start, end) != record.minimum:
        raise Differs(f"{what}: another minimum")
    return "read"


def run(cases: int, seed: int) -> Counter[str]:
    """Run the cases; how they ended. Raises Differs, or whatever the reader lets out."""
    chance = random.Random(seed)
    ended: Counter[str] = Counter()
    for _ in range(cases):
        kind, octets = chance.choice(SAMPLES)
        for _ in range(chance.randint(0, 2)):
            octets = damaged(octets, chance)
        ended[compare(kind, octets, chance.randbytes(chance.choice((0, 0, 1, 40))))] += 1
    return ended


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    ended = run(arguments.cases, arguments.seed)
    print(f"{arguments.cases} cases, seed {arguments.seed}: {dict(ended)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
