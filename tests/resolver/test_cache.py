"""What the cache keeps when it is full, and what it asks to be refreshed."""

import dns.name
import dns.rdata
from dns.rdatatype import RdataType

from letterlock.resolver import Answer, Cache, Question, Security
from letterlock.resolver.cache import ENTRY_OCTETS, POPULAR_USES, ROOM_SHARE, Zones
from letterlock.resolver.known_names import from_text
from letterlock.resolver.zone import Inside

NOW = 1_800_000_000.0
TTL = 300


def answer(name: str) -> Answer:
    """An address."""
    owner = from_text(name)
    return Answer(
        question=Question(owner, RdataType.A),
        canonical_name=owner,
        records=(dns.rdata.from_text("IN", "A", "192.0.2.1"),),
        absence=None,
        security=Security.INSECURE,
        expires_at=NOW + TTL,
        ttl=TTL,
    )


def put(cache: Cache, name: str) -> Question:
    made = answer(name)
    cache.put(made.question, made, NOW)
    return made.question


def test_a_full_cache_keeps_what_is_used_and_never_more_than_it_may() -> None:
    cache = Cache(max_octets=250 * ENTRY_OCTETS)
    used = put(cache, "used.test")
    for number in range(2_000):
        put(cache, f"n{number}.test")
        assert cache.octets <= 250 * ENTRY_OCTETS
        assert cache.get(used, NOW) is not None
    assert cache.get("n0.test. A", NOW) is None
    assert cache.get("n1999.test. A", NOW) is not None
    assert 200 < len(cache) <= 250
    assert cache.octets == len(cache) * (ENTRY_OCTETS + 8)  # twice the four octets of each address
    assert cache.get(used, NOW + TTL) is None, "it has ended"
    assert cache.octets == len(cache) * (ENTRY_OCTETS + 8)


def test_an_answer_too_large_for_the_cache_is_not_kept_and_does_not_stop_it() -> None:
    cache = Cache(max_octets=ENTRY_OCTETS // 2)
    put(cache, "large.test")
    assert (len(cache), cache.octets) == (0, 0)


def test_a_popular_answer_is_refreshed_once_when_a_tenth_of_its_time_is_left() -> None:
    cache = Cache()
    popular, other = put(cache, "popular.test"), put(cache, "other.test")
    for _ in range(POPULAR_USES):
        cache.get(popular, NOW)
    assert not cache.due
    late = NOW + TTL * 0.95
    for _ in range(5):
        assert cache.get(popular, late) is not None
        cache.get(dns.name.from_text("nothing.test").to_text() + " A", late)
    cache.get(other, late)
    assert cache.due == [popular]
    put(cache, "popular.test")  # the refresh is over: it counts anew
    cache.due.clear()
    for _ in range(POPULAR_USES - 1):
        cache.get(popular, late)
    assert not cache.due
    cache.get(popular, late)
    assert cache.due == [popular]


def test_zones_are_bounded_and_the_oldest_go_first() -> None:
    most = 5 * ROOM_SHARE
    zones = Zones(most)
    names = [from_text(f"z{number}.test") for number in range(2 * most)]
    for name in names:
        zones.put(name, Inside(zone=name, expires_at=NOW + TTL))
        zones.put(names[0], Inside(zone=name, expires_at=NOW + TTL))
    known = [name for name, state in zip(names, zones.states(names, NOW), strict=True) if state is not None]
    assert most * 0.98 <= len(known) <= most
    assert known == [names[0], *names[-len(known) + 1 :]]
    assert zones.states(names, NOW + TTL) == [None] * len(names)
