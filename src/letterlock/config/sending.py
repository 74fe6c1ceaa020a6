"""On which terms mail is sent, from the tables; and whether this machine has the addresses to send it from."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from letterlock.config.declared import filled, filled_row
from letterlock.config.mistakes import BadConfig, Mistake
from letterlock.config.options import Sources
from letterlock.config.rule_tables import RouteTable, next_hop_name
from letterlock.config.tables import FileTable
from letterlock.deliver.route_settings import RouteSettings, SettingsByRoute
from letterlock.net.sources import ANY_SOURCE, unusable
from letterlock.queue.settle import RetrySchedule
from letterlock.routing.domain_table import DomainTable
from letterlock.routing.local_targets import FinalHop


def route_settings(file: FileTable) -> SettingsByRoute:
    """The terms of all mail and of each route."""
    usual = filled(RouteSettings, file, schedule=filled(RetrySchedule, file))
    return SettingsByRoute(
        usual=usual,
        routes=DomainTable(
            {domain: _of_route(table, usual) for domain, table in file.route.items() if "@" not in domain}
        ),
        by_sender=DomainTable({domain: _of_route(table, usual) for domain, table in file.sender_route.items()}),
        max_concurrent=_max_concurrent((*file.route.values(), *file.sender_route.values())),
    )


def _of_route(table: RouteTable, usual: RouteSettings) -> RouteSettings:
    """The terms of a route. Where mail ends on this machine, there is no address to be seen with."""
    schedule = filled_row(RetrySchedule, "route", table, usual.schedule)
    settings = filled_row(RouteSettings, "route", table, usual, schedule=schedule, login=table.credentials)
    return replace(settings, source=ANY_SOURCE) if isinstance(table.next_hop, FinalHop) else settings


def _max_concurrent(routes: Iterable[RouteTable]) -> dict[str, int]:
    """By next hop; of several routes that lead to it the lowest."""
    found: dict[str, int] = {}
    for table in routes:
        if table.max_concurrent is not None:
            place = next_hop_name(table)
            found[place] = min(found.get(place, table.max_concurrent), table.max_concurrent)
    return found


def sources(file: FileTable, lines: Mapping[tuple[str, ...], int]) -> Sources:
    """Where the file names addresses to send from."""

    def named(*path: str) -> tuple[str, int | None]:
        dotted = f'{path[0]}."{path[1]}".{path[2]}' if len(path) > 2 else ".".join(path)
        return dotted, next((lines[path[:depth]] for depth in range(len(path), 0, -1) if path[:depth] in lines), None)

    found = [(*named("delivery", "source_address"), filled(RouteSettings, file).source)]
    for kind, tables in (("route", file.route), ("sender_route", file.sender_route)):
        for domain, table in tables.items():
            source = filled_row(RouteSettings, "route", table).source
            if source is not ANY_SOURCE:
                found.append((*named(kind, domain, "source_address"), source))
    return tuple(found)


def require_sources(source: str, named: Sources) -> None:
    """Bind every address that mail is to be sent from. Raises BadConfig, for those that this machine does not have."""
    mistakes = []
    for key, line, addresses in named:
        for address in filter(None, (addresses.ipv4, addresses.ipv6)):
            if (why := unusable(address)) is not None:
                message = f"mail cannot be sent from {address}: {why}"
                hint = "`ip address` shows the addresses of this machine; is the network up?"
                mistakes.append(Mistake(key=key, message=message, line=line, hint=hint))
    if mistakes:
        raise BadConfig(source, mistakes)
