"""`letterlock setup DOMAIN`: from an empty machine to a working, checked mail server."""

import ipaddress
import os
import pwd
import re
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import click

from letterlock.accounts.user_file import BadUsers
from letterlock.app.binding import StartFailed
from letterlock.app.checking import check_all
from letterlock.cli.setup.published_records import compare
from letterlock.cli.setup.server_files import MadeFiles, dkim_records, make_files, tlsa_data
from letterlock.cli.setup.server_plan import (
    CONFIGURATION,
    DOVECOT_SOCKET,
    MAILDIRS,
    DnsRecord,
    ServerPlan,
    records,
    zone_text,
)
from letterlock.config import EX_CONFIG, BadConfig, load
from letterlock.deliver.log import safe
from letterlock.mail.names import InvalidName, normalise
from letterlock.net.sources import address_towards
from letterlock.presence import is_there

UNIT = Path("/etc/systemd/system/letterlock.service.d/setup.conf")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")  # RFC 5321 section 4.5.3.1.1: 64 octets
_OUTSIDE = ("192.0.2.1", "2001:db8::1")  # RFC 5737, RFC 3849: nothing is sent there


class HostnameParam(click.ParamType[str]):
    """A domain name in A-labels, of two labels at least."""

    name = "name"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Normalise it, or say what is wrong."""
        try:
            found = normalise(str(value))
        except InvalidName as error:
            self.fail(str(error), param, ctx)
        if "." not in found:
            self.fail(f"{found} has no dot: the whole name is needed", param, ctx)
        return found


class OwnAddressParam(click.ParamType[str]):
    """An IP address of the server on the command line."""

    name = "address"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read it, or say what is wrong."""
        try:
            return str(ipaddress.ip_address(str(value)))
        except ValueError:
            self.fail(f"{str(value)!r} is no IP address: write 192.0.2.25 or 2001:db8::25", param, ctx)


@click.command()
@click.argument("domain", type=HostnameParam(), metavar="DOMAIN")
@click.option("--hostname", type=HostnameParam(), help="The server's name.  [default: mx.DOMAIN]")
@click.option("--user", "users", multiple=True, metavar="NAME", help="Somebody with a mailbox; may be repeated.")
@click.option(
    "--address",
    "addresses",
    type=OwnAddressParam(),
    multiple=True,
    metavar="ADDRESS",
    help="A public address of the server.  [default: this machine's]",
)
@click.option(
    "--next-hop", help=f"Where mail ends.  [default: lmtp:{DOVECOT_SOCKET} if it is there, otherwise Maildirs]"
)
@click.option("--directory", type=click.Path(path_type=Path), default=Path("/etc/letterlock"), show_default=True)
@click.option("--queue", type=click.Path(path_type=Path), default=Path("/var/lib/letterlock"), show_default=True)
@click.option("--owner", default="letterlock", show_default=True, help="Run by root: whom the files belong to.")
@click.option("--replace", is_flag=True, help="Set a configuration that exists aside, as letterlock.toml.before-setup.")
@click.option("--check", "only_check", is_flag=True, help="Make nothing; see whether the records are published.")
def setup(
    domain: str,
    hostname: str | None,
    users: tuple[str, ...],
    addresses: tuple[str, ...],
    next_hop: str | None,
    directory: Path,
    queue: Path,
    owner: str,
    replace: bool,
    only_check: bool,
) -> None:
    """Make this machine the mail server of DOMAIN.

    Writes the configuration, keys for DKIM, a certificate, and users with passwords that are shown once; prints the
    DNS records to publish; and checks what `serve` needs. Files that exist are kept, so you can repeat it, for
    example with more users. On a terminal it asks for what you do not give.

    \b
    Exit status:
       0  done; with --check, all records are published
       1  something is not as it should be
       2  usage error
      78  mistakes in the configuration
    """
    plan = ServerPlan(
        domain=domain,
        hostname=hostname or _asked("The server's name", f"mx.{domain}", asks=not only_check),
        directory=directory,
        queue=queue,
        next_hop=next_hop or _next_hop(),
        addresses=addresses or _own_addresses(),
        users=() if only_check else _names(users or (_asked("A user with a mailbox", "postmaster"),)),
    )
    try:
        if not only_check:
            _make(plan, owner, replace=replace)
        wanted = [*records(plan, dkim_records(plan), tlsa_data(plan))]
    except (OSError, BadUsers, ValueError) as error:
        _fail(_words(error))
    if only_check:
        sys.exit(_check_records(plan, wanted))
    click.echo("\nPublish these records (PTR: where your provider manages your addresses):\n")
    for line in zone_text(iter(wanted)):
        click.echo(line)
    click.echo("")
    status = _check_machine(plan)
    _say_what_comes_next(plan)
    sys.exit(status)


