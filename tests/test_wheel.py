"""The built wheel holds everything that runs: what is tested in the checkout is what is installed."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_the_wheel_holds_every_module_and_every_statement(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(tmp_path), str(ROOT)], check=True, capture_output=True, text=True)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("letterlock/")}
    source = ROOT / "src"
    wanted = {
        str(path.relative_to(source))
        for path in (source / "letterlock").rglob("*")
        if path.is_file() and path.suffix in (".py", ".sql", ".typed")
    }
    assert wanted <= packed
