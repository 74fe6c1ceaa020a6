"""Reading: from a file, or from text, to Options or every mistake at once."""

import hashlib
import os
import re
import tomllib
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from letterlock.config.building import options
from letterlock.config.key_file import SECRETS
from letterlock.config.mistakes import BadConfig, Mistake, locate, placed
from letterlock.config.options import Options
from letterlock.config.tables import FileTable, known_keys
from letterlock.presence import is_there
from letterlock.shared_defaults import ENVIRONMENT, MAX_FILE_OCTETS, SYSTEM_CONFIG


def find(path: Path | None) -> Path | None:
    """The configuration file that counts: the one that was named, else `$LETTERLOCK_CONFIG`, else the system's.

    None where there is none of these: then the built-in defaults hold. The same for all verbs, and for `sendmail`.
    """
    named = os.environ.get(ENVIRONMENT)
    if path is None and named:
        return Path(named)
    if path is None and is_there(SYSTEM_CONFIG):
        return Path(SYSTEM_CONFIG)
    return path


def load(path: Path | None, *, secrets: bool = True) -> Options:
    """Read a configuration file; None means the safe defaults, on loopback.

    `secrets`: read the secret keys that it names, too; only the server needs them.

    Raises BadConfig.
    """
    if path is None:
        return parse("", "defaults")
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_OCTETS + 1)
        text = raw.decode()
    except OSError as error:
        raise BadConfig(str(path), [Mistake(key="", message=f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError:
        raise BadConfig(str(path), [Mistake(key="", message="is not UTF-8 text")]) from None
    if len(raw) > MAX_FILE_OCTETS:
        raise BadConfig(str(path), [Mistake(key="", message=f"is larger than {MAX_FILE_OCTETS} octets")])
    return parse(text, str(path), base=path.parent, secrets=secrets)


def queue_directory(path: Path) -> Path | None:
    """Where a server with this file has its queue, though the file may have mistakes elsewhere; None: who knows."""
    try:
        queue = tomllib.loads(path.read_text()).get("queue", {})
        wanted = {name: queue[name] for name in ("directory", "store") if name in queue}
        file = FileTable.model_validate({"queue": wanted}, context={"base": path.parent, SECRETS: False})
    except (OSError, ValueError, AttributeError, TypeError):  # absent, no TOML, or no table: `load` reports the mistake
        return None
    return options(file, str(path), {}).queue_directory


def parse(text: str, source: str, *, base: Path | None = None, secrets: bool = True) -> Options:
    """Turn TOML text into Options. Relative paths are taken from `base` (default: the working directory).

    Raises BadConfig.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+)", str(error))
        mistake = Mistake(key="", message=f"is not TOML: {error}", line=int(found[1]) if found else None)
        raise BadConfig(source, [mistake]) from None
    lines = locate(text)
    try:
        file = FileTable.model_validate(data, context={"base": base or Path(), SECRETS: secrets})
    except ValidationError as error:
        raise BadConfig(source, placed(error.errors(), data, lines, known_keys)) from None
    return replace(options(file, source, lines), digest=hashlib.sha256(text.encode()).hexdigest())
