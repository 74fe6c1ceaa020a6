"""`letterlock serve`: the server itself."""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import click
import uvloop

from letterlock.app.activation import UnfitSocket, check_passed
from letterlock.app.beside import beside
from letterlock.app.binding import StartFailed
from letterlock.app.descriptors import raise_limit
from letterlock.app.doors import NO_SOCKETS
from letterlock.app.facts import Loaded
from letterlock.app.garbage import collect_in_spare_time, spare_collector
from letterlock.app.heartbeat import beating
from letterlock.app.logs import flush_log, start_log
from letterlock.app.reloading import SERVING, Reloading, announced, read_again
from letterlock.app.server import Server, running
from letterlock.app.service_manager import notify, notify_ready, notify_stopping, watched
from letterlock.app.supervisor import Worker, supervise
from letterlock.app.surroundings import warn_of_surroundings
from letterlock.cli.allocator import give_back_large_blocks
from letterlock.cli.drop_in import drop_in
from letterlock.config import EX_CONFIG, BadConfig, Options, find
from letterlock.config.dangers import dangers
from letterlock.receive.profiles import Profile

log = logging.getLogger("letterlock.serve")

SWITCH_SECONDS = 0.0003
"""How long the store's thread may wait for the interpreter: its commits are short, and everybody waits for them."""


@click.command()
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    help="Configuration file (TOML). Default: $LETTERLOCK_CONFIG, or /etc/letterlock/letterlock.toml, or safe "
    "defaults on loopback.",
)
@click.option(
    "--check-config",
    is_flag=True,
    help="Check the configuration, report every mistake, and exit; `letterlock config check` checks more.",
)
@click.option(
    "--print-drop-in",
    is_flag=True,
    help="Print a systemd drop-in with the paths that this configuration needs to write, and exit.",
)
@click.option(
    "--log",
    "log_format",
    type=click.Choice(["postfix", "json"]),
    default="postfix",
    show_default=True,
    help="Format of the log on standard error.",
)
@click.option("--verbose", "-v", is_flag=True, help="Also log every lookup and session.")
def serve(config_path: Path | None, check_config: bool, print_drop_in: bool, log_format: str, verbose: bool) -> None:
    """Run the server: accept mail from your networks, queue it durably, and deliver it.

    Runs in the foreground and logs to standard error. On SIGTERM or Ctrl-C it finishes the deliveries in progress and
    stops. On SIGHUP, or `letterlock reload`, it reads the configuration and the certificates again.

    Exit status: 0 stopped cleanly; 1 could not start; 2 usage error; 78 mistakes in the configuration.
    """
    try:
        path = find(config_path)
        options = read_again(path)
    except BadConfig as error:
        click.echo(str(error), err=True)
        sys.exit(EX_CONFIG)
    if check_config:
        click.echo(f"{options.source}: no mistakes", err=True)
        return
    if print_drop_in:
        click.echo(drop_in(options), nl=False)
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})  # it waits until there is a handler
    start_log(options.hostname, as_json=log_format == "json", verbose=verbose)
    sys.setswitchinterval(SWITCH_SECONDS)
    give_back_large_blocks()
    try:
        raise_limit(options)
        check_passed(options)
        if options.workers > 1 or os.getpid() == 1:  # process 1 has to wait for the children of others
            sys.exit(supervise(options, partial(_work, path), partial(read_again, path)))
        uvloop.run(_serve(path, options))
    except (StartFailed, UnfitSocket) as error:
        flush_log()  # the error is the last line: that is where people look
        click.echo(f"error: {error}", err=True)
        sys.exit(1)


def _work(path: Path | None, worker: Worker) -> int:
    """One worker, in a process of its own; its exit status."""
    try:
        uvloop.run(_serve(path, worker.options, worker))
    except StartFailed as error:
        flush_log()
        click.echo(f"error: worker {worker.number}: {error}", err=True)
        return 1
    return 0


async def _serve(path: Path | None, options: Options, worker: Worker | None = None) -> None:
    """Serve until a signal ends it. `options` are the whole server's."""
    stop, begun = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    sockets, doors = (worker.sockets, worker.doors) if worker else (None, NO_SOCKETS)
    own = worker.share_of(options) if worker else options
    place, turns = (worker.place, worker.turns) if worker else (None, None)
    async with beating(_signs_of_life(worker, begun)) as heart, running(own, sockets, doors, place, turns) as server:
        server.meter.stalls = lambda: heart.stalls
        _reload_by_signal(server, path, options, worker)
        if worker is None or worker.number == 0:
            _announce(server)
            flush_log()  # before the service manager says that it has begun: then people look
        spare_collector()
        collecting = asyncio.create_task(beside("collecting garbage", collect_in_spare_time))
        begun.set()
        if worker is None:
            notify_ready(SERVING)
        else:
            worker.tell_alive()
            loop.add_reader(worker.supervisor_gone, _leave, worker.supervisor_gone, stop)
        await stop.wait()
        collecting.cancel()
        if worker is None:
            notify_stopping()
        log.info("stopping: finishing what is in hand")
    log.info("stopped")


