"""The driver of the checks: all questions of a step at once, failures as values."""

from letterlock.spf import Result, check, mail_from_request
from tests.mailauth.dns_world import FakeResolver, World


async def test_a_check_runs_over_a_resolver() -> None:
    world = World().add("example.org", "TXT", "v=spf1 mx -all").add("example.org", "MX", (1, "m.example.org"))
    world.add("m.example.org", "A", "192.0.2.7")
    verdict = await check(mail_from_request("192.0.2.7", "ann@example.org", "h.test"), FakeResolver(world))
    assert verdict.passed
    assert [str(each.question) for each in verdict.asked] == ["example.org. TXT", "example.org. MX", "m.example.org. A"]


async def test_a_name_that_the_resolver_refuses_is_a_failed_lookup() -> None:
    verdict = await check(mail_from_request("192.0.2.7", "ann@x.test", "h.test"), FakeResolver(World(), "x.test."))
    assert verdict.result is Result.TEMPERROR
