"""The tables of rules and routes, and what the policy gets of them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field, PlainValidator, model_validator

from letterlock.config.checked_values import (
    Moment,
    Port,
    RuleOfTls,
    UserName,
    distinct,
    domain_name,
    text_of,
)
from letterlock.config.declared import Table, filled_row, rows_of
from letterlock.config.login_table import LoginTable
from letterlock.config.mistakes import Lines, wrong
from letterlock.config.trust_files import system_roots
from letterlock.deliver.route_settings import RouteSettings
from letterlock.mail.addresses import InvalidAddress, parse_mailbox
from letterlock.mail.names import InvalidName, canonical_literal, is_address_literal, is_ip_address, normalise
from letterlock.policy.implicit import IMPLICIT_PORT
from letterlock.queue.settle import RetrySchedule
from letterlock.routing.address_routes import AddressRoutes
from letterlock.routing.destination_rule import DestinationRule, MemoryMode, RuleException, TlsRule
from letterlock.routing.local_targets import (
    BadFinalHop,
    CommandHop,
    FinalHop,
    LmtpHost,
    Maildir,
    ReportBox,
    parse_final_hop,
)
from letterlock.routing.routes import RelayHost
from letterlock.routing.rules import Rules
from letterlock.sasl.client_login import Credentials

MAX_COMMAND_SECONDS = 3600.0  # of one command: what takes longer should take the message and work later
MAX_RULES = 100_000  # chosen: more than anybody writes by hand, and still read in seconds
_T = TypeVar("_T")


def _rule_domain(value: object) -> str:
    """A domain, everything below one (`*.example.org` or `.example.org`), an address literal, or everything (`*`)."""
    text = text_of(value)
    if text == "*":
        return text
    if is_address_literal(text):
        return _literal(text)
    if text.startswith((".", "*.")):
        return "*." + domain_name(text.removeprefix("*").removeprefix("."))
    return domain_name(text)


def _route_name(value: object) -> str:
    """As for rules, or a single address, in lower case."""
    text = text_of(value)
    if "@" not in text:
        return _rule_domain(text)
    try:
        mailbox = parse_mailbox(text)
    except InvalidAddress as error:
        raise wrong(f"{text!r} is no address: {error}", 'write "info@example.org"') from None
    return f"{mailbox.local_part.lower()}@{mailbox.domain}"


def _literal(text: str) -> str:
    try:
        return canonical_literal(text)
    except InvalidName as error:
        raise wrong(str(error), 'write "[192.0.2.1]" or "[IPv6:2001:db8::1]"') from None


_RuleDomain = Annotated[str, PlainValidator(_rule_domain, json_schema_input_type=str)]
_RouteName = Annotated[str, PlainValidator(_route_name, json_schema_input_type=str)]
ByRoute = Annotated[dict[_RouteName, _T], BeforeValidator(distinct(_route_name)), Field(max_length=MAX_RULES)]
ByDomain = Annotated[dict[_RuleDomain, _T], BeforeValidator(distinct(_route_name)), Field(max_length=MAX_RULES)]


class RuleExceptionTable(Table):
    """Your permission for less than is demanded, until a date: the only way to lower what a standard demands."""

    reason: str = Field(min_length=1, max_length=200, description="Why; shown wherever the exception is used.")
    until: Moment = Field(description="The date at which it ends, UTC.")
    allow: Literal["encrypted", "clear"] = Field(
        "encrypted", description="`encrypted`: TLS with any certificate. `clear`: cleartext too, where TLS fails."
    )


if TYPE_CHECKING:  # models are made when the program runs: to the type checker they are tables
    RuleKeys = Table
else:
    RuleKeys = rows_of("domain", [DestinationRule])


def _tls_or_memory(schema: dict[str, Any], table: type[Any]) -> None:
    """What `_consistent` wants of a rule, for editors."""
    if table.demands:
        schema["anyOf"] = [{"required": ["tls"]}, {"required": ["memory"]}]


class RuleTable(RuleKeys):
    """Your demands on mail to a domain, in addition to what the standards demand."""

    model_config = ConfigDict(json_schema_extra=_tls_or_memory)
    demands: ClassVar[bool] = True  # it is there to demand something; a route has other purposes too
    mode: Literal["enforce", "audit"] = Field(
        "enforce",
        description="`audit`: judge by the rule and log what it would have held, but hold nothing.",
    )
    tls_required_no: Literal["hold", "lift"] = Field(
        "hold",
        description="The effect of the header `TLS-Required: No` (RFC 8689) on this rule. `hold`: none; the header "
        "lifts only what the recipients' domain asserts, DANE and MTA-STS. `lift`: the message goes without it.",
    )
    exception: RuleExceptionTable | None = None

    @property
    def keys(self) -> DestinationRule:
        """The keys that are declared beside the fields of a rule; of which domain is added later."""
        return filled_row(DestinationRule, "domain", self, domain="", source="")

    @model_validator(mode="after")
    def _consistent(self) -> "RuleTable":
        keys = self.keys
        if (
            self.demands and "tls" not in self.model_fields_set and keys.memory is None
        ):  # else a rule that demands nothing would be one
            raise wrong("is missing", 'write tls = "require-tls", "verify", "dane-only" or "may"', at="tls")
        for key in ("names", "trust", "fingerprints"):
            if getattr(keys, key) and keys.tls is not TlsRule.VERIFY:
                raise wrong(f'{key} means something only beside tls = "verify"', f"remove {key}, or change tls", at=key)
        if keys.minimum_version and keys.tls is TlsRule.MAY:
            hint = "cleartext would still pass: demand TLS first, by require-tls, verify or dane-only"
            raise wrong('minimum_version means nothing beside tls = "may"', hint, at="minimum_version")
        return self


class SenderTable(RuleTable):
    """The same for mail from a domain, wherever it goes. If several rules apply, the strictest one counts."""

    @model_validator(mode="after")
    def _no_exception(self) -> "SenderTable":
        if self.exception is not None:
            raise wrong("exceptions are for next hops", 'write it under [domain."..."]', at="exception")
        return self


_NEXT_HOPS = 'write "relay.example.net" (its MX hosts), "[relay.example.net]" (that host itself) or "[192.0.2.1]"'

_FINAL_HOPS = 'write "lmtp:/run/dovecot/lmtp", "lmtp:[127.0.0.1]:24" or "maildir:/var/mail/{domain}/{local}"'
_NextHop = tuple[str, bool] | FinalHop | LmtpHost


def _next_hop(value: object) -> _NextHop:
    """A domain or an address literal, and whether it is the host itself (it stood in brackets); or where mail ends."""
    text = text_of(value)
    try:
        found = parse_final_hop(text)
    except BadFinalHop as error:
        hint = 'write "command:/usr/local/bin/ticket --new"' if text.startswith("command:") else _FINAL_HOPS
        raise wrong(f"{text!r} is not a next hop: {error}", hint) from None
    return found or _relay_host(text)


def _final_hop(value: object) -> FinalHop:
    """Where mail ends on this machine."""
    found = _next_hop(value)
    if not isinstance(found, FinalHop):
        raise wrong(f"{text_of(value)!r} is no place on this machine", _FINAL_HOPS)
    return found


def _relay_host(text: str) -> tuple[str, bool]:
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else None
    if is_ip_address(text) or (inner and ":" in inner and is_ip_address(inner)):
        address = inner or text
        raise wrong(f"{text!r} is not a next hop", f'write "[{"IPv6:" * (":" in address)}{address}]"')
    try:
        if inner is None:
            return normalise(text), False
        if is_ip_address(inner) or inner[:5].lower() == "ipv6:":
            return canonical_literal(text), False
        return normalise(inner), True
    except InvalidName:
        host, colon, port = text.rpartition(":")
        if re.match(r"[a-z]+:/(?!/)", text):
            raise wrong(f"{text!r} is not a next hop", _FINAL_HOPS) from None
        hint = f'write next_hop = "{host}" and port = {port}' if colon and port.isdigit() and host else _NEXT_HOPS
        raise wrong(f"{text!r} is not a next hop", hint) from None


HereHop = Annotated[FinalHop, PlainValidator(_final_hop, json_schema_input_type=str)]
_OF_COMMANDS = ("command_user", "command_timeout_seconds", "command_memory_octets")
_MEANT_ANYWHERE = {
    "next_hop",
    "create_mailboxes",
    "retry_first_seconds",
    "retry_max_seconds",
    "lifetime_seconds",
    "max_concurrent",
    "ignore_ehlo",
    *_OF_COMMANDS,
}


if TYPE_CHECKING:
    RouteKeys = RuleTable
else:
    RouteKeys = rows_of("route", [RetrySchedule, RouteSettings], RuleTable)


class RouteTable(RouteKeys):
    """Where mail for a domain goes instead of its own MX hosts, and what you demand there; `"*"` is all other mail."""

    demands: ClassVar[bool] = False
    next_hop: Annotated[_NextHop, PlainValidator(_next_hop, json_schema_input_type=str)] = Field(
        description='`"relay.example.net"`: the MX hosts of that domain. `"[relay.example.net]"`: that host itself. '
        '`"[192.0.2.1]"`, `"[IPv6:2001:db8::1]"`: that address, for which there is no DANE. Where mail ends: '
        '`"lmtp:/run/dovecot/lmtp"` or `"lmtp:[127.0.0.1]:24"`, an LMTP server on this machine; '
        '`"maildir:/var/mail/{domain}/{local}"`, a Maildir for each recipient; `"command:/PATH ARGUMENT"`, a program '
        'that reads each message; `"reports:"`, '
        "the TLS and DMARC reports of others, read and "
        'kept for `letterlock reports`. `"lmtp:[mail.example.net]:24"`: an LMTP '
        "server on another host, which must offer TLS."
    )
    create_mailboxes: bool = Field(
        False, description="With `maildir:`: create a mailbox when its first mail arrives. Off: unknown addresses fail."
    )
    command_user: UserName | None = Field(
        None,
        description="With `command:`: run it as this user, for which the service needs CAP_SETUID and CAP_SETGID. "
        "Unset: as the user of the server.",
    )
    command_timeout_seconds: float = Field(
        300.0,
        gt=0,
        le=MAX_COMMAND_SECONDS,
        description="With `command:`: how long it may run, and how much CPU time it may take; then it is ended, with "
        "all that it started, and mail waits.",
    )
    command_memory_octets: int = Field(
        512 << 20,
        ge=16 << 20,
        le=1 << 40,
        description="With `command:`: how much memory (address space) each of its processes may take.",
    )
    port: Port | None = Field(None, description="Its port; TLSA records are asked for it. Unset: `[delivery] port`.")
    implicit_tls: bool = Field(
        False,
        description="TLS begins with the first byte there (RFC 8314 section 3), without STARTTLS and never in "
        "cleartext. Its port is then 465 if `port` is unset.",
    )
    tls: RuleOfTls = Field(
        TlsRule.MAY,
        description="The demand on the next hop; the same values as for a domain. Unset, with LMTP on another "
        "host: `require-tls`.",
    )
    max_concurrent: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Most deliveries at once to its next hop; of routes that lead to one, the lowest counts. Unset: "
        "`[delivery] max_concurrent_per_destination`.",
    )

    login: LoginTable | None = Field(
        None,
        description="Log in at the next hop: `{ user = ..., password_file = ... }`. The password is sent only inside "
        "TLS that is authenticated for the host, so `tls` must be `verify` or `dane-only`.",
    )

    def final_hop(self, hop: FinalHop) -> FinalHop:
        """Where mail ends, with what the table says of it."""
        if isinstance(hop, Maildir):
            return replace(hop, create=self.create_mailboxes)
        if isinstance(hop, CommandHop):
            return replace(
                hop,
                user=self.command_user,
                seconds=self.command_timeout_seconds,
                memory_octets=self.command_memory_octets,
            )
        return hop

    @property
    def credentials(self) -> Credentials | None:
        """Who logs in, where secrets are read."""
        return None if self.login is None else self.login.credentials

    @model_validator(mode="after")
    def _login_is_protected(self) -> "RouteTable":
        if self.login is None:
            return self
        if self.keys.tls not in (TlsRule.VERIFY, TlsRule.DANE_ONLY):
            hint = 'add tls = "verify", with names if the certificate has other ones than the host'
            raise wrong("a login is only sent to a server that is authenticated", hint, at="login")
        if self.exception is not None:
            raise wrong(
                "a login cannot go with an exception, under which TLS may fail", "remove one of the two", at="login"
            )
        if self.mode == "audit":
            raise wrong("a login needs a rule that is enforced", 'remove mode = "audit"', at="mode")
        return self

    @model_validator(mode="after")
    def _fits_its_next_hop(self) -> "RouteTable":
        hop, written = self.next_hop, self.model_fields_set
        if isinstance(hop, FinalHop) and (others := sorted(written - _MEANT_ANYWHERE)):
            raise wrong(f"{others[0]} means nothing where mail ends on this machine", "remove it", at=others[0])
        if "create_mailboxes" in written and not isinstance(hop, Maildir):
            raise wrong("create_mailboxes means nothing but beside maildir:", "remove it", at="create_mailboxes")
        if "ignore_ehlo" in written and isinstance(hop, Maildir | ReportBox | CommandHop):
            raise wrong("ignore_ehlo counts for servers only", "remove it", at="ignore_ehlo")
        for key in _OF_COMMANDS:
            if key in written and not isinstance(hop, CommandHop):
                raise wrong(f"{key} counts for command: only", "remove it", at=key)
        if isinstance(hop, LmtpHost) and "implicit_tls" in written:
            raise wrong("LMTP goes to another host with STARTTLS only", "remove it", at="implicit_tls")
        if isinstance(hop, LmtpHost) and self.port is not None:
            raise wrong("an LMTP server's port is written in next_hop", f'"lmtp:[…]:{self.port}"', at="port")
        if isinstance(hop, LmtpHost) and "tls" in written and self.keys.tls is TlsRule.MAY and self.exception is None:
            hint = 'remove it, for "require-tls"; or write an exception with the reason why cleartext may pass'
            raise wrong("LMTP goes to another host inside TLS only", hint, at="tls")
        return self


class SenderRouteTable(RouteTable):
    """The same by the sender's domain: for mail that no `[route]` but `"*"` leads elsewhere."""


