"""The operator's rules and routes, and which of them hold for a message.

Both are written for `example.org` (that domain alone), for `*.example.org` or `.example.org` (everything below it, at
any depth, not the domain itself), or for `*` (everything). Of each table the most specific one holds, whole.

A message may meet four rules: that of its route, that for the route's next hop, that for the recipients' domain, and
that for the sender's domain; without a route, the next hop is the recipients' domain. Nothing that one of them demands
is lowered by another, so a route never lowers what was demanded without it:

- The strictest holds: `dane-only`, `verify`, `require-tls`, `may`. Of several that are equally strict, the one that is
  written nearest to the server, in the order above, says whom to verify.
- The highest TLS version that any of them demands holds.
- The header `TLS-Required: No` lifts what they demand only when each of them that demands something says so.
- Of what they say of memory the strictest holds: `hold`, `observe`, `off`; where none says anything, `[memory] mode`.
  A rule in audit mode holds nothing, and counts as `observe` where it says `hold`.
- Rules in audit mode are compared with each other only, and never replace one that is enforced.
- An exception is for the servers that it was written for: under a route, those of its next hop. It lowers what its own
  rule and the standards demand, and counts only while no rule of another table demands anything.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from letterlock.frozen import frozen_dataclass
from letterlock.routing.destination_rule import DestinationRule, MemoryMode, TlsRule
from letterlock.routing.domain_table import DomainTable, first_route
from letterlock.routing.routes import RelayHost


@frozen_dataclass(frozen=True, slots=True)
class Heard:
    """The rule that holds for a message, and one in audit that would demand as much or more.

    `memory` is what follows from what is remembered; `memory_rule` the rule that says so, None: `[memory] mode` does.
    """

    rule: DestinationRule | None = None
    audited: DestinationRule | None = None
    memory: MemoryMode = MemoryMode.OFF
    memory_rule: DestinationRule | None = None


class Rules:
    """Rules and routes by domain. Immutable once made."""

    __slots__ = ("_memory", "_relays", "_rules", "_sender_relays", "_senders")

    def __init__(
        self,
        rules: Mapping[str, DestinationRule],
        senders: Mapping[str, DestinationRule] | None = None,
        relays: Mapping[str, RelayHost] | None = None,
        sender_relays: Mapping[str, RelayHost] | None = None,
        memory: MemoryMode = MemoryMode.OFF,
    ) -> None:
        """Take rules by the domain they are written for, in A-labels; case and a leading `.` or `*.` do not matter.

        `senders`: rules by the domain of the reverse-path. `relays`: routes by the recipients' domain;
        `sender_relays`: routes by that of the reverse-path. `memory` is for mail of which no rule says anything else.
        """
        self._memory = memory
        self._rules = DomainTable(rules)
        self._senders = DomainTable(senders or {})
        self._relays = DomainTable(relays or {})
        self._sender_relays = DomainTable(sender_relays or {})

    def without_routes(self) -> "Rules":
        """The same rules for a server that does not send by our routes."""
        other = Rules({})
        other._rules, other._senders = self._rules, self._senders
        return other

    def written(self) -> Iterator[DestinationRule]:
        """Every rule: by domain, by sender, and of routes."""
        yield from self._rules
        yield from self._senders
        for relays in (self._relays, self._sender_relays):
            yield from (relay.rule for relay in relays if relay.rule is not None)

    def routes(self) -> Iterator[RelayHost]:
        """Every route."""
        return iter(self._relays)

    def relay_for(self, domain: str, sender: str | None = None) -> RelayHost | None:
        """The route for a domain or address literal, from a sender's domain; None when its mail goes by MX.

        Where a route leads is not looked up in the routes again.
        """
        return first_route(self._relays, self._sender_relays, domain, sender)

    def for_message(self, domain: str, sender: str | None) -> Heard:
        """What the rules demand for mail to a domain from a sender's domain (None: the null reverse-path)."""
        relay = self.relay_for(domain, sender)
        by_sender = None if sender is None else self._senders.find(sender)
        by_domain = self.for_next_hop(domain)
        if relay is None:
            return _heard(self._memory, by_domain, by_sender)
        by_hop = self.for_next_hop(relay.domain)
        if by_domain is by_hop:
            by_domain = None
        elif by_domain is not None:
            by_domain = replace(by_domain, exception=None)
        return _heard(self._memory, relay.rule, by_hop, by_domain, by_sender)

    def for_next_hop(self, domain: str) -> DestinationRule | None:
        """The rule for a next-hop domain or address literal; None when there is none."""
        return self._rules.find(domain)

    def guard_the_way_back(self, sender: str, recipients: Iterable[str]) -> bool:
        """Whether the rules demand as much of mail to a sender's domain as of the sender's mail to these domains.

        Mail that ends on this machine meets nobody on its way.
        """
        relay = self.relay_for(sender)
        if relay is not None and relay.final is not None:
            return True
        back = self.for_message(sender, None).rule
        # an exception lets mail through with less than its rule demands, so nothing is promised for the way back
        least = 0 if back is None or back.exception is not None else _enforced_strictness(back)
        there = (self.for_message(domain, sender).rule for domain in recipients)
        return all(_enforced_strictness(rule) <= least for rule in there)

    def written_for(self, domain: str) -> str | None:
        """The place of the rule that names this very domain, whatever it demands; None where only a wildcard fits."""
        rule = self._rules.find(domain)
        return rule.source if rule is not None and rule.domain == domain else None


