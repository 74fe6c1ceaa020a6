"""`letterlock check-mail`: who signed a message, what held, and why not."""

import asyncio
import socket
import sys
import time
from typing import BinaryIO

import click

from letterlock.app.binding import StartFailed
from letterlock.app.output import json_text
from letterlock.app.resolving import validated_dns
from letterlock.cli.check_mail.file import NotAMessage, read_message
from letterlock.cli.check_mail.text import draw
from letterlock.cli.check_mail.values import mail_values
from letterlock.cli.resolve import AnchorParam, TimeParam, UpstreamParam
from letterlock.cli.style import Style
from letterlock.config import ResolverOptions
from letterlock.discover.mail_authentication import authenticate
from letterlock.mailauth.dmarc.reasons import DmarcResult
from letterlock.mailauth.mail_verdict import MailVerdict
from letterlock.mailauth.message import Message
from letterlock.mailauth.spf.request import Client, Request, client_address, helo_request, mail_from_request
from letterlock.net.dns import Upstream
from letterlock.resolver import TrustAnchor

EXIT_USAGE, EXIT_UNKNOWN = 2, 3
EXIT_STATUS = {
    DmarcResult.PASS: 0,
    DmarcResult.NONE: 0,
    DmarcResult.FAIL: 1,
    DmarcResult.PERMERROR: 1,
    DmarcResult.TEMPERROR: EXIT_UNKNOWN,
}


class AddressParam(click.ParamType[Client]):
    """An IP address on the command line."""

    name = "ADDR"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Client:
        """Parse it, or report what is wrong."""
        try:
            return client_address(str(value))
        except ValueError:
            self.fail(f"{value!r} is not an IP address", param, ctx)


@click.command("check-mail")
@click.argument("file", metavar="FILE", type=click.File("rb"))
@click.option("--client", type=AddressParam(), help="Address of the client that sent it; without it, no SPF check.")
@click.option("--helo", metavar="NAME", help="Name that the client gave in HELO or EHLO.")
@click.option("--from", "sender", metavar="ADDR", help="Address in MAIL FROM.  [default: the Return-Path field]")
@click.option("--upstream", "upstreams", type=UpstreamParam(), multiple=True, help="Resolver to ask; may be repeated.")
@click.option(
    "--anchor", "anchors", type=AnchorParam(), multiple=True, help="DS or DNSKEY records to trust; may be repeated."
)
@click.option("--now", type=TimeParam(), help="Check as of this moment (Unix seconds or ISO 8601).")
@click.option("--timeout", type=click.FloatRange(0.1, 60), default=10, show_default=True, help="Seconds for one query.")
@click.option("--json", "as_json", is_flag=True, help="The same as data.")
def check_mail(
    file: BinaryIO,
    client: Client | None,
    helo: str | None,
    sender: str | None,
    upstreams: tuple[Upstream, ...],
    anchors: tuple[tuple[TrustAnchor, ...], ...],
    now: float | None,
    timeout: float,  # click's option of that name
    as_json: bool,
) -> None:
    """Show who signed the message in FILE, whether its sender and author are authentic, and why not.

    Checks DKIM, SPF (with --client), DMARC and ARC as a receiving server would, and states for every result whether
    the DNS answers it rests on were proven. FILE is a message as it was received, or an mbox, of which
    the first message is checked; - is standard input.

    \b
    Exit status:
       0  authenticated as its author, or the author's domain has no DMARC policy (the first line says which)
       1  not authenticated as its author, though the domain has a policy; or From has no single author
       2  usage error
       3  could not find out
    """
    message = _message(file)
    requests = _requests(message, client, helo, sender, time.time() if now is None else now)
    options = ResolverOptions(
        upstreams=upstreams, anchors=tuple(anchor for each in anchors for anchor in each), timeout_seconds=timeout
    )
    try:
        verdict = asyncio.run(_checked(message, requests, options, now))
    except StartFailed as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(EXIT_UNKNOWN)
    if as_json:
        click.echo(json_text(mail_values(verdict, socket.gethostname() or "localhost"), indent=2))
    else:
        click.echo("\n".join(draw(verdict, Style.of(sys.stdout))))
    sys.exit(EXIT_STATUS[verdict.dmarc.result])


def _message(file: BinaryIO) -> Message:
    """The message in the file. Ends the program with status 2 when it cannot be read."""
    name = file.name if isinstance(file.name, str) else "standard input"  # of that, the name is its number
    try:
        message, notes = read_message(file)
    except NotAMessage as error:
        click.echo(f"error: {name}: {error}", err=True)
        sys.exit(EXIT_USAGE)
    for note in notes:
        click.echo(f"note: {name}: {note}", err=True)
    return message


def _requests(
    message: Message, client: Client | None, helo: str | None, sender: str | None, now: float
) -> tuple[Request, ...]:
    """The SPF checks, MAIL FROM last."""
    if client is None:
        if helo or sender:
            raise click.UsageError("--helo and --from need --client: SPF is about the client's address")
        return ()
    reverse_path = _return_path(message) if sender is None else sender.strip("<>")
    if reverse_path is None:
        raise click.UsageError("name the address in MAIL FROM with --from: the message has no Return-Path field")
    if not reverse_path and not helo:
        raise click.UsageError("with the null reverse-path, SPF checks the name in HELO: name it with --helo")
    first = (helo_request(str(client), helo, now=now),) if helo else ()
    return (*first, mail_from_request(str(client), reverse_path, helo or "unknown", now=now))


def _return_path(message: Message) -> str | None:
    """The reverse-path that the last server recorded (RFC 5321 section 4.4)."""
    fields = message.named(b"return-path")
    return fields[0].value.decode("utf-8", "replace").strip().strip("<>") if fields else None


async def _checked(
    message: Message, requests: tuple[Request, ...], options: ResolverOptions, now: float | None
) -> MailVerdict:
    async with validated_dns(options, now) as asked:
        return await authenticate(message, requests, asked.resolver, time.time() if now is None else now)
