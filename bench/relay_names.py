"""The names of `bench.relay`: certificates, two signed zones, and a validating Unbound that serves them to all."""

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from string import Template

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from letterlock.lab.authority import Validity, ZoneKey
from letterlock.lab.issuing import Credential, issue, make_authority
from letterlock.lab.zones import Zone

PEERS = Path(__file__).with_name("peers")
SINK_ADDRESS = "127.0.0.25"
SINK_HOST = "mx.sink.test"
DNS_ADDRESS = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Names:
    """Files that the peers' configurations name."""

    anchor: Path
    certificate: Path  # of the relay, for STARTTLS in
    key: Path
    pem: Path  # key and certificate of the relay in one file
    sink_pem: Path  # key and certificate of the receiver


def make_names(directory: Path) -> Names:
    """Write certificates, zones and the trust anchor below a directory."""
    authority = make_authority("Bench CA")
    relay, sink = issue(authority, "bench.test"), issue(authority, SINK_HOST)
    names = Names(*(directory / name for name in ("anchor", "relay.crt", "relay.key", "relay.pem", "sink.pem")))
    names.certificate.write_bytes(relay.pem + authority.pem)
    names.key.touch(mode=0o600)
    names.key.write_bytes(private_key(relay))
    for path, credential in ((names.pem, relay), (names.sink_pem, sink)):
        path.touch(mode=0o600)
        path.write_bytes(private_key(credential) + credential.pem + authority.pem)
    root_key = _write_zones(directory, sink)
    names.anchor.write_text(root_key)
    return names


def start_unbound(directory: Path, names: Names) -> subprocess.Popen[bytes]:
    """Start the resolver on 127.0.0.1 port 53."""
    template = Template((PEERS / "unbound.conf").read_text())
    config = directory / "unbound.conf"
    config.write_text(template.substitute(directory=directory, anchor=names.anchor))
    return subprocess.Popen(["/usr/sbin/unbound", "-d", "-p", "-c", str(config)], start_new_session=True)


def private_key(credential: Credential) -> bytes:
    """As PEM."""
    return credential.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write_zones(directory: Path, sink: Credential) -> str:
    """Sign and write the zones; the trust anchor as a line of a zone file."""
    validity = Validity.around(time.time())
    root = Zone(".", key=ZoneKey.make())
    zone = Zone("sink.test.", key=ZoneKey.make())
    root.add("ns.nic.test.", "A", DNS_ADDRESS)
    root.delegate(zone)
    zone.add("@", "MX", f"10 {SINK_HOST}.")
    zone.add(f"{SINK_HOST}.", "A", SINK_ADDRESS)
    zone.add(f"_25._tcp.{SINK_HOST}.", "TLSA", sink.tlsa_end_entity())
    for each, name in ((zone, "sink.test.zone"), (root, "root.zone")):
        each.publish(validity)
        rrsets = [rrset for owned in each.rrsets.values() for rrset in owned.values()]
        signed = [entry.to_text() for rrset in rrsets for entry in each.with_signature(rrset)]
        (directory / name).write_text("\n".join([*signed, ""]))
    assert root.key is not None
    return f". IN DS {root.key.ds(root.origin).to_text()}\n"
