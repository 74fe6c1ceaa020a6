"""Compare SPF with pyspf over generated records: `python -m tests.mailauth.spf_agreement --cases 2000 --seed 1`.

Every case is a small world of random records with random faults, and a client. A difference must have one of the
explanations below, each with the section that decides, or the run stops with the case.
"""

import argparse
import importlib
import random
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dns.rdatatype
from dns.rdtypes.ANY.CNAME import CNAME
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.PTR import PTR
from dns.rdtypes.ANY.TXT import TXT

from letterlock.mailauth.asking import question
from letterlock.mailauth.spf.evaluate import evaluate
from letterlock.mailauth.spf.reasons import SpfCode
from letterlock.mailauth.spf.request import mail_from_request
from letterlock.mailauth.spf.verdict import SpfVerdict
from letterlock.resolver.answer import LookupFailure
from tests.mailauth.dns_world import World

pyspf: Any = importlib.import_module("spf")  # it has no types
NAMES = ("example.org", "a.example.org", "b.example.org", "c.example.net", "mail.example.net", "gone.test", "void.test")
CLIENTS = ("192.0.2.7", "192.0.2.200", "198.51.100.1", "2001:db8::7", "2001:db8:1::1", "::ffff:192.0.2.7")
SENDERS = ("ann@example.org", "strong-bad@example.org", "@example.org", "", "a.b-c+d@a.example.org", "x@gone.test")
HELOS = ("mail.example.net", "example.org", "localhost", "[192.0.2.7]")
MACROS = ("%{i}", "%{ir}", "%{d}", "%{d2}", "%{l}", "%{l1r-}", "%{o}", "%{h}", "%{v}", "%{p}", "%{s}", "%%", "%{dr}")
BROKEN = (
    "%{x}",
    "%{d0}",
    "%",
    "%{",
    "a:",
    "ip4:1.2.3",
    "ip4:1.2.3.4/33",
    "ip6:::1/129",
    "all:x",
    "include",
    "foo",
    "a/33",
    "a//129",
    "ptr/24",
    "=x",
    "redirect=",
    "exists",
    "mx:nodot",
    "ip4:01.2.3.4",
    "a:x.test/08",
    "+-all",
)


class Unexplained(AssertionError):
    """Two programs differ, and nobody knows why."""


def generated(chance: random.Random) -> World:
    """A world with records of every kind, some of them broken, some of them failing."""
    world = World()
    for owner in NAMES[:5]:
        for _ in range(chance.choice((1, 1, 1, 1, 1, 1, 0, 2))):
            world.add(owner, "TXT", record(chance))
        if chance.random() < 0.7:
            world.add(owner, "A", *(f"192.0.2.{chance.randrange(1, 255)}" for _ in range(chance.randrange(1, 4))))
            world.add(owner, "A", *(["192.0.2.7"] if chance.random() < 0.3 else []))
        if chance.random() < 0.4:
            world.add(owner, "AAAA", chance.choice(("2001:db8::7", "2001:db8::9")))
        for number in range(chance.choice((0, 1, 1, 3, 12))):
            world.add(owner, "MX", (number, chance.choice(NAMES)))
        if chance.random() < 0.05:
            world.fail(owner)
    world.add("void.test", "PTR", "example.org")
    for client in CLIENTS[:5]:
        if chance.random() < 0.5:
            pointer = mail_from_request(client, "", "x.test").client.reverse_pointer
            world.add(pointer, "PTR", *chance.sample(NAMES, chance.randrange(1, 4)))
    return world


def record(chance: random.Random) -> str:
    """A record, seldom with an error in it."""
    terms = [term(chance) for _ in range(chance.choice((0, 1, 2, 3, 3, 4, 5, 12)))]
    if chance.random() < 0.1:
        terms.insert(chance.randrange(len(terms) + 1), chance.choice(BROKEN))
    terms += chance.choice(
        ([], ["-all"], ["~all"], ["?all"], [f"redirect={chance.choice(NAMES)}"], ["exp=a.example.org"])
    )
    return chance.choice(("v=spf1 ", "v=spf1 ", "V=SPF1 ", "v=spf1  ")) + " ".join(terms)


