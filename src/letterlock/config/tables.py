"""The file, as pydantic sees it: its tables, with the keys that are declared beside the fields that they fill.

Here are the tables that hold a table for each name, and what has to be right between several keys.
"""

import ipaddress
from collections.abc import Iterable
from typing import TYPE_CHECKING, get_args

from pydantic import BaseModel, Field, PrivateAttr, ValidationInfo, model_validator

from letterlock.config.accounts_table import AccountsTable, check_accounts
from letterlock.config.checked_values import Endpoint, Moment, NamedByDomain
from letterlock.config.databases import DatabaseTable
from letterlock.config.declared import Table, filled, filled_row, is_written, keys_of
from letterlock.config.dkim_keys import DkimTable
from letterlock.config.filters import MilterTable, PolicyServiceTable, check_filter
from letterlock.config.key_file import reads_secrets
from letterlock.config.limit_tables import DnsListTable, LimitTable
from letterlock.config.listener_table import ListenerTable, load_context
from letterlock.config.local_domains import (
    ForwardingTable,
    HostedTable,
    LocalTable,
    LookupTable,
    check_domain_tables,
    check_names,
)
from letterlock.config.mistakes import wrong
from letterlock.config.options import CONSUMERS, ComposedKeys
from letterlock.config.recipient_rule_tables import MAX_RULES, MatchTable, RecipientRuleTable
from letterlock.config.rule_tables import (
    ByDomain,
    ByRoute,
    RouteTable,
    RuleExceptionTable,
    RuleTable,
    SenderRouteTable,
    SenderTable,
    check_address_routes,
)
from letterlock.keys import declared
from letterlock.net.tls import ServerContext
from letterlock.queue.settle import RetrySchedule
from letterlock.receive.options import ReceiveOptions
from letterlock.receive.profiles import SUBMITS, Role

if TYPE_CHECKING:  # models are made when the program runs: to the type checker they are tables
    SmtpKeys = Table
    QueueKeys = Table
    ResolverKeys = Table
    PolicyServerKeys = Table
    DeliveryKeys = Table
    MailAuthenticationKeys = Table
    MetricsKeys = Table
    StatisticsKeys = Table
    TlsReportsKeys = Table
    DmarcReportsKeys = Table
    MemoryKeys = Table
    TopKeys = Table
else:
    (
        SmtpKeys,
        QueueKeys,
        ResolverKeys,
        PolicyServerKeys,
        DeliveryKeys,
        MailAuthenticationKeys,
        MetricsKeys,
        StatisticsKeys,
        TlsReportsKeys,
        DmarcReportsKeys,
        MemoryKeys,
        TopKeys,
    ) = (
        keys_of(table, CONSUMERS)
        for table in (
            "smtp",
            "queue",
            "resolver",
            "policy_server",
            "delivery",
            "mail_authentication",
            "metrics",
            "statistics",
            "tls_reports",
            "dmarc_reports",
            "memory",
            "",
        )
    )


class SmtpTable(SmtpKeys):
    """Receiving mail: the only listener or, with `[[listener]]`, what all listeners share and inherit."""

    _context: ServerContext | None = PrivateAttr(None)

    @property
    def context(self) -> ServerContext | None:
        """The certificate and its key, loaded."""
        return self._context

    @model_validator(mode="after")
    def _load_certificate(self, info: ValidationInfo) -> "SmtpTable":
        certificate, key = (getattr(self, name) for name in ("certificate", "key"))
        self._context = load_context(certificate, key, info)
        return self


class QueueTable(QueueKeys):
    """Keeping mail, and trying again."""


class NegativeAnchorTable(Table):
    """A signed zone to be taken for unsigned for a while (RFC 7646), because its operator broke it."""

    reason: str = Field(min_length=1, max_length=500, description="Why; it is shown wherever the zone is met.")
    until: Moment = Field(description="When this ends: a date or a time, such as `2027-01-31`.")


class ResolverTable(ResolverKeys):
    """Validated DNS."""

    negative: NamedByDomain[NegativeAnchorTable] = Field({}, max_length=1000)


class PolicyServerTable(PolicyServerKeys):
    """Answering the questions of a Postfix on this machine: TLS policies and transports."""


class DeliveryTable(DeliveryKeys):
    """Sending mail."""


class MailAuthenticationTable(MailAuthenticationKeys):
    """The treatment of mail from elsewhere that is not authentic; `[[listener]] authenticate_mail` turns it on."""


class MetricsTable(MetricsKeys):
    """Counters, and the endpoint that Prometheus asks: [metrics](metrics.md)."""

    @model_validator(mode="after")
    def _stays_on_this_machine(self) -> "MetricsTable":
        listen, public = getattr(self, "listen", None), getattr(self, "public", False)
        if isinstance(listen, Endpoint) and not public and not ipaddress.ip_address(listen.address).is_loopback:
            message = f"{listen.address} can be reached from other machines, and anybody there could read the metrics"
            raise wrong(message, "listen on 127.0.0.1 or a socket, or write public = true", at="listen")
        return self


