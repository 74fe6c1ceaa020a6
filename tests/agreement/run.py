"""Ask the same questions of our resolver, of Unbound and (a share of them) of delv, and compare the answers.

Ours are asked for through the resolver door, too: a client there must see the same state.

    python -m tests.agreement.run --questions 3000 --seed 1

Prints counts and every disagreement. Exit status 0: none that is not listed in `exceptions`.
"""

import argparse
import asyncio
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import dns.rdatatype
from dns.name import Name
from dns.rdatatype import RdataType

from letterlock.resolver import Answer, LookupFailure, Resolver, parse_anchors
from tests.agreement.build import anchor_file, anchor_text, build
from tests.agreement.exceptions import Difference, exemption
from tests.agreement.faults import FAULTS, FORGED_ADDRESS, FORGERS
from tests.agreement.internet import Internet
from tests.agreement.libunbound import unbound
from tests.agreement.plan import Chance, Signer, Site, make_site
from tests.agreement.questions import ask_about
from tests.agreement.server import serving
from tests.agreement.verdicts import Verdict, by_delv, by_door, by_unbound, by_us, delv_anchors

QUESTIONS_PER_SITE = 25
HONEST_SHARE = 3  # one site in so many has no fault


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, and what was said to it; delv not always."""

    sites: tuple[Site, ...]
    name: Name
    rdtype: RdataType
    truth: str
    ours: Verdict
    theirs: Verdict
    third: Verdict | None


@dataclass
class Tally:
    """What was asked, and where the answers differ."""

    asked: int = 0
    by_delv: int = 0
    states: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    believed: list[str] = field(default_factory=list)
    excused: list[tuple[str, Difference]] = field(default_factory=list)
    unexcused: list[Difference] = field(default_factory=list)
    at_door: list[str] = field(default_factory=list)

    def note(self, asked: Asked) -> None:
        """Compare the verdicts of one question."""
        self.asked += 1
        self.by_delv += asked.third is not None
        self.states[f"{asked.ours.state} {asked.ours.found}".strip()] += 1
        if not asked.ours.agrees(asked.theirs):
            self._differ(asked, "Unbound", asked.theirs)
        elif asked.third is not None and not asked.ours.agrees(asked.third):
            self._differ(asked, "delv", asked.third)

    def _differ(self, asked: Asked, who: str, theirs: Verdict) -> None:
        difference = Difference(
            sites=asked.sites,
            name=asked.name.to_text(),
            rdtype=dns.rdatatype.to_text(asked.rdtype),
            ours=asked.ours,
            theirs=theirs,
            who=who,
            truth=asked.truth,
            third=asked.third if who == "Unbound" else None,
        )
        excuse = exemption(difference)
        if excuse is None:
            self.unexcused.append(difference)
        else:
            self.excused.append((excuse.section, difference))

    def watch(self, site: Site, name: Name, rdtype: RdataType, result: Answer | LookupFailure) -> None:
        """A forged address in a secure answer is a forgery believed."""
        if (
            isinstance(result, Answer)
            and result.secure
            and FORGED_ADDRESS in [each.to_text() for each in result.records]
        ):
            self.believed.append(f"{name} {dns.rdatatype.to_text(rdtype)} [{site.fault}]")

    def lines(self) -> list[str]:
        """The report."""
        states = ", ".join(f"{count} {state}" for state, count in sorted(self.states.items()))
        excused = Counter(section for section, _ in self.excused)
        examples = dict(reversed(self.excused))
        return [
            *(f"DISAGREE {each}" for each in self.unexcused),
            *(f"BELIEVED {each}" for each in self.believed),
            *(f"AT DOOR  {each}" for each in self.at_door),
            *(f"listed   {excused[section]} x {section}, as {each}" for section, each in examples.items()),
            f"{self.asked} questions ({states}), {self.by_delv} of them to delv too",
            f"{self.faults.total()} sites, {len(self.faults)} kinds: "
            + ", ".join(f"{fault} {count}" for fault, count in sorted(self.faults.items())),
            f"{len(self.unexcused)} disagreements, {len(self.excused)} listed, {len(self.believed)} forgeries believed",
        ]

    @property
    def good(self) -> bool:
        """Whether nothing is left to explain."""
        return not self.unexcused and not self.believed and not self.at_door


def make_sites(count: int, seed: int, signers: Sequence[Signer] = tuple(Signer)) -> list[Site]:
    """Sites with every fault in turn, honest ones between them."""
    chance = Chance(random.Random(seed), tuple(signers))
    faults = [*FAULTS]
    chance.rng.shuffle(faults)
    turns = [faults[number % len(faults)] if number % HONEST_SHARE else "none" for number in range(count)]
    return [make_site(number + 1, fault, chance) for number, fault in enumerate(turns)]


async def compare(sites: Sequence[Site], questions: int, seed: int, *, delv_share: int = 20) -> Tally:
    """Ask and compare; `delv_share`: one question in so many goes to delv, too (0: none)."""
    tally = Tally(faults=Counter(site.fault for site in sites))
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="letterlock-agreement-") as place:
        directory = Path(place)
        internet = build(sites, directory)
        shared = _resolver(internet)
        by_name = {site.name: site for site in sites}
        anchors = delv_anchors(directory)
        with serving(internet.answer) as port, unbound(port, anchor_file(directory)) as other:
            for site in sites:
                for name, rdtype in ask_about(site, internet, -(-questions // len(sites))):
                    # behind a forger nothing may be learnt from one question for the next: each has to stand alone
                    resolver = _resolver(internet) if site.fault in FORGERS else shared
                    result = await resolver.resolve(name, rdtype)
                    ours = by_us(result)
                    through = await by_door(resolver, name, rdtype)
                    if (through.usable, through.state, through.found) != _at_the_door(ours):
                        tally.at_door.append(
                            f"{name} {dns.rdatatype.to_text(rdtype)} [{site.fault}]: {ours}, {through}"
                        )
                    theirs = by_unbound(await asyncio.to_thread(other.resolve, name.to_text(), rdtype))
                    third = None
                    if not ours.agrees(theirs) or (delv_share and rng.randrange(delv_share) == 0):
                        third = await asyncio.to_thread(by_delv, name, rdtype, port, anchors)
                    touched = tuple(by_name[top] for top in sorted(internet.tops(name, rdtype)) if top in by_name)
                    truth = internet.truth(name, rdtype)
                    tally.note(Asked(touched, name, rdtype, truth, ours, theirs, third))
                    tally.watch(site, name, rdtype, result)
    return tally


def _at_the_door(ours: Verdict) -> tuple[bool, str, str]:
    """How the resolver door has to show our verdict: it has one word for all failures, and AD or not."""
    if not ours.usable and ours.state != "indeterminate":
        return False, "failed", ""
    return True, "secure" if ours.state == "secure" else "insecure", ours.found


def _resolver(internet: Internet) -> Resolver:
    async def transport(wire: bytes, tcp: bool) -> bytes:
        return internet.answer(wire, 65_535 if tcp else 1232)

    return Resolver(transport, anchors=parse_anchors(anchor_text()), keeps_sections=True)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--delv-share", type=int, default=20, help="one question in so many is asked of delv, too; 0: none"
    )
    given = parser.parse_args()
    sites = make_sites(max(2, given.questions // QUESTIONS_PER_SITE), given.seed)
    tally = asyncio.run(compare(sites, given.questions, given.seed, delv_share=given.delv_share))
    print("\n".join(tally.lines()))
    return 0 if tally.good else 1


if __name__ == "__main__":
    sys.exit(main())
