"""The statements of the queue's database by name, and how they are run."""

import sqlite3
from collections.abc import Mapping
from importlib.resources import files

from letterlock.sqlite.named import read_statements

_FOLDER = files("letterlock.store.sqlite") / "sql"
SCHEMA = (_FOLDER / "schema.sql").read_text()
SQL = read_statements((_FOLDER / "verbs.sql").read_text())
ORDERS = read_statements((_FOLDER / "orders.sql").read_text())


def run(db: sqlite3.Connection, name: str, *values: str | float | bytes | None) -> sqlite3.Cursor:
    """Run one statement of verbs.sql."""
    return db.execute(SQL[name], values)


def run_order(db: sqlite3.Connection, name: str, values: Mapping[str, str | float | None]) -> sqlite3.Cursor:
    """Run one statement of orders.sql."""
    return db.execute(ORDERS[name], values)
