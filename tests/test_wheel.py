"""The built wheel holds everything that runs, and runs without the checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
IMPORT_ALL = """
import importlib, pkgutil, sys
sys.path.insert(0, sys.argv[1])
import letterlock
assert letterlock.__file__.startswith(sys.argv[1]), letterlock.__file__
for module in pkgutil.walk_packages(letterlock.__path__, "letterlock."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


@pytest.fixture(scope="module", name="wheel")
def wheel_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(ROOT)], check=True, capture_output=True, text=True)
    [wheel] = folder.glob("*.whl")
    return wheel


def test_the_wheel_holds_every_module_and_every_statement(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("letterlock/")}
    source = ROOT / "src"
    wanted = {
        str(path.relative_to(source))
        for path in (source / "letterlock").rglob("*")
        if path.is_file() and path.suffix in (".py", ".sql", ".typed")
    }
    assert wanted <= packed


def test_every_module_of_the_wheel_imports_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    done = subprocess.run(
        [sys.executable, "-I", "-c", IMPORT_ALL, str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
