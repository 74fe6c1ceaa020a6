"""`[accounts]`: who may log in, and as whom they may send."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pydantic import PrivateAttr, ValidationInfo, model_validator

from letterlock.accounts.backend import Accounts
from letterlock.accounts.dovecot import DovecotAccounts
from letterlock.accounts.file_store import FileStore
from letterlock.accounts.stored import StoredAccounts
from letterlock.accounts.user_file import BadUsers
from letterlock.config.declared import Table, keys_of
from letterlock.config.key_file import reads_secrets
from letterlock.config.mistakes import guess, wrong
from letterlock.config.options import CONSUMERS

if TYPE_CHECKING:  # models are made when the program runs: to the type checker they are tables
    AccountsKeys = Table
else:
    AccountsKeys = keys_of("accounts", CONSUMERS)

SOURCES = ("file", "dovecot")


class AccountsTable(AccountsKeys):
    """The users who may log in: give one of `file` and `dovecot`."""

    _accounts: Accounts | None = PrivateAttr(None)

    @property
    def accounts(self) -> Accounts | None:
        """The users; None when nobody logs in, or when secrets are not read."""
        return self._accounts

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
        return self

    @model_validator(mode="after")
    def _open(self, info: ValidationInfo) -> "AccountsTable":
        if reads_secrets(info):
            self._accounts = self._opened()
        return self

    def _opened(self) -> Accounts | None:
        if (path := self._of("file")) is not None:
            try:
                return StoredAccounts(FileStore(path))
            except BadUsers as error:
                hint = "letterlock users add NAME makes the file and its first user"
                raise wrong(str(error), hint, at="file") from None
        if (address := self._of("dovecot")) is not None:
            return DovecotAccounts(address.connect, str(address), self._of("domain"))
        return None

    def _of(self, name: str) -> Any:
        return getattr(self, name, None)


def check_sender_tables(table: AccountsTable, known: Iterable[str]) -> None:
    """Every table that names senders must exist. Raises a mistake."""
    names = list(known)
    for number, name in enumerate(getattr(table, "sender_tables", ())):
        if name not in names:
            hint = guess(name, names) or f'add [table."{name}"] with file = "/etc/letterlock/senders"'
            raise wrong(f"there is no table {name!r}", hint, at=("accounts", "sender_tables", number))
    if getattr(table, "sender_tables", ()) and not table.has_users:
        raise wrong("nobody logs in who could send as these", 'add file = "users"', at=("accounts", "sender_tables"))
