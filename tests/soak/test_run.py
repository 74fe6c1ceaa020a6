"""Issue of every queue: what was answered 250 is not lost. The short form of `make soak`, with every kind of fault."""

import os
import re
import subprocess
import sys

import pytest

from tests.soak.faults import Kind
from tests.soak.weather import FAILING_CALLS, Blow

SECONDS = 240.0
# Watched by coverage, the server is slower than the leases of the soak are long: mail would come twice for that alone.
UNWATCHED = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


@pytest.mark.slow
def test_nothing_answered_250_is_lost_whatever_happens_to_the_server() -> None:
    command = [sys.executable, "-m", "tests.soak.run", "--kills", "9", "--workers", "2", "--seed", "20261123"]
    done = subprocess.run(
        [*command, "--mischief", "0.03"],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        env=UNWATCHED,
    )
    told = f"{done.stdout}\n{done.stderr}"
    assert done.returncode == 0, told
    rows = dict(re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in done.stdout.splitlines() if "  " in line)
    missing = {blow.value for blow in Blow} - {Blow.NONE.value} - rows.keys()
    missing |= {kind.value for kind in Kind if f"the receiver: {kind.value}" not in rows}
    assert not missing, told
    assert int(rows["hostile strangers: DNS queries answered"]) > 0, told
    assert all("calls failed" in rows[blow.value] for blow in FAILING_CALLS), told
