"""Compare DMARC with the package dmarc: `python -m tests.mailauth.dmarc_agreement --cases 2000 --seed 1`.

That package takes a record and judges alignment by the names alone, as RFC 7489 does without a list of public suffixes.
So each world here has one record, at the author's domain or at the organizational domain above it. A difference must
have one of the explanations below, or the run stops with the case.
"""

import argparse
import importlib
import random
import sys
from collections import Counter
from typing import Any

from letterlock.mailauth.dmarc.evaluate import (
    AuthMechanism,
    DmarcVerdict,
    Evidence,
    Identifier,
    MechanismOutcome,
    evaluate,
)
from letterlock.mailauth.dmarc.reasons import DmarcResult
from tests.mailauth.dns_world import World

theirs: Any = importlib.import_module("dmarc")  # its types are not checked
ORGANIZATION = "example.org"
NAMES = (ORGANIZATION, "mail.example.org", "a.mail.example.org", "example.net", "badexample.org")
POLICIES = ("p=none", "p=quarantine", "p=reject", "P = Reject ", "p=reject; p=none", "p=x", "")
OTHERS = (
    ("sp=none", "sp=reject", "sp=quarantine", "sp=x"),
    ("adkim=s", "adkim=r"),
    ("aspf=s", "aspf=r", "aspf=x"),
    ("t=y", "t=n"),
    ("rua=mailto:a@b.test",),
    ("fo=1:d", "pct=20", "unknown=1", "noise"),
)


class Unexplained(AssertionError):
    """Two programs differ, and nobody knows why."""


def judged(record: str, author: str, identifiers: tuple[Identifier, ...]) -> str:
    """The package's result and policy in two words, or `invalid`."""
    above = ORGANIZATION if author != ORGANIZATION else None
    spf = next((each for each in identifiers if each.mechanism is AuthMechanism.SPF), None)
    try:
        policy = theirs.DMARC().parse_record(record, author, above, strict=False)
    except theirs.RecordSyntaxError:
        return "invalid"
    result = theirs.DMARC().get_result(
        policy,
        auth_results=theirs.AuthResults(
            spf=theirs.SPFAuthResult(spf.domain, theirs.SPFResult(spf.outcome.value)) if spf else None,
            dkim=[
                theirs.DKIMAuthResult(each.domain, theirs.DKIMResult(each.outcome.value))
                for each in identifiers
                if each.mechanism is AuthMechanism.DKIM
            ],
        ),
        allow_policy_test_mode=True,
    )
    return f"{result.result.value} {result.disposition.value}"


def ours(verdict: DmarcVerdict) -> str:
    """Our verdict in the same words."""
    if verdict.result is DmarcResult.NONE:
        return "invalid"
    return f"{verdict.result.value} {'none' if verdict.result is DmarcResult.PASS else verdict.policy.value}"


def explanation(record: str) -> str | None:
    """Why the two may differ; None: nobody knows."""
    parts = [part.strip() for part in record.split(";") if part.strip()]
    names = [part.partition("=")[0].strip().lower() for part in parts if "=" in part]
    if len(names) != len(set(names)):
        return "a tag twice makes the record invalid (RFC 6376 3.2), the package takes the last"
    if any("=" not in part for part in parts):
        return "a text without a value is ignored (RFC 9989 4.7), the package refuses the record"
    policy_is_sound = any(part.lower().replace(" ", "") in ("p=none", "p=quarantine", "p=reject") for part in parts)
    if not policy_is_sound or "sp=x" in parts:
        return "p or sp is missing or invalid: rua decides (RFC 9989 4.10.1), the package knows no such rule"
    return None


def run(cases: int, seed: int) -> Counter[str]:
    """Compare; how often the two agreed, and each explanation. Raises Unexplained."""
    chance = random.Random(seed)
    ended: Counter[str] = Counter()
    for number in range(cases):
        tags = [chance.choice(POLICIES), *(chance.choice(each) for each in chance.sample(OTHERS, 3))]
        record = "; ".join(("v=DMARC1", *filter(None, tags)))
        author = chance.choice(NAMES[:2])
        identifiers = tuple(
            Identifier(mechanism, chance.choice(NAMES), chance.choice((MechanismOutcome.PASS, MechanismOutcome.FAIL)))
            for mechanism in (AuthMechanism.SPF, *chance.choices((AuthMechanism.DKIM,), k=chance.randrange(3)))
        )
        world = World().add(f"_dmarc.{ORGANIZATION}", "TXT", record)
        mine = ours(world.run(evaluate(Evidence(authors=(author,), identifiers=identifiers))))
        other = judged(record, author, identifiers)
        why = f"agree: {mine}" if mine == other else explanation(record)
        if why is None and _siblings(author, identifiers):
            why = "siblings have one organizational domain (RFC 9989 4.10.2), the package compares names without a list"
        if why is None:
            raise Unexplained(
                f"case {number}: {record!r} {author} {list(map(str, identifiers))}: {mine}, dmarc: {other}"
            )
        ended[why] += 1
    return ended


def _siblings(author: str, identifiers: tuple[Identifier, ...]) -> bool:
    """Whether a domain passed that is in the organization, and neither above nor below the author."""
    return any(
        each.outcome is MechanismOutcome.PASS
        and each.domain.endswith(ORGANIZATION)
        and not (each.domain.endswith(author) or author.endswith(each.domain))
        for each in identifiers
    )


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    for word, count in run(arguments.cases, arguments.seed).most_common():
        print(f"{count:6}  {word}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
