"""What the server depends on and cannot change: the machine's clock, and the names of its addresses in the DNS."""

import ipaddress
import logging
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from letterlock.app.clock_state import clock_is_synchronised
from letterlock.config import Options
from letterlock.net.sources import address_towards

log = logging.getLogger("letterlock.serve")


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that was looked at. `level` is ok, warning or error: with an error `serve` would not start."""

    level: str
    text: str


def surroundings(options: Options) -> Iterator[Found]:
    """Look at all of it. Asks the system's resolver, and may wait for it."""
    yield _clock()
    yield from _reverse_names(options)


def warn_of_surroundings(options: Options) -> threading.Thread:
    """Log what deserves a warning. In a thread that nobody waits for: the system's resolver may take half a minute."""

    def warn() -> None:
        for found in surroundings(options):
            if found.level != "ok":
                log.warning("%s", found.text)

    thread = threading.Thread(target=warn, name="surroundings", daemon=True)
    thread.start()
    return thread


def _clock() -> Found:
    kept = clock_is_synchronised()
    if kept is None:
        return Found("ok", "the system does not tell whether the clock is synchronised")
    if not kept:
        why = "signatures and certificates are judged by it"
        return Found("warning", f"the clock is not synchronised, and {why}: run chrony or systemd-timesyncd")
    return Found("ok", "the clock is synchronised")


def _reverse_names(options: Options) -> Iterator[Found]:
    """Many servers refuse mail from an address without a name, so public addresses should have one."""
    for address in _sending_addresses(options):
        try:
            name = socket.gethostbyaddr(address)[0]
        except OSError:
            yield Found("warning", f"{address} has no reverse name: many servers refuse mail from it; ask its provider")
        else:
            yield Found("ok", f"{address} has the reverse name {name}")


def _sending_addresses(options: Options) -> Iterator[str]:
    source = options.route_settings.usual.source
    for target, fixed in (
        ("198.41.0.4", source.ipv4),  # a.root-servers.net: nothing is sent there
        ("2001:503:ba3e::2:30", source.ipv6),
    ):
        address = fixed or address_towards(target)
        if address is not None and not _is_private(address):
            yield address


def _is_private(address: str) -> bool:
    return not ipaddress.ip_address(address).is_global
