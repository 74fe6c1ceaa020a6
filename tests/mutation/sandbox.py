"""Where mutants are tried: a copy of the checkout, and a child process for each try.

What is slow to import (cryptography, dnspython, pytest) is imported once, and every try is a fork of this process,
which has a single thread and has never imported the code under test. A child runs pytest and leaves by `os._exit`,
whatever happens; it has a process group of its own, limits of CPU time and memory, and is killed when its time is up.
"""

import contextlib
import gc
import importlib
import importlib.util
import os
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
import pytest_asyncio.plugin

ROOT = Path(__file__).parents[2]
COPIED = ("src", "tests", "pyproject.toml")
ARGUMENTS = ("-x", "-q", "--no-header", "--tb=line", "-p", "no:cacheprovider")
PRELOADED = (
    "asyncio", "certifi", "OpenSSL.crypto", "cryptography.hazmat.primitives.asymmetric.ed448",
    "cryptography.hazmat.primitives.asymmetric.ed25519", "cryptography.hazmat.primitives.asymmetric.padding",
    "cryptography.hazmat.primitives.asymmetric.rsa", "cryptography.hazmat.primitives.serialization", "dns.message",
    "dns.resolver", "dns.rdtypes.ANY.TLSA", "dns.dnssec", "idna", "jinja2", "OpenSSL.SSL",
    "sqlite3", "email.message", "http.client",
)  # fmt: skip
MAX_MEMORY_OCTETS = 2 << 30
PASSED, FOREIGN_CODE, BROKEN = 0, 70, 71
_POLL_SECONDS = 0.01


class CannotTry(Exception):
    """The sandbox itself does not work; nothing that it would say about a mutant could be believed."""


@dataclass(frozen=True, slots=True)
class Try:
    """How one run of tests ended."""

    passed: bool
    timed_out: bool
    seconds: float


class Sandbox:
    """A copy of the checkout in a temporary folder. A context manager: leaving it ends the children and the copy."""

    def __init__(self, root: Path = ROOT) -> None:
        """Copy `root`. Raises CannotTry where the code under test is imported already, or threads run."""
        if "letterlock" in sys.modules or threading.active_count() > 1:
            raise CannotTry("the process that forks must not have imported the code under test, nor have threads")
        self.folder = Path(tempfile.mkdtemp(prefix="letterlock-mutants-"))
        for name in COPIED:
            if (root / name).is_dir():
                shutil.copytree(root / name, self.folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(root / name, self.folder / name)
        self._root, self._child = root, 0
        _preload()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child:
            self._kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def output(self) -> str:
        """What pytest last said."""
        return (self.folder / "output").read_text(errors="replace")

    @contextlib.contextmanager
    def with_source(self, module: str, source: str) -> Iterator[None]:
        """Put another source in the place of a module (`policy/judge.py`) for a while."""
        path = self.folder / "src" / "letterlock" / module
        original = path.read_text()
        path.write_text(source)
        try:
            yield
        finally:
            path.write_text(original)

    def run(self, tests: Sequence[str], timeout_seconds: float) -> Try:
        """Run these tests until one fails. Raises CannotTry."""
        started = time.monotonic()
        sys.stdout.flush()
        sys.stderr.flush()
        self._child = os.fork()
        if self._child == 0:
            _be_child(self.folder, self._root, tests, timeout_seconds)
        code = self._wait(started + timeout_seconds)
        if code in (FOREIGN_CODE, BROKEN):
            raise CannotTry(f"the child did not run the copy of the code ({code}): {self.output}")
        return Try(passed=code == PASSED, timed_out=code is None, seconds=time.monotonic() - started)

    def _wait(self, deadline: float) -> int | None:
        """The child's exit code, or None where it had to be killed."""
        while time.monotonic() < deadline:
            process, status = os.waitpid(self._child, os.WNOHANG)
            if process:
                self._child = 0
                # killed by a limit of its own: of CPU time, which is a timeout too, or of memory, which is a failure
                return None if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)
            time.sleep(_POLL_SECONDS)
        self._kill()
        return None

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._child, signal.SIGKILL)  # where it has not come to make its own group
        os.waitpid(self._child, 0)
        self._child = 0


def _preload() -> None:
    for name in PRELOADED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # so that the children share what stands already


def _be_child(folder: Path, root: Path, tests: Sequence[str], timeout_seconds: float) -> None:
    """Never returns."""
    code = BROKEN
    try:
        os.setsid()
        _settle_in(folder, root, timeout_seconds)
        found = importlib.util.find_spec("letterlock")
        if found is None or not str(found.origin).startswith(f"{folder}/src/"):
            code = FOREIGN_CODE
        else:
            code = int(pytest.main([*ARGUMENTS, *tests], plugins=[pytest_asyncio.plugin]))
    finally:
        if sys.exc_info()[0] is not None:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _settle_in(folder: Path, root: Path, timeout_seconds: float) -> None:
    """Make the copy the place where this process works and imports from, and set its limits."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    cpu = int(timeout_seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_OCTETS, MAX_MEMORY_OCTETS))
    output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(folder)
    for name in [name for name in sys.modules if name == "tests" or name.startswith("tests.")]:
        del sys.modules[name]
    sys.path[:] = [str(folder / "src"), *(entry for entry in sys.path if entry and Path(entry) != root)]
    sys.dont_write_bytecode = True
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
