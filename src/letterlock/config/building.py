"""From the file to the options of the rooms."""

import math
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import dns.name

from letterlock.companion.options import PolicyServerOptions, ResolverDoorOptions
from letterlock.config.account_keys import AccountKeys
from letterlock.config.capacity import Capacity, capacity
from letterlock.config.declared import filled, is_written, value_of
from letterlock.config.dkim_keys import signer
from letterlock.config.limit_tables import dns_lists, rate_limits
from letterlock.config.listeners import listeners
from letterlock.config.local_domains import site
from letterlock.config.mistakes import Lines
from letterlock.config.options import (
    ComposedKeys,
    MemoryOptions,
    MetricsOptions,
    Options,
    ResolverOptions,
    default_state_directory,
)
from letterlock.config.recipient_rule_tables import recipient_rules
from letterlock.config.rule_tables import address_routes, rules
from letterlock.config.sending import route_settings, sources
from letterlock.config.tables import FileTable
from letterlock.deliver.options import DeliverOptions, Timeouts
from letterlock.keys import Key, declared
from letterlock.machine import content_octets, this_machine
from letterlock.mail.names import InvalidName, normalise
from letterlock.receive.authenticate_mail import MailAuthenticationOptions
from letterlock.receive.options import ReceiveOptions
from letterlock.receive.recipient_rules import RecipientRule
from letterlock.recipients.directory import RecipientTable
from letterlock.recipients.site import LocalSite
from letterlock.report.reporting_options import ReportingOptions
from letterlock.resolver import ALGORITHMS, SHA1_ALGORITHMS, NegativeAnchor
from letterlock.routing.address_routes import AddressRoutes
from letterlock.routing.local_targets import CommandHop, Maildir
from letterlock.shared_defaults import DROP
from letterlock.statistics.statistics_options import StatisticsOptions
from letterlock.store.engines import StoreAddress
from letterlock.tables.alias_endings import LookedUpPlaces
from letterlock.tables.domains_of_table import DomainsOfTable

_SECRET_KEYS = ("file", "scram_secret_file", "password_file", "srs_secret_file", "key", "key_file")
_SHARED_PLACES = ("/", "/etc", "/usr", "/usr/bin", "/usr/lib", "/var", "/var/lib", "/run", "/tmp", "/home")  # noqa: S108
"""Directories that commands need: a secret that lies in one of them is not hidden."""
FREE_MESSAGES = 1.5  # largest messages for which a disk must have room, as Postfix advises for queue_minfree


def options(file: FileTable, source: str, lines: Lines) -> Options:
    """Everything that the server needs, from a file that was checked; `lines` are where its tables begin."""
    keys = filled(ComposedKeys, file)
    hostname = keys.hostname or _system_hostname()
    directory = keys.own_directory or default_state_directory()
    content = (keys.memory_octets or content_octets()) // 2  # half for what comes in, half for what goes out
    delimiters = {domain: each.sub_address_delimiter for domain, each in file.local.items()}
    addresses = address_routes(file.route, delimiters, source, lines)
    databases = {name: each.opened(name) for name, each in file.database.items()}
    tables = {name: each.opened(name, databases) for name, each in file.table.items()}
    domains = {name: DomainsOfTable(tables[name], time.monotonic) for name in _domain_tables(file)}
    receive = replace(
        _receive(file, keys, hostname, content, recipient_rules(file.rule, source, lines)),
        accounts=file.accounts.opened(databases),
        databases=tuple(databases.values()),
        sender_tables=tuple(tables[name] for name in filled(AccountKeys, file).sender_tables),
        site=_site(file, tables, domains, addresses),
    )
    workers = (os.cpu_count() or 1) if keys.workers == "auto" else keys.workers
    chosen = _capacity(file, keys, workers, receive.max_connections)
    memory = filled(MemoryOptions, file)
    return filled(
        Options,
        file,
        source=source,
        hostname=hostname,
        workers=workers,
        listeners=listeners(file, domains),
        accounts=filled(AccountKeys, file),
        receive=receive,
        store=keys.store or StoreAddress(),
        queue_directory=directory,
        state_directory=directory,
        drop_directory=_drop_directory(file, keys, directory),
        min_free_octets=_min_free_octets(keys, receive),
        resolver=_resolver(file, keys),
        resolver_door=filled(ResolverDoorOptions, file),
        signing_domains=tuple(file.dkim),
        dkim_selectors=tuple((name, tuple(each.selectors)) for name, each in file.dkim.items() if each.selectors),
        reporting=filled(ReportingOptions, file),
        policy_server=filled(PolicyServerOptions, file, local_domains=frozenset(keys.policy_local_domains)),
        metrics=filled(MetricsOptions, file),
        statistics=filled(StatisticsOptions, file),
        deliver=replace(
            _deliver(file, hostname, content, chosen),
            private_directories=_private(file, source, directory),
            addresses=addresses,
            aliases=_looked_up(receive),
        ),
        capacity=chosen,
        memory=memory,
        rules=rules(file.domain, file.sender, file.route, file.sender_route, source, lines, memory.mode),
        route_settings=route_settings(file),
        sources=sources(file, lines),
        maildirs=_maildirs(file),
        commands=_commands(file),
        srs_domain=file.forwarding.srs_domain,
        key_directories=tuple((name, each.directory) for name, each in file.dkim.items() if each.directory),
        keys=keys,
    )


