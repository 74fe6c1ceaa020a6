"""`letterlock aliases`, which `newaliases` runs: reads the files of aliases and mailboxes, and reports mistakes."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import click

from letterlock.cli.configured import config_option, configured
from letterlock.config import Options
from letterlock.deliver.local.command_run import why_not_runnable
from letterlock.mail.addresses import InvalidAddress, parse_mailbox
from letterlock.recipients.directory import Directory, ExpandedAddress, RecipientTable, TableFailed
from letterlock.routing.local_targets import CommandHop
from letterlock.tables.file_table import AliasFileContent, AliasFileTable, read_file

EX_DATAERR = 65  # of sysexits.h
MAX_FOLLOWED = 10_000  # aliases of one file whose ends are looked for: about a second
MAX_SHOWN = 100  # mistakes in one file: who has more sees the kind


@click.command()
@config_option
def aliases(config_path: Path | None) -> None:
    """Check the files of aliases and mailboxes, as `newaliases` does after an edit.

    Every line that cannot be used is reported, and every alias that leads to nobody or in a circle. There is no
    database to build: the server reads a changed file within a second, and goes on without the lines that are wrong.

    \b
    Exit status:
       0  everything can be used
       2  usage error
      65  mistakes in a file, or a file that cannot be read
      78  mistakes in the configuration
    """
    options = configured(config_path)
    if asyncio.run(_report(options)):
        sys.exit(EX_DATAERR)


async def _report(options: Options) -> int:
    """Print what is in each table; how many mistakes there are."""
    site = options.receive.site
    directory = Directory({}) if site is None else site.directory
    mistakes = 0
    try:
        for table in dict.fromkeys((*directory.tables, *options.receive.sender_tables)):
            mistakes += await _report_table(table, directory)
    finally:
        for database in options.receive.databases:
            database.close()
    if not directory.tables:
        click.echo("no [local] domain names a table of aliases or mailboxes: there is nothing to check")
    return mistakes


async def _report_table(table: RecipientTable, directory: Directory) -> int:
    if not isinstance(table, AliasFileTable):
        click.echo(f"table {table.name}: asked at each recipient, nothing to check here")
        return 0
    try:
        content = read_file(table.path, table.allowed)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else None
        click.echo(f"{table.path}: cannot be read: {why or error}", err=True)
        return 1
    found = [*_bad_lines(table, content)]
    if (domain := directory.alias_domain(table)) is not None:
        found += [f"{table.path}: {each}" async for each in _bad_ends(content, directory, domain)]
        if len(content.entries) > MAX_FOLLOWED:
            click.echo(f"note: {table.path}: only the first {MAX_FOLLOWED:,} were followed to their ends", err=True)
    for line in found[:MAX_SHOWN]:
        click.echo(line, err=True)
    if len(found) > MAX_SHOWN:
        click.echo(f"{table.path}: and {len(found) - MAX_SHOWN} more mistakes", err=True)
    wrong = f", {_counted(len(found), 'mistake', 'mistakes')}" if found else ""
    click.echo(f"{table.path}: {_counted(len(content.entries), 'entry', 'entries')}{wrong}")
    return len(found)


def _bad_lines(table: AliasFileTable, content: AliasFileContent) -> Iterator[str]:
    return (f"{table.path}:{each.number}: {each.why}" for each in content.bad)


async def _bad_ends(content: AliasFileContent, directory: Directory, domain: str) -> AsyncIterator[str]:
    """Aliases that lead to nobody, each in the domain that it names, or in the first that has the table."""
    for key in list(content.entries)[:MAX_FOLLOWED]:
        if key.startswith("@"):
            continue  # of a whole domain: there is no name to begin with
        try:
            found = await directory.expand(parse_mailbox(key if "@" in key else f"{key}@{domain}"))
            wrong = [await _why_bad(member, directory) for member in found.members]
        except InvalidAddress as error:
            yield f"{key}: no mail can come for this name: {error}"
        except TableFailed as error:
            yield f"{key}: {error}"
        else:
            for why in filter(None, wrong):
                yield f"{key}: {why}"


async def _why_bad(member: ExpandedAddress, directory: Directory) -> str | None:
    """Why mail cannot end at one member of an alias. Raises TableFailed."""
    if member.ending is not None:
        place = member.ending.place
        return why_not_runnable(place) if isinstance(place, CommandHop) else None
    if not member.through or not await directory.has(member.address.domain):
        return None
    known = (await directory.expand(member.address)).known
    return None if known else f"leads to {member.address}, whom no table knows"


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
