"""What theory says: the best that is possible for every attack against every protection, read from `theory.toml`.

That file is written by hand, from the standards; nothing computes it. `tests/lab/test_theory.py` reviews it: it is
whole, and more protection never gives an attacker more.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from letterlock.lab.scenarios import Attack, Expectation, SiteProtection, TrialOutcome

_READ = "read-"
_OUTCOMES = {
    "held": TrialOutcome.HELD,
    "authenticated": TrialOutcome.AUTHENTICATED,
    "encrypted": TrialOutcome.ENCRYPTED,
    "clear": TrialOutcome.CLEAR,
}
NO_SESSION = "no-session"  # in the place of a code: nothing came about that a policy could judge


class TheoryError(ValueError):
    """The table contradicts itself; `str()` says where."""


@dataclass(frozen=True, slots=True)
class Theory:
    """The whole table."""

    titles: Mapping[Attack, str]
    stories: Mapping[Attack, str]
    heads: Mapping[SiteProtection, tuple[str, ...]]  # of the columns of a narrow table
    protections: Mapping[SiteProtection, str]  # what each of them is, for people
    at_least: Mapping[SiteProtection, frozenset[SiteProtection]]  # the weaker ones that each is directly above
    cells: Mapping[tuple[Attack, SiteProtection], Expectation]

    def stronger_pairs(self) -> frozenset[tuple[SiteProtection, SiteProtection]]:
        """All pairs (weaker, stronger) of the declared order."""
        return frozenset((weaker, each) for each in SiteProtection for weaker in self._below(each))

    def _below(self, protection: SiteProtection) -> frozenset[SiteProtection]:
        below = self.at_least.get(protection, frozenset())
        return below.union(*(self._below(each) for each in below))


@cache
def theory() -> Theory:
    """The table as it is shipped."""
    return read(files("letterlock.lab").joinpath("theory.toml").read_text(encoding="utf-8"))


def expected(attack: Attack, protection: SiteProtection) -> Expectation:
    """What theory says of a cell."""
    return theory().cells[attack, protection]


def title(attack: Attack) -> str:
    """The attack in at most three words."""
    return theory().titles[attack]


def story(attack: Attack) -> str:
    """What the attacker does, in one sentence."""
    return theory().stories[attack]


def read(text: str) -> Theory:
    """Read a table. Raises TheoryError where it is incomplete, says something twice, or names what does not exist."""
    data = tomllib.loads(text)
    cells: dict[tuple[Attack, SiteProtection], Expectation] = {}
    for attack in Attack:
        for protection, expectation in _row(attack, data["attack"].get(attack, {}), data["why"]):
            if (attack, protection) in cells:
                raise TheoryError(f"{attack}: {protection} is there twice")
            cells[attack, protection] = expectation
    missing = [f"{a}: {p}" for a in Attack for p in SiteProtection if (a, p) not in cells]
    unknown = sorted(set(data["attack"]) - set(Attack))
    if missing or unknown:
        raise TheoryError("; ".join([*(f"no expectation for {each}" for each in missing), *unknown]))
    return Theory(
        titles={attack: data["attack"][attack]["title"] for attack in Attack},
        stories={attack: data["attack"][attack]["story"] for attack in Attack},
        heads={each: tuple(data["protection"][each]["head"]) for each in SiteProtection},
        protections={each: data["protection"][each]["is"] for each in SiteProtection},
        at_least={
            each: frozenset(map(SiteProtection, data["protection"][each].get("above", ()))) for each in SiteProtection
        },
        cells=cells,
    )


def _row(attack: Attack, row: Mapping[str, Any], why: Mapping[str, str]) -> list[tuple[SiteProtection, Expectation]]:
    """The expectations of one attack: `fate.code = [protections]`."""
    found: list[tuple[SiteProtection, Expectation]] = []
    for fate, by_code in row.items():
        if fate in ("title", "story"):
            continue
        for code, protections in by_code.items():
            reason = why.get(f"{fate} {code}") or why.get(code)
            if reason is None:
                raise TheoryError(f"{attack}: nothing in [why] explains {fate} by {code}")
            found += [(SiteProtection(each), _expectation(fate, code, reason)) for each in protections]
    return found


def _expectation(fate: str, code: str, why: str) -> Expectation:
    outcome = _OUTCOMES[fate.removeprefix(_READ)]
    return Expectation(outcome, None if code == NO_SESSION else code, why, readable=fate.startswith(_READ))