def _asked(question: str, default: str, *, asks: bool = True) -> str:
    if not (asks and sys.stdin.isatty()):
        return default
    answer: str = click.prompt(question, default=default, err=True)
    return answer


def _names(given: tuple[str, ...]) -> tuple[str, ...]:
    for name in given:
        if not _NAME.fullmatch(name):
            raise click.UsageError(f"{safe(name)!r} is no name of a mailbox: write lower case letters, digits, . _ -")
    return tuple(dict.fromkeys(given))


def _next_hop() -> str:
    return f"lmtp:{DOVECOT_SOCKET}" if Path(DOVECOT_SOCKET).exists() else f"maildir:{MAILDIRS}/{{domain}}/{{local}}"


def _own_addresses() -> tuple[str, ...]:
    """The addresses from which this machine reaches others: the kernel knows them without sending anything."""
    return tuple(address for each in _OUTSIDE if (address := address_towards(each)) is not None)


def _make(plan: ServerPlan, owner: str, *, replace: bool) -> None:
    """Raises OSError, BadUsers."""
    _require_user(owner)
    existing = plan.directory / CONFIGURATION
    if is_there(existing) and f'"{plan.domain}"' not in existing.read_text(errors="replace"):  # as a key or a value
        if not replace:
            _fail(f"{existing} exists, and is not about {plan.domain}\n  hint: --replace sets it aside")
        existing.rename(existing.with_name(f"{CONFIGURATION}.before-setup"))
    found = make_files(plan, owner if os.geteuid() == 0 else None)
    for path in found.made:
        click.echo(f"wrote {path}")
    for path in found.kept:
        click.echo(f"kept {path}")
    _tell_passwords(found)


def _require_user(name: str) -> None:
    """Root has to know whom to give the files to. Ends the program if there is no such user."""
    try:
        if os.geteuid() == 0:
            pwd.getpwnam(name)
    except KeyError:
        add = f"useradd --system --home-dir /var/lib/letterlock --shell /usr/sbin/nologin {name}"
        _fail(f"there is no user {name}\n  hint: {add}")


def _tell_passwords(found: MadeFiles) -> None:
    for name, password in found.passwords.items():
        click.echo(f"user {name} has the password {password}; it is not shown again")


def _check_machine(plan: ServerPlan) -> int:
    """What `serve` needs, short of serving."""
    path = plan.directory / CONFIGURATION
    try:
        found = [*check_all(load(path), path)]
    except BadConfig as error:
        click.echo(str(error), err=True)
        return EX_CONFIG
    for each in found:
        click.echo(f"{each.level:<8} {safe(each.text)}")
    return 1 if any(each.level == "error" for each in found) else 0


def _check_records(plan: ServerPlan, wanted: list[DnsRecord]) -> int:
    try:
        options = load(plan.directory / CONFIGURATION, secrets=False)
        found = compare(wanted, options.resolver)
    except BadConfig as error:
        click.echo(str(error), err=True)
        return EX_CONFIG
    except (StartFailed, ValueError) as error:
        _fail(str(error))
    for each in found:
        click.echo(f"{each.level:<8} {safe(each.text)}")
    return 1 if any(each.level == "error" for each in found) else 0


def _say_what_comes_next(plan: ServerPlan) -> None:
    steps = []
    if plan.next_hop.startswith("maildir:") and shutil.which("systemctl"):
        file = plan.directory / CONFIGURATION
        steps.append(f"mkdir -p {UNIT.parent} && letterlock serve --config {file} --print-drop-in >{UNIT}")
    steps += [
        "systemctl daemon-reload && systemctl enable --now letterlock",
        f"letterlock setup {plan.domain} --hostname {plan.hostname} --check   # once the records are published",
        f"letterlock check {plan.domain}",
    ]
    click.echo("\nThen:\n")
    for step in steps:
        click.echo(f"  {step}")


def _words(error: Exception) -> str:
    return f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)


def _fail(words: str) -> NoReturn:
    click.echo(f"error: {words}", err=True)
    sys.exit(1)
