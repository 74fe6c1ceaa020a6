"""`letterlock config check` asks every table and the place of the users."""

import sqlite3
from pathlib import Path

from letterlock.app.lookup_check import lookups_found
from letterlock.config import load


def found(tmp_path: Path, text: str) -> list[tuple[str, str]]:
    path = tmp_path / "letterlock.toml"
    path.write_text(text)
    return [(each.level, each.text) for each in lookups_found(load(path))]


def test_tables_and_accounts_that_answer_and_that_do_not(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "mail.db")
    with connection:
        connection.execute("CREATE TABLE users (name TEXT, password TEXT)")
    connection.close()
    text = """
[accounts]
sqlite = "mail.db"
query = "SELECT password FROM users WHERE name = :user"
sender_tables = ["senders"]
[table.senders]
sqlite = "mail.db"
query = "SELECT name FROM users WHERE name = :key"
[table.gone]
sqlite = "gone.db"
query = "SELECT target FROM alias WHERE address = :key"
[table.unused]
file = "nowhere"
[local."example.org"]
aliases = ["gone", "senders"]
"""
    (gone, senders, users) = found(tmp_path, text)
    assert gone[0] == "warning"
    assert gone[1].startswith(f"table gone: {tmp_path}/gone.db: unable to open")
    assert gone[1].endswith("its recipients are put off with 451 until it answers")
    assert senders == ("ok", "table senders answers")
    assert users == ("ok", "the database of users answers")


def test_a_dovecot_that_is_away(tmp_path: Path) -> None:
    [(level, text)] = found(
        tmp_path, '[accounts]\ndovecot = "unix:nowhere/auth"\n'.replace("nowhere", f"{tmp_path}/no")
    )
    assert level == "warning"
    assert text.startswith("users cannot log in: unix:")
    assert text.endswith("No such file or directory; they are put off with 454")


def test_nothing_to_ask(tmp_path: Path) -> None:
    assert found(tmp_path, "") == []
