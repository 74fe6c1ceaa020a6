"""A seeded slice of the malformed packets; `python -m tests.fuzz.dns_door_fuzz` is the whole."""

from tests.fuzz.dns_door_fuzz import run


async def test_malformed_packets_are_answered_within_the_rules_or_not_at_all() -> None:
    found = await run(5_000, seed=7)
    assert found["FORMERR"] > 500
    assert found["lookups"] > 100
    assert found["unanswered"] > 100