class StatisticsTable(StatisticsKeys):
    """Statistics of deliveries: [the guide](../guides/statistics.md)."""


class TlsReportsTable(TlsReportsKeys):
    """TLS reports (RFC 8460): what is counted, and what is sent."""


class DmarcReportsTable(DmarcReportsKeys):
    """DMARC aggregate reports (RFC 9990)."""


class MemoryTable(MemoryKeys):
    """What earlier deliveries showed of a domain, and what follows when it is gone: [memory](../concepts/memory.md)."""


class FileTable(TopKeys):
    """The top of the file."""

    smtp: SmtpTable = Field(default_factory=lambda: SmtpTable.model_validate({}))
    listener: list[ListenerTable] = Field([], max_length=100)
    accounts: AccountsTable = Field(default_factory=lambda: AccountsTable.model_validate({}))
    queue: QueueTable = Field(default_factory=lambda: QueueTable.model_validate({}))
    resolver: ResolverTable = Field(default_factory=lambda: ResolverTable.model_validate({}))
    policy_server: PolicyServerTable = Field(default_factory=lambda: PolicyServerTable.model_validate({}))
    metrics: MetricsTable = Field(default_factory=lambda: MetricsTable.model_validate({}))
    statistics: StatisticsTable = Field(default_factory=lambda: StatisticsTable.model_validate({}))
    delivery: DeliveryTable = Field(default_factory=lambda: DeliveryTable.model_validate({}))
    mail_authentication: MailAuthenticationTable = Field(
        default_factory=lambda: MailAuthenticationTable.model_validate({})
    )
    tls_reports: TlsReportsTable = Field(default_factory=lambda: TlsReportsTable.model_validate({}))
    dmarc_reports: DmarcReportsTable = Field(default_factory=lambda: DmarcReportsTable.model_validate({}))
    memory: MemoryTable = Field(default_factory=lambda: MemoryTable.model_validate({}))
    rule: list[RecipientRuleTable] = Field([], max_length=MAX_RULES)
    domain: ByDomain[RuleTable] = Field({})
    sender: ByDomain[SenderTable] = Field({})
    dkim: NamedByDomain[DkimTable] = Field({}, max_length=10_000)
    route: ByRoute[RouteTable] = Field({})
    sender_route: ByDomain[SenderRouteTable] = Field({})
    database: dict[str, DatabaseTable] = Field({}, max_length=100)
    table: dict[str, LookupTable] = Field({}, max_length=1000)
    milter: dict[str, MilterTable] = Field({}, max_length=100)
    policy_service: dict[str, PolicyServiceTable] = Field({}, max_length=100)
    limit: dict[str, LimitTable] = Field({}, max_length=100)
    dns_list: NamedByDomain[DnsListTable] = Field({}, max_length=20)
    local: NamedByDomain[LocalTable] = Field({}, max_length=10_000)
    hosted: dict[str, HostedTable] = Field({}, max_length=100)
    forwarding: ForwardingTable = Field(default_factory=lambda: ForwardingTable.model_validate({}))

    @model_validator(mode="after")
    def _tables_exist(self) -> "FileTable":
        check_address_routes(self.route)
        check_names(self.table, self.local, self.hosted, self.database)
        check_accounts(self.accounts, self.table, self.database)
        for number, each in enumerate(self.listener):
            for place, name in enumerate(each.domain_tables):
                check_domain_tables(self.table, name, ("listener", number, "domain_tables", place))
            for place, name in enumerate(each.milters):
                check_filter(name, self.milter, "milter", ("listener", number, "milters", place))
            for place, name in enumerate(each.policy_services):
                check_filter(
                    name, self.policy_service, "policy_service", ("listener", number, "policy_services", place)
                )
        return self

    @model_validator(mode="after")
    def _one_directory(self) -> "FileTable":
        keys = filled(ComposedKeys, self)
        if keys.directory not in (None, keys.own_directory):
            message = f"names another directory than `directory` ({keys.directory})"
            raise wrong(message, "remove one of the two", at=("queue", "store"))
        return self

    @model_validator(mode="after")
    def _listeners_fit(self, info: ValidationInfo) -> "FileTable":
        keys = filled(ComposedKeys, self)
        if self.listener and is_written(self, declared(ComposedKeys)["listen"].key):
            addresses = ", ".join(f'"{each}"' for each in keys.listen)
            raise wrong(
                "is given together with [[listener]]",
                f'replace it by a table of its own: [[listener]] with role = "relay" and listen = [{addresses}]',
                at=("smtp", "listen"),
            )
        for number, each in enumerate(self.listener):
            role, domain = each.keys.role, each.keys.seals_as
            has_domains = each.keys.domains or each.domain_tables
            if role is Role.MX and not (has_domains or any(rule.accepts for rule in self.rule)):
                raise wrong(
                    "nobody could send here: an mx needs domains",
                    'add domains = ["example.org"]',
                    at=("listener", number, "role"),
                )
            if domain is not None and not any(_signs_for(name, domain) for name in self.dkim):
                raise wrong(
                    f"there is no key of {domain} to seal with",
                    f'add [dkim."{domain}"] with selectors; `letterlock dkim key {domain}` makes a key',
                    at=("listener", number, "seal_as"),
                )
            if role in SUBMITS and not (each.relay_networks or self.accounts.has_users):
                raise wrong(
                    f"nobody could send here: a {role} listener needs users or relay_networks",
                    'add [accounts] with file = "users", or relay_networks = ["192.0.2.0/24"] here',
                    at=("listener", number, "role"),
                )
            has_tls = each.certificate or keys.certificate
            if each.certificates and not has_tls:
                raise wrong(
                    "needs a certificate for clients that ask for no name, or for another one",
                    "give certificate and key here or in [smtp]",
                    at=("listener", number, "certificates"),
                )
            if role in SUBMITS and not has_tls and reads_secrets(info):
                raise wrong(
                    f"a {role} listener needs a certificate",
                    "give certificate and key here or in [smtp]",
                    at=("listener", number, "role"),
                )
        return self

    @model_validator(mode="after")
    def _schedules_fit(self) -> "FileTable":
        usual = filled(RetrySchedule, self)
        lifetime: float = getattr(self.queue, declared(ReceiveOptions)["expire_seconds"].key.name)
        _fits(usual.first_seconds, usual.maximum_seconds, "queue", "retry_max_seconds")
        routes = [("route", name, route) for name, route in self.route.items()]
        for table, name, route in (*routes, *(("sender_route", *each) for each in self.sender_route.items())):
            own = filled_row(RetrySchedule, "route", route, usual)
            _fits(own.first_seconds, own.maximum_seconds, table, name, "retry_max_seconds")
            if own.lifetime_seconds and own.lifetime_seconds > lifetime:
                raise wrong(
                    f"is longer than [queue] lifetime_seconds, {lifetime:g}, which ends all mail",
                    "raise [queue] lifetime_seconds, and give the other routes shorter ones",
                    at=(table, name, "lifetime_seconds"),
                )
        return self


