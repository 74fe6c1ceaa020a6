"""Where the shared vectors are: beside the checkout, in `shared/vectors`, or where LETTERLOCK_VECTORS says."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def vectors(kind: str) -> Path:
    """The folder of one kind of vectors, such as `dkim`. Fails with a clear message when there is none."""
    for base in _candidates():
        if (base / kind).is_dir():
            return base / kind
    raise FileNotFoundError(
        f"no vectors of {kind}: put them in ../shared/vectors beside the checkout, or set LETTERLOCK_VECTORS"
    )


def _candidates() -> list[Path]:
    named = os.environ.get("LETTERLOCK_VECTORS")
    if named:
        return [Path(named)]
    # a worktree may be elsewhere than the checkout that it belongs to
    command = ["git", "rev-parse", "--git-common-dir"]
    common = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    main = [(ROOT / common.stdout.strip()).resolve().parent] if common.returncode == 0 else []
    return [root.parent / "shared" / "vectors" for root in (ROOT, *main)]
