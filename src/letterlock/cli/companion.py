"""`letterlock companion`: Letterlock next to a Postfix that keeps its mail."""

import asyncio
import logging
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import click
import uvloop

from letterlock.app.binding import StartFailed
from letterlock.app.logs import start_log
from letterlock.app.reloading import read_again
from letterlock.app.service_manager import notify
from letterlock.app.standalone import doors_alone
from letterlock.cli.configured import config_option, configured, found_configuration
from letterlock.companion.as_postfix import USUAL, Probes, dns_traps, socketmap_trap
from letterlock.companion.postfix_facts import BYTES, NoPostfix, PostfixFacts, nameservers, read_facts
from letterlock.companion.setup_apply import BACKUP, NothingToUndo, apply, made, undo
from letterlock.companion.setup_plan import CannotPlan, Door, SetupPlan, plan
from letterlock.companion.traps import Trap, traps
from letterlock.config import EX_CONFIG, BadConfig, Options, parse
from letterlock.presence import is_there
from letterlock.shared_defaults import SYSTEM_CONFIG

log = logging.getLogger("letterlock.companion")
RESOLV_CONF = Path("/etc/resolv.conf")
BACKUP_DIRECTORY = Path("/var/backups/letterlock")
UNIT = Path("/etc/systemd/system/letterlock.service")
PACKAGED_UNITS = (Path("/lib/systemd/system/letterlock.service"), Path("/usr/lib/systemd/system/letterlock.service"))
SYSTEMD = Path("/run/systemd/system")  # there while systemd runs the machine (sd_booted(3))

_postfix_option = click.option(
    "--postfix",
    "postfix_directory",
    type=click.Path(path_type=Path),
    help="Configuration directory of Postfix.  [default: Postfix' own]",
)
_resolv_option = click.option(
    "--resolv-conf", type=click.Path(path_type=Path), default=RESOLV_CONF, show_default=True, help="The machine's file."
)
_backup_option = click.option(
    "--backup-directory",
    type=click.Path(path_type=Path),
    default=BACKUP_DIRECTORY,
    show_default=True,
    help="Where the backup of everything that is changed is kept.",
)


@click.group()
def companion() -> None:
    """Protect the mail that a Postfix on this machine sends: set it up, check it, take it back."""


@companion.command()
@click.option("--apply", "applies", is_flag=True, help="Make the changes; without it they are printed.")
@click.option(
    "--door",
    "names",
    type=click.Choice([each.value for each in Door]),
    multiple=True,
    help="A door that Postfix shall use; may be repeated.  [default: resolver and policy]",
)
@_postfix_option
@_resolv_option
@_backup_option
@config_option
def enable(
    applies: bool,
    names: Sequence[str],
    postfix_directory: Path | None,
    resolv_conf: Path,
    backup_directory: Path,
    config_path: Path | None,
) -> None:
    """Print what has to change so that Postfix uses the doors, or make it so with --apply.

    Changes main.cf, the configuration of Letterlock, resolv.conf (that of Postfix' chroot, too) and the unit. It keeps
    a backup: `letterlock companion disable` puts everything back.

    Exit status: 0 done; 1 it cannot be done; 78 mistakes in the configuration.
    """
    doors = [Door(each) for each in names] or [Door.RESOLVER, Door.POLICY]
    facts = _facts(postfix_directory, resolv_conf)
    config = found_configuration(config_path) or Path(SYSTEM_CONFIG)
    planned = _planned(facts, doors, config, resolv_conf)
    if not applies:
        click.echo("\n".join(_printed(planned, facts)).encode(errors=BYTES))
        return
    try:
        backup = apply(planned, facts, backup_directory)
    except NothingToUndo as error:
        _fail(f"{error}; nothing was changed", "put back by hand what it holds, and remove it")
    except (OSError, NoPostfix) as error:
        _fail(f"{error}", "run it as root; what was changed so far is undone by: letterlock companion disable")
    click.echo(f"changed {', '.join([*planned.parameters, *map(str, planned.files)])}; backup in {backup}")
    for note in planned.notes:
        click.echo(f"note: {note}")
    _run(_service_commands(facts))
    click.echo("now run: letterlock companion check")


