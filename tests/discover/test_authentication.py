"""The driver of the checks: all questions of a step at once, failures as values."""

import dns.rdatatype

from letterlock.resolver.answer import Answer, LookupFailure, Question
from letterlock.spf import Result, check, mail_from_request, question
from tests.mailauth.dns_world import World


class FakeResolver:
    """Answers from a world; refuses names as the real one does, by ValueError."""

    def __init__(self, world: World, refused: str = "") -> None:
        self.world, self.refused = world, refused

    async def resolve(self, name: str, rdtype: dns.rdatatype.RdataType) -> Answer | LookupFailure:
        if name == self.refused:
            raise ValueError("not a name")
        asked = question(name, rdtype)
        assert isinstance(asked, Question)
        return self.world.answer(asked)


async def test_a_check_runs_over_a_resolver() -> None:
    world = World().add("example.org", "TXT", "v=spf1 mx -all").add("example.org", "MX", (1, "m.example.org"))
    world.add("m.example.org", "A", "192.0.2.7")
    verdict = await check(mail_from_request("192.0.2.7", "ann@example.org", "h.test"), FakeResolver(world))
    assert verdict.passed
    assert [str(each.question) for each in verdict.asked] == ["example.org. TXT", "example.org. MX", "m.example.org. A"]


async def test_a_name_that_the_resolver_refuses_is_a_failed_lookup() -> None:
    verdict = await check(mail_from_request("192.0.2.7", "ann@x.test", "h.test"), FakeResolver(World(), "x.test."))
    assert verdict.result is Result.TEMPERROR
