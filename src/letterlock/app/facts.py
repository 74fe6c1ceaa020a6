"""Facts about the server that nobody counts: its version, certificates, disk and clock, as gauges."""

import platform
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass

from letterlock import __version__
from letterlock.app.clock_state import clock_is_synchronised
from letterlock.config import Options
from letterlock.config.dangers import dangers
from letterlock.config.reloading import contexts
from letterlock.metrics.exposition import Fact


@dataclass(frozen=True, slots=True)
class Loaded:
    """When the configuration was last read (seconds since 1970), and whether the last try had mistakes."""

    at: float
    mistakes: bool = False


def facts(options: Options, alive: int, loaded: Loaded) -> Iterator[Fact]:
    """All of them; `alive` is the number of workers that are."""
    build = {"version": __version__, "python": platform.python_version()}
    yield Fact("letterlock_build_info", "The version; always 1.", ((build, 1.0),))
    workers = (({"state": "configured"}, float(options.workers)), ({"state": "alive"}, float(alive)))
    yield Fact("letterlock_workers", "Workers as configured, and those that gave a sign of life lately.", workers)
    ends = tuple(({"certificate": str(each.certificate_path)}, each.not_after) for each in contexts(options))
    yield Fact("letterlock_certificate_not_after_timestamp_seconds", "When a certificate of ours expires.", ends)
    yield from _disk(options)
    kept = clock_is_synchronised()
    known = () if kept is None else (({}, float(kept)),)
    yield Fact("letterlock_clock_synchronised", "Whether the system reports a synchronised clock.", known)
    yield _plain("config_last_reload_success_timestamp_seconds", "When the configuration was last read.", loaded.at)
    fine = float(not loaded.mistakes)
    yield _plain("config_last_reload_successful", "Whether the last try to read the configuration succeeded.", fine)
    count = float(sum(1 for _ in dangers(options, time.time())))
    yield _plain("warnings", "Dangerous settings and certificates that expire soon; `letterlock status` has them.", count)


def _disk(options: Options) -> Iterator[Fact]:
    disk = shutil.disk_usage(options.state_directory)
    yield _plain("disk_free_bytes", "Bytes free on the disk of the queue.", disk.free)
    yield _plain("disk_size_bytes", "Size of the disk of the queue.", disk.total)
    reserve = "With fewer bytes free, new mail is put off (min_free_octets)."
    yield _plain("disk_reserve_bytes", reserve, options.min_free_octets)


def _plain(name: str, text: str, value: float) -> Fact:
    return Fact(f"letterlock_{name}", text, (({}, value),))
