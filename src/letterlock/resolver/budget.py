"""How much work one lookup may cost. A validator is a target (CVE-2023-50387, CVE-2023-50868)."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits of one lookup. Out of budget is a lookup failure with the limit's name, never "insecure".

    A cold lookup two zones below the root spends 6 queries, 7 signatures, 3 hashes and 1.6 KB with ECDSA keys, as the
    lab has. The limits leave room for long alias chains and deep trees, and stop what was built to cost more. `hashes`
    allows 80 names at 150 iterations.

    `signatures`: verifications in all. `failures`: verifications that may fail. `keys_per_tag`: keys tried for one
    signature when key tags collide. `signatures_per_rrset`: RRSIGs tried for one RRset. `hashes`: NSEC3 hash rounds
    (names times iterations). `aliases`: CNAME and DNAME links. `queries`, `octets`: asked and received.
    `depth`: labels from the trust anchor down.
    """

    signatures: int = 160
    failures: int = 16
    keys_per_tag: int = 4
    signatures_per_rrset: int = 8
    hashes: int = 12_000
    aliases: int = 16
    queries: int = 160
    octets: int = 2 << 20
    depth: int = 40


class OutOfBudget(Exception):
    """A limit was reached; `limit` is its name, and `allowed` what it allows."""

    def __init__(self, limit: str, allowed: int) -> None:
        super().__init__(f"the lookup needs more than {allowed} {limit.replace('_', ' ')}")
        self.limit = limit


class Spending:
    """The cost of one lookup so far."""

    __slots__ = ("_spent", "budget", "hashed")

    def __init__(self, budget: Budget) -> None:
        self.budget: Final = budget  # the limits themselves
        self._spent: dict[str, int] = {}
        self.hashed: dict[tuple[bytes, bytes, int], bytes] = {}  # what was paid for already

    def spend(self, limit: str, amount: int = 1) -> None:
        """Count an amount of work against a limit. Raises OutOfBudget when there is none left."""
        spent = self._spent.get(limit, 0) + amount
        self._spent[limit] = spent
        allowed: int = getattr(self.budget, limit)
        if spent > allowed:
            raise OutOfBudget(limit, allowed)

    def spent(self, limit: str) -> int:
        """How much of a limit was used."""
        return self._spent.get(limit, 0)
