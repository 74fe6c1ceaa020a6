"""On which terms mail is sent: when it is tried again, from which addresses, and how much at once; by route."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from letterlock.keys import Key, RowKey
from letterlock.net.sources import ANY_SOURCE, SourceAddresses
from letterlock.queue.settle import RetrySchedule
from letterlock.routing.domain_table import DomainTable, first_route
from letterlock.sasl.client_login import Credentials
from letterlock.shares import DIVIDED


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSettings:
    """The terms of one route, or of mail that goes by MX."""

    schedule: RetrySchedule = field(default_factory=RetrySchedule)
    source: Annotated[
        SourceAddresses,
        Key(
            "delivery.source_address",
            "Send from these addresses: at most one IPv4 and one IPv6 address. With one only, the other family "
            "is not used. Unset: the system chooses.",
        ),
        RowKey(
            "route.source_address",
            "Send from these addresses: at most one IPv4 and one IPv6 address. With one only, the other family "
            "is not used. Unset: `[delivery] source_address`.",
            inherits=True,
        ),
    ] = ANY_SOURCE
    ignore_ehlo: Annotated[
        frozenset[str],
        Key(
            "delivery.ignore_ehlo",
            'Extensions that are not used though servers offer them, such as `"CHUNKING"`. A server that '
            "breaks on CHUNKING or PIPELINING is found out without this.",
        ),
        RowKey(
            "route.ignore_ehlo",
            'Extensions that its servers offer and break on, such as `"CHUNKING"` or `"PIPELINING"`: they are '
            "not used. Unset: `[delivery] ignore_ehlo`.",
            inherits=True,
        ),
    ] = frozenset()
    login: Credentials | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsByRoute:
    """The usual terms, and those of routes: by the recipients' domain, and by that of the sender.

    `max_concurrent` is by place: the next hop that one or several routes lead to.
    """

    usual: RouteSettings = field(default_factory=RouteSettings)
    routes: DomainTable[RouteSettings] = field(default_factory=lambda: DomainTable({}))
    by_sender: DomainTable[RouteSettings] = field(default_factory=lambda: DomainTable({}))
    max_concurrent: Annotated[Mapping[str, int], DIVIDED] = field(default_factory=dict)

    def of(self, domain: str, sender: str | None = None) -> RouteSettings:
        """The terms for mail to a domain or address literal, from a sender's domain (None: the null reverse-path)."""
        return first_route(self.routes, self.by_sender, domain, sender) or self.usual
