"""`letterlock route`: where mail for an address goes, by which table, route and rule. Asks no server and no DNS."""

import asyncio
import ipaddress
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
from click.core import ParameterSource

from letterlock.app.output import json_text
from letterlock.cli.configured import config_option, configured
from letterlock.cli.rules_on_recipient import Sending, rule_outcome
from letterlock.config import Options
from letterlock.mail.addresses import InvalidAddress, Mailbox, parse_mailbox
from letterlock.receive.profiles import SUBMITS, Role
from letterlock.receive.relay import DENIED
from letterlock.recipients.directory import Domains, ExpandedAddress, Expansion, Looked, TableFailed
from letterlock.recipients.targets import Discard, Ending, Include, Name, RefusalEntry, Target
from letterlock.routing.destination_rule import DestinationRule

EXIT_REFUSED = 1  # there is an answer, and it is no
EXIT_NOT_FOUND_OUT = 3  # there is no answer: a lookup failed


class Address(click.ParamType[Mailbox | None]):
    """A mailbox, or `<>` for the null reverse-path."""

    name = "address"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Mailbox | None:
        """The mailbox; a usage error for anything else."""
        if value is None or isinstance(value, Mailbox) or value in ("", "<>"):
            return value if isinstance(value, Mailbox) else None
        try:
            return parse_mailbox(str(value).removeprefix("<").removesuffix(">"))
        except InvalidAddress as error:
            self.fail(f"{value!r}: {error}", param, ctx)


@dataclass(slots=True)
class WayEnd:
    """One address that the mail goes to in the end."""

    address: str
    next_hop: str
    by: str
    rules: list[str] = field(default_factory=list)
    sender: str | None = None


@dataclass(slots=True)
class Way:
    """The answer: who may send here, what was looked up, and where it ends or why it is refused."""

    recipient: str
    accepted_from: list[str]
    decided_by: list[str] = field(default_factory=list)
    looked_up: list[str] = field(default_factory=list)
    ends: list[WayEnd] = field(default_factory=list)
    refused: str | None = None
    failed: str | None = None


@click.command()
@config_option
@click.argument("address", type=Address())
@click.option("--from", "sender", type=Address(), metavar="ADDRESS", help="The sender, whose rules count too.")
@click.option("--client", metavar="IP", help="The client's address, for rules that ask for it.")
@click.option("--user", metavar="NAME", help="The user who logged in, for rules that ask for one.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def route(
    config_path: Path | None,
    address: Mailbox | None,
    sender: Mailbox | None,
    client: str | None,
    user: str | None,
    as_json: bool,
) -> None:
    """Show where mail for ADDRESS goes, and why: rules, aliases, mailboxes and routes that apply.

    Only the configuration and its tables are read; `letterlock check` shows what DNS says about the domain.

    \b
    Exit status:
       0  it is accepted, and goes where is shown
       1  it is refused
       2  usage error
       3  a table could not be read
      78  mistakes in the configuration
    """
    if address is None:
        raise click.UsageError("the null reverse-path is no recipient")
    given = click.get_current_context().get_parameter_source("sender") is ParameterSource.COMMANDLINE
    sending = Sending(sender=sender, sender_given=given, client=_address_of(client), user=user)
    way = asyncio.run(_way(configured(config_path), address, sending))
    click.echo(json_text(_as_json(way), indent=2) if as_json else "\n".join(_lines(way)))
    if way.failed:
        sys.exit(EXIT_NOT_FOUND_OUT)
    if way.refused:
        sys.exit(EXIT_REFUSED)


def _address_of(client: str | None) -> str | None:
    try:
        return None if client is None else str(ipaddress.ip_address(client))
    except ValueError:
        raise click.BadParameter(f"{client!r} is no IP address", param_hint="--client") from None


async def _way(options: Options, recipient: Mailbox, sending: Sending) -> Way:
    outcome = rule_outcome(options.receive.recipient_rules, recipient, sending)
    way = Way(str(recipient), [])
    way.decided_by = outcome.lines
    try:
        if not outcome.decided:
            way.accepted_from = [each async for each in _accepted_from(options, recipient, sending)]
        if outcome.decided:
            way.refused = None if outcome.refusal is None else str(outcome.refusal)
        elif sending.is_known and not (way.accepted_from or outcome.lines):
            way.refused = str(DENIED)
        if way.refused is None:
            await _look_up(way, options, recipient, sending.sender)
    except TableFailed as error:
        way.failed = str(error)
    finally:
        for database in options.receive.databases:
            database.close()
    return way


async def _look_up(way: Way, options: Options, recipient: Mailbox, sender: Mailbox | None) -> None:
    """Where accepted mail goes, by tables and routes. Raises TableFailed."""
    site = options.receive.site
    if site is None or not await site.directory.has(recipient.domain):
        way.ends.append(await _end(options, ExpandedAddress(recipient), sender))
        return
    found = await site.directory.expand(recipient)
    way.looked_up = [_looked(each) for each in found.looked]
    way.refused = _refusal(found)
    if way.refused is None:
        way.ends = [await _end(options, member, sender) for member in found.members]


def _refusal(found: Expansion) -> str | None:
    if found.refused is not None:
        return f"{found.refused.code} {found.refused.status} {found.refused.text}"
    return None if found.known else "550 5.1.1 No such user here"


