"""The frozen options of each room. Each key of the file is declared here, or in the room that uses it."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from letterlock.companion.options import PolicyServerOptions, ResolverDoorOptions
from letterlock.config.account_keys import AccountKeys
from letterlock.config.capacity import Capacity
from letterlock.config.checked_values import (
    AnchorFile,
    DnsEndpoint,
    DomainName,
    DoorEndpoint,
    DropPath,
    Endpoint,
    FilePath,
    HostName,
    IpAddress,
    ListenEndpoint,
    MetricsAddress,
    Port,
    StoreText,
    UserName,
    Workers,
    endpoint,
)
from letterlock.config.key_file import KeyFile
from letterlock.config.trust_files import Roots
from letterlock.deliver.options import DeliverOptions, Timeouts
from letterlock.deliver.route_settings import RouteSettings, SettingsByRoute
from letterlock.keys import Key
from letterlock.net.dns import Upstream
from letterlock.net.sources import SourceAddresses
from letterlock.queue.settle import RetrySchedule
from letterlock.receive.authenticate_mail import MailAuthenticationOptions
from letterlock.receive.options import ReceiveOptions
from letterlock.receive.profiles import Profile
from letterlock.report.reporting_options import ReportingOptions
from letterlock.resolver import ALGORITHMS, NegativeAnchor, TrustAnchor
from letterlock.routing.destination_rule import MemoryMode
from letterlock.routing.local_targets import CommandHop, Maildir
from letterlock.routing.rules import Rules
from letterlock.shared_defaults import DEFAULT_LISTEN, SYSTEM_STATE
from letterlock.shares import DIVIDED, EACH
from letterlock.statistics.statistics_options import StatisticsOptions
from letterlock.store.engines import ENGINES, StoreAddress

Sources = tuple[tuple[str, int | None, SourceAddresses], ...]
"""Keys of the file with their lines, and the addresses that they name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposedKeys:
    """Keys that fill no field as they stand: `building` makes the options' fields of them, most of several."""

    hostname: Annotated[
        HostName | None,
        Key(
            "hostname",
            "The name this server goes by: greeting, EHLO, Received, DSNs. Unset: the system's.",
            restart=True,
        ),
    ] = None
    workers: Annotated[
        Literal["auto"] | Workers,
        Key(
            "workers",
            'Processes that share the work, each with a queue of its own; `"auto"`: one per processor. '
            "Each has an equal part of every limit on connections and deliveries, but at least one.",
            restart=True,
        ),
    ] = 1
    memory_octets: Annotated[
        int | None,
        DIVIDED,
        Key(
            "memory_octets",
            "Most memory for the contents of messages, half of it for mail that comes in and half for mail "
            "that goes out: beyond it, mail waits or is put off with 452. A message of more than 2 MiB has only its "
            "header and what is being transferred in memory. "
            "Unset: a quarter of the memory of the machine or its control group, between 128 MiB and 1 GiB.",
            least=1 << 20,
            most=1 << 40,
            restart=True,
        ),
    ] = None
    max_concurrent: Annotated[
        int | None,
        DIVIDED,
        Key(
            "delivery.max_concurrent",
            "Most deliveries at once. Unset: 500 for each processor that a worker uses, fewer where memory or file "
            "descriptors are scarce, between 50 and 5,000.",
            least=1,
            most=10_000,
        ),
    ] = None
    max_idle_sessions: Annotated[
        int | None,
        DIVIDED,
        Key(
            "delivery.max_idle_sessions",
            "Most sessions kept for the next message; the one idle for longest is ended for another one. "
            "Unset: as many as `max_concurrent`, and at least 100.",
            least=1,
            most=100_000,
        ),
    ] = None
    max_connections_per_host: Annotated[
        int | None,
        DIVIDED,
        Key(
            "delivery.max_connections_per_host",
            "Most sessions at once with one host name, and with one address, however many domains it serves. "
            "Unset: 20, or as many as one destination may have, if that is more.",
            least=1,
            most=10_000,
        ),
    ] = None
    listen: Annotated[
        tuple[ListenEndpoint, ...],
        Key(
            "smtp.listen",
            "Addresses and ports of the only listener, a `relay`: the short form of one `[[listener]]`. "
            "A link-local address needs its interface: `[fe80::1%eth0]:25`. "
            'An IPv6 address, `[::]` too, takes IPv6 only: for both write `["0.0.0.0:25", "[::]:25"]`.',
            least=1,
            restart=True,
        ),
    ] = tuple(endpoint(each) for each in DEFAULT_LISTEN)
    resolver_listen: Annotated[
        tuple[DnsEndpoint, ...],
        Key(
            "resolver.listen",
            "Where other programs may ask for validated DNS over UDP and TCP, such as `127.0.0.1:53`: the resolver "
            "door. Unset: nowhere.",
            most=16,
            restart=True,
        ),
    ] = ()
    policy_listen: Annotated[
        tuple[DoorEndpoint, ...],
        Key(
            "policy_server.listen",
            "Where Postfix asks for TLS policies and transports by socketmap: addresses and ports, and UNIX sockets, "
            '`"unix:/var/spool/postfix/private/letterlock"`. Unset: nowhere.',
            most=16,
            restart=True,
        ),
    ] = ()
    policy_local_domains: Annotated[
        tuple[DomainName, ...],
        Key(
            "policy_server.local_domains",
            "Domains whose mail Postfix delivers itself or receives for others: the map `transport` never sends it "
            "through the relay door.",
            most=10_000,
        ),
    ] = ()
    certificate: Annotated[
        FilePath | None,
        Key(
            "smtp.certificate",
            "PEM file of the server's certificate and its intermediates; with `key`, TLS is offered.",
        ),
    ] = None
    key: Annotated[FilePath | None, Key("smtp.key", "PEM file of the private key.")] = None
    directory: Annotated[
        FilePath | None,
        Key(
            "queue.directory",
            "The queue's directory. Unset: `$XDG_STATE_HOME/letterlock`, or `~/.local/state/letterlock`.",
            restart=True,
        ),
    ] = None
    store: Annotated[
        StoreText | None,
        Key(
            "queue.store",
            "Which engine stores messages, and where: `sqlite:DIRECTORY`. Unset: SQLite in `directory`.",
            restart=True,
        ),
    ] = None
    drop_directory: Annotated[
        DropPath,
        Key(
            "queue.drop_directory",
            "Where `letterlock-sendmail` leaves mail while the server takes none; everybody may write there. "
            "`false`: nowhere. Unset: the name of the queue's directory plus `-drop`.",
            restart=True,
        ),
    ] = None
    min_free_octets: Annotated[
        int | None,
        EACH,  # all workers write on the same disk
        Key(
            "queue.min_free_octets",
            "New mail is answered with 452 while the disk has less room than this. "
            "Unset: one and a half times `[smtp] max_message_octets`.",
            least=0,
            most=1 << 50,
            restart=True,
        ),
    ] = None
    authserv_id: Annotated[
        DomainName | None,
        Key(
            "mail_authentication.authserv_id",
            "Whose results Authentication-Results says they are (RFC 8601 section 2.5). Several servers of one domain "
            "can have the same. Fields of others that claim this name or the hostname are removed. Unset: the "
            "hostname.",
        ),
    ] = None
    trusted_sealers: Annotated[
        tuple[DomainName, ...],
        Key(
            "mail_authentication.trusted_sealers",
            "Domains, with those below them, whose ARC seals are trusted: mail that fails DMARC is accepted when "
            "the first of them found dmarc=pass, the chain holds, and all who sealed it are listed. For lists and "
            "forwarders that you know.",
            most=1000,
        ),
    ] = ()
    anchors: Annotated[
        tuple[AnchorFile, ...],
        Key(
            "resolver.anchors",
            "Files of DS or DNSKEY records to trust. Unset: the root's keys of 2017 and 2024.",
            most=16,
            restart=True,
        ),
    ] = ()
    sha1: Annotated[
        bool,
        Key(
            "resolver.sha1",
            "Accept signatures with SHA-1 (algorithms 5 and 7). Off: such zones are insecure.",
            restart=True,
        ),
    ] = True

    @property
    def own_directory(self) -> Path | None:
        """The server's own directory, by either key that can name it; None: the default."""
        if self.store is not None and ENGINES[self.store.engine].in_directory and self.store.location:
            return Path(self.store.location)
        return self.directory


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolverOptions:
    """Whom to ask, and what to trust. No upstreams: those of the system. No anchors: the root's, as shipped."""

    upstreams: Annotated[
        tuple[Upstream, ...],
        Key(
            "resolver.upstream",
            "Resolvers to ask: `ADDRESS`, `ADDRESS:PORT`, `[ADDRESS]:PORT`, or over TLS (RFC 7858) "
            "`tls://ADDRESS#NAME`, `tls://ADDRESS#pin-sha256=BASE64`. A link-local address needs its interface: "
            "`fe80::1%eth0`. Unset: those of /etc/resolv.conf.",
            most=16,
            restart=True,
        ),
    ] = ()
    anchors: tuple[TrustAnchor, ...] = ()
    timeout_seconds: Annotated[
        float,
        Key("resolver.timeout_seconds", "How long one query may take.", least=0.1, most=60, restart=True),
    ] = 10
    negative_anchors: tuple[NegativeAnchor, ...] = ()
    algorithms: frozenset[int] = ALGORITHMS


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsOptions:
    """Counters, and the endpoint that Prometheus asks."""

    listen: Annotated[
        MetricsAddress | None,
        Key(
            "metrics.listen",
            "Where Prometheus finds the metrics, at `/metrics`: a loopback address and a port, `127.0.0.1:9725`, or a "
            "socket, `unix:/run/letterlock/metrics.sock`. Unset: nowhere.",
            restart=True,
        ),
    ] = None
    public: Annotated[
        bool,
        Key(
            "metrics.public",
            "Let `listen` be an address beyond loopback. The metrics name no domains and no people, but everybody who "
            "reaches the address can read them.",
            restart=True,
        ),
    ] = False
    host_names: Annotated[
        tuple[HostName, ...],
        Key(
            "metrics.host_names",
            "Names by which Prometheus asks, besides `hostname`, loopback names and every address. Requests by other "
            "names are refused, so that no web page reads the metrics by a name of its own (DNS rebinding).",
            most=100,
            restart=True,
        ),
    ] = ()
    count: Annotated[
        bool,
        Key(
            "metrics.count",
            "Count messages, deliveries and sessions, for the metrics and for `letterlock status` and `top`. "
            "Off: they show neither flow nor protection, and counting costs nothing.",
            restart=True,
        ),
    ] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryOptions:
    """What is remembered of the domains that mail went to."""

    mode: Annotated[
        MemoryMode,
        Key(
            "memory.mode",
            "What follows when something that a domain always had (TLS, a certificate, DANE, an MTA-STS policy, its MX "
            "hosts) is gone. `observe`: it is logged, counted and shown; the mail goes. `hold`: the mail waits, with "
            "an alarm. `off`: nothing is remembered. A rule can say something else for its domain: `memory`.",
        ),
    ] = MemoryMode.OBSERVE


