"""SQL statements by name, as files hold them."""


def read_statements(text: str) -> dict[str, str]:
    """Named statements: each begins behind a line `-- name: NAME`."""
    parts = text.split("-- name: ")[1:]
    return {name.strip(): sql.strip() for name, _, sql in (part.partition("\n") for part in parts)}
