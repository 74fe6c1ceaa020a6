"""What hostile zones can make the resolver do: the longest stall of the event loop, and the work in all.

`python -m bench.exhaustion` (or `python -m bench.resolver --part exhaustion`) asks our resolver about zones that were
made to exhaust it. The replies are made before and handed over in memory, so that what is measured is ours alone. The
stall is the longest time that somebody else on the same loop had to wait for his turn; the goal is 10 ms at a time.
"""

import asyncio
import base64
import itertools
import resource
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.message import Message
from dns.name import Name
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.RRSIG import RRSIG

from letterlock.app.garbage import spare_collector
from letterlock.lab.authority import Validity, ZoneKey
from letterlock.lab.namespace import NameSpace
from letterlock.lab.zones import Zone
from letterlock.resolver import Answer, LookupFailure, Resolver
from letterlock.resolver.signatures import key_tag

COLLIDING = 100
ITERATIONS = 2_500
LINKS = 20
BOGUS_QUESTIONS = 10_000
TAG = 4_711
LABELS = 30
SPANS = 80
SPAN_LABELS = 70
SPAN_ITERATIONS = 100
BURST = 50  # questions that arrive in one turn of the loop
SLOW_NAMES = 1_000
SLOW_SECONDS = 10.0  # as long as a query may take
HONEST = f"n{LINKS}.chain.test."
SPAN_NAME = ".".join("a" * SPAN_LABELS) + ".spans.test."
WAY = frozenset({".", "test."})


@dataclass
class Stall:
    """The longest time between two turns that a bystander got, as CPU time: others on the machine do not count."""

    longest: float = 0.0

    async def watch(self) -> None:
        """Come back in every turn of the loop, until cancelled."""
        while True:
            last = time.thread_time()
            await asyncio.sleep(0)
            self.longest = max(self.longest, time.thread_time() - last)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a question, or many at once, cost."""

    what: str
    ends: Counter[str]
    seconds: float
    stall: float
    queries: int

    def row(self) -> tuple[str, str, str, str, str]:
        """For the table."""
        ends = ", ".join(f"{count:,} {end}" if count > 1 else end for end, count in self.ends.most_common())
        return self.what, ends, f"{self.seconds * 1000:,.0f} ms", f"{self.stall * 1000:.1f} ms", f"{self.queries:,}"


class Replies:
    """A transport that knows its replies."""

    def __init__(self, names: NameSpace) -> None:
        self.names = names
        self._made: dict[bytes, bytes] = {}
        self.changed: dict[tuple[Name, dns.rdatatype.RdataType], Message] = {}
        self.asked = 0

    def _make(self, wire: bytes) -> bytes:
        query = dns.message.from_wire(wire)
        key = query.question[0].name, query.question[0].rdtype
        response = self.names.answer(query)
        if key in self.changed:
            response.answer, response.authority = self.changed[key].answer, self.changed[key].authority
        return response.to_wire(max_size=65_535)

    def prepare(self, *questions: tuple[str, str]) -> None:
        """Make the replies that will be asked for, before the time runs."""
        for name, rdtype in questions:
            wire = dns.message.make_query(name, rdtype, want_dnssec=True).to_wire()
            self._made[_key(wire)] = self._make(wire)

    async def __call__(self, wire: bytes, _tcp: bool) -> bytes:
        self.asked += 1
        return wire[:2] + self._made[_key(wire)][2:]


def _key(wire: bytes) -> bytes:
    return wire[12 : wire.index(b"\0", 12) + 3].lower()


def colliding_keys() -> list[DNSKEY]:
    """Keys of one algorithm and one tag: the tag is a sum, so its last octets make up for the others."""
    found: list[DNSKEY] = []
    for number in itertools.count():
        material = number.to_bytes(62, "big")
        missing = (TAG - key_tag(_dnskey(material + b"\0\0"))) % (1 << 16)
        key = _dnskey(material + missing.to_bytes(2, "big"))
        found += [key] if key_tag(key) == TAG else []  # a carry may spoil it
        if len(found) == COLLIDING:
            break
    return found


def _dnskey(material: bytes) -> DNSKEY:
    key = dns.rdata.from_text("IN", "DNSKEY", f"257 3 13 {base64.b64encode(material).decode()}")
    assert isinstance(key, DNSKEY)
    return key


def colliding_signatures(covered: str, zone: Name, now: float) -> list[RRSIG]:
    """Signatures by the colliding keys, of which none holds."""
    made = []
    for number in range(COLLIDING):
        octets = base64.b64encode((number + 1).to_bytes(64, "big")).decode()
        text = f"{covered} 13 {len(zone) - 1} 300 {int(now) + 1000} {int(now) - 1000} {TAG} {zone} {octets}"
        record = dns.rdata.from_text("IN", "RRSIG", text)
        assert isinstance(record, RRSIG)
        made.append(record)
    return made


def world(now: float) -> tuple[NameSpace, Replies]:
    """A signed root, `test.`, and below it one zone for each trap."""
    root, top = Zone(".", key=ZoneKey.make()), Zone("test.", key=ZoneKey.make())
    hashes, chain = Zone("hashes.test.", key=ZoneKey.make()), Zone("chain.test.", key=ZoneKey.make())
    keytrap, bogus = Zone("keytrap.test.", key=ZoneKey.make()), Zone("bogus.test.", key=ZoneKey.make())
    spans = Zone("spans.test.", key=ZoneKey.make())
    root.delegate(top)
    for number in range(LINKS):
        chain.add(f"n{number}", "CNAME", f"n{number + 1}.chain.test.")
    chain.add(f"n{LINKS}", "A", "192.0.2.1")
    keytrap.add("@", "A", "192.0.2.1")
    bogus.add("mx", "A", "192.0.2.1")
    zones = [root, top, hashes, chain, keytrap, bogus, spans]
    for zone in zones[2:]:
        top.delegate(zone)
    for zone in zones:
        zone.publish(Validity.around(now))
    names = NameSpace(zones)
    replies = Replies(names)
    _trap_keys(replies, now)
    _trap_hashes(replies)
    _trap_spans(replies, spans, now)
    _break_signatures(replies)
    return names, replies


def _honest(replies: Replies, name: str, rdtype: str) -> Message:
    query = dns.message.make_query(name, rdtype, want_dnssec=True)
    return replies.names.answer(query)


def _trap_keys(replies: Replies, now: float) -> None:
    """KeyTrap: the zone's real key stands among a hundred that collide, and so do the signatures over the answer."""
    zone = dns.name.from_text("keytrap.test.")
    answer = _honest(replies, "keytrap.test.", "A")
    answer.answer = [
        dns.rrset.from_text(zone, 300, "IN", "A", "192.0.2.1"),
        dns.rrset.from_rdata_list(zone, 300, colliding_signatures("A", zone, now)),
    ]
    keys = _honest(replies, "keytrap.test.", "DNSKEY")
    keys.answer = [
        dns.rrset.from_rdata_list(zone, 300, [*colliding_keys(), *keys.answer[0]]),
        dns.rrset.from_rdata_list(zone, 300, colliding_signatures("DNSKEY", zone, now)),
    ]
    ds = _honest(replies, "keytrap.test.", "DS")
    replies.changed[zone, dns.rdatatype.A] = answer
    replies.changed[zone, dns.rdatatype.DNSKEY] = keys
    replies.changed[zone, dns.rdatatype.DS] = ds


