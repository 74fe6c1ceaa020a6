"""The file, as pydantic sees it: its tables with their defaults and descriptions, from which the reference is made."""

import ipaddress
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import BaseModel, Field, PrivateAttr, ValidationInfo, model_validator

from letterlock.config.key_file import KeyFile, reads_secrets
from letterlock.config.mistakes import wrong
from letterlock.config.rules import (
    ByDomain,
    RouteTable,
    RuleExceptionTable,
    RuleTable,
    SenderTable,
    Table,
)
from letterlock.config.trust import Roots
from letterlock.config.values import (
    AnchorFile,
    ClientNetwork,
    DomainName,
    DropPath,
    EhloKeywords,
    FilePath,
    IpAddress,
    ListenEndpoint,
    MailAddress,
    Moment,
    Octets,
    Port,
    Seconds,
    Sources,
    UpstreamAddress,
    UserName,
    endpoint,
)
from letterlock.net.sources import ANY_SOURCE
from letterlock.net.tls import BadCertificate, ServerContext

DEFAULT_LISTEN = "127.0.0.1:2525"


class SmtpTable(Table):
    """Receiving mail."""

    listen: list[ListenEndpoint] = Field(
        [endpoint(DEFAULT_LISTEN)],
        min_length=1,
        description="Addresses and ports to listen on. A link-local address needs its interface: `[fe80::1%eth0]:25`. "
        'An IPv6 address, `[::]` too, takes IPv6 only: for both write `["0.0.0.0:25", "[::]:25"]`.',
    )
    certificate: FilePath | None = Field(
        None, description="PEM file of the server's certificate and its intermediates; with `key`, STARTTLS is offered."
    )
    key: FilePath | None = Field(None, description="PEM file of the private key.")
    relay_networks: list[ClientNetwork] = Field(
        [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")],
        description="Clients that may send to anybody. Nobody else may relay. Unset: this machine, by loopback or by "
        "whichever of its addresses it comes to.",
    )
    tls_required_no_networks: list[ClientNetwork] | None = Field(
        None,
        description="Clients whose header `TLS-Required: No` (RFC 8689) counts; `[]`: nobody's. It lifts DANE and "
        "MTA-STS for that message, and never your own rules unless they say so. Unset: all that may relay.",
    )
    postmaster: MailAddress | None = Field(
        None,
        description="Who gets mail for `<postmaster>`, which every server must accept, from anybody (RFC 5321 "
        "section 4.5.1). Unset: `postmaster@` and the `hostname`, wherever mail for that name goes.",
    )
    own_addresses: list[IpAddress] = Field(
        [],
        max_length=100,
        description="Public addresses that lead to this server where a router translates them (NAT): mail whose MX "
        "host has one of them would come back here, and is not sent. The addresses of this machine are known.",
    )
    max_message_octets: Octets = Field(26_214_400, description="Largest message accepted (SIZE).")
    max_line_octets: int = Field(
        1000,
        ge=1000,
        le=1 << 20,
        description="Longest line of a message, its end included. RFC 5321 section 4.5.3.1.6 promises 1000, and other "
        "servers may refuse more. Longer lines are passed on as they are, for a signature to stay valid.",
    )
    accept_nul: bool = Field(
        False,
        description="Accept messages with NUL octets and pass them on. MIME forbids them (RFC 2045 section 2.8), and "
        "some servers end the message at the first.",
    )
    max_recipients: int = Field(1000, ge=100, le=100_000, description="Most recipients of one message.")
    max_connections: int = Field(500, ge=1, le=100_000, description="Most connections at once.")
    max_connections_per_client: int = Field(
        100,
        ge=1,
        le=100_000,
        description="Most connections of one client at once. With several workers each takes its part, at least one, "
        "and may turn a client away that has not reached the sum.",
    )
    command_timeout_seconds: Seconds = Field(300, description="How long a client may be silent (RFC 5321 4.5.3.2).")
    message_timeout_seconds: Seconds = Field(3600, description="How long one message may take to arrive.")
    _context: ServerContext | None = PrivateAttr(None)

    @property
    def context(self) -> ServerContext | None:
        """The certificate and its key, loaded."""
        return self._context

    @model_validator(mode="after")
    def _load_certificate(self, info: ValidationInfo) -> "SmtpTable":
        if (self.certificate is None) != (self.key is None):
            given, missing = ("certificate", "key") if self.key is None else ("key", "certificate")
            raise wrong(f"{given} is given, but {missing} is not", "STARTTLS needs both", at=given)
        if self.certificate and self.key and reads_secrets(info):
            try:
                self._context = ServerContext.load(self.certificate, self.key)
            except BadCertificate as error:
                raise wrong(str(error), at="certificate") from None
        return self


class QueueTable(Table):
    """Keeping mail, and trying again."""

    directory: FilePath | None = Field(
        None,
        description="Where the queue lives. Unset: `$XDG_STATE_HOME/letterlock`, else `~/.local/state/letterlock`.",
    )
    drop_directory: DropPath = Field(
        None,
        description="Where `letterlock-sendmail` leaves mail while the server takes none; everybody may write there. "
        "`false`: nowhere. Unset: beside the queue's directory, with `-drop` at its name.",
    )
    key_file: KeyFile = Field(
        None,
        description="A file with a key of 32 octets in base64: contents are encrypted on the disk with it. "
        "Addresses are not.",
    )
    min_free_octets: Annotated[int, Field(ge=0, le=1 << 50)] | None = Field(
        None,
        description="New mail is answered with 452 while the disk has less room than this. "
        "Unset: one and a half times `[smtp] max_message_octets`.",
    )
    retry_first_seconds: Seconds = Field(300, description="Wait before the second attempt; it grows from there.")
    retry_max_seconds: Seconds = Field(4000, description="Longest wait between two attempts.")
    delay_notice_seconds: float = Field(
        4 * 3600, ge=0, le=30 * 86400, description="When a sender is told, once, that a message waits; 0: never."
    )
    lifetime_seconds: Seconds = Field(
        5 * 86400,
        description="How long delivery is tried, from the first attempt; then mail goes back. "
        "No time passes while the machine is off.",
    )


class NegativeAnchorTable(Table):
    """A signed zone to be taken for unsigned for a while (RFC 7646), because its operator broke it."""

    reason: str = Field(min_length=1, max_length=500, description="Why; it is shown wherever the zone is met.")
    until: Moment = Field(description="When this ends: a date or a time, such as `2027-01-31`.")


class ResolverTable(Table):
    """Validated DNS."""

    upstream: list[UpstreamAddress] = Field(
        [],
        max_length=16,
        description="Resolvers to ask: `ADDRESS`, `ADDRESS:PORT`, `[ADDRESS]:PORT`, or over TLS (RFC 7858) "
        "`tls://ADDRESS#NAME`, `tls://ADDRESS#pin-sha256=BASE64`. A link-local address needs its interface: "
        "`fe80::1%eth0`. Unset: those of /etc/resolv.conf.",
    )
    anchors: list[AnchorFile] = Field(
        [],
        max_length=16,
        description="Files of DS or DNSKEY records to trust. Unset: the root's keys of 2017 and 2024.",
    )
    timeout_seconds: Annotated[float, Field(ge=0.1, le=60)] = Field(10, description="How long one query may take.")
    sha1: bool = Field(
        True, description="Accept signatures with SHA-1 (algorithms 5 and 7). Off: such zones are insecure."
    )
    negative: dict[DomainName, NegativeAnchorTable] = Field({}, max_length=1000)


class DeliveryTable(Table):
    """Sending mail."""

    port: Port = Field(25, description="Port of the MX hosts; TLSA records are asked for this port.")
    max_concurrent: int = Field(50, ge=1, le=10_000, description="Most deliveries at once.")
    max_concurrent_per_destination: int = Field(
        10, ge=1, le=10_000, description="Most deliveries at once to a domain, or to where routes lead several."
    )
    max_handshakes_per_host: int = Field(
        4,
        ge=1,
        le=10_000,
        description="Most sessions being set up at once with one host name, and with one address: TCP, greeting, TLS.",
    )
    source_address: Sources = Field(
        ANY_SOURCE,
        description="Send from these addresses: at most one IPv4 and one IPv6 address. With one only, the other family "
        "is not used. Unset: the system chooses.",
    )
    ignore_ehlo: EhloKeywords = Field(
        [],
        description='Extensions that are not used though servers offer them, such as `"CHUNKING"`. A server that '
        "breaks on CHUNKING or PIPELINING is found out without this.",
    )
    connect_timeout_seconds: Seconds = Field(30, description="How long a connection may take to be made.")
    idle_seconds: float = Field(
        5, ge=0, le=300, description="How long a session is kept for the next message; 0: a session for each message."
    )
    loopback_hosts: bool = Field(
        False,
        description="Send to MX hosts and address literals on this machine (127.0.0.0/8, `::1`, `0.0.0.0`, `::`), "
        "for a laboratory. Off: only a `[route]` leads to them; such an address is else a mistake or an attack.",
    )
    mta_sts: bool = Field(True, description="Honour the MTA-STS policies of domains (RFC 8461).")
    mta_sts_port: Port = Field(443, description="Port of the hosts that serve the policies; another for a laboratory.")
    public_roots: Roots | None = Field(
        None, description="PEM file with the authorities that MTA-STS and REQUIRETLS trust. Unset: the system's."
    )


class FileTable(Table):
    """The top of the file."""

    hostname: DomainName | None = Field(
        None, description="The name this server goes by: greeting, EHLO, Received, DSNs. Unset: the system's."
    )
    user: UserName | None = Field(
        None, description="Started as root, become this user once the sockets are bound and the keys are read."
    )
    workers: Literal["auto"] | Annotated[int, Field(ge=1, le=64)] = Field(
        1,
        description='Processes that share the work, each with a queue of its own; `"auto"`: one per processor. '
        "Each has an equal part of every limit on connections and deliveries, but at least one.",
    )
    memory_octets: int | None = Field(
        None,
        ge=1 << 20,
        le=1 << 40,
        description="Most memory for the contents of messages, half of it for mail that comes in and half for mail "
        "that goes out: beyond it, mail waits or is put off with 452. One largest message of each always fits. Unset: "
        "a quarter of the memory of the machine or its control group, between 128 MiB and 1 GiB.",
    )
    smtp: SmtpTable = Field(default_factory=lambda: SmtpTable.model_validate({}))
    queue: QueueTable = Field(default_factory=lambda: QueueTable.model_validate({}))
    resolver: ResolverTable = Field(default_factory=lambda: ResolverTable.model_validate({}))
    delivery: DeliveryTable = Field(default_factory=lambda: DeliveryTable.model_validate({}))
    domain: ByDomain[RuleTable] = Field({})
    sender: ByDomain[SenderTable] = Field({})
    route: ByDomain[RouteTable] = Field({})

    @model_validator(mode="after")
    def _schedules_fit(self) -> "FileTable":
        queue = self.queue
        _fits(queue.retry_first_seconds, queue.retry_max_seconds, "queue", "retry_max_seconds")
        for name, route in self.route.items():
            first = route.retry_first_seconds or queue.retry_first_seconds
            _fits(first, route.retry_max_seconds or queue.retry_max_seconds, "route", name, "retry_max_seconds")
            if route.lifetime_seconds and route.lifetime_seconds > queue.lifetime_seconds:
                raise wrong(
                    f"is longer than [queue] lifetime_seconds, {queue.lifetime_seconds:g}, which ends all mail",
                    "raise [queue] lifetime_seconds, and give the other routes shorter ones",
                    at=("route", name, "lifetime_seconds"),
                )
        return self


def _fits(first: float, longest: float, *at: str) -> None:
    """A first wait that is longer than the longest one is not meant."""
    if first > longest:
        raise wrong(f"is shorter than the first wait, {first:g} seconds", "raise it, or lower retry_first_seconds", at)


TABLES: dict[str, type[BaseModel]] = {
    "": FileTable,
    "smtp": SmtpTable,
    "queue": QueueTable,
    "resolver": ResolverTable,
    "resolver.negative": NegativeAnchorTable,
    "delivery": DeliveryTable,
    "domain": RuleTable,
    "domain.exception": RuleExceptionTable,
    "sender": SenderTable,
    "route": RouteTable,
}


_WITH_RULES = ("domain", "sender", "route")


def table_of(path: Iterable[str]) -> str:
    """The key of TABLES for the path of a table in the file; names of domains in it are passed over."""
    name = ""
    for part in path:
        below = f"{name}.{part}" if name else part
        below = "domain.exception" if name in _WITH_RULES and part == "exception" else below
        name = below if below in TABLES else name
    return name


def known_keys(path: tuple[str, ...]) -> list[str]:
    """The keys that a table of the file may have."""
    return list(TABLES[table_of(path)].model_fields)