@companion.command()
@_postfix_option
@_resolv_option
@click.option("--good", default=USUAL.good, show_default=True, help="A domain that is signed.")
@click.option("--bogus", default=USUAL.bogus, show_default=True, help="A domain whose signatures are broken.")
@click.option("--insecure", default=USUAL.insecure, show_default=True, help="A domain that is not signed.")
@config_option
def check(
    postfix_directory: Path | None, resolv_conf: Path, good: str, bogus: str, insecure: str, config_path: Path | None
) -> None:
    """Ask as the running Postfix would, and report whether it enforces.

    Each trap is named with its repair.

    Exit status: 0 it enforces; 1 there is a problem; 78 mistakes in the configuration.
    """
    facts, options = _facts(postfix_directory, resolv_conf), configured(config_path)
    found = [*_found(facts, options, Probes(good, bogus, insecure))]
    for each in found:
        click.echo(f"{each.level:<7}  {each.text}")
        if each.repair:
            click.echo(f"         repair: {each.repair}")
    problems = sum(each.level == "problem" for each in found)
    click.echo("Postfix enforces what the doors answer" if not problems else f"{problems} to repair")
    sys.exit(1 if problems else 0)


@companion.command()
@_postfix_option
@_resolv_option
@_backup_option
def disable(postfix_directory: Path | None, resolv_conf: Path, backup_directory: Path) -> None:
    """Put back everything that `enable --apply` changed. Leaves whatever somebody else changed since, and names it.

    Exit status: 0 done; 1 it cannot be done.
    """
    facts = _facts(postfix_directory, resolv_conf)
    try:
        if SYSTEMD.is_dir() and made(backup_directory, UNIT):
            _run([("systemctl", "disable", "--now", "letterlock")])
        undone = undo(facts, backup_directory)
    except (NothingToUndo, OSError, NoPostfix) as error:
        _fail(str(error), f"the backup is {backup_directory / BACKUP}")
    for each in undone.restored:
        click.echo(f"restored {each}")
    for each in undone.left:
        click.echo(f"left     {each}", err=True)
    ours = str(UNIT) in undone.restored
    systemd: list[tuple[str, ...]] = [("systemctl", "daemon-reload")] if SYSTEMD.is_dir() else []
    if systemd and not ours:
        systemd.append(("systemctl", "restart", "letterlock"))
    _run([*systemd, _reload_command(facts)])


@companion.command()
@config_option
def run(config_path: Path | None) -> None:
    """Run the doors alone, without a queue, in the foreground.

    `letterlock serve` opens them too.

    Exit status: 0 stopped cleanly; 1 could not start; 78 mistakes in the configuration.
    """
    try:
        options = read_again(found_configuration(config_path))
    except BadConfig as error:
        click.echo(str(error), err=True)
        sys.exit(EX_CONFIG)
    start_log(options.hostname, as_json=False, verbose=False)
    try:
        uvloop.run(_doors(options))
    except StartFailed as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)


async def _doors(options: Options) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with doors_alone(options):
        for place in (*options.keys.resolver_listen, *options.keys.policy_listen):
            log.info("answering on %s", place)
        notify("READY=1")
        await stop.wait()
        notify("STOPPING=1")


def _facts(directory: Path | None, resolv_conf: Path) -> PostfixFacts:
    try:
        return read_facts(directory, resolv_conf)
    except NoPostfix as error:
        _fail(str(error), "install it, or name its --postfix directory")


