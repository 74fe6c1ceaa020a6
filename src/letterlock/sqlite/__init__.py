"""One SQLite file, one writer thread with group commit, and SQL by name; for every room that keeps rows."""
