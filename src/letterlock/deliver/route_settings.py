"""On which terms mail is sent: when it is tried again, from which addresses, and how much at once; by route."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from letterlock.net.sources import ANY_SOURCE, SourceAddresses
from letterlock.queue.settle import RetrySchedule
from letterlock.routing.domain_table import DomainTable
from letterlock.shares import DIVIDED


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSettings:
    """The terms of one route, or of mail that goes by MX."""

    schedule: RetrySchedule = field(default_factory=RetrySchedule)
    source: SourceAddresses = ANY_SOURCE
    ignore_ehlo: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsByRoute:
    """The usual terms, and those of routes by the recipients' domain.

    `max_concurrent` is by place: the next hop that one or several routes lead to.
    """

    usual: RouteSettings = field(default_factory=RouteSettings)
    routes: DomainTable[RouteSettings] = field(default_factory=lambda: DomainTable({}))
    max_concurrent: Annotated[Mapping[str, int], DIVIDED] = field(default_factory=dict)

    def of(self, domain: str) -> RouteSettings:
        """The terms for mail to a domain or address literal."""
        return self.routes.find(domain) or self.usual