_UNRULED = {usual: Heard(memory=usual) for usual in MemoryMode}
_STRICTNESS = {TlsRule.MAY: 0, TlsRule.REQUIRE_TLS: 1, TlsRule.VERIFY: 2, TlsRule.DANE_ONLY: 3}


def _heard(usual: MemoryMode, *nearest_first: DestinationRule | None) -> Heard:
    rules = [rule for rule in nearest_first if rule is not None]
    if not rules:
        return _UNRULED[usual]
    heard = _of_demands(rules)
    saying = [rule for rule in rules if rule.memory is not None]
    if not saying:
        return heard if usual is MemoryMode.OFF else Heard(heard.rule, heard.audited, usual)
    strictest = max(saying, key=lambda rule: _CAUTION[_memory(rule)])
    return replace(heard, memory=_memory(strictest), memory_rule=strictest)


def _memory(rule: DestinationRule) -> MemoryMode:
    """What a rule says of memory, `off` where it says nothing; in audit nothing is held."""
    said = rule.memory or MemoryMode.OFF
    return MemoryMode.OBSERVE if rule.audit and said is MemoryMode.HOLD else said


def _of_demands(rules: Sequence[DestinationRule]) -> Heard:
    enforced = _strictest([rule for rule in rules if not rule.audit])
    audited = _strictest([rule for rule in rules if rule.audit])
    if enforced is None:
        return Heard(rule=audited)
    if audited is not None and _strictness(audited) < _strictness(enforced):
        audited = None
    return Heard(rule=enforced, audited=audited)


_CAUTION = {MemoryMode.OFF: 0, MemoryMode.OBSERVE: 1, MemoryMode.HOLD: 2}


def _strictest(rules: Sequence[DestinationRule]) -> DestinationRule | None:
    """The strictest, the first of equals; with the highest version, and without an exception that others forbid."""
    if not rules:
        return None
    lenient = next((rule for rule in rules if rule.exception is not None), None)
    if lenient is not None and not any(_strictness(rule) for rule in rules if rule is not lenient):
        return lenient
    best, newest = max(rules, key=_strictness), max(rules, key=_version)
    if _version(newest) > _version(best):
        best = replace(best, minimum_version=newest.minimum_version, minimum_source=newest.source)
    if best.lifted_by_header and not all(rule.lifted_by_header for rule in rules if _strictness(rule)):
        best = replace(best, lifted_by_header=False)
    return best if lenient is None else replace(best, exception=None)


def _version(rule: DestinationRule) -> str:
    return rule.minimum_version or ""


def _enforced_strictness(rule: DestinationRule | None) -> int:
    return 0 if rule is None or rule.audit else _strictness(rule)


def _strictness(rule: DestinationRule) -> int:
    return _STRICTNESS[rule.tls]