def _signs_for(name: str, domain: str) -> bool:
    """Whether the keys of one domain sign for another: for itself and those below it."""
    return domain == name or domain.endswith(f".{name}")


def _fits(first: float, longest: float, *at: str) -> None:
    """A first wait that is longer than the longest one is not meant."""
    if first > longest:
        raise wrong(f"is shorter than the first wait, {first:g} seconds", "raise it, or lower retry_first_seconds", at)


TABLES: dict[str, type[BaseModel]] = {
    "": FileTable,
    "smtp": SmtpTable,
    "listener": ListenerTable,
    "rule": RecipientRuleTable,
    "rule.match": MatchTable,
    "accounts": AccountsTable,
    "queue": QueueTable,
    "resolver": ResolverTable,
    "resolver.negative": NegativeAnchorTable,
    "policy_server": PolicyServerTable,
    "delivery": DeliveryTable,
    "mail_authentication": MailAuthenticationTable,
    "metrics": MetricsTable,
    "statistics": StatisticsTable,
    "tls_reports": TlsReportsTable,
    "dmarc_reports": DmarcReportsTable,
    "memory": MemoryTable,
    "domain": RuleTable,
    "domain.exception": RuleExceptionTable,
    "sender": SenderTable,
    "dkim": DkimTable,
    "route": RouteTable,
    "sender_route": SenderRouteTable,
    "database": DatabaseTable,
    "table": LookupTable,
    "local": LocalTable,
    "hosted": HostedTable,
    "milter": MilterTable,
    "limit": LimitTable,
    "dns_list": DnsListTable,
    "policy_service": PolicyServiceTable,
    "forwarding": ForwardingTable,
}


_WITH_RULES = ("domain", "sender", "route", "sender_route")


def table_of(path: Iterable[str]) -> str:
    """The key of TABLES for the path of a table in the file; names of domains in it are passed over."""
    name = ""
    for part in path:
        below = f"{name}.{part}" if name else part
        below = "domain.exception" if name in _WITH_RULES and part == "exception" else below
        name = below if below in TABLES else name
    return name


def known_keys(path: tuple[str, ...]) -> dict[str, str]:
    """The keys that a table of the file may have, with their descriptions; of one in a line, such as `login`, too."""
    name = table_of(path)
    model, fields = TABLES[name], TABLES[name].model_fields
    for part in path:
        inner = _model_in(fields[part].annotation) if part in fields else None
        if inner is not None and inner not in TABLES.values():
            model, fields = inner, inner.model_fields
    return {key: each.description or "" for key, each in model.model_fields.items()}


def _model_in(annotation: object) -> type[BaseModel] | None:
    """The table that a field has: itself, in a list, or if it is given."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _model_in(each)) is not None), None)
