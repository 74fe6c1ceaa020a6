"""Draws the rooms of the code in docs/concepts/architecture.md, from the imports. tools/docs.py writes and checks it.

The rows are the floors of the import contract in pyproject.toml. An arrow that a path of other arrows implies is left
out: of some 150 arrows about 60 remain, which is what a reader can follow.
"""

import itertools
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from tools.shape import modules, room_arrows

PAGE = Path("docs/concepts/architecture.md")
BEGIN = "<!-- Made by tools/docs.py from the imports; do not edit below. -->\n"
END = "<!-- End of what tools/docs.py makes. -->\n"
# Single files of constants and small tools below every room; the start of the program above them all.
LEFT_OUT = frozenset(
    {"__main__", "keys", "shares", "recent", "events", "machine", "frozen", "spare_time", "presence", "shared_defaults"}
)

Arrows = Mapping[str, AbstractSet[str]]


def page(root: Path) -> str:
    """The page with the diagram of the code as it is now. Raises ValueError if its marks are missing."""
    text = (root / PAGE).read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"{PAGE} has not exactly one place for the diagram, from {BEGIN!r} to {END!r}")
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + diagram(floors(root), room_arrows(modules(root))) + END + rest.partition(END)[2]


def floors(root: Path) -> list[list[str]]:
    """The rooms that the diagram shows, the highest floor first."""
    contracts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [layers] = [each["layers"] for each in contracts if each["type"] == "layers"]
    shown = ([room for room in layer.split(" | ") if room not in LEFT_OUT] for layer in layers)
    return [floor for floor in shown if floor]


def diagram(rows: Sequence[Sequence[str]], arrows: Arrows) -> str:
    """Mermaid: each floor in a row of its own, held there by invisible links."""
    rooms = [room for row in rows for room in row]
    lines = [f"{' & '.join(upper)} ~~~ {' & '.join(lower)}" for upper, lower in itertools.pairwise(rows)]
    lines += [
        f"{room} --> {' & '.join(below)}"
        for room, below in needed({room: arrows.get(room, set()) & set(rooms) for room in rooms})
        if below
    ]
    return "\n".join(["```mermaid", "flowchart TB", *(f"  {line}" for line in lines), "```", ""])


def needed(arrows: Arrows) -> Iterator[tuple[str, list[str]]]:
    """Each room with those of its arrows that no path of others implies."""
    reached = {room: _reached(room, arrows) for room in arrows}
    for room, below in arrows.items():
        yield room, sorted(each for each in below if not any(each in reached[other] for other in below))


def _reached(room: str, arrows: Arrows) -> set[str]:
    """Every room that a path of arrows leads to."""
    found: set[str] = set()
    waiting = [room]
    while waiting:
        new = arrows[waiting.pop()] - found
        found |= new
        waiting += new
    return found
