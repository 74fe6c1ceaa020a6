"""Prints what requirements.lock holds for running Letterlock, with the hashes: not what only a build needs.

Names on the command line are distributions of requirements-dev.lock that are wanted as well, with all that they need.
"""

import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements-dev.lock", "requirements.lock")  # the same versions, where both have one
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
    text = "\n".join((ROOT / name).read_text() for name in LOCKS)
    blocks = {canonicalize_name(found[1]): found[0] for found in BLOCK.finditer(text)}
    # Ours are those of the file: the metadata of an installed checkout are as old as its installation.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed: set[str] = set()
    add_needed([*project["dependencies"], *sys.argv[1:]], needed)
    for name in sorted(needed):
        print(blocks[name])
    return 0


if __name__ == "__main__":
    sys.exit(main())
