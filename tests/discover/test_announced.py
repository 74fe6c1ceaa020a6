"""What `check` shows of SPF, DMARC and DKIM keys."""

from letterlock.discover.announced import find_announced
from letterlock.resolver.answer import Security
from tests.mailauth.dkim.forging import KEY_NAME, RECORD
from tests.mailauth.dns_world import FakeResolver, World


async def found(world: World, domain: str = "example.org") -> list[tuple[str, str, str]]:
    announced = await find_announced(FakeResolver(world), domain, ("sel", "gone"))
    return [(each.method, each.state, each.detail) for each in announced]


async def test_records_that_are_there() -> None:
    world = World(Security.SECURE).add("example.org", "TXT", "v=spf1 -all").add(KEY_NAME, "TXT", RECORD)
    world.add("_dmarc.example.org", "TXT", "v=DMARC1; p=reject; t=y")
    assert await found(world) == [
        ("SPF", "present", "v=spf1 -all"),
        ("DMARC", "present", "p=reject, t=y"),
        ("DKIM sel", "present", "Ed25519"),
        ("DKIM gone", "absent", ""),
    ]


async def test_a_policy_from_above_and_what_is_wrong() -> None:
    world = World().add("a.example.org", "TXT", "v=spf1 nonsense").add("_dmarc.example.org", "TXT", "v=DMARC1; p=none")
    [spf, dmarc, *_] = await found(world, "a.example.org")
    assert spf[:2] == ("SPF", "invalid")
    assert dmarc == ("DMARC", "present", "p=none, from example.org")


async def test_a_failed_lookup_is_not_an_absence() -> None:
    world = World().fail("example.org").fail("_dmarc.example.org").fail(KEY_NAME)
    assert [state for _, state, _ in await found(world)] == ["failed", "failed", "failed", "absent"]
    assert await find_announced(FakeResolver(World()), "[192.0.2.1]", ()) == ()
