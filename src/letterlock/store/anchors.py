"""Trust points on disk: what has been seen of the zones whose keys are followed (RFC 5011).

One small JSON file for each set of configured anchors, so that who configures other anchors begins anew. A file that
is damaged is set aside and told of; then the configured anchors hold, as at the first start.
"""

import hashlib
import logging
import os
from collections.abc import Iterable
from pathlib import Path

import dns.name

from letterlock.queue.store import StoreFailed
from letterlock.resolver import TrustAnchor
from letterlock.resolver.rollover import DamagedState, TrustPoint, begin, from_json, to_json

log = logging.getLogger("letterlock.anchors")
MAX_STATE_OCTETS = 1 << 18


class TrustPointFile:
    """The file for one zone and the anchors that were configured for it."""

    def __init__(self, directory: Path, zone: dns.name.Name, anchors: Iterable[TrustAnchor]) -> None:
        texts = sorted(str(anchor) for anchor in anchors)
        fingerprint = hashlib.sha256("\n".join([str(zone), *texts]).encode()).hexdigest()[:16]
        self._path = directory / f"trust-point-{fingerprint}.json"
        self._zone = zone

    def load(self) -> TrustPoint:
        """What was stored; a trust point without keys when there is nothing, or nothing that can be read."""
        try:
            with self._path.open() as file:
                point = from_json(file.read(MAX_STATE_OCTETS))
        except FileNotFoundError:
            return begin(self._zone)
        except (OSError, UnicodeDecodeError, DamagedState) as error:
            log.critical("%s: %s: set aside; the configured trust anchors hold", self._path, error)
            self._path.replace(self._path.with_suffix(".damaged"))
            return begin(self._zone)
        return point if point.zone == self._zone else begin(self._zone)

    def save(self, point: TrustPoint) -> None:
        """Replace what is stored, whole or not at all. Raises StoreFailed."""
        fresh = self._path.with_suffix(".new")
        try:
            fresh.touch(mode=0o600)
            with fresh.open("w") as file:
                file.write(to_json(point))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except OSError as error:
            raise StoreFailed(f"cannot store the trust anchors in {self._path}: {error.strerror}") from None
