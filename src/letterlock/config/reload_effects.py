"""Decides which changes of a configuration take effect on reload, and which have to wait for a restart."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from letterlock.config.options import CONSUMERS, ComposedKeys, Listening, Options
from letterlock.keys import Declared, declared
from letterlock.net.tls import ServerContext


def reloaded(running: Options, read: Options) -> Options:
    """The options of a running server after a reload: what can change comes from the file, the rest stays."""
    receive = replace(read.receive, hostname=running.hostname, max_inflight_octets=running.receive.max_inflight_octets)
    deliver = replace(
        read.deliver,
        hostname=running.hostname,
        max_content_octets=running.deliver.max_content_octets,
        implicit_tls=running.deliver.implicit_tls,
    )
    return replace(
        running,
        receive=receive,
        deliver=deliver,
        capacity=read.capacity,
        signing_domains=read.signing_domains,
        dkim_selectors=read.dkim_selectors,
        rules=read.rules,
        memory=read.memory,
        resolver_door=read.resolver_door,
        policy_server=read.policy_server,
        route_settings=read.route_settings,
        sources=read.sources,
        statistics=replace(read.statistics, count=running.statistics.count),
        maildirs=read.maildirs,
        commands=read.commands,
        accounts=read.accounts,
        listeners=_listeners(running.listeners, read.listeners),
        delay_notice_seconds=read.delay_notice_seconds,
        keys=_reloaded_keys(running.keys, read.keys),
        digest=read.digest,
    )


def _listeners(running: Sequence[Listening], read: Sequence[Listening]) -> tuple[Listening, ...]:
    """The listeners of a running server: their addresses stay, their profiles come from the file."""
    profiles = {each.endpoints: each.profile for each in read}
    return tuple(replace(each, profile=profiles.get(each.endpoints, each.profile)) for each in running)


def _reloaded_keys(running: ComposedKeys, read: ComposedKeys) -> ComposedKeys:
    stay = {name: getattr(running, name) for name, each in declared(ComposedKeys).items() if each.key.restart}
    return replace(read, **stay)


def waiting_for_restart(running: Options, read: Options) -> tuple[str, ...]:
    """The keys whose values in the file differ from those of a running server, and cannot be reloaded."""
    written = {each.key: value for each, value in values(read)}
    waiting = [each.key.path for each, now in values(running) if each.key.restart and now != written[each.key]]
    if {each.endpoints for each in running.listeners} != {each.endpoints for each in read.listeners}:
        waiting += [] if "smtp.listen" in waiting else ["listener"]
    drop = declared(ComposedKeys)["drop_directory"].key.path
    moved = running.state_directory == read.state_directory and running.drop_directory != read.drop_directory
    waiting += [drop] if moved and drop not in waiting else []  # `false` and "unset" are both None as a key
    return tuple(waiting)


def values(options: Options) -> Iterator[tuple[Declared, Any]]:
    """The declared keys with the values that options have for them."""
    parts = _parts(options, {})
    for consumer in CONSUMERS:
        for name, each in declared(consumer).items():
            yield each, getattr(parts[consumer], name)


def _parts(options: object, found: dict[type, object]) -> dict[type, object]:
    """The dataclasses that options are made of, by their class: of several the first, which is the usual one."""
    if is_dataclass(options) and not isinstance(options, type) and type(options) not in found:
        found[type(options)] = options
        for field in fields(options):
            value = getattr(options, field.name)
            for each in value if isinstance(value, tuple) else (value,):
                _parts(each, found)
    return found


def contexts(options: Options) -> tuple[ServerContext, ...]:
    """The certificates that this server shows."""
    found = (each for profile in options.profiles for each in (profile.tls, *profile.tls_by_name))
    return tuple(dict.fromkeys(each for each in found if each is not None))


def with_contexts(options: Options, renewed: Callable[[ServerContext], ServerContext]) -> Options:
    """The same options with other certificates."""

    def with_its_own(each: Listening) -> Listening:
        tls = each.profile.tls
        if tls is None:
            return each
        usual, by_name = renewed(tls), tuple(map(renewed, each.profile.tls_by_name))
        if by_name and usual is not tls:
            usual.choose_by_name()
        return replace(each, profile=replace(each.profile, tls=usual, tls_by_name=by_name))

    return replace(options, listeners=tuple(with_its_own(each) for each in options.listeners))
