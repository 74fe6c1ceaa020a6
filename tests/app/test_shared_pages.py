"""Workers share what the supervisor loaded before it forked them."""

import subprocess
import sys
from pathlib import Path

_PROGRAM = """
import asyncio, gc, sys
from pathlib import Path
import letterlock.cli.serve
from letterlock.app.server import running
from letterlock.app.shared_pages import share_pages
from letterlock.config import load

options = load(Path(sys.argv[1]))
share_pages(options)
before = set(sys.modules)
frozen, looked_at = gc.get_freeze_count(), len(gc.get_objects())
assert frozen > 50_000 > 5_000 > looked_at, (frozen, looked_at)

async def serve() -> None:
    async with running(options):
        pass

asyncio.run(serve())
print(sorted(name for name in set(sys.modules) - before if name.startswith("letterlock")))
"""


def test_a_worker_loads_nothing_that_the_supervisor_has_not_loaded(tmp_path: Path) -> None:
    config = tmp_path / "letterlock.toml"
    config.write_text(
        f'[smtp]\nlisten = ["127.0.0.1:0"]\n[queue]\ndirectory = "{tmp_path}/queue"\n'
        '[resolver]\nupstream = ["127.0.0.1:9"]\n'
    )
    command = [sys.executable, "-c", _PROGRAM, str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_the_roots_of_the_web_are_read_once_and_not_kept_taken_apart() -> None:
    program = (
        "from letterlock.config import system_roots; from letterlock.identity import certificates; "
        "assert system_roots() is system_roots(); print(certificates._parse_small.cache_info().currsize)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "0\n", done.stderr
