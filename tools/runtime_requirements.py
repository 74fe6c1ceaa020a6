"""Prints what requirements.lock holds for running Letterlock, with the hashes: not what only a build needs."""

import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
BLOCK = re.compile(r"^([\w.-]+)==.*(?:\n +.*)*", re.MULTILINE)


def add_needed(requirements: Iterable[str], seen: set[str]) -> None:
    """Add the distributions that are required here, and all that they need, without extras."""
    for requirement in map(Requirement, requirements):
        name = canonicalize_name(requirement.name)
        if name not in seen and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            seen.add(name)
            add_needed(requires(name) or (), seen)


def main() -> int:
    """Print the blocks of the lock file."""
    blocks = {canonicalize_name(found[1]): found[0] for found in BLOCK.finditer(LOCK.read_text())}
    # Ours are those of the file: the metadata of an installed checkout are as old as its installation.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed: set[str] = set()
    add_needed(project["dependencies"], needed)
    for name in sorted(needed):
        print(blocks[name])
    return 0


if __name__ == "__main__":
    sys.exit(main())
