"""One attack of the lab against a real Postfix in several set-ups; `peer_matrix` has all attacks and more servers."""

import asyncio
from collections.abc import Sequence

from letterlock.lab.scenarios import Attack, SiteProtection
from tests.interop.companion_box import Fate, Setup, lined_up

Row = dict[SiteProtection, Fate]


async def measure(attack: Attack, setups: Sequence[Setup], protections: Sequence[SiteProtection]) -> dict[Setup, Row]:
    """One attack against every set-up and protection."""
    found: dict[Setup, Row] = {setup: {} for setup in setups}
    async with lined_up(attack, tuple(setups)) as lined:
        for protection in protections:
            fates = await asyncio.gather(*(lined.fate(setup, protection) for setup in setups))
            for setup, fate in zip(setups, fates, strict=True):
                found[setup][protection] = fate
    return found
