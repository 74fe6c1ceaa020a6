"""A sandbox tries the copy and nothing else, ends what does not end, and leaves nothing behind."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.mutation.sandbox import ROOT

SCRIPT = """
import json
from tests.mutation.sandbox import Sandbox
TESTS = ["tests/identity/test_certificate_names.py"]
with Sandbox() as sandbox:
    found = {"folder": str(sandbox.folder)}
    source = (sandbox.folder / "src/letterlock/identity/certificate_names.py").read_text()
    for name, added in (("clean", ""), ("broken", "1 / 0"), ("endless", "while True: pass")):
        with sandbox.with_source("identity/certificate_names.py", source + chr(10) + added):
            tried = sandbox.run(TESTS, 1.0 if name == "endless" else 30.0)
        found[name] = [tried.passed, tried.timed_out]
    found["again"] = [sandbox.run(TESTS, 30.0).passed, False]
print(json.dumps(found))
"""


@pytest.mark.slow
def test_what_becomes_of_a_try() -> None:
    """In a process of its own, for this one has imported the code under test."""
    ran = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, check=True, timeout=120)
    found = json.loads(ran.stdout)
    assert (found["clean"], found["again"]) == ([True, False], [True, False])
    assert found["broken"] == [False, False]
    assert found["endless"] == [False, True]
    folder = Path(found["folder"])
    assert folder.parent == Path(tempfile.gettempdir())
    assert not folder.exists()
