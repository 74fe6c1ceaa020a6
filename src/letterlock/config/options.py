"""What the rooms get: their own frozen options, built from the file."""

import math
import os
import socket
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import dns.name

from letterlock.config.mistakes import Lines
from letterlock.config.rules import rules
from letterlock.config.sending import Sources, route_settings, sources
from letterlock.config.tables import FileTable
from letterlock.config.values import Endpoint
from letterlock.deliver.options import DeliverOptions, Timeouts
from letterlock.deliver.route_settings import SettingsByRoute
from letterlock.identity.trust import TrustRoots
from letterlock.machine import content_octets
from letterlock.mail.names import InvalidName, normalise
from letterlock.net.dns import Upstream
from letterlock.net.tls import ServerContext
from letterlock.receive.options import ReceiveOptions
from letterlock.resolver import ALGORITHMS, SHA1_ALGORITHMS, NegativeAnchor, TrustAnchor
from letterlock.routing.local_targets import Maildir
from letterlock.routing.rules import Rules
from letterlock.shares import EACH

DROP = "-drop"  # as letterlock-sendmail has it
FREE_MESSAGES = 1.5  # largest messages for which a disk must have room, as Postfix advises for queue_minfree


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolverOptions:
    """Whom to ask, and what to trust. No upstreams: those of the system. No anchors: the root's, as shipped."""

    upstreams: tuple[Upstream, ...]
    anchors: tuple[TrustAnchor, ...]
    timeout_seconds: float
    negative_anchors: tuple[NegativeAnchor, ...] = ()
    algorithms: frozenset[int] = ALGORITHMS


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything that the server needs to know, checked."""

    source: str
    hostname: str
    user: str | None
    workers: int
    listen: tuple[Endpoint, ...]
    server_context: ServerContext | None
    receive: ReceiveOptions
    queue_directory: Path
    state_directory: Path  # what all workers share: MTA-STS policies, trust anchors
    drop_directory: Path | None  # where local programs leave mail while no server takes it
    min_free_octets: Annotated[int, EACH]  # on the disk, and all workers write on the same one
    delay_notice_seconds: float
    resolver: ResolverOptions
    deliver: DeliverOptions
    rules: Rules
    route_settings: SettingsByRoute
    sources: Sources
    own_addresses: tuple[str, ...] = ()
    loopback_hosts: bool = False
    maildirs: tuple[Maildir, ...] = ()
    mta_sts: bool = True
    mta_sts_port: int = 443
    public_roots: TrustRoots | None = None
    queue_key: bytes | None = field(default=None, repr=False)  # contents on the disk are encrypted with it


SYSTEM_STATE = Path("/var/lib/letterlock")  # as the packages and the systemd unit have it


def default_state_directory() -> Path:
    """Where the queue lives when nobody said: `$XDG_STATE_HOME/letterlock`, else `~/.local/state/letterlock`.

    A user without a home (no HOME, no entry in passwd, as in a container) has the system's place.
    """
    try:
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    except RuntimeError:  # as pathlib has it for a home that cannot be found
        return SYSTEM_STATE
    return state / "letterlock"


def _system_hostname() -> str:
    try:
        return normalise(socket.gethostname())
    except InvalidName:
        return "localhost"


def _drop_directory(file: FileTable) -> Path | None:
    """As configured; else beside the queue's, which nobody else may enter."""
    queue = file.queue
    if "drop_directory" in queue.model_fields_set:
        return queue.drop_directory
    directory = queue.directory or default_state_directory()
    return Path(f"{directory}{DROP}")


def options(file: FileTable, source: str, lines: Lines) -> Options:
    """Everything that the server needs, from a file that was checked; `lines` say where its tables stand."""
    hostname = file.hostname or _system_hostname()
    smtp, queue, delivery = file.smtp, file.queue, file.delivery
    content = file.memory_octets or content_octets()  # half of it for what comes in, half for what goes out
    return Options(
        source=source,
        hostname=hostname,
        user=file.user,
        workers=(os.cpu_count() or 1) if file.workers == "auto" else file.workers,
        listen=tuple(smtp.listen),
        server_context=smtp.context,
        receive=ReceiveOptions(
            hostname=hostname,
            postmaster=smtp.postmaster,
            relay_networks=tuple(smtp.relay_networks),
            relay_own_machine="relay_networks" not in smtp.model_fields_set,
            tls_required_no_networks=None
            if smtp.tls_required_no_networks is None
            else tuple(smtp.tls_required_no_networks),
            max_message_octets=smtp.max_message_octets,
            max_text_line_octets=smtp.max_line_octets,
            accept_nul=smtp.accept_nul,
            max_recipients=smtp.max_recipients,
            max_connections=smtp.max_connections,
            max_inflight_octets=content // 2,
            max_connections_per_client=smtp.max_connections_per_client,
            command_timeout_seconds=smtp.command_timeout_seconds,
            message_timeout_seconds=smtp.message_timeout_seconds,
            expire_seconds=queue.lifetime_seconds,
        ),
        queue_directory=queue.directory or default_state_directory(),
        state_directory=queue.directory or default_state_directory(),
        drop_directory=_drop_directory(file),
        min_free_octets=math.ceil(
            FREE_MESSAGES * smtp.max_message_octets if queue.min_free_octets is None else queue.min_free_octets
        ),
        delay_notice_seconds=queue.delay_notice_seconds,
        resolver=ResolverOptions(
            upstreams=tuple(file.resolver.upstream),
            anchors=tuple(anchor for anchors in file.resolver.anchors for anchor in anchors),
            timeout_seconds=file.resolver.timeout_seconds,
            negative_anchors=tuple(
                NegativeAnchor(zone=dns.name.from_text(zone), reason=each.reason, until=each.until)
                for zone, each in file.resolver.negative.items()
            ),
            algorithms=ALGORITHMS if file.resolver.sha1 else ALGORITHMS - SHA1_ALGORITHMS,
        ),
        deliver=DeliverOptions(
            hostname=hostname,
            port=delivery.port,
            max_concurrent=delivery.max_concurrent,
            max_content_octets=content // 2,
            max_concurrent_per_destination=delivery.max_concurrent_per_destination,
            max_handshakes_per_host=delivery.max_handshakes_per_host,
            idle_seconds=delivery.idle_seconds,
            timeouts=Timeouts(connect=delivery.connect_timeout_seconds),
        ),
        rules=rules(file.domain, file.sender, file.route, source, lines),
        route_settings=route_settings(file),
        sources=sources(file, lines),
        own_addresses=tuple(smtp.own_addresses),
        loopback_hosts=delivery.loopback_hosts,
        maildirs=tuple(
            replace(table.next_hop, create=table.create_mailboxes)
            for table in file.route.values()
            if isinstance(table.next_hop, Maildir)
        ),
        mta_sts=delivery.mta_sts,
        mta_sts_port=delivery.mta_sts_port,
        public_roots=delivery.public_roots,
        queue_key=queue.key_file,
    )
