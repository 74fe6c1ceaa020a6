"""A directory with the keys of one domain that rotate: a file for each private key, and `rotation.json`.

One command changes it at a time; the server reads it at any moment. So a private key is on the disk before the state
names it, the state is replaced whole, and a file is removed only after the state forgot it.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from letterlock.mailauth.dkim.rotation import DamagedRotation, KeyPhase, Keys, from_json, in_phase, to_json

MAX_STATE_OCTETS = 1 << 16  # MAX_KEYS keys have 6 KB
_STATE, _LOCK = "rotation.json", "rotation.lock"


class KeyDirectoryFailed(Exception):
    """The directory cannot be used. `str()` says why."""


class KeyDirectory:
    """The keys of a domain in a directory. With an `owner` (a uid) new files belong to them."""

    def __init__(self, path: Path, owner: int | None = None) -> None:
        self.path = path
        self._owner = owner

    def pem(self, selector: str) -> Path:
        """The file with the private key of a selector."""
        return self.path / f"{selector}.pem"

    def read(self) -> Keys:
        """The keys; none where the directory is new. Raises KeyDirectoryFailed."""
        try:
            with (self.path / _STATE).open("rb") as file:
                return from_json(file.read(MAX_STATE_OCTETS).decode())
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise KeyDirectoryFailed(f"{self.path / _STATE} cannot be read: {error.strerror}") from None
        except (UnicodeDecodeError, DamagedRotation) as error:
            raise KeyDirectoryFailed(f"{self.path / _STATE} is damaged: {error}") from None

    def signing(self) -> dict[str, Path]:
        """The selectors that sign, with their files. Raises KeyDirectoryFailed."""
        return {each.selector: self.pem(each.selector) for each in in_phase(self.read(), KeyPhase.SIGNING)}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other commands from changing it meanwhile; makes the directory. Raises KeyDirectoryFailed."""
        try:
            if not self.path.is_dir():
                self.path.mkdir(mode=0o700, parents=True)
                self._give(self.path)
            lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise KeyDirectoryFailed(f"{self.path} cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise KeyDirectoryFailed(f"another command is changing the keys in {self.path}") from None
        finally:
            os.close(lock)

    def add(self, selector: str, pem: bytes) -> None:
        """Put a new private key on the disk. Raises FileExistsError, and KeyDirectoryFailed."""
        try:
            self._write(self.pem(selector), pem, os.O_EXCL)
        except FileExistsError:
            raise
        except OSError as error:
            raise KeyDirectoryFailed(f"{self.pem(selector)} cannot be written: {error.strerror}") from None

    def write(self, keys: Keys) -> None:
        """Replace the state, whole, and remove private keys that are needed no more. Raises KeyDirectoryFailed."""
        fresh = self.path / f"{_STATE}.new"
        try:
            before = self.read()
            self._write(fresh, to_json(keys).encode(), os.O_TRUNC)
            fresh.replace(self.path / _STATE)
            self._sync()
            needed = {each.selector for each in keys if each.phase is not KeyPhase.RETIRED}
            for each in before:
                if each.selector not in needed:
                    self.pem(each.selector).unlink(missing_ok=True)
        except OSError as error:
            raise KeyDirectoryFailed(f"{self.path} cannot be written: {error.strerror}") from None

    def _write(self, path: Path, content: bytes, flag: int) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flag, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self._give(path)
        self._sync()

    def _give(self, path: Path) -> None:
        if self._owner is not None:
            os.chown(path, self._owner, -1)

    def _sync(self) -> None:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
