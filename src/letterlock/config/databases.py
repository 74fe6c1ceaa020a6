"""`[database."NAME"]`: PostgreSQL databases that tables and accounts ask."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, ValidationInfo, model_validator

from letterlock.config.checked_values import FilePath
from letterlock.config.declared import Table
from letterlock.config.key_file import reads_secrets
from letterlock.config.login_table import read_password
from letterlock.config.mistakes import guess, wrong
from letterlock.lookups.queries import BadParameters, LookupFailed, RowSource, check_parameters
from letterlock.lookups.sqlite_rows import SqliteRows

if TYPE_CHECKING:
    from letterlock.lookups.postgresql_rows import PostgresDatabase

NO_DRIVER = "needs psycopg, the PostgreSQL driver, which is not installed", "pip install 'letterlock[postgresql]'"
NO_LIBRARY = "needs libpq, PostgreSQL's client library, which is not installed", "apt-get install libpq5"


class DatabaseTable(Table):
    """A PostgreSQL database, under a name that `[table."NAME"]` and `[accounts]` give as `database`."""

    postgresql: str = Field(
        min_length=1,
        max_length=1000,
        description="How to connect, as libpq reads it: `host=db.example.org dbname=mail user=letterlock "
        "sslmode=verify-full`, or `postgresql://letterlock@/mail`. Without a password: see `password_file`.",
    )
    password_file: FilePath | None = Field(
        None,
        description="A file whose first line is the password, and that nobody else can read. It is read for each "
        "connection. Unset: none is needed, as over a socket with `peer` authentication.",
    )
    max_connections: int = Field(4, ge=1, le=100, description="Most connections of each worker.")
    timeout_seconds: float = Field(
        5.0, gt=0, le=60, description="How long an answer may take, connecting included; then mail is put off."
    )

    @model_validator(mode="after")
    def _can_connect(self, info: ValidationInfo) -> "DatabaseTable":
        try:
            from letterlock.lookups.postgresql_rows import (  # noqa: PLC0415  # the driver is an extra
                BadConnectionText,
                check_connection_text,
            )
        except ImportError:
            missing, hint = NO_LIBRARY if find_spec("psycopg") else NO_DRIVER  # the Debian package has the driver
            raise wrong(missing, hint, "postgresql") from None
        try:
            has_password = check_connection_text(self.postgresql)
        except BadConnectionText as error:
            hint = 'write "host=/run/postgresql dbname=mail user=letterlock"'
            raise wrong(f"is no connection string: {error}", hint, "postgresql") from None
        if has_password:
            raise wrong(
                "has a password, which everybody sees who reads this file",
                "put it into the first line of a file with mode 600, and name that as password_file",
                "postgresql",
            )
        if self.password_file is not None and reads_secrets(info):
            read_password(self.password_file, "password_file")
        return self

    def opened(self, name: str) -> "PostgresDatabase":
        """The database; nothing is connected yet."""
        from letterlock.lookups.postgresql_rows import PostgresDatabase  # noqa: PLC0415  # the driver is an extra

        return PostgresDatabase(
            name,
            self.postgresql,
            _password(name, self.password_file),
            max_connections=self.max_connections,
            seconds=self.timeout_seconds,
        )


def _password(name: str, path: Path | None) -> Callable[[], str | None]:
    def password() -> str | None:
        if path is None:
            return None
        try:
            return read_password(path, "").decode()
        except ValueError as error:  # a mistake, or no UTF-8
            why = error.message() if hasattr(error, "message") else "the password is not UTF-8"
            raise LookupFailed(f"database {name}: {why}") from None

    return password


def row_source(
    query: str, sqlite: Path | None, database: str | None, databases: Mapping[str, "PostgresDatabase"]
) -> RowSource | None:
    """What a table or the accounts ask; None: no database."""
    if sqlite is not None:
        return SqliteRows(sqlite, query)
    if database is None:
        return None
    from letterlock.lookups.postgresql_rows import PostgresRows  # noqa: PLC0415  # the driver is an extra

    return PostgresRows(databases[database], query)


def check_query(query: str | None, source: str | None, parameters: tuple[str, ...], example: str) -> None:
    """A database and a query belong together, and the query asks for what it is given. Raises a mistake.

    `source` is the key that names the database.
    """
    if (source is None) != (query is None):
        given, missing = (source, "query") if source else ("query", "sqlite or database")
        raise wrong(f"{given} is given without {missing}", f'write query = "{example}"', at=given or "query")
    if query is not None:
        try:
            check_parameters(query, parameters)
        except BadParameters as error:
            hint = f'write query = "{example}"' + (" (what Postfix calls %s)" if "%" in query else "")
            raise wrong(str(error), hint, at="query") from None


def check_database(name: str | None, known: Mapping[str, object], at: tuple[str | int, ...]) -> None:
    """A database that is named must exist. Raises a mistake."""
    if name is not None and name not in known:
        hint = guess(name, known) or f'add [database."{name}"] with postgresql = "dbname=mail"'
        raise wrong(f"there is no database {name!r}", hint, at=at)