@dataclass(frozen=True, slots=True)
class Listening:
    """A listener: its addresses and its profile."""

    endpoints: tuple[Endpoint, ...]
    profile: Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything that the server needs to know, checked."""

    source: str
    hostname: str
    user: Annotated[
        UserName | None,
        Key(
            "user",
            "Started as root, become this user once the sockets are bound and the keys are read.",
            restart=True,
        ),
    ] = None
    workers: int
    listeners: tuple[Listening, ...]
    accounts: AccountKeys
    receive: ReceiveOptions
    store: StoreAddress
    queue_directory: Path
    state_directory: Path  # what all workers share: MTA-STS policies, trust anchors
    drop_directory: Path | None  # where local programs leave mail while no server takes it
    min_free_octets: Annotated[int, EACH]  # on the disk, and all workers write on the same one
    delay_notice_seconds: Annotated[
        float,
        Key(
            "queue.delay_notice_seconds",
            "When a sender is notified, once, that a message waits; 0: never.",
            least=0,
            most=30 * 86400,
        ),
    ] = 4 * 3600
    resolver: ResolverOptions
    resolver_door: ResolverDoorOptions
    policy_server: PolicyServerOptions
    signing_domains: tuple[str, ...] = ()  # that have keys of DKIM
    dkim_selectors: tuple[tuple[str, tuple[str, ...]], ...] = ()  # of the domains whose keys do not rotate
    reporting: ReportingOptions = field(default_factory=ReportingOptions)
    deliver: DeliverOptions
    capacity: Capacity  # what of that was chosen for this machine, and why
    metrics: MetricsOptions = MetricsOptions()
    statistics: StatisticsOptions = field(default_factory=StatisticsOptions)
    memory: MemoryOptions = MemoryOptions()
    rules: Rules
    route_settings: SettingsByRoute
    sources: Sources
    own_addresses: Annotated[
        tuple[IpAddress, ...],
        Key(
            "smtp.own_addresses",
            "Public addresses that lead to this server where a router translates them (NAT): mail whose MX "
            "host has one of them would come back here, and is not sent. The addresses of this machine are known.",
            most=100,
            restart=True,
        ),
    ] = ()
    loopback_hosts: Annotated[
        bool,
        Key(
            "delivery.loopback_hosts",
            "Send to MX hosts and address literals on this machine (127.0.0.0/8, `::1`, `0.0.0.0`, `::`), "
            "for a laboratory. Off: only a `[route]` leads to them; such an address is else a mistake or an attack.",
            restart=True,
        ),
    ] = False
    maildirs: tuple[Maildir, ...] = ()
    commands: tuple[CommandHop, ...] = ()
    srs_domain: str | None = None
    key_directories: tuple[tuple[str, Path], ...] = ()  # of the domains whose DKIM keys rotate
    mta_sts: Annotated[
        bool, Key("delivery.mta_sts", "Honour the MTA-STS policies of domains (RFC 8461).", restart=True)
    ] = True
    mta_sts_port: Annotated[
        Port,
        Key(
            "delivery.mta_sts_port",
            "Port of the hosts that serve the policies; another for a laboratory.",
            restart=True,
        ),
    ] = 443
    public_roots: Annotated[
        Roots | None,
        Key(
            "delivery.public_roots",
            "PEM file with the authorities that MTA-STS and REQUIRETLS trust. Unset: the system's.",
            restart=True,
        ),
    ] = None
    keys: ComposedKeys = field(default_factory=ComposedKeys, repr=False)  # as the file has them
    digest: str = ""  # of the file's text: whether two processes have read the same
    queue_key: Annotated[
        KeyFile,
        Key(
            "queue.key_file",
            "A file with a key of 32 octets in base64: contents are encrypted on the disk with it. Addresses are not.",
            restart=True,
        ),
    ] = field(default=None, repr=False)

    @property
    def listen(self) -> tuple[Endpoint, ...]:
        """Where all listeners listen, in their order."""
        return tuple(endpoint for each in self.listeners for endpoint in each.endpoints)

    @property
    def remembers(self) -> bool:
        """Whether anything is remembered of domains that mail goes to."""
        nothing = (None, MemoryMode.OFF)
        return self.memory.mode not in nothing or any(rule.memory not in nothing for rule in self.rules.written())

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """The listeners."""
        return tuple(each.profile for each in self.listeners)


def default_state_directory() -> Path:
    """The default state directory: `$XDG_STATE_HOME/letterlock`, else `~/.local/state/letterlock`.

    A user without a home (no HOME, no entry in passwd, as in a container) has the system's place.
    """
    try:
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    except RuntimeError:  # as pathlib has it for a home that cannot be found
        return Path(SYSTEM_STATE)
    return state / "letterlock"


CONSUMERS = (
    Options,
    ComposedKeys,
    AccountKeys,
    ReceiveOptions,
    MailAuthenticationOptions,
    Profile,
    ResolverOptions,
    ResolverDoorOptions,
    PolicyServerOptions,
    ReportingOptions,
    MetricsOptions,
    StatisticsOptions,
    MemoryOptions,
    DeliverOptions,
    Timeouts,
    RetrySchedule,
    RouteSettings,
)
"""The modules that declare keys."""
