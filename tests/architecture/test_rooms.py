"""Every folder of the package is one that the import contracts see."""

import tomllib
from pathlib import Path

from tests.architecture.purity import SOURCE

CONTRACTS = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


def folders_without_init(root: Path) -> list[str]:
    """Folders with modules that are no package: import-linter does not see them, and they could import anything."""
    folders = {path.parent for path in root.rglob("*.py")}
    return sorted(each.relative_to(root).as_posix() for each in folders if not (each / "__init__.py").exists())


def test_every_folder_with_modules_is_a_package() -> None:
    assert folders_without_init(SOURCE) == []


def test_a_folder_that_is_no_package_is_seen(tmp_path: Path) -> None:
    (tmp_path / "room" / "inner").mkdir(parents=True)
    for path in ("__init__.py", "room/__init__.py", "room/inner/module.py"):
        (tmp_path / path).touch()
    assert folders_without_init(tmp_path) == ["room/inner"]


def test_a_room_without_a_floor_breaks_the_contract() -> None:
    """`exhaustive`: import-linter fails for a child of `letterlock` that is in no layer (tried by hand, too)."""
    floors = next(each for each in CONTRACTS if each["type"] == "layers")
    assert floors["exhaustive"] is True
    assert floors["containers"] == ["letterlock"]
    assert "ignore_imports" not in floors
    assert "exhaustive_ignores" not in floors
    named = {room.strip() for layer in floors["layers"] for room in layer.replace(":", "|").split("|")}
    there = {path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert named == there - {"__init__"}
