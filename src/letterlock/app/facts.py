"""Facts about the server that nobody counts: its version, certificates, disk and clock, as gauges."""

import platform
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from letterlock import __version__
from letterlock.config import Options
from letterlock.config.dangers import dangers
from letterlock.config.reload_effects import contexts
from letterlock.metrics.exposition import Fact

FACTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "letterlock_build_info": ("The version; always 1.", ("version", "python")),
    "letterlock_workers": ("Workers that are configured, and those that gave a sign of life lately.", ("state",)),
    "letterlock_certificate_not_after_timestamp_seconds": (
        "When a certificate of ours expires. The label is its file, as the configuration has it.",
        ("certificate",),
    ),
    "letterlock_disk_free_bytes": ("Bytes free on the disk of the queue.", ()),
    "letterlock_disk_size_bytes": ("Size of the disk of the queue.", ()),
    "letterlock_disk_reserve_bytes": ("With fewer bytes free, new mail is put off (min_free_octets).", ()),
    "letterlock_clock_synchronised": (
        "Whether the system reports a synchronised clock; absent if it reports none.",
        (),
    ),
    "letterlock_config_last_reload_success_timestamp_seconds": ("When the configuration was last read.", ()),
    "letterlock_config_last_reload_successful": ("Whether the last try to read the configuration succeeded.", ()),
    "letterlock_warnings": (
        "Dangerous settings, and certificates that expire within 21 days; `letterlock status` has them.",
        (),
    ),
}
"""The text of each fact, and its labels."""
_Series = tuple[Mapping[str, str], float]


@dataclass(frozen=True, slots=True)
class Loaded:
    """When the configuration was last read (seconds since 1970), and whether the last try had mistakes."""

    at: float
    mistakes: bool = False


def facts(options: Options, alive: int, loaded: Loaded, now: float, clock: bool | None = None) -> Iterator[Fact]:
    """All of them; `alive` is the number of workers that are, `clock` whether the clock is known to be synchronised."""
    build = {"version": __version__, "python": platform.python_version()}
    yield _fact("build_info", (build, 1.0))
    yield _fact("workers", ({"state": "configured"}, options.workers), ({"state": "alive"}, alive))
    ends = (({"certificate": str(each.certificate_path)}, each.not_after) for each in contexts(options))
    yield _fact("certificate_not_after_timestamp_seconds", *ends)
    disk = shutil.disk_usage(options.state_directory)
    yield _fact("disk_free_bytes", ({}, disk.free))
    yield _fact("disk_size_bytes", ({}, disk.total))
    yield _fact("disk_reserve_bytes", ({}, options.min_free_octets))
    yield _fact("clock_synchronised", *(() if clock is None else (({}, float(clock)),)))
    yield _fact("config_last_reload_success_timestamp_seconds", ({}, loaded.at))
    yield _fact("config_last_reload_successful", ({}, float(not loaded.mistakes)))
    yield _fact("warnings", ({}, sum(1 for _ in dangers(options, now))))


def _fact(name: str, *series: _Series) -> Fact:
    full = f"letterlock_{name}"
    return Fact(full, FACTS[full][0], series)
