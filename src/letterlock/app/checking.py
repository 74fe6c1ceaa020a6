"""Checks all that `serve` needs, without serving, before the first message depends on it."""

import asyncio
import os
import pwd
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

from letterlock.app.binding import METRICS_KEY, StartFailed, bind_one
from letterlock.app.lookup_check import lookups_found
from letterlock.app.resolving import UNFIT_HINT, validated_dns
from letterlock.app.socket_units import SERVICE, holder
from letterlock.app.surroundings import Found, surroundings
from letterlock.config import BadConfig, Endpoint, Options, load
from letterlock.config.dangers import dangers
from letterlock.deliver.local.command_run import why_not_runnable
from letterlock.deliver.local.maildir import why_unwritable
from letterlock.presence import is_there
from letterlock.queue.folders import CONTROL_SOCKET
from letterlock.store.sqlite.opening import FILE

LOOK_SECONDS = 1.0  # at a file or a socket of this machine
EXAMINE_SECONDS = 20.0  # two rounds of questions to each upstream


def check_all(options: Options, path: Path | None) -> Iterator[Found]:
    """Look at everything, one after the other. `options` are those of the file, read with its secrets."""
    yield Found("ok", f"{options.source}: no mistakes")
    yield from _keys(options, path)
    yield from _queue(options)
    yield from _binds(options)
    yield from _upstreams(options)
    yield from lookups_found(options)
    yield from (
        Found("warning", f"mail for {target} will wait: {why}")
        for target in options.maildirs
        if (why := why_unwritable(target))
    )
    yield from (
        Found("warning", f"mail for {target} will wait: {why}")
        for target in options.commands
        if (why := why_not_runnable(target))
    )
    yield from (Found("warning", text) for text in dangers(options, time.time()))
    yield from surroundings(options)


def _keys(options: Options, path: Path | None) -> Iterator[Found]:
    """Whether the service's user can read what a reload will read; at start, root reads it."""
    if options.user is None or os.geteuid() != 0:
        return
    mistakes = _as_user(options.user, path)
    if mistakes is None:
        yield Found("ok", f"user {options.user} can read the configuration and its keys")
    else:
        yield Found("warning", f"user {options.user} cannot reload this configuration: {mistakes}")


def _as_user(user: str, path: Path | None) -> str | None:
    """Read the configuration as another user, in a process of its own; the mistakes."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        text = "it could not be read, for a reason that was not foreseen"  # unless it is found out
        try:
            entry = pwd.getpwnam(user)
            os.initgroups(user, entry.pw_gid)
            os.setgid(entry.pw_gid)
            os.setuid(entry.pw_uid)
            load(path)
            text = ""
        except KeyError:
            text = "there is no such user"
        except BadConfig as error:
            text = "; ".join(f"{each.key} {each.message}" for each in error.mistakes)
        except OSError as error:
            text = str(error.strerror)
        finally:
            os.write(writing, text.encode()[:4096])  # as much as a pipe takes at once (PIPE_BUF)
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        text = pipe.read().decode(errors="replace")
    _, status = os.waitpid(pid, 0)
    return text or (None if status == 0 else "the process that read it was ended")


def _queue(options: Options) -> Iterator[Found]:
    directory = options.queue_directory
    if not is_there(directory):
        yield Found("ok", f"the queue's directory {directory} does not exist yet: `serve` makes it")
        return
    if not os.access(directory, os.R_OK | os.X_OK):
        yield Found("error", f"the queue's directory {directory} cannot be read by this user")
        return
    file = directory / FILE
    if not is_there(file):
        yield Found("ok", f"the queue in {directory} is empty")
        return
    try:
        with closing(
            sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=LOOK_SECONDS)
        ) as connection:
            connection.execute("PRAGMA schema_version").fetchone()
    except sqlite3.Error as error:
        yield Found("error", f"the queue in {file} cannot be opened: {error}")
    else:
        yield Found("ok", f"the queue in {directory} can be opened")


def _binds(options: Options) -> Iterator[Found]:
    if is_running(options):
        yield Found("ok", "a server of this configuration is running, and has the addresses")
        return
    fit = []
    with ExitStack() as bound:
        for endpoint, datagram, key in _places(options):
            try:
                bound.enter_context(bind_one(endpoint, datagram=datagram, key=key))
            except StartFailed as error:
                unit = None if datagram else holder(endpoint)
                if unit is not None and (unit.listen, unit.service) == (str(endpoint), SERVICE):
                    yield Found("ok", f"systemd holds {endpoint} for {SERVICE}, by {unit.unit}, until it starts")
                else:
                    yield Found("error", str(error))
            else:
                fit.append(str(endpoint))
    if fit:
        yield Found("ok", f"can listen on {', '.join(dict.fromkeys(fit))}")


def _places(options: Options) -> Iterator[tuple[Endpoint, bool, str]]:
    """Each address that is bound, whether for datagrams, and the key that has it."""
    keys, metrics = options.keys, options.metrics.listen
    yield from ((each, False, "`listen`") for each in options.listen)
    for datagram in (False, True):
        yield from ((each, datagram, "[resolver] listen") for each in keys.resolver_listen)
    yield from ((each, False, "[policy_server] listen") for each in keys.policy_listen if isinstance(each, Endpoint))
    if isinstance(metrics, Endpoint):
        yield metrics, False, METRICS_KEY


def is_running(options: Options) -> bool:
    """Whether a server answers on this queue's control socket."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as connection:
        connection.settimeout(LOOK_SECONDS)
        with suppress(OSError):  # nobody answers, for whatever reason
            connection.connect(os.fspath(options.queue_directory / CONTROL_SOCKET))
            return True
    return False


def _upstreams(options: Options) -> Iterator[Found]:
    async def examine() -> list[Found]:
        async with asyncio.timeout(EXAMINE_SECONDS), validated_dns(options.resolver) as asked:
            return [
                Found("warning", f"upstream {report}; {UNFIT_HINT}")
                if report.findings
                else Found("ok", f"upstream {report}")
                for report in await asked.examine()
            ]

    try:
        yield from asyncio.run(examine())
    except StartFailed as error:
        yield Found("error", str(error))
    except TimeoutError:
        yield Found("warning", f"the upstreams did not answer within {EXAMINE_SECONDS:.0f} seconds")