async def _accepted_from(options: Options, recipient: Mailbox, sending: Sending) -> AsyncIterator[str]:
    """Who may send here, where no rule decides; of who is known to send, where."""
    for each in options.listeners:
        where = ", ".join(map(str, each.endpoints))
        if recipient.domain in each.profile.domains:
            yield f"anybody, at {where}"
        elif table := await _with_domain(each.profile.domain_tables, recipient.domain):
            yield f"anybody, at {where}: {recipient.domain} is in table {table}"
        elif sending.is_known:
            if sending.client is not None and each.profile.may_relay(sending.client):
                yield f"{sending.client}, at {where} ({each.profile.role})"
            elif sending.user is not None and each.profile.role in SUBMITS:
                yield f"{sending.user}, at {where} ({each.profile.role})"
        elif each.profile.role is not Role.MX or each.profile.relays:
            yield f"who may relay, at {where} ({each.profile.role})"


async def _with_domain(tables: Sequence[Domains], domain: str) -> str | None:
    """The first table that has a domain. Raises TableFailed."""
    found = [each.table.name for each in tables if await each.have(domain)]
    return found[0] if found else None


def _looked(looked: Looked) -> str:
    targets = ", ".join(map(_target, looked.targets))
    if looked.table:
        return f"{looked.address}: table {looked.table}, entry {looked.key}" + (f" -> {targets}" if targets else "")
    if looked.is_mailbox:
        return f"{looked.address}: every address of {looked.address.domain} has a mailbox"
    return f"{looked.address}: " + (f"the catch-all -> {targets}" if targets else "no entry in any table")


def _target(target: Target) -> str:
    match target:
        case Mailbox():
            return str(target)
        case Name(local_part, is_final):
            return f"\\{local_part}" if is_final else local_part
        case RefusalEntry(text, code, status):
            return f"refused with {code} {status} {text}"
        case Discard():
            return "thrown away"
        case Include(path):
            return f":include:{path}"
        case Ending(text):
            return text


async def _end(options: Options, member: ExpandedAddress, sender: Mailbox | None) -> WayEnd:
    if member.ending is not None:
        return WayEnd(str(member.address), str(member.ending.place), "an alias leads to it")
    rules, domain = options.rules, member.address.domain
    looked_up = None if options.deliver.aliases is None else await options.deliver.aliases.find(member.address)
    if looked_up is not None and options.deliver.addresses.find(member.address) is None:
        return WayEnd(str(member.address), str(looked_up.place), "[hosted] has its domain, by a table")
    reverse_path = member.owner or sender
    relay = options.deliver.addresses.find(member.address)
    relay = relay or rules.relay_for(domain, None if reverse_path is None else reverse_path.domain)
    if relay is None:
        hop, by = f"the MX hosts of {domain}", "no [route] leads it elsewhere"
    else:
        hop = relay.domain if relay.final or not relay.is_host else f"[{relay.domain}]"
        hop, by = (hop if relay.port is None else f"{hop}:{relay.port}"), f"the route at {relay.source}"
    end = WayEnd(str(member.address), hop, by)
    if relay is None or relay.final is None:
        heard = rules.for_message(domain, None if reverse_path is None else reverse_path.domain)
        end.rules = [_rule(rule, audited) for rule, audited in ((heard.rule, False), (heard.audited, True)) if rule]
    if member.owner is not None:
        end.sender = f"{member.owner}: the owner of the list"
    elif member.through and options.receive.site is not None and not await options.receive.site.directory.has(domain):
        end.sender = _forwarded(options)
    return end


def _forwarded(options: Options) -> str:
    domain = options.srs_domain
    return "as it came: no [forwarding] srs_domain" if domain is None else f"rewritten by SRS, at {domain}"


def _rule(rule: DestinationRule, audited: bool) -> str:
    return f"tls = {rule.tls.value} by {rule.source}" + (" (audit: only observed)" if audited or rule.audit else "")


def _lines(way: Way) -> Iterator[str]:
    yield way.recipient
    yield from (f"  {each}" for each in way.decided_by)
    if way.accepted_from or not way.decided_by:
        otherwise = "otherwise " if way.decided_by else ""
        yield f"  {otherwise}accepted from " + ("; ".join(way.accepted_from) or "nobody")
    yield from (f"  {each}" for each in way.looked_up)
    if way.failed:
        yield f"  put off with 451: {way.failed}"
    elif way.refused:
        yield f"  refused: {way.refused}"
    elif not way.ends:
        yield "  thrown away"
    for end in way.ends:
        yield f"  -> {end.address}"
        yield f"     next hop {end.next_hop}: {end.by}"
        yield from (f"     rule {each}" for each in end.rules)
        if end.sender:
            yield f"     sender {end.sender}"


def _as_json(way: Way) -> dict[str, object]:
    return {
        "recipient": way.recipient,
        "decided_by": way.decided_by,
        "accepted_from": way.accepted_from,
        "looked_up": way.looked_up,
        "refused": way.refused,
        "failed": way.failed,
        "goes_to": [
            {"address": end.address, "next_hop": end.next_hop, "by": end.by, "rules": end.rules, "sender": end.sender}
            for end in way.ends
        ],
    }
