"""The listeners, from their tables: where each listens, and what it is."""

from collections.abc import Mapping
from dataclasses import replace

from letterlock.config.declared import filled, is_written
from letterlock.config.filters import milters, policy_services
from letterlock.config.listener_table import ListenerTable
from letterlock.config.options import ComposedKeys, Listening
from letterlock.config.tables import FileTable
from letterlock.keys import declared
from letterlock.net.tls import ServerContext
from letterlock.receive.profiles import Profile, Role
from letterlock.tables.domains_of_table import DomainsOfTable


def listeners(file: FileTable, domains: Mapping[str, DomainsOfTable]) -> tuple[Listening, ...]:
    """Those of `[[listener]]`; without any, the one that `[smtp]` describes. `domains` are those of tables, by name."""
    relay = _relay(file)
    if not file.listener:
        return (Listening(filled(ComposedKeys, file).listen, relay),)
    filters, services = milters(file.milter), policy_services(file.policy_service)
    return tuple(
        Listening(
            tuple(each.listen),
            replace(
                _profile(each, relay),
                domain_tables=tuple(domains[name] for name in each.domain_tables),
                milters=tuple(filters[name] for name in each.milters),
                policies=tuple(services[name] for name in each.policy_services),
            ),
        )
        for each in file.listener
    )


def _relay(file: FileTable) -> Profile:
    return filled(
        Profile,
        file,
        role=Role.RELAY,
        tls=file.smtp.context,
        relay_own_machine=not is_written(file, declared(Profile)["relay_networks"].key),
    )


def _profile(table: ListenerTable, relay: Profile) -> Profile:
    """The values of a table; the rest comes from `relay`, as `[smtp]` has it."""
    tls = table.context or relay.tls
    inherits = table.keys.role is Role.RELAY and table.relay_networks is None
    return replace(
        table.keys,
        tls=tls,
        tls_by_name=_by_name(table, tls),
        relay_networks=relay.relay_networks if inherits else tuple(table.relay_networks or ()),
        relay_own_machine=inherits and relay.relay_own_machine,
        authenticates=table.authenticates,
        tls_required_no_networks=relay.tls_required_no_networks,
    )


def _by_name(table: ListenerTable, usual: ServerContext | None) -> tuple[ServerContext, ...]:
    """The certificates that are chosen by name. A listener needs one for all other clients, too."""
    found = tuple(each.context for each in table.certificates if each.context is not None)
    if found and usual is not None:
        usual.choose_by_name()
    return found