def _planned(facts: PostfixFacts, doors: Sequence[Door], config: Path, resolv_conf: Path) -> SetupPlan:
    """The plan, whose configuration has no mistakes."""
    try:
        text = config.read_text() if is_there(config) else None
        planned = plan(facts, doors, config=config, config_text=text, resolv_conf=resolv_conf)
        parse(planned.files[config], str(config), base=config.parent, secrets=False)
    except BadConfig as error:
        click.echo(str(error), err=True)
        sys.exit(EX_CONFIG)
    except UnicodeDecodeError:
        _fail(f"{config} is not UTF-8 text", "see `letterlock config check`", EX_CONFIG)
    except CannotPlan as error:
        _fail(str(error), "see `letterlock config check`", EX_CONFIG)
    except OSError as error:
        _fail(str(error), "see `letterlock config check`")
    unit = {} if any(map(is_there, (UNIT, *PACKAGED_UNITS))) else {UNIT: _unit(config)}
    return replace(planned, files={**planned.files, **unit})


def _printed(planned: SetupPlan, facts: PostfixFacts) -> Iterator[str]:
    """The changes as commands that somebody could type."""
    if planned.parameters:
        settings = " ".join(f"'{name}={value}'" for name, value in planned.parameters.items())
        yield f"postconf -c {facts.config_directory} -e {settings}"
    for path, text in planned.files.items():
        yield f"cat > {path} <<'END'"
        yield f"{text.rstrip()}\nEND"
    yield from (f"# note: {note}" for note in planned.notes)
    yield from (" ".join(each) for each in _service_commands(facts))
    yield "# letterlock companion enable --apply does this, with a backup"


def _unit(config: Path) -> str:
    program = shutil.which("letterlock") or f"{sys.executable} -m letterlock"
    return f"""\
[Unit]
Description=Letterlock next to Postfix
After=network-online.target
Wants=network-online.target
Before=postfix.service

[Service]
Type=notify
ExecStart={program} serve --config {config}
ExecReload=/bin/kill -HUP $MAINPID
DynamicUser=yes
StateDirectory=letterlock letterlock-drop
Environment=XDG_STATE_HOME=/var/lib
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
Restart=always
RestartSec=1
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes

[Install]
WantedBy=multi-user.target
"""


def _reload_command(facts: PostfixFacts) -> tuple[str, ...]:
    return "postfix", "-c", str(facts.config_directory), "reload"


def _service_commands(facts: PostfixFacts) -> list[tuple[str, ...]]:
    """What starts Letterlock and lets Postfix read its configuration again; systemd only where it runs."""
    verbs = (("daemon-reload",), ("enable", "letterlock"), ("restart", "letterlock"))
    systemd = [("systemctl", *verb) for verb in verbs] if SYSTEMD.is_dir() else []
    return [*systemd, _reload_command(facts)]


def _run(commands: Sequence[tuple[str, ...]]) -> None:
    for command in commands:
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # our own words
        except OSError as error:
            click.echo(f"warning: `{' '.join(command)}` cannot be run: {error.strerror}", err=True)
            continue
        if done.returncode:
            click.echo(f"warning: `{' '.join(command)}` failed: {done.stderr.strip()[:300]}", err=True)
    if not SYSTEMD.is_dir():
        click.echo("note: systemd does not run here: start `letterlock serve` by your own means")


def _found(facts: PostfixFacts, options: Options, probes: Probes) -> Iterator[Trap]:
    """The traps of the configuration, then what the doors answer now."""
    keys = options.keys
    fingerprints = options.policy_server.answer == "fingerprint"
    if not keys.resolver_listen and not keys.policy_listen:
        yield Trap("problem", "no door is configured", "letterlock companion enable --apply")
    yield from traps(
        facts, resolver=bool(keys.resolver_listen), policy=bool(keys.policy_listen), fingerprints=fingerprints
    )
    if keys.resolver_listen:
        port = keys.resolver_listen[0].port
        text = facts.chroot_resolv_conf if facts.chrooted else facts.resolv_conf
        for server in nameservers(text)[:1]:
            yield from dns_traps(server, probes, port)
    for place in keys.policy_listen:
        name = str(place)
        yield socketmap_trap(name if name.startswith("unix:") else f"inet:{name}", "QUERY")


def _fail(text: str, hint: str, status: int = 1) -> NoReturn:
    click.echo(f"error: {text}\n  hint: {hint}", err=True)
    sys.exit(status)
