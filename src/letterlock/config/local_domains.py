"""`[table."NAME"]`, `[local."example.org"]` and `[forwarding]`: who the recipients of local domains are."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, PrivateAttr, ValidationInfo, model_validator

from letterlock.config.checked_values import DomainName, FilePath, MailAddress, Service, UserName
from letterlock.config.databases import check_database, check_query, row_source
from letterlock.config.declared import Table
from letterlock.config.key_file import is_shared, reads_secrets
from letterlock.config.mistakes import guess, wrong
from letterlock.config.rule_tables import HereHop
from letterlock.lookups.socketmap_link import SocketmapLink
from letterlock.recipients.directory import Directory, LocalDomain, RecipientTable
from letterlock.recipients.site import LocalSite
from letterlock.recipients.srs import Srs
from letterlock.routing.local_targets import FinalHop, Maildir
from letterlock.tables.alias_endings import AllowedEndings
from letterlock.tables.domains_of_table import DomainsOfTable
from letterlock.tables.file_table import AliasFileTable
from letterlock.tables.routed_addresses import RoutedAddresses
from letterlock.tables.row_table import PARAMETERS, RowTable
from letterlock.tables.socketmap_table import SocketmapTable
from letterlock.tables.system_users import SystemUsers

if TYPE_CHECKING:
    from letterlock.lookups.postgresql_rows import PostgresDatabase

MAX_SECRETS = 10  # of which one signs, and the others verify what was signed before a change
MIN_SECRET_OCTETS = 16  # 128 bits, as long as it is random
MAX_SECRET_FILE_OCTETS = 4096  # chosen: secrets have 32 to 64 octets


class LookupTable(Table):
    """A table of recipients, under a name: give one of `file`, `sqlite`, `database`, `socketmap` and `system_users`."""

    file: FilePath | None = Field(
        None,
        description="A file of aliases, `name: target, target` as in aliases(5) or `address target` as in virtual(5); "
        "or of mailboxes, one name or address a line. Changes are noticed within a second. Targets are addresses, "
        "names in the same domain, `:include:/file`, `error:550 5.7.1 TEXT` or `/dev/null`.",
    )
    sqlite: FilePath | None = Field(None, description="A SQLite database, opened for reading; with `query`.")
    database: str | None = Field(
        None, max_length=100, description="A PostgreSQL database, by its name in `[database]`; with `query`."
    )
    query: str | None = Field(
        None,
        min_length=8,
        max_length=4096,
        description="The query for one recipient. `:key` is `local@domain`, `@domain` or `local`; `:local` and "
        "`:domain` are its parts. The first column of each row has targets.",
    )
    socketmap: Service | None = Field(
        None,
        description='A program that answers as for Postfix (socketmap_table(5)): `"unix:/PATH"` or '
        '`"127.0.0.1:10003"`; with `map`. Its answers are targets.',
    )
    map: str | None = Field(
        None, pattern=r"^[!-~]{1,100}$", description="The name of the map that `socketmap` is asked for."
    )
    system_users: bool = Field(False, description="The users of this machine, as mailboxes.")
    allow_commands: bool = Field(
        False,
        description="Of a `file`: run `|/PATH ARGUMENT` of its aliases, as a `command:` of a route is run: without a "
        "shell, bounded, once for each message. The file must belong to root or the server's user, and nobody else "
        "may write it; mail waits until that is so.",
    )
    allow_maildirs: bool = Field(
        False, description="Of a `file`: deliver to `/PATH/` of its aliases, a Maildir. The same must hold of the file."
    )
    command_user: UserName | None = Field(
        None, description="With `allow_commands`: the user who its commands run as. Unset: the server's user."
    )

    @model_validator(mode="after")
    def _one_source(self) -> "LookupTable":
        sources = ("file", "sqlite", "database", "socketmap", "system_users")
        given = [name for name in sources if getattr(self, name)]
        if len(given) != 1:
            hint = 'write file = "/etc/aliases", or sqlite or database with query, or socketmap with map'
            raise wrong("a table has one source", hint)
        by_query = given[0] if given[0] in ("sqlite", "database") else None
        check_query(self.query, by_query, PARAMETERS, "SELECT target FROM alias WHERE address = :key")
        if (self.socketmap is None) != (self.map is None):
            at = "map" if self.map else "socketmap"
            raise wrong("socketmap and map belong together", 'write map = "virtual", as the program names it', at=at)
        if (of_files := self._only_of_files()) and self.file is None:
            raise wrong("counts for a file only", 'remove it, or write file = "/etc/aliases"', at=of_files)
        if self.command_user is not None and not self.allow_commands:
            raise wrong("is given, but no command is run", "add allow_commands = true", at="command_user")
        return self

    def _only_of_files(self) -> str | None:
        names = ("allow_commands", "allow_maildirs", "command_user")
        return next((name for name in names if getattr(self, name)), None)

    @property
    def allowed(self) -> AllowedEndings:
        """What aliases may lead to besides addresses."""
        return AllowedEndings(commands=self.allow_commands, maildirs=self.allow_maildirs, user=self.command_user)

    def opened(self, name: str, databases: Mapping[str, "PostgresDatabase"]) -> RecipientTable:
        """The table, for lookups; nothing is read yet."""
        if self.file is not None:
            return AliasFileTable(name, self.file, time.monotonic, self.allowed)
        if self.socketmap is not None and self.map is not None:
            return SocketmapTable(name, SocketmapLink(self.socketmap.connect, str(self.socketmap), self.map))
        source = row_source(self.query or "", self.sqlite, self.database, databases)
        return SystemUsers(name) if source is None else RowTable(name, source)


class LocalTable(Table):
    """A domain whose recipients are known here: unknown ones are refused at RCPT, and aliases are followed."""

    mailboxes: list[str] | None = Field(
        None,
        max_length=100,
        description="Tables of the names or addresses that have a mailbox. Unset: every address has one, and the next "
        "hop refuses those that it does not know.",
    )
    aliases: list[str] = Field(
        [], max_length=100, description="Tables of aliases, asked in this order, before the mailboxes."
    )
    catch_all: MailAddress | None = Field(
        None, description="The recipient of mail for unknown addresses. Unset: it is refused."
    )
    sub_address_delimiter: str = Field(
        "+",
        max_length=1,
        description='Separates a name from what its owner adds, as in `ann+news@` (RFC 5233); `""`: nothing does.',
    )
    strip_sub_addresses: bool = Field(
        False,
        description="Deliver `ann+news@` as `ann@`, for a `maildir:`. Off: it goes on whole, as Dovecot likes it.",
    )


class HostedTable(LocalTable):
    """The domains that the `[table]` of this name has: local as those of `[local]`, without a reload for one more."""

    next_hop: HereHop | None = Field(
        None,
        description="Where their mail ends, as `next_hop` of a `[route]`: `lmtp:`, `maildir:` or `command:`. Unset: "
        "routes say it, and what they say of no domain goes to its MX hosts.",
    )
    create_mailboxes: bool = Field(False, description="With `maildir:`: as in a `[route]`.")

    @property
    def place(self) -> FinalHop | None:
        """Where mail ends, with what the table says of it."""
        hop = self.next_hop
        return replace(hop, create=self.create_mailboxes) if isinstance(hop, Maildir) else hop


class ForwardingTable(Table):
    """Mail that aliases send on to other servers."""

    srs_domain: DomainName | None = Field(
        None,
        description="The domain of rewritten senders (SRS), so that SPF passes: one whose mail comes here, through an "
        "`mx` listener. Unset: senders stay as they are.",
    )
    srs_secret_file: FilePath | None = Field(
        None,
        description="A file with a secret a line, each at least 16 characters. The first signs, all verify.",
    )
    _secrets: tuple[bytes, ...] = PrivateAttr(())

    @property
    def srs(self) -> Srs | None:
        """The rewriting; None when senders stay as they are."""
        return None if self.srs_domain is None or not self._secrets else Srs(self._secrets, self.srs_domain)

    @model_validator(mode="after")
    def _read_secrets(self, info: ValidationInfo) -> "ForwardingTable":
        if (self.srs_domain is None) != (self.srs_secret_file is None):
            given, missing = ("srs_domain", "srs_secret_file")[:: 1 if self.srs_domain else -1]
            raise wrong(f"{given} is given, but {missing} is not", "SRS needs both", at=given)
        if self.srs_secret_file is not None and reads_secrets(info):
            self._secrets = _secrets(self.srs_secret_file)
        return self


def _secrets(path: Path) -> tuple[bytes, ...]:
    at = "srs_secret_file"
    try:
        with path.open("rb") as file:
            octets, shared = file.read(MAX_SECRET_FILE_OCTETS + 1), is_shared(file.fileno())
    except OSError as error:
        hint = "`openssl rand -base64 24` prints a secret" if isinstance(error, FileNotFoundError) else ""
        raise wrong(f"{path} cannot be read: {error.strerror}", hint, at=at) from None
    if shared:
        raise wrong(f"{path} is a secret that others can read", f"chmod 600 {path}", at=at)
    secrets = tuple(line.strip() for line in octets.splitlines() if line.strip())
    if len(octets) > MAX_SECRET_FILE_OCTETS or not 1 <= len(secrets) <= MAX_SECRETS:
        raise wrong(f"{path} must have one to {MAX_SECRETS} lines, a secret each", at=at)
    if any(len(secret) < MIN_SECRET_OCTETS for secret in secrets):
        raise wrong(f"a secret in {path} is shorter than {MIN_SECRET_OCTETS} characters", "openssl rand -base64 24", at)
    return secrets


def check_names(
    tables: Mapping[str, LookupTable],
    locals_: Mapping[str, LocalTable],
    hosted: Mapping[str, HostedTable],
    databases: Mapping[str, object],
) -> None:
    """Every table that a local domain names must exist, and every database of a table. Raises a mistake."""
    for name, table in tables.items():
        check_database(table.database, databases, ("table", name, "database"))
    known = list(tables)
    for name in hosted:
        check_domain_tables(tables, name, ("hosted", name))
    sections = [*(("local", *each) for each in locals_.items()), *(("hosted", *each) for each in hosted.items())]
    for section, domain, each in sections:
        for key in ("mailboxes", "aliases"):
            for number, name in enumerate(getattr(each, key) or ()):
                check_table(name, known, "/etc/aliases", (section, domain, key, number))


def check_table(name: str, known: Collection[str], file: str, at: tuple[str | int, ...]) -> None:
    """A table that is named must exist. Raises a mistake."""
    if name not in known:
        hint = guess(name, known) or f'add [table."{name}"] with file = "{file}"'
        raise wrong(f"there is no table {name!r}", hint, at=at)


def check_domain_tables(tables: Mapping[str, LookupTable], name: str, at: tuple[str | int, ...]) -> None:
    """A table of domains must exist, and have some. Raises a mistake."""
    check_table(name, tables, "/etc/letterlock/domains", at)
    if tables[name].system_users:
        raise wrong(f"the table {name!r} has users, not domains", "name one with file, or a query", at=at)


def site(
    opened: Mapping[str, RecipientTable],
    locals_: Mapping[str, LocalTable],
    forwarding: ForwardingTable,
    routed: Collection[str] = (),
    hosted: Sequence[tuple[DomainsOfTable, HostedTable]] = (),
) -> LocalSite | None:
    """The recipients of the local domains; None when the file says nothing about them.

    `routed`: the addresses that have a route, and so exist.
    """
    srs = forwarding.srs
    if not (locals_ or hosted) and srs is None:
        return None
    with_route = (RoutedAddresses(routed),) if routed else ()
    domains = {name: _local_domain(each, opened, with_route) for name, each in locals_.items()}
    of_tables = [(names, replace(_local_domain(each, opened, with_route), place=each.place)) for names, each in hosted]
    return LocalSite(Directory(domains, of_tables), srs)


def _local_domain(
    table: LocalTable, opened: Mapping[str, RecipientTable], with_route: tuple[RecipientTable, ...]
) -> LocalDomain:
    aliases = tuple(opened[name] for name in table.aliases)
    return LocalDomain(
        aliases=aliases,
        has_endings=any(isinstance(each, AliasFileTable) and bool(each.allowed) for each in aliases),
        mailboxes=None if table.mailboxes is None else (*with_route, *(opened[name] for name in table.mailboxes)),
        catch_all=table.catch_all,
        delimiter=table.sub_address_delimiter,
        strips_sub_addresses=table.strip_sub_addresses,
    )
