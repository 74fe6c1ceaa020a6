"""Throw hostile records and answers at SPF: `python -m tests.fuzz.spf_fuzz --cases N --seed S`.

Records are built of mechanisms, macros and noise, include each other without end, and lead to failures. Whatever comes,
a check ends in a verdict with a reason, within the standard's number of questions and a bound of CPU.
"""

import argparse
import random
import sys
import time
from collections import Counter

from letterlock.mailauth.spf.evaluate import MAX_EXPLANATION_CHARACTERS, MAX_LOOKUPS, MAX_VOID_LOOKUPS, evaluate
from letterlock.mailauth.spf.reasons import SpfCode, SpfResult
from letterlock.mailauth.spf.request import mail_from_request
from letterlock.mailauth.spf.verdict import SpfVerdict
from letterlock.resolver.answer import FailureKind
from tests.mailauth.dns_world import World
from tests.mailauth.spf_agreement import BROKEN, CLIENTS, HELOS, MACROS, NAMES, record, term

# The record itself, ten terms with a query of their own and ten hosts, the client's names, the explanation.
MAX_QUESTIONS = 1 + MAX_LOOKUPS * 11 + 11 + 1
MAX_CPU_SECONDS = 2.0  # the worst case takes 0.1 s here; the bound is for slow and busy machines
NOISE = ("\x00", "\x1b[2J", "\x80\xff", "%", "{", "}", " ", ":", "/", "//", "=", ".", "-", "v=spf1", "%{", "%{s}" * 50)
PIECES = (*NOISE, *MACROS, *BROKEN, "")  # the empty one becomes a valid term


class Unbounded(AssertionError):
    """A check did more than it may, or ended as it must not."""


def hostile_record(chance: random.Random) -> bytes:
    """A record: by the grammar, with damage, a bomb, or noise."""
    kind = chance.randrange(5)
    if kind == 0:
        return record(chance).encode("latin-1")
    if kind == 1:
        pieces = chance.choices(PIECES, k=chance.randrange(1, 200))
        return ("v=spf1 " + "".join(each or term(chance) for each in pieces)).encode("latin-1", "replace")
    if kind == 2:
        return ("v=spf1 " + f"include:{chance.choice(NAMES)} " * chance.randrange(1, 300)).encode()
    if kind == 3:
        target = "".join(chance.choices(MACROS, k=chance.randrange(1, 500)))
        return f"v=spf1 exists:{target}.test exp={target}.test -all".encode()
    octets = bytearray(record(chance).encode("latin-1"))
    for _ in range(chance.randrange(1, 6)):
        octets[chance.randrange(len(octets))] = chance.randrange(256)
    return bytes(octets)


def hostile_world(chance: random.Random) -> World:
    """Names that hold hostile records, and names that fail."""
    world = World()
    for name in NAMES:
        for _ in range(chance.choice((1, 1, 1, 2))):
            world.add(name, "TXT", hostile_record(chance))
        if chance.random() < 0.5:
            world.add(name, "A", "192.0.2.7")
        world.add(name, "MX", *((number, chance.choice(NAMES)) for number in range(chance.choice((0, 1, 30)))))
        if chance.random() < 0.1:
            world.fail(name, chance.choice(list(FailureKind)))
    for client in CLIENTS[:5]:
        pointer = mail_from_request(client, "", "x.test").client.reverse_pointer
        world.add(pointer, "PTR", *(chance.choice(NAMES) for _ in range(chance.choice((0, 1, 30)))))
    return world


def judge(verdict: SpfVerdict, world: World, seconds: float) -> str:
    """What a case ended in. Raises Unbounded."""
    if seconds > MAX_CPU_SECONDS or len(world.asked) > MAX_QUESTIONS:
        raise Unbounded(f"{seconds:.1f} s, {len(world.asked)} questions")
    if verdict.lookups > MAX_LOOKUPS or verdict.void_lookups > MAX_VOID_LOOKUPS + 1:
        raise Unbounded(f"{verdict.lookups} lookups, {verdict.void_lookups} void")
    if len(verdict.explanation or "") > MAX_EXPLANATION_CHARACTERS or not str(verdict.reason):
        raise Unbounded("a text that is too long, or no reason")
    if verdict.result is SpfResult.NONE and any(each.failure for each in verdict.asked):
        raise Unbounded("a failed lookup became an absence")
    if verdict.result is SpfResult.TEMPERROR and verdict.reason.code not in (SpfCode.BOGUS, SpfCode.LOOKUP_FAILED):
        raise Unbounded(f"temperror because of {verdict.reason}")
    return verdict.result.value


def case(chance: random.Random) -> str:
    """One check; the result in which it ended."""
    world = hostile_world(chance)
    local = "".join(chance.choices(("a", ".", "-", "\x80", "%", "@", "x" * 60), k=chance.randrange(8)))
    request = mail_from_request(chance.choice(CLIENTS), f"{local}@{chance.choice(NAMES)}", chance.choice(HELOS))
    began = time.process_time()
    verdict = world.run(evaluate(request))
    return judge(verdict, world, time.process_time() - began)


def run(cases: int, seed: int, first: int = 0) -> Counter[str]:
    """Run the cases from `first` on; how they ended. Raises Unbounded with the case."""
    ended: Counter[str] = Counter()
    for number in range(first, first + cases):
        try:
            ended[case(random.Random(f"{seed}:{number}"))] += 1
        except Exception as error:
            raise Unbounded(f"case {number} of seed {seed}: {error!r}") from error
    return ended


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    arguments = parser.parse_args()
    ended = run(arguments.cases, arguments.seed, arguments.first)
    words = ", ".join(f"{count} {word}" for word, count in ended.most_common())
    print(f"{arguments.cases} cases, seed {arguments.seed}: {words}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