def rules(
    domains: Mapping[str, RuleTable],
    senders: Mapping[str, SenderTable],
    routes: Mapping[str, RouteTable],
    sender_routes: Mapping[str, RouteTable],
    source: str,
    lines: Lines,
    memory: MemoryMode = MemoryMode.OBSERVE,
) -> Rules:
    """The tables as the policy wants them."""

    def placed(table: str, names: Iterable[str]) -> dict[str, str]:
        found = {_route_name(path[1]): line for path, line in lines.items() if len(path) == 2 and path[0] == table}
        return {name: f"{source}:{found[name]}" if name in found else source for name in names}

    of_domain, of_sender, of_route = placed("domain", domains), placed("sender", senders), placed("route", routes)
    of_sender_route = placed("sender_route", sender_routes)
    return Rules(
        {name: _rule(name, table, of_domain[name]) for name, table in domains.items()},
        {name: _rule(name, table, of_sender[name]) for name, table in senders.items()},
        {name: _relay(name, table, of_route[name]) for name, table in routes.items() if "@" not in name},
        {name: _relay(name, table, of_sender_route[name]) for name, table in sender_routes.items()},
        memory,
    )


def address_routes(
    routes: Mapping[str, RouteTable], delimiters: Mapping[str, str], source: str, lines: Lines
) -> AddressRoutes:
    """The routes of single addresses; `delimiters` are those of local domains."""
    placed = {_route_name(path[1]): line for path, line in lines.items() if len(path) == 2 and path[0] == "route"}
    found = {name: table for name, table in routes.items() if "@" in name}
    made = {
        name: _relay(name, table, f"{source}:{placed[name]}" if name in placed else source)
        for name, table in found.items()
    }
    return AddressRoutes(made, delimiters)


