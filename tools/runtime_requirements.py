"""Prints what requirements.lock holds for running Letterlock, with the hashes: not what only a build needs."""

import re
import sys
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCK = Path(__file__).resolve().parent.parent / "requirements.lock"
BLOCK = re.compile(r"^([\w.-]+)==.*(?:\n +.*)*", re.MULTILINE)


def needed(name: str, seen: set[str]) -> set[str]:
    """A distribution and all that it needs here, without extras."""
    if name not in seen:
        seen.add(name)
        for requirement in map(Requirement, requires(name) or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                needed(canonicalize_name(requirement.name), seen)
    return seen


def main() -> int:
    """Print the blocks of the lock file."""
    blocks = {canonicalize_name(found[1]): found[0] for found in BLOCK.finditer(LOCK.read_text())}
    for name in sorted(needed("letterlock", set()) - {"letterlock"}):
        print(blocks[name])
    return 0


if __name__ == "__main__":
    sys.exit(main())
