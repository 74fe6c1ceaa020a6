"""Letterlock and OpenSSL on the same random cases: `python -m tests.identity.dane_agreement --cases 3000`."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from letterlock.identity.dane import DaneMatch, match_dane, usable_records
from letterlock.identity.mismatch import MismatchKind
from tests.identity.openssl_dane import OpensslVerdict, verify
from tests.identity.random_cases import NOW, Case, random_case


@dataclass(frozen=True, slots=True)
class Comparison:
    """One case and what both made of it."""

    seed: int
    case: Case
    usable: bool
    accepted: bool
    kind: MismatchKind | None
    detail: str
    openssl: OpensslVerdict

    @property
    def agrees(self) -> bool:
        """Whether both came to the same."""
        return (self.usable, self.accepted) == (self.openssl.usable, self.openssl.accepted)

    @property
    def exception(self) -> str | None:
        """The section by which we are stricter than OpenSSL; nothing excuses being laxer."""
        if self.accepted or not self.openssl.accepted:
            return None
        if self.kind is MismatchKind.EXPIRED:
            return "RFC 7672 section 3.1.2: the dates of a trust anchor that is not self-signed are looked at too"
        if "(no basicConstraints)" in self.detail:
            return "RFC 5280 section 6.1.4 (k): an authority of version 3 needs basicConstraints"
        return None


def compare(seeds: range) -> Iterator[Comparison]:
    """Both verdicts for each seed."""
    for seed in seeds:
        case = random_case(seed)
        openssl = verify(case.chain, case.records, case.references, NOW)
        usable = bool(usable_records(case.records))
        ours = match_dane(case.chain, case.records, case.references, NOW)
        accepted = isinstance(ours, DaneMatch)
        kind = None if isinstance(ours, DaneMatch) else ours.kind
        detail = str(ours) if isinstance(ours, DaneMatch) else ours.detail
        yield Comparison(seed, case, usable, accepted, kind, detail, openssl)


def main() -> int:
    """Print the disagreements and the counts; 1 when there is a disagreement that no section explains."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=3000)
    parser.add_argument("--first", type=int, default=0)
    arguments = parser.parse_args()
    counts: Counter[str] = Counter()
    for one in compare(range(arguments.first, arguments.first + arguments.cases)):
        counts[_outcome(one)] += 1
        if _outcome(one) == "DIFFERENT":
            print(_say(one))
    for outcome, count in counts.most_common():
        print(f"{count:6} {outcome}")
    return 1 if counts["DIFFERENT"] else 0


def _outcome(one: Comparison) -> str:
    if one.agrees:
        return "accepted by both" if one.accepted else "refused by both" if one.usable else "unusable for both"
    return f"stricter: {one.exception}" if one.exception else "DIFFERENT"


def _say(one: Comparison) -> str:
    records = ", ".join(record.short for record in one.case.records)
    return (
        f"{one.seed}: ours {one.accepted} ({one.detail}); OpenSSL {one.openssl.accepted} ({one.openssl.error}); "
        f"{records}; {' '.join(one.case.traits)}"
    )


if __name__ == "__main__":
    sys.exit(main())
