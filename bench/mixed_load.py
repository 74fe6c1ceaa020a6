"""The load of `bench.relay --part mixed`: who the recipients are, and how their hosts behave. Pure, and seeded.

1,300 domains: 1,000 with an MX host of their own, 300 at three shared ones. A tenth of them is in signed zones. Of the
hosts of their own a tenth is slow, and some are dead: they answer no SYN. Mail goes to the domains by Zipf's law. The
most frequent ones are neither slow nor dead, or the figures would be those of one domain.
"""

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

SEED = 15
OWN, SHARING, SHARED_HOSTS = 1000, 300, 3
WARM = 100  # more domains at one more host, for what is sent before the measurement
SLOW, DEAD, TARPITS = 100, 20, 20
SIGNED_SHARE = 10  # one of so many domains
HEALTHY_RANKS = 20  # the most frequent domains, in about half of all mail
REPLY_SECONDS, SLOW_REPLY_SECONDS = 0.04, 0.4
PREFIX = "198.18"  # RFC 2544: reserved for benchmarks; the room routes it to itself
PER_SUBNET = 250


class Behaviour(StrEnum):
    """How a host treats its clients."""

    FAST = "fast"
    SLOW = "slow"
    DEAD = "dead"  # no answer to SYN
    TARPIT = "tarpit"  # a greeting that never ends


@dataclass(frozen=True, slots=True)
class Host:
    """An MX host."""

    number: int
    name: str
    behaviour: Behaviour = Behaviour.FAST

    @property
    def address(self) -> str:
        """Its only one."""
        return f"{PREFIX}.{self.number // PER_SUBNET}.{1 + self.number % PER_SUBNET}"


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain of recipients."""

    number: int
    host: Host
    signed: bool = False

    @property
    def name(self) -> str:
        """As in addresses."""
        return f"d{self.number}.test"


@dataclass(frozen=True)
class Landscape:
    """All domains; those of the load first, from the most frequent to the least, then those for warming up."""

    domains: tuple[Domain, ...]
    warm: tuple[Domain, ...]

    @cached_property
    def hosts(self) -> dict[int, Host]:
        """By their numbers."""
        return {domain.host.number: domain.host for domain in (*self.domains, *self.warm)}

    @cached_property
    def behaviour(self) -> dict[int, Behaviour]:
        """Of each domain's host, by the domain's number."""
        return {domain.number: domain.host.behaviour for domain in self.domains}

    def deliverable(self, wanted: Sequence[Sequence[int]]) -> set[tuple[int, int]]:
        """Message numbers (from 1) and domains where there is somebody to take the mail."""
        gone = (Behaviour.DEAD, Behaviour.TARPIT)
        pairs = ((number, domain) for number, domains in enumerate(wanted, 1) for domain in domains)
        return {pair for pair in pairs if self.behaviour[pair[1]] not in gone}


def host_number(address: str) -> int:
    """Whose address that is."""
    _, _, subnet, place = address.split(".")
    return int(subnet) * PER_SUBNET + int(place) - 1


def landscape(*, troubled: bool = True, tarpits: bool = False, seed: int = SEED) -> Landscape:
    """The domains of a seed. Not `troubled`: the same, but every host is fast."""
    chance = random.Random(seed)  # noqa: S311  # a run can be repeated
    ranks = list(range(OWN + SHARING))
    chance.shuffle(ranks)
    signed = set(chance.sample(range(OWN + SHARING), (OWN + SHARING) // SIGNED_SHARE))
    troubles = [number for number in ranks[HEALTHY_RANKS:] if number < OWN]
    chance.shuffle(troubles)
    kinds = (Behaviour.SLOW,) * SLOW + (Behaviour.DEAD,) * DEAD + (Behaviour.TARPIT,) * (TARPITS if tarpits else 0)
    behaviour = dict(zip(troubles, kinds, strict=False)) if troubled else {}
    shared = [Host(OWN + number, f"mx{number}.shared.test") for number in range(SHARED_HOSTS)]
    warm_host = Host(OWN + SHARED_HOSTS, "mx9.shared.test")

    def host(number: int) -> Host:
        if number >= OWN:
            return shared[number % SHARED_HOSTS]
        return Host(number, f"mx.d{number}.test", behaviour.get(number, Behaviour.FAST))

    return Landscape(
        domains=tuple(Domain(number, host(number), number in signed) for number in ranks),
        warm=tuple(Domain(OWN + SHARING + number, warm_host) for number in range(WARM)),
    )


def recipients(found: Landscape, messages: int, *, domains_each: int = 1, seed: int = SEED) -> list[tuple[int, ...]]:
    """To which domains each message goes: Zipf's law with exponent 1, no domain twice in a message."""
    chance = random.Random(seed + 1)  # noqa: S311  # a run can be repeated
    numbers = [domain.number for domain in found.domains]
    weights = list(itertools.accumulate(1 / rank for rank in range(1, len(numbers) + 1)))
    wanted = []
    for _ in range(messages):
        chosen: dict[int, None] = {}
        while len(chosen) < domains_each:
            chosen[chance.choices(numbers, cum_weights=weights)[0]] = None
        wanted.append(tuple(chosen))
    return wanted


def recipient_lines(wanted: Sequence[Sequence[int]]) -> str:
    """The file that `bench.relay_source --recipients` reads."""
    return "".join(",".join(f"bob@d{domain}.test" for domain in domains) + "\n" for domains in wanted)
