"""Malformed packets at the resolver door: each is answered within the rules, or not at all, and none does harm.

    python -m tests.fuzz.dns_door_fuzz --cases 1000000 --seed 1

Prints counts; exit status 1 with the first packet that breaks a rule.
"""

import argparse
import asyncio
import random
import sys
from collections import Counter

import dns.flags
import dns.message
import dns.rcode

from letterlock.companion.dns_answering import Client, DnsAnswering
from letterlock.companion.dns_query import Query
from letterlock.resolver import Resolver
from tests.companion.dns_world import query

LOCAL = Client(b"\x7f\0\0\1", over_tcp=False, is_local=True)
FAR = Client(b"\xc0\0\2\1", over_tcp=False, is_local=False)
SEEDS = [
    query("mx.example.org", "A", do=True, ad=True).to_wire(),
    query("_25._tcp.mx.example.org", "TLSA", do=True, cookie=b"12345678").to_wire(),
    query("example.org", "MX", edns=False).to_wire(),
    query(".", "NS", cd=True, cookie=b"x" * 24).to_wire(),
    query("a" * 63 + ".example.org", "TXT", payload=65_535).to_wire(),
]
RCODES = {
    dns.rcode.NOERROR, dns.rcode.FORMERR, dns.rcode.SERVFAIL, dns.rcode.NOTIMP, dns.rcode.REFUSED, dns.rcode.BADVERS,
    dns.rcode.BADCOOKIE,
}  # fmt: skip


class Broken(AssertionError):
    """A rule does not hold for a packet."""


async def _nobody(_wire: bytes, _tcp: bool) -> bytes:
    raise TimeoutError("nobody answers")


def mutate(chance: random.Random) -> bytes:
    """A query with a few faults, or just octets."""
    if chance.random() < 0.1:
        return chance.randbytes(chance.randrange(64))
    wire = bytearray(chance.choice(SEEDS))
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        at = chance.randrange(len(wire) + 1)
        match chance.randrange(5):
            case 0:
                del wire[at : at + chance.randrange(1, 9)]
            case 1:
                wire[at:at] = chance.randbytes(chance.randrange(1, 9))
            case 2:
                wire += wire[at:]
            case 3 if wire:
                wire[chance.randrange(len(wire))] = chance.choice((0, 1, 63, 64, 0xC0, 0xFF))
            case _ if wire:
                wire[chance.randrange(len(wire))] ^= 1 << chance.randrange(8)
    return bytes(wire[:4096])


async def run(cases: int, seed: int) -> Counter[str]:
    """Try so many packets; what became of them. Raises Broken."""
    chance, found = random.Random(seed), Counter[str]()
    answering = DnsAnswering(Resolver(_nobody, now=1_800_000_000.0), lambda: 1_800_000_000.0)
    for number in range(cases):
        wire = mutate(chance)
        client = FAR if number % 2 else LOCAL
        answered = answering.at_once(wire, client)
        if isinstance(answered, Query):
            # the lookup itself has a fuzzer of its own: a sample shows that it is reached, and answered
            answered = await answering.after_lookup(answered, client) if number % 50 == 0 else None
            found["lookups"] += 1
        if answered is None:
            found["unanswered"] += 1
            continue
        found[_checked(wire, answered, far=client is FAR)] += 1
    return found


def _checked(wire: bytes, answered: bytes, *, far: bool) -> str:
    """The response's code in words. Raises Broken."""
    reply = dns.message.from_wire(answered)
    if len(wire) < 12 or wire[2] & 0x80:
        raise Broken(f"{wire.hex()} must not be answered")
    if answered[:2] != wire[:2] or not reply.flags & dns.flags.QR or reply.flags & dns.flags.AD:
        raise Broken(f"{wire.hex()} is answered by {answered.hex()}")
    if reply.rcode() not in RCODES or reply.answer:
        raise Broken(f"{wire.hex()} is answered by {reply}")
    if far and len(answered) > len(wire) + 32:  # an OPT record with a cookie
        raise Broken(f"{wire.hex()}: {len(answered)} octets for {len(wire)}")
    return dns.rcode.to_text(reply.rcode())


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    try:
        found = asyncio.run(run(given.cases, given.seed))
    except Broken as error:
        print(f"BROKEN {error}")
        return 1
    print(", ".join(f"{count} {what}" for what, count in sorted(found.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
