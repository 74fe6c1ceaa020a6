"""`[accounts]`: who may log in, and as whom they may send."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import PrivateAttr, ValidationInfo, model_validator

from letterlock.accounts.backend import Accounts
from letterlock.accounts.dovecot import DovecotAccounts
from letterlock.accounts.file_store import FileStore
from letterlock.accounts.remembered_logins import RememberedLogins
from letterlock.accounts.sql_store import PARAMETERS, SqlStore
from letterlock.accounts.stored import StoredAccounts
from letterlock.accounts.user_file import BadUsers
from letterlock.config.databases import check_database, check_query, row_source
from letterlock.config.declared import Table, keys_of
from letterlock.config.key_file import reads_secrets
from letterlock.config.local_domains import MIN_SECRET_OCTETS
from letterlock.config.login_table import read_password
from letterlock.config.mistakes import guess, wrong
from letterlock.config.options import CONSUMERS
from letterlock.presence import is_there

if TYPE_CHECKING:  # models are made when the program runs: to the type checker they are tables
    from letterlock.lookups.postgresql_rows import PostgresDatabase

    AccountsKeys = Table
else:
    AccountsKeys = keys_of("accounts", CONSUMERS)

SOURCES = ("file", "dovecot", "sqlite", "database")
EXAMPLE = "SELECT password FROM users WHERE name = :user"


class AccountsTable(AccountsKeys):
    """The users who may log in: give one of `file`, `dovecot`, `sqlite` and `database`."""

    _accounts: Accounts | None = PrivateAttr(None)
    _secret: bytes | None = PrivateAttr(None)

    def opened(self, databases: Mapping[str, "PostgresDatabase"]) -> Accounts | None:
        """The users; None when nobody logs in, or when the secrets of a file are not read."""
        source = row_source(self._of("query") or "", self._of("sqlite"), self._of("database"), databases)
        if source is None:
            return self._accounts
        return StoredAccounts(SqlStore(source, self._remembered(), self._secret))

    def _remembered(self) -> RememberedLogins:
        return RememberedLogins(self._of("remember_logins_seconds"), time.monotonic)

    @property
    def has_users(self) -> bool:
        """Whether somebody may log in."""
        return any(self._of(name) is not None for name in SOURCES)

    @model_validator(mode="after")
    def _one_source(self) -> "AccountsTable":
        given = [name for name in SOURCES if self._of(name) is not None]
        if len(given) > 1:
            raise wrong(
                f"{' and '.join(given)} are given together", "users are kept in one place: remove the others", given[1]
            )
        if self._of("domain") is not None and self._of("dovecot") is None:
            raise wrong("counts for the users of a Dovecot only", "remove it, or add dovecot", "domain")
        by_query = given[0] if given and given[0] in ("sqlite", "database") else None
        check_query(self._of("query"), by_query, PARAMETERS, EXAMPLE)
        if self._of("scram_secret_file") is not None and by_query is None:
            raise wrong("counts for the users of a database only", "remove it", "scram_secret_file")
        return self

    @model_validator(mode="after")
    def _open(self, info: ValidationInfo) -> "AccountsTable":
        if reads_secrets(info):
            self._accounts = self._opened()
        return self

    def _opened(self) -> Accounts | None:
        if (path := self._of("file")) is not None:
            try:
                return StoredAccounts(FileStore(path, self._remembered()))
            except BadUsers as error:
                hint = "`letterlock users add NAME` makes the file and its first user"
                if is_there(path):
                    hint = "`letterlock users` writes this file: correct it, or remove the line and add the user again"
                raise wrong(str(error), hint, at="file") from None
        if (secret := self._of("scram_secret_file")) is not None:
            self._secret = read_password(secret, "scram_secret_file")
            if len(self._secret) < MIN_SECRET_OCTETS:
                hint = "`openssl rand -base64 24` prints a secret"
                raise wrong(f"{secret} has fewer than {MIN_SECRET_OCTETS} characters", hint, "scram_secret_file")
        if (address := self._of("dovecot")) is not None:
            return DovecotAccounts(address.connect, str(address), self._of("domain"))
        return None

    def _of(self, name: str) -> Any:
        return getattr(self, name, None)


def check_accounts(table: AccountsTable, known: Mapping[str, object], databases: Mapping[str, object]) -> None:
    """Every table that names senders must exist, and the database. Raises a mistake."""
    check_database(getattr(table, "database", None), databases, ("accounts", "database"))
    tables = getattr(table, "sender_tables", ())
    for number, name in enumerate(tables):
        if name not in known:
            hint = guess(name, known) or f'add [table."{name}"] with file = "/etc/letterlock/senders"'
            raise wrong(f"there is no table {name!r}", hint, at=("accounts", "sender_tables", number))
    if tables and not table.has_users:
        raise wrong("nobody logs in who could send as these", 'add file = "users"', at=("accounts", "sender_tables"))
