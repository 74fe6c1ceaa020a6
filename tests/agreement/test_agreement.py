"""A seeded slice of the agreement run; `python -m tests.agreement.run` is the whole."""

from tests.agreement.run import compare, make_sites
from tests.interop.programs import find


async def test_ours_unbound_and_delv_agree_about_generated_zones() -> None:
    for program in ("delv", "dnssec-signzone", "ldns-signzone", "unbound"):
        find(program)

    tally = await compare(make_sites(16, seed=7), questions=320, seed=7, delv_share=40)

    assert tally.asked >= 300
    assert not tally.believed
    assert not tally.at_door, "\n".join(tally.at_door)
    assert not tally.unexcused, "\n".join(map(str, tally.unexcused))
