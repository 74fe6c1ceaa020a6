"""`letterlock sts`: host MTA-STS policies for your domains, and say what to publish."""

import asyncio
import hashlib
import signal
import sys
from collections.abc import Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import click

from letterlock.app.binding import StartFailed, bind
from letterlock.app.logs import start_log
from letterlock.config import Endpoint
from letterlock.config.checked_values import endpoint
from letterlock.mail.names import InvalidName, normalise
from letterlock.mtasts.policy import MAX_AGE_SECONDS, InvalidPolicy, Mode, parse_policy
from letterlock.net.sts_host import PREFIX, PolicyFolder, StsHost
from letterlock.net.tls import BadCertificate

ID_CHARACTERS = 32  # of an id (RFC 8461 section 3.1)
EXIT_PROBLEM = 1  # as for every verb that found something wrong
MODES = click.Choice([each.value for each in Mode])
AGES = click.IntRange(86_400, MAX_AGE_SECONDS)
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group()
def sts() -> None:
    """Host MTA-STS policies (RFC 8461) for your domains: the half that senders fetch by HTTPS."""


def _name(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    try:
        return normalise(value)
    except InvalidName as error:
        raise click.BadParameter(str(error)) from None


def _endpoints(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> tuple[Endpoint, ...]:
    try:
        return tuple(endpoint(each) for each in values)
    except ValueError as error:
        raise click.BadParameter(f'{error}; write "192.0.2.1:443" or "[::]:443"') from None


@sts.command()
@click.argument("domain", metavar="DOMAIN", callback=_name)
@click.option("--mx", "patterns", metavar="HOST", multiple=True, required=True, help="An MX host, or *.DOMAIN.")
@click.option("--mode", type=MODES, default="testing", show_default=True, help="The mode: whether senders enforce it.")
@click.option("--max-age", type=AGES, default=604_800, show_default=True, help="For how many seconds it holds.")
def policy(domain: str, patterns: tuple[str, ...], mode: str, max_age: int) -> None:
    """Print a policy for DOMAIN, and on standard error what to publish with it.

    Exit status: 0 printed; 1 it would be no policy; 2 usage error.
    """
    lines = ("version: STSv1", f"mode: {mode}", *(f"mx: {each}" for each in patterns), f"max_age: {max_age}")
    text = "".join(f"{line}\n" for line in lines)
    read = parse_policy(text.encode())
    if isinstance(read, InvalidPolicy) or read.oddities:
        _fail(read.detail if isinstance(read, InvalidPolicy) else "; ".join(read.oddities))
    click.echo(text, nl=False)
    for line in records(domain, text.encode()):
        click.echo(line, err=True)


def records(domain: str, text: bytes) -> tuple[str, ...]:
    """Lines of a zone file for a policy. The id follows from the text, so it changes whenever the text does."""
    policy_id = hashlib.sha256(b"\n".join(text.splitlines())).hexdigest()[:ID_CHARACTERS]
    return (
        f'_mta-sts.{domain}. IN TXT "v=STSv1; id={policy_id};"',
        f"; {PREFIX}{domain}. needs an A or AAAA record that leads to this host, and a certificate for that name",
        f'; _smtp._tls.{domain}. IN TXT "v=TLSRPTv1; rua=mailto:tls-reports@{domain}" tells you who fails',
    )


@sts.command()
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--certificate", type=FILE, required=True, help="PEM chain with the names mta-sts.DOMAIN of all domains.")
@click.option("--key", type=FILE, required=True, help="PEM file of its private key.")
@click.option(
    "--listen", "addresses", metavar="ADDR:PORT", multiple=True, default=("0.0.0.0:443", "[::]:443"), show_default=True,
    callback=_endpoints, help="Where to listen; may be repeated.",
)  # fmt: skip
def serve(folder: Path, certificate: Path, key: Path, addresses: tuple[Endpoint, ...]) -> None:
    """Serve the policies in FOLDER by HTTPS until SIGTERM.

    DOMAIN.txt is the policy of DOMAIN. At start, the records to publish are printed. Changed policies and certificates
    are read again within seconds. A file that is no policy is not served, and does not replace one that is. Run it as a
    user who can read the files; systemd's AmbientCapabilities lets it use port 443.

    Exit status: 0 stopped; 1 it cannot start, or there is no policy; 2 usage error.
    """
    policies = PolicyFolder(folder)
    policies.look()
    if not policies.domains:
        _fail(f"there is no policy in {folder}\n  hint: `letterlock sts policy DOMAIN --mx HOST > {folder}/DOMAIN.txt`")
    for domain in policies.domains:
        for line in records(domain, policies.text(domain) or b""):
            click.echo(line)
    try:
        host = StsHost(policies, certificate, key)
        sockets = bind(addresses)
    except (BadCertificate, StartFailed) as error:
        _fail(str(error))
    start_log("localhost", as_json=False, verbose=False)
    with ExitStack() as stack:
        for each in sockets:
            stack.enter_context(each)
        asyncio.run(_until_stopped(host.run(sockets)))


async def _until_stopped(work: Coroutine[None, None, None]) -> None:
    task = asyncio.create_task(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    await asyncio.wait([task])
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error


def _fail(text: str) -> NoReturn:
    click.echo(f"error: {text}", err=True)
    sys.exit(EXIT_PROBLEM)
