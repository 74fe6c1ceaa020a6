"""Every attack of the lab against a real Postfix, set-up by set-up; writes docs/concepts/attack-matrix.md.

    python -m tests.interop.companion_matrix            # print
    python -m tests.interop.companion_matrix --write    # the page

Runs as root, with Postfix and Unbound from Debian; some five minutes.
"""

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from letterlock.lab.scenarios import Attack, SiteProtection
from letterlock.lab.theory import story, title
from tests.interop.companion_box import Fate, Setup, lined_up
from tests.interop.programs import run

PAGE = Path(__file__).parents[2] / "docs" / "concepts" / "attack-matrix.md"
COLUMNS = {
    SiteProtection.NONE: "no protection",
    SiteProtection.MTA_STS: "MTA-STS",
    SiteProtection.DANE_EE: "DANE-EE",
    SiteProtection.DANE_TA: "DANE-TA",
}
PARTIAL = "MTA-STS, DANE at one of two hosts"
PARTIAL_ATTACKS = (Attack.STARTTLS_STRIPPED, Attack.STARTTLS_REFUSED, Attack.SELF_SIGNED, Attack.NONE)
Row = dict[str, Fate]
_WORDS = {
    Fate.HELD: "held",
    Fate.READ: "**read**",
    Fate.DELIVERED: "delivered",
    Fate.CLEAR: "delivered in cleartext",
    Fate.UNDECIDED: "undecided",
}


async def measure(
    attack: Attack, setups: Sequence[Setup] = tuple(Setup), columns: Sequence[SiteProtection] = tuple(COLUMNS)
) -> dict[Setup, Row]:
    """One attack against every set-up and protection."""
    found: dict[Setup, Row] = {setup: {} for setup in setups}
    async with lined_up(attack, tuple(setups)) as lined:
        for protection in columns:
            fates = await asyncio.gather(*(lined.fate(setup, protection) for setup in setups))
            for setup, fate in zip(setups, fates, strict=True):
                found[setup][COLUMNS[protection]] = fate
    return found


async def measure_partial(attack: Attack, setups: Sequence[Setup] = tuple(Setup)) -> dict[Setup, Row]:
    """The same for the domain whose second MX host has no TLSA records."""
    async with lined_up(attack, tuple(setups)) as lined:
        fates = await asyncio.gather(*(lined.fate(setup, SiteProtection.PARTIAL_DANE) for setup in setups))
    return {setup: {PARTIAL: fate} for setup, fate in zip(setups, fates, strict=True)}


def page(found: Mapping[Attack, Mapping[Setup, Row]], version: str) -> str:
    """The page of all results."""
    names = [*COLUMNS.values(), PARTIAL]
    parts = [
        "<!-- Made by `python -m tests.interop.companion_matrix --write`; do not edit. -->",
        "# Attacks through Postfix, door by door\n",
        f"Measured with Debian's Postfix {version} in the lab of `letterlock lab`, one message per cell. Each has",
        "`smtp_tls_security_level = dane`. *Held*: the mail waits in a queue, and nobody else has it. *Delivered*: the",
        "right server got it over TLS, and the attacker could not read it. **Read**: the attacker could. In the last",
        "column the domain is signed and has an MTA-STS policy in force; its first MX host has TLSA records, and its",
        "second one has none.\n",
        "The policy server that answers `dane` is a stand-in of our own, built from the documented precedence of",
        "postfix-tlspol (DANE anywhere replaces MTA-STS) over our own lookups. postfix-tlspol itself was not run.\n",
        "| set-up | messages | read by the attacker |\n| --- | --- | --- |",
    ]
    for setup in Setup:
        fates = Counter(fate for rows in found.values() for name, fate in rows[setup].items() if name != names[0])
        parts.append(f"| {setup} | {fates.total()} | {fates[Fate.READ]} |")
    parts += [
        "\nThis table leaves out domains without any protection: what is sent to those, anybody can read.",
        "The two messages that are read behind our doors are what MTA-STS cannot prevent (RFC 8461 section 10):",
        "an attacker who hides the policy before it was ever seen, and one who bought a certificate for the host.\n",
    ]
    for setup in Setup:
        parts.append(f"## {setup[0].upper()}{setup[1:]}\n")
        parts.append(f"| attack | {' | '.join(names)} |\n| --- |{' --- |' * len(names)}")
        for attack, rows in found.items():
            cells = [_WORDS[rows[setup][name]] if name in rows[setup] else "" for name in names]
            parts.append(f"| {title(attack)} | {' | '.join(cells)} |")
        parts.append("")
    parts.append("## The attacks\n")
    parts += [f"- {title(attack)}: {story(attack)}." for attack in found]
    return "\n".join([*parts, ""])


async def everything() -> dict[Attack, dict[Setup, Row]]:
    """All attacks, one after the other."""
    found: dict[Attack, dict[Setup, Row]] = {}
    for attack in Attack:
        found[attack] = await measure(attack)
        if attack in PARTIAL_ATTACKS:
            for setup, row in (await measure_partial(attack)).items():
                found[attack][setup] |= row
        for setup, row in found[attack].items():
            print(f"{attack}  {setup.name}  " + ", ".join(f"{name}: {fate}" for name, fate in row.items()), flush=True)
    return found


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the page")
    parser.add_argument("--attack", choices=list(Attack), help="this one only, printed")
    given = parser.parse_args()
    if given.attack:
        print(asyncio.run(measure(Attack(given.attack))))
        return 0
    found = asyncio.run(everything())
    if given.write:
        PAGE.write_text(page(found, run("postconf", "-hd", "mail_version").strip()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
