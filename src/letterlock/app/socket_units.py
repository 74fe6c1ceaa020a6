"""The addresses that systemd holds at this moment by its socket units, for any service."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from letterlock.config import Endpoint

SERVICE = "letterlock.service"  # the unit of packaging/
ASK_SECONDS = 5.0  # systemd answers within milliseconds, unless it is busy with something of minutes
_LIST = ("systemctl", "list-sockets", "--show-types", "--output=json", "--no-pager")


@dataclass(frozen=True, slots=True)
class SocketUnit:
    """One address of a socket unit, as systemd writes it, and the service that gets the connections."""

    unit: str
    listen: str
    service: str

    @property
    def port(self) -> int:
        """Of an internet address."""
        return int(self.listen.rpartition(":")[2])


def holder(endpoint: Endpoint) -> SocketUnit | None:
    """The socket unit that holds an address, or else one that holds its port on others; None without systemd, too."""
    units = [each for each in _socket_units() if each.port == endpoint.port]
    exact = [each for each in units if each.listen == str(endpoint)]
    return next(iter(exact or units), None)


def _socket_units() -> Iterator[SocketUnit]:
    """Those that take connections from the network."""
    try:
        listed = subprocess.run(_LIST, capture_output=True, check=True, timeout=ASK_SECONDS)  # noqa: S603  # a constant
        found = json.loads(listed.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):  # no systemd, or none that runs: then it holds nothing
        return
    for each in found:
        listen = str(each.get("listen"))
        if each.get("type") == "Stream" and listen.rpartition(":")[2].isdecimal():
            yield SocketUnit(str(each.get("unit")), listen, str(each.get("activates") or "another service"))