def _trap_hashes(replies: Replies) -> None:
    """NSEC3 records that want 2,500 rounds a name."""
    name = dns.name.from_text(".".join("a" * LABELS), dns.name.from_text("hashes.test."))
    denial = _honest(replies, str(name), "A")
    text = f"1 0 {ITERATIONS} aabb 0123456789abcdefghijklmnopqrstuv A RRSIG"
    owner = dns.name.from_text("00000000000000000000000000000000.hashes.test.")
    denial.authority = [dns.rrset.from_text(owner, 300, "IN", "NSEC3", text)]
    replies.changed[name, dns.rdatatype.A] = denial


def _trap_spans(replies: Replies, zone: Zone, now: float) -> None:
    """A deep name, and at each label of it eighty NSEC3 records, well signed, that prove nothing."""
    assert zone.key
    validity, denial = Validity.around(now), Message()
    for number in range(SPANS):
        start = f"{number * 2:032x}"
        owner = dns.name.from_text(start, zone.origin)
        text = f"1 0 {SPAN_ITERATIONS} aabb {number * 2 + 1:032x} A RRSIG"
        rrset = dns.rrset.from_text(owner, 300, "IN", "NSEC3", text)
        denial.authority += [rrset, zone.key.sign(rrset, zone.origin, validity)]
    for above in _above(SPAN_NAME):
        name = dns.name.from_text(above)
        if len(name) > len(zone.origin):
            for rdtype in (dns.rdatatype.A, dns.rdatatype.DS, dns.rdatatype.DNSKEY):
                replies.changed[name, rdtype] = denial