def _reload_by_signal(server: Server, path: Path | None, options: Options, worker: Worker | None) -> None:
    """From now on, read the configuration again at SIGHUP, and when an operator asks for it."""
    tasks: set[asyncio.Task[object]] = set()
    if worker is None:
        reloading = Reloading(path, options, server.reload)
    else:
        ask = partial(os.kill, os.getppid(), signal.SIGHUP)
        reloading = Reloading(path, options, lambda whole: server.reload(worker.share_of(whole)), ask)

    async def at_signal() -> None:
        if worker is None:
            await announced(reloading.reload)
        else:
            await reloading.reload()
            worker.tell_reloaded()

    def begin() -> None:
        task = asyncio.create_task(at_signal())
        tasks.add(task)  # the loop holds tasks only weakly
        task.add_done_callback(tasks.discard)

    async def at_request() -> dict[str, object]:
        return (await reloading.request()).values()

    server.reload_configuration = at_request
    server.meter.loaded = lambda: Loaded(reloading.loaded_at, reloading.outcome.mistakes is not None)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, begin)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


def _signs_of_life(worker: Worker | None, begun: asyncio.Event) -> Callable[[], None]:
    """What tells the supervisor, or the service manager if it asked for that, that a server goes on: once it began."""
    if worker is not None:
        tell = worker.tell_alive
    else:
        tell = partial(notify, "WATCHDOG=1") if watched() else lambda: None
    return lambda: tell() if begun.is_set() else None


def _leave(supervisor_gone: int, stop: asyncio.Event) -> None:
    """Nobody is there any more to restart us, or to tell us to stop."""
    asyncio.get_running_loop().remove_reader(supervisor_gone)
    log.warning("the supervisor is gone")
    stop.set()


def _only_ipv6(addresses: Sequence[tuple[str, int]]) -> list[int]:
    """The ports that are listened on everywhere by IPv6, and nowhere by IPv4."""
    ipv4 = {port for address, port in addresses if ":" not in address}
    return [port for address, port in addresses if address == "::" and port not in ipv4]


def _in_words(profile: Profile) -> str:
    """What a listener offers, and to whom."""
    if profile.implicit_tls:
        tls = "implicit TLS"
    elif profile.tls is None:
        tls = "STARTTLS not offered: no certificate"
    else:
        tls = "STARTTLS required" if profile.requires_tls else "STARTTLS offered"
    clients = [str(network) for network in profile.relay_networks] + ["this machine"] * profile.relay_own_machine
    relaying = f"relaying for {', '.join(clients)}; nobody else" if clients else "relaying for nobody"
    domains = f", accepting mail for {len(profile.domains)} domain(s)" if profile.domains else ""
    tables = ", ".join(each.table.name for each in profile.domain_tables)
    domains += f"{' and' if domains else ', accepting mail for'} those of table {tables}" if tables else ""
    return f"{profile.role}, {tls}, {relaying}{domains}"


def _announce(server: Server) -> None:
    """Say what is running, in a few lines that answer a newcomer's questions."""
    options = server.options
    log.info("letterlock: %s, configuration: %s", options.hostname, options.source)
    bound = iter(server.smtp_addresses)
    for each in options.listeners:
        for address, port in islice(bound, len(each.endpoints)):
            log.info("listening on %s port %d, %s", address, port, _in_words(each.profile))
    for at in _only_ipv6(server.smtp_addresses):
        log.info("[::]:%d takes IPv6 only: for IPv4 add 0.0.0.0:%d to its `listen`", at, at)
    for door in options.keys.resolver_listen:
        log.info("resolver door: answering DNS queries on %s", door)
    for place in options.keys.policy_listen:
        log.info("policy door: answering Postfix on %s", place)
    for danger in dangers(options, time.time()):
        log.warning("%s", danger)
    warn_of_surroundings(options)
    log.info("queue in %s", options.queue_directory)
    log.info("DNS validated here, asking %s", ", ".join(str(upstream) for upstream in server.upstreams))