def check_address_routes(routes: Mapping[str, RouteTable]) -> None:
    """What a route of a single address may say. Raises a mistake."""
    for name, table in routes.items():
        if "@" not in name:
            continue
        if not isinstance(table.next_hop, FinalHop):
            hint = f'write "maildir:/PATH", "command:/PATH" or "lmtp:/SOCKET"; or, to go elsewhere, an alias for {name}'
            why = "a single address can only be led to a place on this machine"
            raise wrong(why, hint, at=("route", name, "next_hop"))
        if others := sorted(table.model_fields_set - {"next_hop", "create_mailboxes", *_OF_COMMANDS}):
            raise wrong(f"{others[0]} counts for whole domains only", "remove it", at=("route", name, others[0]))


def _rule(domain: str, table: RuleTable, source: str) -> DestinationRule:
    exception, keys = table.exception, table.keys
    return replace(
        keys,
        domain=domain,
        source=source,
        trust=keys.trust or (system_roots() if keys.tls is TlsRule.VERIFY else None),
        audit=table.mode == "audit",
        exception=RuleException(allow_clear=exception.allow == "clear", why=exception.reason, until=exception.until)
        if exception
        else None,
        lifted_by_header=table.tls_required_no == "lift",
    )


def _relay(domain: str, table: RouteTable, source: str) -> RelayHost:
    hop = table.next_hop
    if isinstance(hop, FinalHop):
        final = table.final_hop(hop)
        return RelayHost(domain=str(final), source=source, is_host=True, final=final)
    if isinstance(hop, LmtpHost):
        return _lmtp_host(domain, hop, table, source)
    next_hop, is_host = hop
    keys = table.keys
    demands = keys.tls is not TlsRule.MAY or table.exception is not None or keys.memory is not None
    return RelayHost(
        domain=next_hop,
        is_host=is_host,
        port=table.port or (IMPLICIT_PORT if table.implicit_tls else None),
        source=source,
        rule=_rule(domain, table, source) if demands else None,
        implicit_tls=table.implicit_tls,
    )


def next_hop_name(table: RouteTable) -> str:
    """The name of a route's next hop: the `domain` of its RelayHost."""
    hop = table.next_hop
    if isinstance(hop, FinalHop):
        return str(hop)
    return hop.domain if isinstance(hop, LmtpHost) else hop[0]


def _lmtp_host(domain: str, host: LmtpHost, table: RouteTable, source: str) -> RelayHost:
    """LMTP to another host: TLS is demanded, unless an exception gives a reason."""
    rule = _rule(domain, table, source)
    if rule.tls is TlsRule.MAY:
        rule = replace(rule, tls=TlsRule.REQUIRE_TLS)
    is_host = not is_address_literal(host.domain)
    return RelayHost(domain=host.domain, source=source, is_host=is_host, port=host.port, rule=rule, lmtp=True)
