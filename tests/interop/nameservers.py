"""BIND, Knot and NSD as authorities, and Unbound as the validating resolver before them.

Each has an address in 127.0.0.0/8 and a free port; Unbound is led from zone to zone by stub-zones, so that nothing
here needs port 53.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode

from tests.interop.programs import Program, free_port, running
from tests.interop.zones import Zone


@dataclass(frozen=True, slots=True)
class Place:
    """An address and a port."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.address}@{self.port}"

    @classmethod
    def free(cls, address: str) -> "Place":
        """A free port on an address."""
        return cls(address, free_port(address))


def ask(place: Place, name: str, rdtype: str, *, checking_disabled: bool = False) -> dns.message.Message:
    """One query with DO, over UDP and then TCP where truncated. Raises OSError and dns.exception.DNSException."""
    query = dns.message.make_query(name, rdtype, want_dnssec=True)
    if checking_disabled:
        query.flags |= dns.flags.CD
    response, _ = dns.query.udp_with_fallback(query, place.address, port=place.port, timeout=5)
    return response


def _answers(place: Place, zone: str) -> bool:
    query = dns.message.make_query(zone, "SOA")
    try:
        response = dns.query.udp(query, place.address, port=place.port, timeout=0.3)
    except (OSError, dns.exception.DNSException):
        return False
    return response.rcode() == dns.rcode.NOERROR and bool(response.answer)


@contextmanager
def bind(directory: Path, place: Place, zones: Sequence[Zone]) -> Iterator[Program]:
    """BIND's named, authoritative for zones."""
    served = "\n".join(f'zone "{zone.name}" {{ type primary; file "{zone.path}"; }};' for zone in zones)
    config = directory / "named.conf"
    config.write_text(
        f"""
options {{
  directory "{directory}"; pid-file none; session-keyfile none; recursion no; notify no; dnssec-validation no;
  listen-on port {place.port} {{ {place.address}; }}; listen-on-v6 {{ none; }}; empty-zones-enable no;
}};
controls {{ }};
{served}
"""
    )
    command: list[str | Path] = ["named", "-f", "-g", "-n", "1", "-c", config]
    with _authority("named", directory, command, place, zones) as program:
        yield program


@contextmanager
def knot(directory: Path, place: Place, zones: Sequence[Zone]) -> Iterator[Program]:
    """Knot's knotd, authoritative for zones."""
    served = "\n".join(f'  - domain: "{zone.name}"\n    file: "{zone.path}"' for zone in zones)
    config = directory / "knot.conf"
    config.write_text(
        f"""
server:
  rundir: "{directory}"
  listen: "{place}"
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
database:
  storage: "{directory}"
log:
  - target: stderr
    any: info
template:
  - id: default
    storage: "{directory}"
    journal-content: none
    zonefile-sync: -1
zone:
{served}
"""
    )
    with _authority("knotd", directory, ["knotd", "-c", config], place, zones) as program:
        yield program


@contextmanager
def nsd(directory: Path, place: Place, zones: Sequence[Zone]) -> Iterator[Program]:
    """NSD, authoritative for zones."""
    served = "\n".join(f'zone:\n  name: "{zone.name}"\n  zonefile: "{zone.path}"' for zone in zones)
    config = directory / "nsd.conf"
    config.write_text(
        f"""
server:
  ip-address: {place}
  username: ""
  chroot: ""
  zonesdir: "{directory}"
  pidfile: "{directory}/nsd.pid"
  zonelistfile: "{directory}/zone.list"
  xfrdfile: "{directory}/xfrd.state"
  xfrdir: "{directory}"
  database: ""
  server-count: 1
  rrl-ratelimit: 0
remote-control:
  control-enable: no
{served}
"""
    )
    with _authority("nsd", directory, ["nsd", "-d", "-c", config], place, zones) as program:
        yield program


@contextmanager
def _authority(
    name: str, directory: Path, command: Sequence[str | Path], place: Place, zones: Sequence[Zone]
) -> Iterator[Program]:
    def ready() -> bool:
        return all(_answers(place, zone.name) for zone in zones)

    with running(name, command, log=directory / f"{name}.log", ready=ready) as program:
        yield program


@contextmanager
def forwarding_unbound(directory: Path, place: Place, upstream: Place, anchor: Path) -> Iterator[Program]:
    """Unbound, validating from `anchor`, that asks one upstream for everything."""
    forward = f'forward-zone:\n  name: "."\n  forward-addr: {upstream}'
    with _unbound(directory, place, forward, anchor) as program:
        yield program


@contextmanager
def unbound(directory: Path, place: Place, stubs: Mapping[str, Place], anchor: Path) -> Iterator[Program]:
    """Unbound, validating from `anchor`, led to each zone's authority by `stubs`."""
    served = "\n".join(f'stub-zone:\n  name: "{zone}"\n  stub-addr: {authority}' for zone, authority in stubs.items())
    with _unbound(directory, place, served, anchor) as program:
        yield program


@contextmanager
def _unbound(directory: Path, place: Place, served: str, anchor: Path) -> Iterator[Program]:
    config = directory / "unbound.conf"
    config.write_text(
        f"""
server:
  interface: {place}
  do-daemonize: no
  use-syslog: no
  username: ""
  chroot: ""
  directory: "{directory}"
  pidfile: ""
  num-threads: 1
  verbosity: 1
  val-log-level: 2
  module-config: "validator iterator"
  trust-anchor-file: "{anchor}"
  do-not-query-localhost: no
  do-ip6: no
  local-zone: "test." nodefault
  local-zone: "example." nodefault
  access-control: 127.0.0.0/8 allow
  edns-buffer-size: 1232
remote-control:
  control-enable: no
{served}
"""
    )

    def ready() -> bool:
        return _answers(place, ".")

    command: list[str | Path] = ["unbound", "-d", "-c", config]
    with running("unbound", command, log=directory / "unbound.log", ready=ready) as program:
        yield program
