"""The few keys of the server's configuration that the commands need, found cheaply.

The file is that of `-C`, else of `$LETTERLOCK_CONFIG`, else /etc/letterlock/letterlock.toml if there is one; without
a file the server's own defaults hold. Loading `tomllib` costs more than all the rest, so files that are written plainly
are read by `plain_keys`, which gives up on everything that it is not sure of; only then `tomllib` is loaded.
"""

import os

from letterlock.presence import is_there
from letterlock.sendmail.exits import CONFIG, Failure
from letterlock.shared_defaults import (
    DROP,
    ENVIRONMENT,
    MAX_FILE_OCTETS,
    SENDMAIL_KEYS,
    SYSTEM_CONFIG,
    SYSTEM_STATE,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

CONTROL_SOCKET = "control.sock"


def _wanted() -> "dict[str, tuple[str, ...]]":
    """The keys to look for, by table."""
    found: dict[str, tuple[str, ...]] = {}
    for path in SENDMAIL_KEYS:
        table, _, name = path.rpartition(".")
        found[table] = (*found.get(table, ()), name)
    return found


_WANTED = _wanted()
_LISTENER = "listener"  # a list of tables: left to tomllib
_NOT_NAMES = ("true", "false", "inf", "nan")  # inside an array of arrays these look like the name of a table


class Settings:
    """The settings that the commands need. `listen` are addresses with ports, `directory` may be None: the default.

    `drop_directory` is None too where the file says nothing, and False where it turns the drop directory off.
    """

    __slots__ = ("directory", "drop_directory", "hostname", "listen", "max_message_octets")

    def __init__(self, keys: "dict[str, object]", base: str) -> None:
        keys = SENDMAIL_KEYS | keys
        hostname = keys["hostname"]
        self.hostname = _system_hostname() if hostname is None else _text(hostname, "hostname")
        self.listen = _texts(keys["smtp.listen"])
        self.max_message_octets = _count(keys["smtp.max_message_octets"])
        self.directory = _path(keys["queue.directory"] or _stored_in(keys["queue.store"]), base, "directory")
        drop = keys["queue.drop_directory"]
        self.drop_directory = False if drop is False else _path(drop, base, "drop_directory")

    def drop_directories(self) -> list[str]:
        """Where messages may wait for the server, the best place first."""
        if self.drop_directory is not None:
            return [self.drop_directory] if isinstance(self.drop_directory, str) else []
        if self.directory is not None:
            return [self.directory.rstrip("/") + DROP]
        return [os.path.join(home, "letterlock") + DROP for home in (state_home(),) if home] + [SYSTEM_STATE + DROP]

    def queue_directory(self) -> str:
        """Where the control socket is: as configured; else the user's own server's, else the system's."""
        if self.directory is not None:
            return self.directory
        home = state_home()
        if home is None:
            return SYSTEM_STATE
        own = os.path.join(home, "letterlock")
        system = os.path.exists(os.path.join(SYSTEM_STATE, CONTROL_SOCKET))
        return SYSTEM_STATE if system and not os.path.exists(os.path.join(own, CONTROL_SOCKET)) else own


def _stored_in(store: object) -> str | None:
    """The directory in `store = "sqlite:DIRECTORY"`, which is the server's own."""
    engine, _, directory = _text(store or "", "store").partition(":")
    return directory if engine == "sqlite" and directory else None


def state_home() -> str | None:
    """`$XDG_STATE_HOME`, else `~/.local/state`; None for a user without a home."""
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return None if home.startswith("~") else home


def _path(value: object, base: str, name: str) -> str | None:
    return None if value is None else os.path.join(base, os.path.expanduser(_text(value, name)))


def settings(path: str | None) -> Settings:
    """Read the configuration. Raises Failure (CONFIG)."""
    path = path or os.environ.get(ENVIRONMENT)
    if path is None:
        if not is_there(SYSTEM_CONFIG):
            return Settings({}, "")
        path = SYSTEM_CONFIG
    text = _read(path)
    keys = plain_keys(text)
    return Settings(_parsed_keys(text, path) if keys is None else keys, os.path.dirname(path))


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_FILE_OCTETS + 1)
        text = raw.decode()
    except OSError as error:
        raise Failure(CONFIG, f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Failure(CONFIG, f"{path} is not UTF-8 text") from None
    if len(raw) > MAX_FILE_OCTETS:
        raise Failure(CONFIG, f"{path} is larger than {MAX_FILE_OCTETS} octets")
    return text


def _parsed_keys(text: str, path: str) -> "dict[str, object]":
    import tomllib  # noqa: PLC0415  # 10 ms, only for files that plain_keys leaves

    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Failure(CONFIG, f"{path} is not TOML: {error}") from None
    found: dict[str, object] = {}
    for table, names in _WANTED.items():
        values = data if not table else data.get(table, {})
        if not isinstance(values, dict):
            raise Failure(CONFIG, f"{path}: {table} is not a table")
        found |= {f"{table}.{name}" if table else name: values[name] for name in names if name in values}
    if _LISTENER in data:
        found["smtp.listen"] = _relay_addresses(data[_LISTENER], path)
    return found


def _relay_addresses(tables: object, path: str) -> "list[object]":
    """Where the listeners are that relay for this machine without TLS; none: only the drop directory is left."""
    if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        raise Failure(CONFIG, f"{path}: listener must be tables, each under [[listener]]")
    relays = [each for each in tables if each.get("role", "relay") == "relay"]
    return [address for each in relays for address in _list(each.get("listen"))]


def _list(value: object) -> "list[object]":
    if not isinstance(value, list):
        raise Failure(CONFIG, "the configuration's listener.listen must be a list of addresses")
    return value


def plain_keys(text: str) -> "dict[str, object] | None":
    """The wanted keys of a TOML file that is written plainly; None: let `tomllib` read it.

    Each line is looked at by itself. That is sound because, without strings of many lines, a line that begins with
    `[name]` or `name =` cannot be anything else: what could is given up on.
    """
    if '"""' in text or "'''" in text or "\r" in text:
        return None
    found: dict[str, object] = {}
    for table, line in _lines_of_tables(text):
        if table is None:
            return None
        key, equals, value = line.partition("=")
        key = key.strip()
        if _is_doubtful(table, key):
            return None
        if equals and key in _WANTED.get(table, ()):
            name = f"{table}.{key}" if table else key
            read = _plain_value(value.strip())
            if read is None or name in found:
                return None
            found[name] = read
    return found


def _lines_of_tables(text: str) -> "Iterator[tuple[str | None, str]]":
    """Every line that is neither empty nor a comment, with the table it is in; None where that is not certain."""
    table: str | None = ""
    for line in text.split("\n"):
        line = line.strip(" \t")
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            table = _plain_header(line)
            if table is not None:
                continue
        yield table, line
        if table is None:
            return


def _plain_header(line: str) -> str | None:
    header = line.partition("#")[0].rstrip()
    name = header.strip("[]")
    brackets = 2 if header.startswith("[[") else 1
    if header != "[" * brackets + name + "]" * brackets or not name[:1].isalpha() or "," in name or name in _NOT_NAMES:
        return None
    if name.partition(".")[0].strip() == _LISTENER:
        return None
    if name.partition(".")[0].strip() in _WANTED and (brackets == 2 or name not in _WANTED):
        return None
    return name


def _is_doubtful(table: str, key: str) -> bool:
    """A key that could be a wanted one written another way: quoted, dotted, or a table in braces."""
    if key[:1] in ('"', "'"):
        return table in _WANTED
    return not table and key.partition(".")[0].strip() in (*_WANTED, _LISTENER)


def _plain_value(value: str) -> "str | int | list[str] | None":
    """Text or a list of texts in double quotes, or a number, all on this line; None for anything else."""
    if "\\" in value or "'" in value or "#" in value:
        return None
    if value.startswith("[") and value.endswith("]"):
        items = [item.strip() for item in value[1:-1].split(",")]
        items = items[:-1] if items[-1] == "" else items
        texts = [_plain_text(item) for item in items]
        return None if None in texts else [text for text in texts if text is not None]
    digits = value.replace("_", "")
    if digits.isascii() and digits.isdigit() and value[0] not in "0_" and value[-1] != "_" and "__" not in value:
        return int(digits)
    return _plain_text(value)


def _plain_text(value: str) -> str | None:
    inner = value[1:-1]
    quoted = len(value) > 1 and value.startswith('"') and value.endswith('"')
    return inner if quoted and '"' not in inner and inner.isprintable() else None


def _system_hostname() -> str:
    name = os.uname().nodename
    return name if name.replace("-", "").replace(".", "").isalnum() and name.isascii() else "localhost"


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise Failure(CONFIG, f"the configuration's {name} must be text")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise Failure(CONFIG, "the configuration's smtp.listen must be a list of addresses")
    return tuple(_text(each, "smtp.listen") for each in value)


def _count(value: object) -> int:
    if not isinstance(value, int) or value <= 0:
        raise Failure(CONFIG, "the configuration's smtp.max_message_octets must be a number")
    return value
