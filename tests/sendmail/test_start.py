"""What the commands load. Their time to start is measured by bench/start.py; what it is made of is held here."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "argparse", "asyncio", "collections", "dataclasses", "datetime", "email", "enum", "getopt", "json", "logging",
    "pathlib", "re", "socket", "ssl", "subprocess", "tempfile", "tomllib", "typing", "urllib",
}  # fmt: skip


@pytest.mark.parametrize("module", ["command", "mailq"])
def test_nothing_heavy_is_loaded_and_nothing_of_the_rest_of_the_house(module: str, tmp_path: Path) -> None:
    script = f"""if True:
        import sys
        before = set(sys.modules)
        sys.path.insert(0, {str(Path(__file__).parents[2] / "src")!r})
        from letterlock.sendmail.{module} import main
        from letterlock.sendmail.settings import settings
        open("c.toml", "w").write('[smtp]\\nlisten = ["127.0.0.1:1"]\\n')
        settings("c.toml")
        print(*(set(sys.modules) - before))"""
    ran = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, check=True, cwd=tmp_path)
    loaded = set(ran.stdout.decode().split())
    assert not loaded & HEAVY
    others = {name for name in loaded if name.startswith("letterlock.") and "letterlock.sendmail" not in name}
    assert others == {"letterlock.presence", "letterlock.shared_defaults"}  # a function and constants
