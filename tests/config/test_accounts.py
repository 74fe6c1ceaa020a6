"""`[accounts]`: where users are kept, and the mistakes."""

import sys
from pathlib import Path

import pytest

from letterlock.accounts.dovecot import DovecotAccounts
from letterlock.accounts.sql_store import SqlStore
from letterlock.accounts.stored import StoredAccounts
from letterlock.config import BadConfig, databases, load


def config(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "letterlock.toml"
    path.write_text('[queue]\ndirectory = "queue"\n' + text)
    return path


def test_users_of_a_dovecot(tmp_path: Path) -> None:
    options = load(config(tmp_path, '[accounts]\ndovecot = "unix:/run/dovecot/auth"\n'))
    assert isinstance(options.receive.accounts, DovecotAccounts)
    assert load(config(tmp_path, "")).receive.accounts is None
    assert load(config(tmp_path, '[accounts]\ndovecot = "127.0.0.1:9"\n'), secrets=False).receive.accounts is None


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            '[accounts]\nfile = "users"\ndovecot = "127.0.0.1:12345"\n',
            "5: accounts.dovecot\n  file and dovecot are given together",
            "users are kept in one place: remove the others",
        ),
        (
            '[accounts]\ndovecot = "/run/dovecot/auth"\n',
            "4: accounts.dovecot\n  '/run/dovecot/auth' is neither a socket nor an IP address and a port",
            'write "unix:/run/dovecot/auth"',
        ),
        (
            '[accounts]\ndomain = "example.org"\n',
            "4: accounts.domain\n  counts for the users of a Dovecot only",
            "remove it, or add dovecot",
        ),
        (
            '[accounts]\ndovecot = "127.0.0.1:9"\nsender_tables = ["sender"]\n[table.senders]\nfile = "/senders"\n',
            "5: accounts.sender_tables[0]\n  there is no table 'sender'",
            'did you mean "senders"?',
        ),
        (
            '[accounts]\nsender_tables = ["senders"]\n[table.senders]\nfile = "/senders"\n',
            "4: accounts.sender_tables\n  nobody logs in who could send as these",
            'add file = "users"',
        ),
    ],
)
def test_mistakes(tmp_path: Path, text: str, message: str, hint: str) -> None:
    with pytest.raises(BadConfig) as caught:
        load(config(tmp_path, text))
    assert f"letterlock.toml:{message}" in str(caught.value)
    assert f"hint: {hint}" in str(caught.value)


QUERY = 'query = "SELECT password FROM users WHERE name = :user"\n'
SECRET = "openssl's twenty-four bytes\n"


def test_users_of_a_database(tmp_path: Path) -> None:
    (tmp_path / "scram").write_text(SECRET)
    (tmp_path / "scram").chmod(0o600)
    options = load(config(tmp_path, f'[accounts]\nsqlite = "users.db"\nscram_secret_file = "scram"\n{QUERY}'))
    accounts = options.receive.accounts
    assert isinstance(accounts, StoredAccounts)
    assert isinstance(accounts.store, SqlStore)
    assert accounts.store.has_scram
    text = f'[database.mail]\npostgresql = "dbname=mail"\n[accounts]\ndatabase = "mail"\n{QUERY}'
    options = load(config(tmp_path, text))
    assert len(options.receive.databases) == 1
    assert isinstance(options.receive.accounts, StoredAccounts)
    assert not options.receive.accounts.store.has_scram


DATABASE = '[database.mail]\npostgresql = "dbname=mail"\n'


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            '[accounts]\nsqlite = "users.db"\n',
            "4: accounts.sqlite\n  sqlite is given without query",
            'write query = "SELECT password FROM users WHERE name = :user"',
        ),
        (f"[accounts]\n{QUERY}", "4: accounts.query\n  query is given without sqlite or database", "write query"),
        (
            '[accounts]\nsqlite = "users.db"\nquery = "SELECT password FROM users WHERE name = :key"\n',
            "5: accounts.query\n  uses :key, but its parameters are :user, :local, :domain",
            "write query",
        ),
        (
            f'{DATABASE}[accounts]\ndatabase = "mial"\n{QUERY}',
            "6: accounts.database\n  there is no database 'mial'",
            'did you mean "mail"?',
        ),
        (
            '[table.a]\ndatabase = "mail"\nquery = "SELECT target FROM alias WHERE address = :key"\n',
            "4: table.a.database\n  there is no database 'mail'",
            'add [database."mail"] with postgresql = "dbname=mail"',
        ),
        (
            '[table.a]\nsocketmap = "127.0.0.1:9"\n',
            "4: table.a.socketmap\n  socketmap and map belong together",
            'write map = "virtual", as the program names it',
        ),
        (
            '[table.a]\nsqlite = "a.db"\nquery = "SELECT target FROM alias"\n',
            "5: table.a.query\n  uses none of its parameters, :key, :local, :domain: it would find the same",
            "write query",
        ),
        (
            '[database.mail]\npostgresql = "dbname=mail password=secret"\n',
            "4: database.mail.postgresql\n  has a password, which everybody sees who reads this file",
            "put it into the first line of a file with mode 600, and name that as password_file",
        ),
        (
            '[database.mail]\npostgresql = "mail"\n',
            "4: database.mail.postgresql\n  is no connection string",
            'write "host=/run/postgresql dbname=mail user=letterlock"',
        ),
        (
            '[database.mail]\npostgresql = "dbname=mail"\npassword_file = "open"\n',
            "5: database.mail.password_file\n",
            "chmod 600 ",
        ),
        (
            f'[accounts]\nsqlite = "a.db"\nscram_secret_file = "short"\n{QUERY}',
            "5: accounts.scram_secret_file\n",
            "`openssl rand -base64 24` prints a secret",
        ),
        (
            '[accounts]\ndovecot = "127.0.0.1:9"\nscram_secret_file = "short"\n',
            "5: accounts.scram_secret_file\n  counts for the users of a database only",
            "remove it",
        ),
    ],
    ids=lambda text: text.split("\n")[0][:30] if text[0] == "[" else None,
)
def test_mistakes_with_databases(tmp_path: Path, text: str, message: str, hint: str) -> None:
    (tmp_path / "open").write_text("secret\n")
    (tmp_path / "open").chmod(0o644)
    (tmp_path / "short").write_text("secret\n")
    (tmp_path / "short").chmod(0o600)
    with pytest.raises(BadConfig) as caught:
        load(config(tmp_path, text))
    assert f"letterlock.toml:{message}" in str(caught.value)
    assert f"hint: {hint}" in str(caught.value)
    assert "password=secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("there", "message", "hint"),
    [
        (False, "needs psycopg, the PostgreSQL driver", "pip install 'letterlock[postgresql]'"),
        (True, "needs libpq, PostgreSQL's client library", "apt-get install libpq5"),
    ],
)
def test_a_driver_that_is_not_installed_or_lacks_its_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool, message: str, hint: str
) -> None:
    monkeypatch.setitem(sys.modules, "letterlock.lookups.postgresql_rows", None)
    monkeypatch.setattr(databases, "find_spec", lambda name: (name == "psycopg" and there) or None)
    with pytest.raises(BadConfig) as caught:
        load(config(tmp_path, DATABASE))
    assert f"database.mail.postgresql\n  {message}" in str(caught.value)
    assert f"hint: {hint}" in str(caught.value)
