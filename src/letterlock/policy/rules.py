"""The operator's rules, and which of them holds for a next hop.

A rule is written for `example.org` (that domain alone), for `*.example.org` or `.example.org` (everything below it, at
any depth, not the domain itself), or for `*` (everything). The most specific one holds, whole: rules are not added up,
so that what is read in one place is what happens.
"""

from collections.abc import Mapping

from letterlock.policy.evidence import DestinationRule


class Rules:
    """Rules by domain. Immutable once made."""

    __slots__ = ("_rules",)

    def __init__(self, rules: Mapping[str, DestinationRule]) -> None:
        """Take rules by the domain they are written for, in A-labels; case and a leading `.` or `*.` do not matter."""
        self._rules = {_key(domain): rule for domain, rule in rules.items()}

    def for_next_hop(self, domain: str) -> DestinationRule | None:
        """The rule for a next-hop domain or address literal; None when there is none."""
        name = domain.lower().removesuffix(".")
        if exact := self._rules.get(name):
            return exact
        if not name.startswith("["):
            while "." in name:
                name = name.partition(".")[2]
                if below := self._rules.get("." + name):
                    return below
        return self._rules.get("*")


def _key(domain: str) -> str:
    name = domain.lower()
    if name != "*":
        name = name.removeprefix("*").removesuffix(".")
    return name
