"""Throw damaged replies at the validator: `python -m tests.fuzz.resolver_fuzz --cases N --seed S`.

A signed world answers; on the way replies are flipped, cut, spliced, swapped for others or for noise. Whatever comes, a
lookup ends in an Answer or a LookupFailure. A secure answer says what the world holds; what is signed never becomes
insecure, and what is there never becomes absent. Anything else stops the run with the case that did it.
"""

import argparse
import random
import sys
from collections import Counter
from collections.abc import Mapping

import dns.message
import dns.name
import dns.rdatatype

from letterlock.lab.zones import Denial
from letterlock.resolver import Answer, Ask, InquirySettings, Lookup, LookupFailure, Question, Security
from letterlock.resolver.cache import Zones
from letterlock.resolver.dns_message import DNSReply, Fault, query_wire, read_reply
from letterlock.resolver.trust_anchors import as_anchors
from tests.resolver.test_attacks import NOW, SERVICE, World

ID = 4711
QUESTIONS = (
    (SERVICE, "TLSA"),
    ("signed.test.", "MX"),
    ("mx.signed.test.", "A"),
    ("mx.signed.test.", "AAAA"),
    ("nobody.signed.test.", "A"),
    ("nobody.test.", "MX"),
    ("unsigned.test.", "MX"),
    ("unsigned.test.", "DS"),
    ("mx.unsigned.test.", "AAAA"),
)


class Unsound(AssertionError):
    """The validator believed something that the world does not say."""


class Arena:
    """A world, its honest replies, and what is true in it."""

    def __init__(self, denial: Denial) -> None:
        self._names = World(denial).names
        self._settings = InquirySettings(anchors=as_anchors([self._names.anchor()]))
        self._wires: dict[Question, bytes] = {}
        self.questions = [Question(dns.name.from_text(name), dns.rdatatype.from_text(kind)) for name, kind in QUESTIONS]
        self.truth = {each: self.look_up(each, None) for each in self.questions}

    def honest(self, question: Question) -> bytes:
        """The reply as the world gives it, with the id of every query here."""
        if question not in self._wires:
            query = dns.message.from_wire(query_wire(question, ID))
            self._wires[question] = self._names.answer(query).to_wire(max_size=65_535)
        return self._wires[question]

    def look_up(self, question: Question, chance: random.Random | None) -> Answer | LookupFailure:
        """One lookup, with some replies damaged where there is chance."""
        steps = Lookup(question, self._settings, Zones(), NOW).run()
        replies: Mapping[Question, DNSReply | Fault] = {}
        wanted = next(steps)
        while True:
            if isinstance(wanted, Ask):
                replies = {each: self._reply(each, chance) for each in wanted.questions}
            try:
                wanted = steps.send(replies)
            except StopIteration as end:
                result: Answer | LookupFailure = end.value
                return result

    def _reply(self, question: Question, chance: random.Random | None) -> DNSReply | Fault:
        wire = self.honest(question)
        if chance is not None and chance.random() < 0.12:
            wire = damaged(wire, self._wires, chance)
        return read_reply(wire, question, ID)


def damaged(wire: bytes, others: Mapping[Question, bytes], chance: random.Random) -> bytes:
    """A reply after an accident, or a bad will."""
    octets = bytearray(wire)
    match chance.randrange(6):
        case 0:
            for _ in range(chance.randint(1, 8)):
                octets[chance.randrange(len(octets))] ^= 1 << chance.randrange(8)
        case 1:
            del octets[chance.randrange(len(octets)) :]
        case 2:
            start = chance.randrange(len(octets))
            del octets[start : start + chance.randint(1, 40)]
        case 3:
            at = chance.randrange(len(octets))
            octets[at:at] = chance.randbytes(chance.randint(1, 40))
        case 4:
            other = chance.choice(tuple(others.values()))
            question_end = 12 + octets[12:].find(b"\0") + 5
            other_end = 12 + other[12:].find(b"\0") + 5
            octets[question_end:] = other[other_end:]
            octets[2:4], octets[6:12] = other[2:4], other[6:12]
        case _:
            octets[chance.randrange(2, 12)] = chance.randrange(256)
    return bytes(octets)


def judge(question: Question, truth: Answer | LookupFailure, found: Answer | LookupFailure) -> str:
    """What a case ended in, in a word. Raises Unsound."""
    if isinstance(found, LookupFailure):
        return found.kind.value
    assert isinstance(truth, Answer)
    if truth.secure and not found.secure:
        raise Unsound(f"{question}: signed, but found {found.security}")
    if found.security is Security.SECURE and (set(found.records), found.absence) != (set(truth.records), truth.absence):
        raise Unsound(f"{question}: found {found.records} {found.absence}, but it is {truth.records} {truth.absence}")
    return found.security.value


def run(cases: int, seed: int) -> Counter[str]:
    """Run the cases; how they ended. Raises Unsound, or whatever the validator lets out."""
    chance = random.Random(seed)
    arenas = [Arena(denial) for denial in Denial]
    ended: Counter[str] = Counter()
    for number in range(cases):
        arena = arenas[number % len(arenas)]
        question = chance.choice(arena.questions)
        ended[judge(question, arena.truth[question], arena.look_up(question, chance))] += 1
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
