"""Our answer in each situation that postfix-tlspol documents, as docs/reference/postfix-tlspol.md has it."""

import pytest

from letterlock.companion.answer_memory import replies
from tests.companion.situations import NONE, TEMP, WITHOUT_OLD_TLS, Situation, situations
from tests.socketmap.postfix_parser import parse

ALL = tuple(situations())


@pytest.mark.parametrize("situation", ALL, ids=lambda each: each.text)
async def test_the_answer_is_the_documented_one(situation: Situation) -> None:
    decided = await situation.world.decided(situation.key)
    plain, reporting = (each.decode() for each in replies(decided.answer))
    word, _, rest = plain.partition(" ")
    assert (rest.removesuffix(f" {WITHOUT_OLD_TLS}") if word == "OK" else word) == situation.ours, plain
    if word == "OK":
        parse(rest, old=True)
        parse(reporting.removeprefix("OK "))
    else:
        assert plain == reporting


def test_there_are_at_least_sixty_and_each_difference_has_its_reason() -> None:
    assert len(ALL) >= 60
    assert len({each.text for each in ALL}) == len(ALL)
    assert not [each.text for each in ALL if each.ours != each.theirs and not each.why]


def test_no_failure_is_answered_by_not_found() -> None:
    failing = [each for each in ALL if "fails" in each.text or "bogus" in each.text]
    assert len(failing) > 10
    assert not [each.text for each in failing if each.ours == NONE]
    assert [each.text for each in failing if each.ours == TEMP]


@pytest.mark.parametrize("situation", ALL, ids=lambda each: each.text)
async def test_rfc8996_4_every_level_that_demands_tls_demands_tls_1_2(situation: Situation) -> None:
    """Postfix' own default allows TLS 1.0 where TLS must hold; at `may` it is still better than cleartext."""
    decided = await situation.world.decided(situation.key)
    for reply in replies(decided.answer):
        word, _, rest = reply.decode().partition(" ")
        if word == "OK":
            level, attributes = parse(rest)
            protocols = dict(attributes).get("protocols", "")
            assert {"!TLSv1", "!TLSv1.1"} <= set(protocols.split(":")) or (level == "may" and not protocols)
