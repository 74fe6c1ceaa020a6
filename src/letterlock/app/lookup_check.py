"""Asks every table and the place of the users once, before a recipient or a login depends on it."""

import asyncio
from collections.abc import Iterator

from letterlock.accounts.backend import Accounts, AccountsAway
from letterlock.accounts.dovecot import DovecotAccounts
from letterlock.accounts.file_store import FileStore
from letterlock.accounts.stored import StoredAccounts
from letterlock.app.surroundings import Found
from letterlock.config import Options
from letterlock.recipients.directory import RecipientTable, TableFailed

NOBODY = "letterlock-check@example.invalid"  # RFC 6761 section 6.4: nobody has this name
ALL_SECONDS = 60.0  # for all of them: each has a limit of its own


def lookups_found(options: Options) -> Iterator[Found]:
    """What each table and the accounts answer when they are asked for nobody."""

    async def ask() -> list[Found]:
        receive, found = options.receive, list[Found]()
        try:
            async with asyncio.timeout(ALL_SECONDS):
                tables = () if receive.site is None else receive.site.directory.tables
                of_domains = [each.table for profile in options.profiles for each in profile.domain_tables]
                named = {each.name: each for each in (*tables, *of_domains, *receive.sender_tables)}
                found += [await _table(each) for each in named.values()]
                if receive.accounts is not None:
                    found += [each for each in [await _accounts(receive.accounts)] if each is not None]
                    receive.accounts.close()
        except TimeoutError:
            found.append(Found("warning", f"tables and accounts did not answer within {ALL_SECONDS:.0f} seconds"))
        for database in receive.databases:
            database.close()
        return found

    yield from asyncio.run(ask())


async def _table(table: RecipientTable) -> Found:
    try:
        await table.find(NOBODY)
    except TableFailed as error:
        return Found("warning", f"{error}; its recipients are put off with 451 until it answers")
    return Found("ok", f"table {table.name} answers")


async def _accounts(accounts: Accounts) -> Found | None:
    """A file of users was read with the configuration."""
    try:
        if isinstance(accounts, DovecotAccounts):
            names = ", ".join((await accounts.link()).mechanisms)
            return Found("ok" if names else "warning", f"Dovecot answers logins by {names or 'no mechanism for us'}")
        if isinstance(accounts, StoredAccounts) and not isinstance(accounts.store, FileStore):
            await accounts.store.get(NOBODY)
            return Found("ok", "the database of users answers")
    except AccountsAway as error:
        return Found("warning", f"users cannot log in: {error}; they are put off with 454")
    return None