def _site(
    file: FileTable,
    tables: Mapping[str, RecipientTable],
    domains: Mapping[str, DomainsOfTable],
    addresses: AddressRoutes,
) -> LocalSite | None:
    hosted = [(domains[name], each) for name, each in file.hosted.items()]
    return site(tables, file.local, file.forwarding, addresses.routes.keys(), hosted)


def _min_free_octets(keys: ComposedKeys, receive: ReceiveOptions) -> int:
    free = FREE_MESSAGES * receive.max_message_octets if keys.min_free_octets is None else keys.min_free_octets
    return math.ceil(free)


def _deliver(file: FileTable, hostname: str, content: int, chosen: Capacity) -> DeliverOptions:
    return filled(
        DeliverOptions,
        file,
        hostname=hostname,
        max_content_octets=content,
        max_concurrent=chosen.max_concurrent.value,
        max_idle_sessions=chosen.max_idle_sessions.value,
        max_connections_per_host=chosen.max_connections_per_host.value,
        timeouts=filled(Timeouts, file),
    )


def _capacity(file: FileTable, keys: ComposedKeys, workers: int, max_connections: int) -> Capacity:
    """How much is sent at once; where the operator lets one place have more than usual, its host may have it too."""
    usual = filled(DeliverOptions, file, hostname="").max_concurrent_per_destination
    by_route = route_settings(file).max_concurrent.values()
    return capacity(
        this_machine(),
        workers=workers,
        max_connections=max_connections,
        per_destination=max((usual, *by_route)),
        max_concurrent=keys.max_concurrent,
        max_idle_sessions=keys.max_idle_sessions,
        max_connections_per_host=keys.max_connections_per_host,
    )


def _receive(
    file: FileTable,
    keys: ComposedKeys,
    hostname: str,
    content: int,
    on_recipients: tuple[RecipientRule, ...],
) -> ReceiveOptions:
    return filled(
        ReceiveOptions,
        file,
        hostname=hostname,
        max_inflight_octets=content,
        mail_authentication=filled(
            MailAuthenticationOptions,
            file,
            authserv_id=keys.authserv_id,
            trusted_sealers=frozenset(keys.trusted_sealers),
        ),
        rate_limits=rate_limits(file.limit),
        dns_lists=dns_lists(file.dns_list),
        recipient_rules=on_recipients,
        signer=signer(file.dkim, value_of(file, _key(ReceiveOptions, "expire_seconds"))),
    )


def _resolver(file: FileTable, keys: ComposedKeys) -> ResolverOptions:
    negative = file.resolver.negative
    return filled(
        ResolverOptions,
        file,
        anchors=tuple(anchor for anchors in keys.anchors for anchor in anchors),
        negative_anchors=tuple(
            NegativeAnchor(zone=dns.name.from_text(zone), reason=each.reason, until=each.until)
            for zone, each in negative.items()
        ),
        algorithms=ALGORITHMS if keys.sha1 else ALGORITHMS - SHA1_ALGORITHMS,
    )


def _maildirs(file: FileTable) -> tuple[Maildir, ...]:
    places = [each.place for each in file.hosted.values()]
    tables = (*file.route.values(), *file.sender_route.values())
    places += [table.final_hop(hop) for table in tables if isinstance(hop := table.next_hop, Maildir)]
    return tuple(each for each in places if isinstance(each, Maildir))


def _commands(file: FileTable) -> tuple[CommandHop, ...]:
    hops = ((table, table.next_hop) for table in (*file.route.values(), *file.sender_route.values()))
    finals = [table.final_hop(hop) for table, hop in hops if isinstance(hop, CommandHop)]
    finals += [each.place for each in file.hosted.values() if each.place is not None]
    return tuple(each for each in finals if isinstance(each, CommandHop))


def _domain_tables(file: FileTable) -> list[str]:
    """The tables that have domains, each once."""
    return list(dict.fromkeys((*file.hosted, *(name for each in file.listener for name in each.domain_tables))))


def _looked_up(receive: ReceiveOptions) -> LookedUpPlaces | None:
    """Where mail ends by what tables say; None where they say nothing of it."""
    directory = None if receive.site is None else receive.site.directory
    if directory is None or not (directory.has_endings or directory.has_places):
        return None
    return LookedUpPlaces(directory)


def _private(file: FileTable, source: str, directory: Path) -> tuple[str, ...]:
    """What a command has no business with: the queue, and the directories of the configuration and its secrets."""
    if not (_commands(file) or any(table.allow_commands for table in file.table.values())):
        return ()
    found = [directory, Path(source).absolute().parent]
    secrets = [file.accounts, *file.database.values(), file.forwarding, file.smtp, file.queue, *file.dkim.values()]
    for table in secrets:
        paths = (getattr(table, name, None) for name in _SECRET_KEYS)
        found += [path.absolute().parent for path in paths if isinstance(path, Path)]
    found += [each.directory.absolute() for each in file.dkim.values() if each.directory is not None]
    return tuple(dict.fromkeys(str(each) for each in found if str(each) not in _SHARED_PLACES))


def _drop_directory(file: FileTable, keys: ComposedKeys, directory: Path) -> Path | None:
    """As configured; else next to the queue's, which is closed to other users."""
    if is_written(file, _key(ComposedKeys, "drop_directory")):
        return keys.drop_directory
    return Path(f"{directory}{DROP}")


def _key(consumer: type, name: str) -> Key:
    return declared(consumer)[name].key


def _system_hostname() -> str:
    try:
        return normalise(socket.gethostname())
    except InvalidName:  # a check of the configuration demands a real one
        return "localhost"
