"""Makes the changes of a plan, and takes them back: each with what was there before, in one file."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from letterlock.companion.postfix_facts import BYTES, PostfixFacts, set_parameters
from letterlock.companion.setup_plan import SetupPlan

BACKUP = "companion-backup.json"


class NothingToUndo(Exception):
    """There is no backup, or none that can be read."""


@dataclass(frozen=True, slots=True)
class Undone:
    """What was put back, and what was left because somebody else changed it since."""

    restored: tuple[str, ...]
    left: tuple[str, ...]


def apply(plan: SetupPlan, facts: PostfixFacts, directory: Path) -> Path:
    """Make the changes, after a backup was written; its path. A second run keeps what the first one saved.

    Raises OSError, NoPostfix, NothingToUndo.
    """
    backup = directory / BACKUP
    saved = _load(backup) or {"postfix": str(facts.config_directory), "parameters": {}, "files": {}}
    for name, value in plan.parameters.items():
        before = saved["parameters"].get(name, {"before": facts.written.get(name)})
        saved["parameters"][name] = before | {"after": value}
    for path, text in plan.files.items():
        before = saved["files"].get(str(path), {"before": _state(path)})
        saved["files"][str(path)] = before | {"after": text}
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    _write(backup, json.dumps(saved, indent=1), 0o600)
    for path, text in plan.files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, text, 0o644)
    set_parameters(facts.config_directory, dict(plan.parameters))
    return backup


def undo(facts: PostfixFacts, directory: Path) -> Undone:
    """Put everything back that is still as we left it. Raises NothingToUndo, OSError, NoPostfix."""
    backup = directory / BACKUP
    saved = _load(backup)
    if saved is None:
        raise NothingToUndo(f"there is no {backup}: nothing was enabled, or it was undone already")
    restored, left = list[str](), list[str]()
    changes: dict[str, str | None] = {}
    for name, each in saved["parameters"].items():
        if facts.written.get(name) == each["after"]:
            changes[name] = each["before"]
            restored.append(f"{name} in main.cf")
        elif facts.written.get(name) != each["before"]:  # else it was never changed: `apply` failed halfway
            left.append(f"{name} in main.cf: it was changed since")
    set_parameters(Path(saved["postfix"]), changes)
    for name, each in saved["files"].items():
        if _state(Path(name)) == {"text": each["after"]}:
            _put_back(Path(name), each["before"])
            restored.append(name)
        elif _state(Path(name)) != each["before"]:
            left.append(f"{name}: it was changed since; before, it was {_described(each['before'])}")
    backup.replace(backup.with_suffix(".undone.json"))
    return Undone(tuple(restored), tuple(left))


def made(directory: Path, path: Path) -> bool:
    """Whether a file is one that `apply` made where there was none."""
    saved = _load(directory / BACKUP)
    return saved is not None and saved["files"].get(str(path), {"before": ""})["before"] is None


def _state(path: Path) -> dict[str, str] | None:
    """A file as it is: a link with its target, a text, or nothing."""
    if path.is_symlink():
        return {"link": os.readlink(path)}  # noqa: PTH115  # as it is written there, not as it is resolved
    try:
        return {"text": path.read_text(encoding="utf-8", errors=BYTES)}
    except FileNotFoundError:  # so undoing removes it
        return None


def _put_back(path: Path, before: Mapping[str, str] | None) -> None:
    if before is None:
        path.unlink()
    elif "link" in before:
        path.unlink()
        path.symlink_to(before["link"])
    else:
        _write(path, before["text"], None)


def _described(before: Mapping[str, str] | None) -> str:
    if before is None:
        return "not there"
    return f"a link to {before['link']}" if "link" in before else "another text, which the backup has"


def _write(path: Path, text: str, mode: int | None) -> None:
    """Replace a file at once, so that nobody reads half of it. A file that is mounted (in a container) is filled."""
    if path.exists() and not path.is_symlink():
        mode = path.stat().st_mode & 0o777
    new = path.with_name(f".{path.name}.letterlock")
    new.write_text(text, encoding="utf-8", errors=BYTES)
    new.chmod(0o644 if mode is None else mode)
    try:
        new.replace(path)
    except OSError:
        new.unlink()
        path.write_text(text, encoding="utf-8", errors=BYTES)


def _load(path: Path) -> dict[str, Any] | None:
    """What was saved; None before the first `apply`. Raises NothingToUndo, OSError."""
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:  # nothing was ever enabled
        return None
    except ValueError as error:
        raise NothingToUndo(f"{path} is damaged: {error}") from None
    kinds = {"postfix": str, "parameters": dict, "files": dict}
    if not isinstance(found, dict) or any(not isinstance(found.get(name), kind) for name, kind in kinds.items()):
        raise NothingToUndo(f"{path} is damaged: it does not say what was changed")
    return found
