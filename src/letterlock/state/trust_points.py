"""Trust points on disk: what has been seen of the zones whose keys are followed (RFC 5011).

One small JSON file for each set of configured anchors, so that other anchors begin anew. Several
processes share it: each change reads what is stored, and replaces it under a lock. A file that is damaged is set aside
and logged; then the configured anchors hold, as at the first start.
"""

import fcntl
import hashlib
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import dns.name

from letterlock.queue.store import StoreFailed
from letterlock.resolver import TrustAnchor
from letterlock.resolver.rollover import DamagedState, TrustPoint, begin, from_json, to_json

log = logging.getLogger("letterlock.anchors")
MAX_STATE_OCTETS = 1 << 18  # chosen: MAX_KEYS and MAX_REVOKED_KEYS keys of RSA-4096 fit


class TrustPointFile:
    """The file for one zone and the anchors that were configured for it."""

    def __init__(self, directory: Path, zone: dns.name.Name, anchors: Iterable[TrustAnchor]) -> None:
        texts = sorted(str(anchor) for anchor in anchors)
        # 64 bits: the names of a few files of our own
        fingerprint = hashlib.sha256("\n".join([str(zone), *texts]).encode()).hexdigest()[:16]
        self._path = directory / f"trust-point-{fingerprint}.json"
        self._lock = directory / f"trust-point-{fingerprint}.lock"
        self._zone = zone

    def load(self) -> TrustPoint:
        """The stored trust point; one without keys when there is none, or it is damaged. Raises StoreFailed."""
        try:
            return self._read()
        except OSError as error:
            raise StoreFailed(f"cannot read the trust anchors in {self._path}: {error.strerror}") from None
        except (UnicodeDecodeError, DamagedState):
            return self.change(lambda point: point)  # alone: else a file that another process made anew is set aside

    def _read(self) -> TrustPoint:
        """Raises OSError; UnicodeDecodeError or DamagedState for a file that is damaged."""
        try:
            with self._path.open("rb") as file:
                point = from_json(file.read(MAX_STATE_OCTETS).decode())
        except FileNotFoundError:
            return begin(self._zone)
        return point if point.zone == self._zone else begin(self._zone)

    def _read_or_begin_anew(self) -> TrustPoint:
        """Under the lock. Raises OSError."""
        try:
            return self._read()
        except (UnicodeDecodeError, DamagedState) as error:
            log.critical("%s: %s: set aside; the configured trust anchors hold", self._path, error)
            self._path.replace(self._path.with_suffix(".damaged"))
            return begin(self._zone)

    def change(self, change: Callable[[TrustPoint], TrustPoint]) -> TrustPoint:
        """Replace what is stored by what follows from it; no other process changes it meanwhile. Raises StoreFailed."""
        try:
            with self._lock.open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # released when the file is closed, or the process ends
                stored = self._read_or_begin_anew()
                changed = change(stored)
                if changed != stored:
                    self._save(changed)
                return changed
        except OSError as error:
            raise StoreFailed(f"cannot store the trust anchors in {self._path}: {error.strerror}") from None

    def _save(self, point: TrustPoint) -> None:
        """Replace what is stored, whole or not at all. Raises OSError."""
        fresh = self._path.with_suffix(".new")
        fresh.touch(mode=0o600)
        with fresh.open("w") as file:
            file.write(to_json(point))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
