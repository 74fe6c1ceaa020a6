"""The name space of `bench.relay --part mixed`: a signed root and `test.`, and below it a zone for each domain.

Zones are signed or not, as the landscape has it; those in between are insecure delegations that `test.` proves. The
MX hosts present one of CREDENTIALS certificates.
"""

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from string import Template

from bench.mixed_load import Domain, Landscape
from bench.relay_names import DNS_ADDRESS, PEERS, Names, private_key
from letterlock.lab.authority import Validity, ZoneKey
from letterlock.lab.issuing import Credential, issue, make_authority
from letterlock.lab.zones import Zone

CREDENTIALS = 100  # a context of OpenSSL takes milliseconds to make; nobody here remembers a certificate
_ZONE = Template('auth-zone:\n  name: "$name"\n  zonefile: "$file"\n  for-downstream: no\n  for-upstream: yes\n')


@dataclass(frozen=True, slots=True)
class MixedNames:
    """What was written."""

    names: Names
    unbound: Path  # configuration
    pems: Path  # a folder: certificate and key of host N are in `N % CREDENTIALS`.pem


def make_mixed_names(directory: Path, names: Names, found: Landscape) -> MixedNames:
    """Write zones, certificates and the trust anchor below a directory; the relay's certificate is in `names`."""
    authority = make_authority("Bench CA of the receivers")
    pems = directory / "pems"
    pems.mkdir(mode=0o700)
    credentials = [issue(authority, f"mx{number}.test") for number in range(CREDENTIALS)]
    for number, credential in enumerate(credentials):
        (pems / f"{number}.pem").write_bytes(private_key(credential) + credential.pem + authority.pem)
    anchor = directory / "mixed-anchor"
    config = directory / "mixed-unbound.conf"
    zones = _zones(found, credentials)
    anchor.write_text(f". IN DS {_key_of(zones[0]).ds(zones[0].origin).to_text()}\n")
    parts = [_head(directory, anchor)]
    validity = Validity.around(time.time())
    for number, zone in enumerate(zones):
        file = directory / f"{number}.zone"
        _write(zone, file, validity)
        parts.append(_ZONE.substitute(name=zone.origin.to_text(), file=file))
    config.write_text("".join(parts))
    ours = Names(anchor, names.certificate, names.key, names.pem, names.sink_pem)
    return MixedNames(ours, config, pems)


def start_mixed_unbound(made: MixedNames) -> subprocess.Popen[bytes]:
    """Start the resolver with an empty cache."""
    return subprocess.Popen(["/usr/sbin/unbound", "-d", "-p", "-c", str(made.unbound)], start_new_session=True)


def _head(directory: Path, anchor: Path) -> str:
    """The resolver's configuration up to its zones."""
    text = Template((PEERS / "unbound.conf").read_text()).substitute(directory=directory, anchor=anchor)
    return text[: text.index("auth-zone:")]


def _zones(found: Landscape, credentials: list[Credential]) -> list[Zone]:
    """The root first, then `test.`."""
    root, test = Zone(".", key=ZoneKey.make()), Zone("test.", key=ZoneKey.make())
    shared = Zone("shared.test.", key=ZoneKey.make())
    test.add("ns.nic.test.", "A", DNS_ADDRESS)
    root.delegate(test)
    for host in found.hosts.values():
        if host.name.endswith(".shared.test"):
            shared.add(f"{host.name}.", "A", host.address)
            shared.add(f"_25._tcp.{host.name}.", "TLSA", credentials[host.number % CREDENTIALS].tlsa_end_entity())
    below = [shared, *(_zone(domain, credentials) for domain in (*found.domains, *found.warm))]
    for zone in below:
        test.delegate(zone)
    return [root, test, *below]


def _zone(domain: Domain, credentials: list[Credential]) -> Zone:
    zone = Zone(f"{domain.name}.", key=ZoneKey.make() if domain.signed else None)
    host = domain.host
    zone.add("@", "MX", f"10 {host.name}.")
    if host.name.endswith(f".{domain.name}"):
        zone.add(f"{host.name}.", "A", host.address)
        if domain.signed:
            zone.add(f"_25._tcp.{host.name}.", "TLSA", credentials[host.number % CREDENTIALS].tlsa_end_entity())
    return zone


def _key_of(zone: Zone) -> ZoneKey:
    assert zone.key is not None
    return zone.key


def _write(zone: Zone, file: Path, validity: Validity) -> None:
    zone.publish(validity)
    rrsets = [rrset for owned in zone.rrsets.values() for rrset in owned.values()]
    file.write_text("\n".join([entry.to_text() for rrset in rrsets for entry in zone.with_signature(rrset)] + [""]))
