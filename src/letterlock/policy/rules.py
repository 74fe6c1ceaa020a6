"""The operator's rules, and which of them holds for a next hop and a sender.

A rule is written for `example.org` (that domain alone), for `*.example.org` or `.example.org` (everything below it, at
any depth, not the domain itself), or for `*` (everything). The most specific one holds, whole: rules are not added up,
so that what is read in one place is what happens. Of a rule for the next hop and one for the sender's domain, the
stricter one holds; exceptions count for next hops alone.
"""

from collections.abc import Mapping

from letterlock.policy.evidence import DestinationRule, TlsRule


class Rules:
    """Rules by domain. Immutable once made."""

    __slots__ = ("_rules", "_senders")

    def __init__(
        self, rules: Mapping[str, DestinationRule], senders: Mapping[str, DestinationRule] | None = None
    ) -> None:
        """Take rules by the domain they are written for, in A-labels; case and a leading `.` or `*.` do not matter.

        `senders`: rules by the domain of the reverse-path.
        """
        self._rules = {_key(domain): rule for domain, rule in rules.items()}
        self._senders = {_key(domain): rule for domain, rule in (senders or {}).items()}

    def for_message(self, domain: str, sender: str | None) -> DestinationRule | None:
        """The stricter of the rules for a next hop and for the sender's domain (None: the null reverse-path)."""
        by_hop = self.for_next_hop(domain)
        by_sender = _find(self._senders, sender) if sender is not None else None
        if by_sender is None or (by_hop is not None and _STRICTNESS[by_hop.tls] >= _STRICTNESS[by_sender.tls]):
            return by_hop
        return by_sender

    def for_next_hop(self, domain: str) -> DestinationRule | None:
        """The rule for a next-hop domain or address literal; None when there is none."""
        return _find(self._rules, domain)


_STRICTNESS = {TlsRule.MAY: 0, TlsRule.REQUIRE_TLS: 1, TlsRule.VERIFY: 2, TlsRule.DANE_ONLY: 3}


def _find(rules: Mapping[str, DestinationRule], domain: str) -> DestinationRule | None:
    name = domain.lower().removesuffix(".")
    if exact := rules.get(name):
        return exact
    if not name.startswith("["):
        while "." in name:
            name = name.partition(".")[2]
            if below := rules.get("." + name):
                return below
    return rules.get("*")


def _key(domain: str) -> str:
    name = domain.lower()
    if name != "*":
        name = name.removeprefix("*").removesuffix(".")
    return name