def _break_signatures(replies: Replies) -> None:
    """Ten thousand answers, each with its own signature that does not hold."""
    response = _honest(replies, "mx.bogus.test.", "A")
    signature = next(each for each in response.answer if each.rdtype == dns.rdatatype.RRSIG)[0]
    for number in range(BOGUS_QUESTIONS):
        name = dns.name.from_text(f"n{number}.bogus.test.")
        made = signature.replace(signature=number.to_bytes(64, "big"))
        changed = Message()
        changed.answer = [
            dns.rrset.from_text(name, 300, "IN", "A", "192.0.2.66"),
            dns.rrset.from_rdata_list(name, 300, [made]),
        ]
        replies.changed[name, dns.rdatatype.A] = changed


async def cost_of(
    what: str, questions: Sequence[tuple[str, str]], names: NameSpace, replies: Replies, now: float
) -> Cost:
    """Ask all at once, from a cold cache."""
    replies.prepare(*questions)
    resolver = Resolver(replies, anchors=[names.anchor()], now=now)
    for zone in {above for name, _ in questions[:1] for above in _above(name)} | WAY:
        replies.prepare((zone, "DNSKEY"), (zone, "DS"))
    for number in range(LINKS + 1):
        link = f"n{number}.chain.test."
        replies.prepare((link, "A"), (link, "DNSKEY"), (link, "DS"))
    spare_collector()
    stall, before, asked = Stall(), _cpu(), replies.asked
    bystander = asyncio.create_task(stall.watch())
    tasks = []
    for name, rdtype in questions:
        tasks.append(asyncio.create_task(resolver.resolve(name, rdtype)))
        if len(tasks) % BURST == 0:
            await asyncio.sleep(0)
    results = await asyncio.gather(*tasks)
    bystander.cancel()
    return Cost(what, Counter(map(_end, results)), _cpu() - before, stall.longest, replies.asked - asked)


def _above(name: str) -> Iterator[str]:
    """A name and those above it."""
    labels = name.split(".")
    return (".".join(labels[start:]) for start in range(len(labels) - 1))


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _end(result: Answer | LookupFailure) -> str:
    if isinstance(result, Answer):
        return f"{result.security.value} answer"
    return (
        f"{result.kind.value} ({result.detail.partition(' (')[0][:60]})"
        if result.kind.value == "budget"
        else result.kind.value
    )


async def measure() -> list[Cost]:
    """Every trap."""
    now = time.time()
    names, replies = world(now)
    bogus = [(f"n{number}.bogus.test.", "A") for number in range(BOGUS_QUESTIONS)]
    deep = ".".join("a" * LABELS) + ".hashes.test."
    return [
        await cost_of(
            f"{COLLIDING} colliding keys, {COLLIDING} signatures", [("keytrap.test.", "A")], names, replies, now
        ),
        await cost_of(f"NSEC3 with {ITERATIONS:,} iterations, {LABELS} labels", [(deep, "A")], names, replies, now),
        await cost_of(f"{SPANS} NSEC3 records, {SPAN_LABELS} labels", [(SPAN_NAME, "A")], names, replies, now),
        await cost_of(f"a chain of {LINKS} aliases", [("n0.chain.test.", "A")], names, replies, now),
        await cost_of(f"{BOGUS_QUESTIONS:,} bogus questions at once", bogus, names, replies, now),
    ]


async def honest_delay(zones: int) -> float:
    """How many seconds an honest lookup takes beside names whose servers never answer."""
    now = time.time()
    names, replies = world(now)
    replies.prepare((HONEST, "A"), *((zone, kind) for zone in (*WAY, "chain.test.") for kind in ("DNSKEY", "DS")))

    async def transport(wire: bytes, tcp: bool) -> bytes:
        if b"slow" not in wire:
            return await replies(wire, tcp)
        await asyncio.sleep(SLOW_SECONDS)
        raise TimeoutError

    resolver = Resolver(transport, anchors=[names.anchor()], now=now)
    slow = [
        asyncio.create_task(resolver.resolve(f"n{number}.slow{number % zones}.test", "MX"))
        for number in range(SLOW_NAMES)
    ]
    await asyncio.sleep(0.1)
    begun = time.perf_counter()
    found = await resolver.resolve(HONEST, "A")
    assert isinstance(found, Answer)
    passed = time.perf_counter() - begun
    for task in slow:
        task.cancel()
    await asyncio.wait(slow)
    return passed


def rows() -> Iterator[tuple[str, str, str, str, str]]:
    """The table."""
    yield "what", "ends as", "CPU in all", "longest stall", "queries"
    for cost in asyncio.run(measure()):
        yield cost.row()


def main() -> None:
    """The command."""
    table = list(rows())
    widths = [max(len(row[column]) for row in table) for column in range(5)]
    for row in table:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    for zones in (1, SLOW_NAMES):
        seconds = asyncio.run(honest_delay(zones))
        print(f"beside {SLOW_NAMES:,} slow names of {zones:,} domains an honest lookup takes {seconds:.2f} s")


if __name__ == "__main__":
    main()
