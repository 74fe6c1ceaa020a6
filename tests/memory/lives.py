"""Domains that were delivered to for a while: memories for tests, built as the server builds them."""

from collections.abc import Iterable
from dataclasses import replace

from letterlock.memory.learning import Sighting, VerifiedKey, learn
from letterlock.memory.remembered import DomainMemory
from letterlock.memory.traces import DAY_SECONDS

NOW = 1_800_000_000.0
DOMAIN, HOST = "example.org", "mx.example.org"
KEY = VerifiedKey("ab" * 32, "Test Root")
GOOD = Sighting(domain=DOMAIN, host=HOST, at=NOW, hosts=(HOST,), encrypted=True, certificate=KEY)
CLEAR = Sighting(domain=DOMAIN, host=HOST, at=NOW, hosts=(HOST,))
EVIL = Sighting(domain=DOMAIN, host="mx.evil.example", at=NOW, hosts=("mx.evil.example",), encrypted=True)


def after(sightings: Iterable[Sighting], memory: DomainMemory | None = None) -> DomainMemory:
    """What is remembered after these sightings."""
    for each in sightings:
        memory = learn(memory, each)
    assert memory is not None
    return memory


def daily(sighting: Sighting, days: int = 30, until: float = NOW) -> list[Sighting]:
    """The same each day, the last time at `until`."""
    return [replace(sighting, at=until - DAY_SECONDS * (days - 1 - number)) for number in range(days)]


def remembered(sighting: Sighting = GOOD, days: int = 30, until: float = NOW) -> DomainMemory:
    """A domain that was seen like this each day."""
    return after(daily(sighting, days, until))
