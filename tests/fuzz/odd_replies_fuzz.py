"""Put odd records and options into DNS replies: `python -m tests.fuzz.odd_replies_fuzz --cases N --seed S`.

Zones hold records that nobody can read beside ordinary ones, all of it well signed; on the way replies gain options,
records of any type, class and content, noise at their end, and pointers that lead nowhere. None of it may matter: a
lookup ends in the same security, records and absence as without it, and what it spends is bounded. Anything else stops
the run with the case that did it. Nothing that a lookup needs is touched here; `resolver_fuzz` does that.
"""

import argparse
import random
import struct
import sys
import time
from collections import Counter
from collections.abc import Mapping

import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.rdatatype import RdataType

from letterlock.lab.namespace import NameSpace
from letterlock.lab.zones import Denial
from letterlock.policy.require import tlsa_records
from letterlock.resolver import Answer, Ask, InquirySettings, Lookup, LookupFailure, Question
from letterlock.resolver.cache import Zones
from letterlock.resolver.dns_message import DNSReply, Fault, query_wire, read_reply
from letterlock.resolver.trust_anchors import as_anchors
from tests.resolver.odd import NOW, RIGHT, OddWorld, raw, rdata_of, record, with_additional, with_options

ID = 4711
MAX_CASE_SECONDS = 0.5  # of CPU: a case takes a few milliseconds
ODD_RDATA = 4  # records that cannot be read, in each RRset that has some
QUESTIONS = (
    ("_25._tcp.mx.odd.test.", "TLSA"),
    ("_25._tcp.bad.odd.test.", "TLSA"),
    ("odd.test.", "MX"),
    ("mx.odd.test.", "A"),
    ("mx.odd.test.", "AAAA"),
    ("text.odd.test.", "TXT"),
    ("www.odd.test.", "A"),
    ("nobody.odd.test.", "MX"),
    ("odd.test.", "DS"),
    ("odd.test.", "DNSKEY"),
)
KNOWN = tuple(int(each) for each in RdataType)
# A stray record of these could be one more in an RRset that a lookup needs: it has an owner that no question is about.
NEEDED = frozenset({1, 2, 5, 6, 15, 16, 28, 39, 43, 46, 47, 48, 50, 52})


class Mattered(AssertionError):
    """Something that a lookup does not need changed how it ended."""


class Arena:
    """One world with its own odd records, its honest replies, and how each lookup ends."""

    def __init__(self, denial: Denial, chance: random.Random) -> None:
        self._names = _world(denial, chance)
        self._settings = InquirySettings(anchors=as_anchors([self._names.anchor()]))
        self._replies: dict[Question, dns.message.Message] = {}
        self.questions = [Question(dns.name.from_text(name), dns.rdatatype.from_text(kind)) for name, kind in QUESTIONS]
        self.truth = {each: self.look_up(each, None) for each in self.questions}
        if broken := [each for each in self.truth.values() if not isinstance(each, Answer) or not each.secure]:
            raise Mattered(f"without any change: {broken[0]}")

    def look_up(self, question: Question, chance: random.Random | None) -> Answer | LookupFailure:
        """One lookup, with odd things in every reply where there is chance."""
        steps = Lookup(question, self._settings, Zones(), NOW).run()
        replies: Mapping[Question, DNSReply | Fault] = {}
        wanted = next(steps)
        while True:
            if isinstance(wanted, Ask):
                replies = {each: read_reply(self._wire(each, chance), each, ID) for each in wanted.questions}
            try:
                wanted = steps.send(replies)
            except StopIteration as end:
                result: Answer | LookupFailure = end.value
                return result

    def _wire(self, question: Question, chance: random.Random | None) -> bytes:
        honest = self._replies.get(question)
        if honest is None:
            honest = self._names.answer(dns.message.from_wire(query_wire(question, ID)))
            self._replies[question] = honest
        return honest.to_wire(max_size=65_535) if chance is None else decorated(honest, chance)


def _world(denial: Denial, chance: random.Random) -> NameSpace:
    """Ordinary records, and beside each some that cannot be read."""
    world = OddWorld(denial)
    world.zone.add("www", "CNAME", "mx.odd.test.")
    world.zone.add("text", "TXT", '"v=STSv1; id=1;"')
    raw(world.zone, "_25._tcp.mx", "TLSA", RIGHT, *(b"\3\1" + _noise(chance) for _ in range(ODD_RDATA)))
    raw(world.zone, "_25._tcp.bad", "TLSA", *(_noise(chance)[: chance.randrange(4)] for _ in range(ODD_RDATA)))
    for owner, rdtype in (("@", "MX"), ("mx", "A"), ("text", "TXT")):
        raw(world.zone, owner, rdtype, *(_without_pointers(_noise(chance)) for _ in range(ODD_RDATA)))
    raw(world.top, "odd", "DS", *(_noise(chance) for _ in range(ODD_RDATA)))
    world.zone.more_keys = tuple(_noise(chance) for _ in range(ODD_RDATA))
    return world.publish()


