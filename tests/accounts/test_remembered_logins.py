"""Logins that were checked lately: when they count, when not, and how many are kept."""

import sqlite3
from pathlib import Path

import pytest

from letterlock.accounts.file_store import FileStore
from letterlock.accounts.remembered_logins import MAX_REMEMBERED, RememberedLogins
from letterlock.accounts.sql_store import SqlStore
from letterlock.accounts.user_file import Users, hash_password, make_user, new_file, write_users
from letterlock.lookups.sqlite_rows import SqliteRows

ANN = "ann@example.org"


class Now:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.seconds = 1.0

    def __call__(self) -> float:
        return self.seconds


def test_it_counts_for_its_time_and_the_very_same_login_only() -> None:
    now = Now()
    logins = RememberedLogins(300.0, now)
    logins.remember("ann", "hash", "secret")
    others = ["ann hash secret2", "ann hash2 secret", "bob hash secret", "annh ash secret"]
    assert logins.knows("ann", "hash", "secret")
    assert not any(logins.knows(*other.split()) for other in others)
    now.seconds += 299.9
    assert logins.knows("ann", "hash", "secret"), "and this does not prolong it"
    now.seconds += 0.1
    assert not logins.knows("ann", "hash", "secret")


def test_it_is_bounded_can_be_off_and_keeps_no_password() -> None:
    logins, off = RememberedLogins(300.0, lambda: 0.0), RememberedLogins(0.0, lambda: 0.0)
    for number in range(MAX_REMEMBERED + 5):
        logins.remember("ann", "hash", f"password {number}")
    assert [logins.knows("ann", "hash", f"password {number}") for number in (4, 5)] == [False, True]
    assert len(logins._known) == MAX_REMEMBERED
    assert "password" not in repr(logins._known._known)
    off.remember("ann", "hash", "secret")
    assert not off.knows("ann", "hash", "secret")


async def test_a_file_of_users_is_checked_once_and_a_change_counts_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, content, checked = tmp_path / "users", new_file(), list[str]()
    content.users[ANN] = make_user(ANN, "secret", (ANN,))
    write_users(path, content)
    real = Users.password_fits

    def counted(users: Users, name: str, password: str) -> bool:
        checked.append(password)
        return real(users, name, password)

    monkeypatch.setattr(Users, "password_fits", counted)
    store = FileStore(path, RememberedLogins(300.0, lambda: 0.0))
    said = [await store.password_fits(ANN, word) for word in ("secret", "secret", "wrong", "wrong", "secret")]
    assert said == [True, True, False, False, True]
    assert checked == ["secret", "wrong", "wrong"], "a wrong password always costs the whole check"
    content.users[ANN] = make_user(ANN, "changed", (ANN,))
    write_users(path, content)
    assert not await store.password_fits(ANN, "secret")
    assert await store.password_fits(ANN, "changed")
    del content.users[ANN]
    write_users(path, content)
    assert not await store.password_fits(ANN, "changed")


async def test_users_in_a_database_too(tmp_path: Path) -> None:
    path = tmp_path / "users.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE users (name, password)")
        database.execute("INSERT INTO users VALUES (?, ?)", (ANN, hash_password("secret")))
    logins = RememberedLogins(300.0, lambda: 0.0)
    store = SqlStore(SqliteRows(path, "SELECT password FROM users WHERE name = :user"), logins)
    assert [await store.password_fits(ANN, word) for word in ("wrong", "secret", "secret")] == [False, True, True]
    assert len(logins._known) == 1
    with sqlite3.connect(path) as database:
        database.execute("UPDATE users SET password = ?", (hash_password("changed"),))
    assert not await store.password_fits(ANN, "secret")
