"""What a zone is to hold, and how it is to be signed: made by chance, out of everything that DNSSEC knows."""

import random
from dataclasses import dataclass, field, replace
from enum import StrEnum

import dns.name
from dns.name import Name

_NSEC3_ALGORITHMS = (7, 8, 8, 10, 13, 13, 13, 13, 14, 14, 15, 15) * 8 + (16,)  # 16 seldom: Debian's Unbound lacks it
_ALGORITHMS = (5,) * 8 + _NSEC3_ALGORITHMS
DAY = 86_400


class Signer(StrEnum):
    """Who signs."""

    OWN = "own"
    BIND = "bind"
    LDNS = "ldns"


class Denial(StrEnum):
    """How absence is proven."""

    NSEC = "nsec"
    NSEC3 = "nsec3"
    OPT_OUT = "nsec3 opt-out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One zone. `algorithm` 0: not signed. `validity`: seconds before and after now."""

    origin: Name
    records: tuple[tuple[str, str, str], ...]
    signer: Signer = Signer.OWN
    algorithm: int = 13
    denial: Denial = Denial.NSEC
    iterations: int = 0
    salt: str = "-"
    validity: tuple[int, int] = (-3600, 30 * DAY)
    ds: bool = True  # whether the parent publishes DS records
    digests: tuple[int, ...] = (2,)

    @property
    def signed(self) -> bool:
        """Whether there are keys and signatures."""
        return bool(self.algorithm)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Some zones below one name of their own, and what is wrong with them."""

    name: Name
    plans: tuple[Plan, ...]
    fault: str = "none"
    seed: int = 0


@dataclass(slots=True)
class Chance:
    """Choices that a seed repeats."""

    rng: random.Random
    signers: tuple[Signer, ...] = field(default=tuple(Signer))

    def one_in(self, number: int) -> bool:
        """True once in so many times."""
        return self.rng.randrange(number) == 0


def make_site(number: int, fault: str, chance: Chance) -> Site:
    """A site: a zone below the root, and often zones below it."""
    name = dns.name.from_text(f"s{number}")
    top = _plan(chance, name, _records(chance, f"s{number}."))
    children = [
        _plan(chance, dns.name.from_text("sub", name), _records(chance, f"sub.s{number}.")),
        replace(_plan(chance, dns.name.from_text("plain", name), _records(chance, f"plain.s{number}.")), algorithm=0),
        _plan(chance, dns.name.from_text("cut.of.far", name), _few(f"cut.of.far.s{number}.")),
        replace(_plan(chance, dns.name.from_text("island.plain", name), _few(f"island.plain.s{number}.")), ds=False),
        replace(_plan(chance, dns.name.from_text("nods", name), _few(f"nods.s{number}.")), ds=False),
        replace(
            _plan(chance, dns.name.from_text("plain2.of.wide", name), _few(f"plain2.of.wide.s{number}.")), algorithm=0
        ),
    ]
    kept = [child for child in children if not chance.one_in(3)]
    if not any(child.origin == dns.name.from_text("plain", name) for child in kept):
        kept = [child for child in kept if child.origin != dns.name.from_text("island.plain", name)]
    return Site(name=name, plans=(top, *kept), fault=fault, seed=chance.rng.getrandbits(32))


def _plan(chance: Chance, origin: Name, records: tuple[tuple[str, str, str], ...]) -> Plan:
    denial = chance.rng.choice((Denial.NSEC, Denial.NSEC, Denial.NSEC3, Denial.OPT_OUT))
    signer = chance.rng.choice(chance.signers)
    algorithm = chance.rng.choice(_ALGORITHMS if denial is Denial.NSEC else _NSEC3_ALGORITHMS)
    if chance.one_in(12):
        algorithm = 0
    return Plan(
        origin=origin,
        records=records,
        signer=signer,
        algorithm=algorithm,
        denial=denial,
        iterations=chance.rng.choice((0, 0, 1, 5, 50, 100)),
        salt=chance.rng.choice(("-", "-", "ab", "aabbccdd")),
        digests=chance.rng.choice(((2,), (2,), (4,), (1, 2), (1,), (2, 4))),
    )


def _few(origin: str) -> tuple[tuple[str, str, str], ...]:
    return (("", "TXT", '"few"'), ("www", "A", "192.0.2.1"), ("mx", "MX", f"10 www.{origin}"))


def _records(chance: Chance, origin: str) -> tuple[tuple[str, str, str], ...]:
    """A zone's records: every kind that makes a validator think, each left out now and then."""
    other = f"s{chance.rng.randrange(1, 12)}."
    every = (
        ("", "MX", f"10 Mail.{origin}"),
        ("", "TXT", '"apex"'),
        ("www", "A", "192.0.2.2"),
        ("www", "A", "192.0.2.1"),
        ("mail", "A", "192.0.2.25"),
        ("mail", "AAAA", "2001:db8::25"),
        ("_25._tcp.mail", "TLSA", "3 1 1 " + "ab" * 32),
        ("UPPER.Case", "TXT", '"Upper"'),
        ("srv", "SRV", f"1 2 25 Target.{origin}"),
        ("rp", "RP", f"Mbox.{origin} Text.{origin}"),
        ("naptr", "NAPTR", f'1 2 "s" "x" "" Repl.{origin}'),
        ("afsdb", "AFSDB", f"1 Host.{origin}"),
        ("ptr", "PTR", f"Pointer.{origin}"),
        ("odd", "TYPE65400", "\\# 4 0A000001"),
        ("many", "TXT", '"one" "two"'),
        ("many", "TXT", '"One"'),
        ("many", "TXT", '""'),
        ("ca\\.dot", "A", "192.0.2.3"),
        ("\\000nul", "A", "192.0.2.4"),
        ("\\255high", "TXT", '"high"'),
        ("alias", "CNAME", f"www.{origin}"),
        ("chain1", "CNAME", f"chain2.{origin}"),
        ("chain2", "CNAME", f"www.{origin}"),
        ("broken", "CNAME", f"nothing.{origin}"),
        ("out", "CNAME", f"www.{other}"),
        ("outwild", "CNAME", f"any.wild.{other}"),
        ("toplain", "CNAME", f"www.plain.{other}"),
        ("loop", "CNAME", f"loop.{origin}"),
        ("*.wild", "A", "192.0.2.9"),
        ("*.wild", "TXT", '"wild"'),
        ("exact.wild", "A", "192.0.2.10"),
        ("*.walias", "CNAME", f"www.{origin}"),
        ("*.wout", "CNAME", f"any.wild.{other}"),
        ("leaf.ent.deep", "A", "192.0.2.11"),
        ("tree", "DNAME", f"wide.{origin}"),
        ("tree2", "DNAME", f"{other}"),
        ("www.wide", "A", "192.0.2.12"),
        ("*", "TXT", '"apex wildcard"'),
    )
    left_out = {"*"} if not chance.one_in(4) else set()
    return tuple(each for each in every if each[0] not in left_out and (each[0] == "" or not chance.one_in(8)))
