"""Users in a database: SQLite here, and PostgreSQL in tests/interop."""

import logging
import sqlite3
from pathlib import Path

import pytest

from letterlock.accounts import sql_store, system_crypt
from letterlock.accounts.backend import AccountsAway, Caller
from letterlock.accounts.password_hashes import PasswordHashes
from letterlock.accounts.sql_store import SqlStore
from letterlock.accounts.stored import StoredAccounts
from letterlock.lookups.sqlite_rows import SqliteRows
from letterlock.mail.addresses import parse_mailbox
from letterlock.sasl.exchange import Accepted, Challenge, Rejected
from letterlock.sasl.scram import ScramCredential
from tests.accounts.logins import NOT_REMEMBERED
from tests.accounts.test_password_hashes import MADE, PASSWORD

CALLER = Caller(client="192.0.2.1")
QUERY = "SELECT password, addresses FROM users WHERE name = :user"
SCRAM = ScramCredential.of_password(PASSWORD, b"0123456789abcdef")


@pytest.fixture(name="path")
def path_fixture(tmp_path: Path) -> Path:
    path = tmp_path / "users.db"
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("CREATE TABLE users (name TEXT, password TEXT, addresses TEXT)")
        rows = [
            ("ann@example.org", MADE["SHA256-CRYPT"], None),
            ("shop", f"{{SCRAM-SHA-256}}{MADE['SCRAM-SHA-256']}", "shop@example.org, @news.example.org"),
            ("locked", None, None),
            ("weak", "{PLAIN}secret", None),
            ("twice", MADE["SHA256-CRYPT"], None),
            ("twice", MADE["SHA256-CRYPT"], None),
            ("odd", str(SCRAM), "not-an-address, odd@example.org"),
        ]
        connection.executemany("INSERT INTO users VALUES (?, ?, ?)", rows)
    connection.close()
    return path


def accounts(path: Path, query: str = QUERY, secret: bytes | None = None) -> StoredAccounts:
    return StoredAccounts(SqlStore(SqliteRows(path, query), NOT_REMEMBERED, secret))


async def plain(users: StoredAccounts, name: str, password: str = PASSWORD) -> Challenge | Accepted | Rejected:
    return await users.begin("PLAIN", CALLER).step(f"\0{name}\0{password}".encode())


async def test_users_log_in_and_send_as_their_addresses(path: Path) -> None:
    users = accounts(path)
    assert await users.mechanisms() == ("PLAIN", "LOGIN")
    assert await plain(users, "ann@example.org") == Accepted("ann@example.org")
    assert await plain(users, "shop") == Accepted("shop")
    for user, address, may in [
        ("ann@example.org", "Ann@example.org", True),
        ("ann@example.org", "shop@example.org", False),
        ("shop", "shop@example.org", True),
        ("shop", "any@news.example.org", True),
        ("odd", "odd@example.org", True),
        ("nobody", "ann@example.org", False),
    ]:
        assert await users.may_send_as(user, parse_mailbox(address)) is may


@pytest.mark.parametrize(
    ("name", "password"),
    [("ann@example.org", "x"), ("nobody", PASSWORD), ("locked", PASSWORD), ("weak", "secret"), ("' OR '1'='1", "x")],
)
async def test_who_is_refused(path: Path, name: str, password: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    assert await plain(accounts(path), name, password) == Rejected("authentication failure", name)
    assert "secret" not in caplog.text
    assert ("the password of 'weak' cannot be checked: the scheme {PLAIN}" in caplog.text) is (name == "weak")


@pytest.mark.parametrize("query", ["SELECT nothing FROM users WHERE name = :user", QUERY])
async def test_a_database_that_fails_is_no_wrong_password(tmp_path: Path, path: Path, query: str) -> None:
    users = accounts(tmp_path / "none.db" if query == QUERY else path, query)
    with pytest.raises(AccountsAway):
        await plain(users, "ann@example.org")
    with pytest.raises(AccountsAway):
        await users.may_send_as("ann@example.org", parse_mailbox("ann@example.org"))


async def test_two_rows_are_a_mistake_of_the_operator(path: Path) -> None:
    with pytest.raises(AccountsAway, match="more than one row"):
        await plain(accounts(path), "twice")


async def test_the_same_work_for_nobody(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash like those of others is checked, whatever the scheme, and only the answer is thrown away."""
    checked = list[PasswordHashes]()
    fit = PasswordHashes.fit

    def watched(self: PasswordHashes, password: str) -> bool:
        checked.append(self)
        return fit(self, password)

    monkeypatch.setattr(PasswordHashes, "fit", watched)
    users = accounts(path)
    await plain(users, "ann@example.org", "x")
    await plain(users, "nobody", PASSWORD)
    await plain(users, "locked", PASSWORD)
    assert [each.checked for each in checked] == [MADE["SHA256-CRYPT"]] * 3
    before = accounts(path)
    assert await plain(before, "nobody") == Rejected("authentication failure", "nobody")
    assert checked[-1].checked is not None


async def test_scram_is_offered_where_the_operator_says_that_all_have_it(path: Path) -> None:
    users = accounts(path, secret=b"a secret of the operator")
    assert await users.mechanisms() == ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN")
    store = users.store
    assert await store.credential("odd") == SCRAM
    false = await store.credential("nobody")
    assert false == await store.credential("nobody")
    assert (false.iterations, len(false.salt)) == (SCRAM.iterations, len(SCRAM.salt))
    assert (await store.credential("ann@example.org")).salt != SCRAM.salt, "who has none is nobody"


async def test_parts_of_the_name(path: Path) -> None:
    query = "SELECT password FROM users WHERE name = :local || '@' || :domain"
    assert await plain(accounts(path, query), "ann@example.org") == Accepted("ann@example.org")
    assert sql_store.PARAMETERS == ("user", "local", "domain")


async def test_a_hash_that_this_system_cannot_make_is_no_wrong_password(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was answered 535, and counted as a guess: the user's client was put off for the operator's mistake."""
    monkeypatch.setattr(system_crypt, "_crypt_r", lambda: None)
    with pytest.raises(AccountsAway, match="crypt"):
        await plain(accounts(path), "ann@example.org")


async def test_addresses_beyond_the_limit_are_named_in_the_log(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sql_store, "MAX_ADDRESSES", 1)
    assert not await accounts(path).may_send_as("shop", parse_mailbox("bob@news.example.org"))
    assert "of the 2 addresses of 'shop' only the first 1 count" in caplog.text