def _without_pointers(noise: bytes) -> bytes:
    """No octet that begins a compressed name, which would stand for another record in each reply."""
    return bytes([octet & 0x7F if octet >= 0xC0 else octet for octet in noise])


def _noise(chance: random.Random) -> bytes:
    """Octets that are no name, no text and seldom anything else."""
    return chance.choice((b"", b"\0", b"\xff\xff", b"\xc0\x0c", b"\x3fcut", chance.randbytes(chance.randrange(70))))


def decorated(honest: dns.message.Message, chance: random.Random) -> bytes:
    """The reply with everything in it that it had, and more."""
    message = _copy(honest)
    for section in ("answer", "authority", "additional"):
        if chance.random() < 0.5:
            getattr(message, section).extend(_stray(message, chance) for _ in range(chance.randint(1, 6)))
    if chance.random() < 0.7:
        options = [
            (chance.choice((3, 8, 10, 11, 12, 15, 18, chance.randrange(65_536))), _noise(chance)) for _ in range(3)
        ]
        with_options(*options)(message)
    wire = message.to_wire(max_size=65_535)
    if chance.random() < 0.5:
        wire = with_additional(wire, _tail(chance), chance.randrange(1_000))
    return wire


def _copy(honest: dns.message.Message) -> dns.message.Message:
    """A message with sections of its own. Parsing its wire would refuse the records that this is about."""
    made = dns.message.QueryMessage(id=honest.id)
    made.flags, made.question = honest.flags, list(honest.question)
    made.answer, made.authority, made.additional = list(honest.answer), list(honest.authority), []
    made.use_edns(0, 0x8000, 1232)
    return made


def _stray(message: dns.message.Message, chance: random.Random) -> dns.rrset.RRset:
    """A record that nobody asked for: of a type that no lookup needs, or of another class or owner."""
    owner = chance.choice((str(message.question[0].name), "odd.test.", "stray.odd.test.", ".", "other.example."))
    kind = chance.choice((chance.choice(KNOWN), chance.choice(KNOWN), chance.randrange(1, 65_536)))
    rdclass = chance.choice((1, 1, 1, 3, 4, 254, 255, chance.randrange(5, 65_536)))
    if kind in NEEDED and rdclass == 1:
        owner = "stray.odd.test."
    return record(owner, kind, _noise(chance), rdclass)


def _tail(chance: random.Random) -> bytes:
    pieces = (
        b"\xc0\x0c",
        b"\xc0\xff",
        b"\0",
        struct.pack("!HHIH", 1, 1, 60, 9),
        chance.randbytes(20),
        b"\x80",
        b"\x3f",
    )
    return b"".join(chance.choice(pieces) for _ in range(chance.randrange(30)))


def judge(question: Question, truth: Answer | LookupFailure, found: Answer | LookupFailure, spent: float) -> str:
    """What a case ended in, in a word. Raises Mattered."""
    assert isinstance(truth, Answer)
    if not isinstance(found, Answer):
        raise Mattered(f"{question}: {found.kind}: {found.detail}")
    if (found.security, found.absence, rdata_of(found)) != (truth.security, truth.absence, rdata_of(truth)):
        raise Mattered(f"{question}: {found.security} {found.absence} {found.records}")
    if spent > MAX_CASE_SECONDS:
        raise Mattered(f"{question}: took {spent:.2f} s of CPU")
    if question.rdtype == RdataType.TLSA and len(tlsa_records(found)) != len(found.records):
        raise Mattered(f"{question}: {len(found.records)} records, {len(tlsa_records(found))} of them TLSA")
    return found.absence.value if found.absence else "records"


def run(cases: int, seed: int) -> Counter[str]:
    """Run the cases; how they ended. Raises Mattered, or whatever the validator lets out."""
    chance = random.Random(seed)
    ended: Counter[str] = Counter()
    arenas: list[Arena] = []
    for number in range(cases):
        if number % 500 == 0:  # other odd records in the zones
            arenas = [Arena(denial, chance) for denial in Denial]
        arena = arenas[number % len(arenas)]
        question = chance.choice(arena.questions)
        begun = time.thread_time()
        found = arena.look_up(question, chance)
        ended[judge(question, arena.truth[question], found, time.thread_time() - begun)] += 1
    return ended


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    ended = run(arguments.cases, arguments.seed)
    print(
        f"{arguments.cases} cases, seed {arguments.seed}: "
        + ", ".join(f"{n} {word}" for word, n in ended.most_common())
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