def term(chance: random.Random) -> str:
    """A mechanism that is written by the grammar."""
    qualifier, name = chance.choice(("", "", "", "+", "-", "~", "?")), chance.choice(NAMES)
    if chance.random() < 0.2:
        name = chance.choice(MACROS) + chance.choice((".example.org", f".{chance.choice(MACROS)}.test", ""))
        name = "%%.test" if name == "%%" else name
    prefix = chance.choice(("", "", "", "/24", "/0", "/24//64", "//32", "/32//128"))
    bare = chance.choice(("", f":{name}"))
    return qualifier + chance.choice(
        (
            f"a{bare}{prefix}", f"mx{bare}{prefix}", f"ptr{bare}", f"include:{name}", f"exists:{name}",
            f"ip4:192.0.2.{chance.randrange(256)}{chance.choice(('', '/28', '/24'))}",
            f"ip6:2001:db8::{chance.randrange(16):x}{chance.choice(('', '/64', '/32'))}", "ip4:198.51.100.1",
        )
    )  # fmt: skip


@contextmanager
def pyspf_asks(world: World) -> Iterator[None]:
    """pyspf's DNS is the world."""

    def look_up(
        name: str, qtype: str, _strict: bool = True, _timeout: int = 20
    ) -> list[tuple[tuple[str, str], object]]:
        wanted = question(name, dns.rdatatype.from_text(qtype))
        if wanted is None or qtype == "SPF":
            return []
        answer = world.answer(wanted)
        if isinstance(answer, LookupFailure):
            raise pyspf.TempError("DNS Timeout")
        return [((name, qtype), _value(each)) for each in answer.records]

    honest, pyspf.DNSLookup = pyspf.DNSLookup, look_up
    try:
        yield
    finally:
        pyspf.DNSLookup = honest


def _value(record: object) -> object:
    if isinstance(record, TXT):
        return record.strings
    if isinstance(record, MX):
        return record.preference, record.exchange.to_text(omit_final_dot=True)
    if isinstance(record, PTR | CNAME):
        return record.target.to_text(omit_final_dot=True)
    address: object = getattr(record, "address", None)
    return address


def theirs(world: World, client: str, sender: str, helo: str) -> tuple[str, str]:
    """The result and the words of pyspf."""
    with pyspf_asks(world):
        query = pyspf.query(i=client, s=sender, h=helo, strict=1, timeout=20, verbose=False, querytime=0)
        found = query.check()
    return str(found[0]), str(found[2])


def explanation(verdict: SpfVerdict, result: str, words: str) -> str | None:  # one return for each explanation
    """Why the two may differ; None: nobody knows."""
    if "trivial recursion" in words:
        return "pyspf stops at a record that includes itself, 4.6.4 counts until ten"
    if "Void lookup limit" in words:
        return "pyspf counts void queries, 4.6.4 counts terms"
    if verdict.reason.code is SpfCode.TOO_MANY_VOID_LOOKUPS:
        return "pyspf caches a void answer of an earlier term, 4.6.4 counts every term"
    asked_ptr = any(each.question.rdtype == dns.rdatatype.PTR for each in verdict.asked)
    if result == "temperror" and asked_ptr and any(each.failure for each in verdict.asked):
        return "pyspf fails where a name of the client cannot be looked up, 5.5 skips that name"
    by_mx = any(each.term.lstrip("+-?~").startswith("mx") for each in verdict.matches)
    if result == "temperror" and by_mx and any(each.failure for each in verdict.asked):
        return "pyspf looks up all MX hosts before it compares, 5.4 ends at the first that matches"
    if "MX records returned" in words:
        return "pyspf refuses more than ten MX before it looks at them, 4.6.4 limits what is queried"
    return None


def run(cases: int, seed: int) -> Counter[str]:
    """Compare; how often the two agreed, and each explanation. Raises Unexplained."""
    chance = random.Random(seed)
    ended: Counter[str] = Counter()
    for number in range(cases):
        world = generated(chance)
        client, sender, helo = chance.choice(CLIENTS), chance.choice(SENDERS), chance.choice(HELOS)
        verdict = world.run(evaluate(mail_from_request(client, sender, helo)))
        result, words = theirs(world, client, sender, helo)
        if verdict.result == result:
            ended[f"agree: {result}"] += 1
            continue
        why = explanation(verdict, result, words)
        if why is None:
            records = {str(owner): [str(each) for each in found] for owner, found in world.records.items()}
            raise Unexplained(
                f"case {number}: {client} {sender!r} {helo}: {verdict.result} ({verdict.reason}), "
                f"pyspf {result} ({words})\n{records}\nfailing: {[str(each) for each in world.failing]}"
            )
        ended[why] += 1
    return ended


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    for word, count in run(arguments.cases, arguments.seed).most_common():
        print(f"{count:6}  {word}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
