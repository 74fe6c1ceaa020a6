"""The queue in SQLite: what waits."""
