"""A message through a forwarder and a list: each result as the standards say, and the guide shows what a run shows."""

from pathlib import Path

import pytest

from letterlock import arc
from letterlock.mailauth.results import AuthenticationResults
from tests.lab.journeys import JOURNEYS, laboratory, results_of, shown

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "lists-and-forwarders.md"
DIRECTLY, FORWARDER, UNSIGNED, LIST, BOTH = JOURNEYS


def result(found: AuthenticationResults, method: str, **properties: str) -> str:
    """The one result of a method about something."""
    wanted = {(name.replace("_", "."), value) for name, value in properties.items()}
    [only] = [each for each in found.results if each.method == method and wanted <= set(each.properties)]
    return only.result


@pytest.mark.slow
async def test_what_the_receiver_finds_and_what_the_standards_say() -> None:
    async with laboratory() as lab:
        found = results_of(await lab.send(DIRECTLY))
        assert result(found, "dmarc") == "pass"
        assert result(found, "arc") == "none"

        # RFC 7208 section 2.4: SPF is about the reverse-path, which SRS made the forwarder's; RFC 6376 section 6: the
        # message is unchanged, so its signature holds; RFC 9989 section 4.4: one aligned identifier is enough.
        content = await lab.send(FORWARDER)
        found = results_of(content)
        assert content.startswith(b"Return-Path: <SRS0=")
        assert b"=author.test=ann@forwarder.test>" in content.partition(b"\r\n")[0]
        assert result(found, "dkim", header_d="author.test") == "pass"
        assert result(found, "dmarc") == "pass"
        assert result(found, "arc") == "pass"

        # Without a signature nothing that is aligned is left: DMARC fails, and only ARC says that it once passed.
        content = await lab.send(UNSIGNED)
        assert result(results_of(content), "dmarc") == "fail"
        chain = await arc.verify(content, lab.resolver, 1.8e9)
        assert chain.passed
        assert b"dmarc=pass header.from=unsigned.test" in chain.sets[0].results.value

        # RFC 6376 section 6.1.3: a footer breaks the author's signature; the list's own holds and is not aligned.
        found = results_of(await lab.send(LIST))
        assert result(found, "dkim", header_d="author.test") == "fail"
        assert result(found, "dkim", header_d="list.test", policy_dnssec="insecure") == "pass"
        assert result(found, "dmarc") == "fail"
        assert result(found, "arc") == "pass"

        # RFC 8617 section 5.1: the forwarder adds the second set to the list's.
        content = await lab.send(BOTH)
        chain = await arc.verify(content, lab.resolver, 1.8e9)
        assert [each.seal.domain for each in chain.sets] == ["list.test", "forwarder.test"]
        assert [each.seal.status.value for each in chain.sets] == ["none", "pass"]
        assert chain.passed


@pytest.mark.slow
async def test_the_guide_shows_what_a_run_shows() -> None:
    guide = " ".join(GUIDE.read_text().split())  # where lines are folded depends on the signature
    for part in (await shown()).values():
        assert " ".join(" ".join(part).split()) in guide, "python -m tests.lab.journeys prints what it has to show"
