"""The zones of the lab, and how Debian's tools sign them.

`.`, `test.` and `nsec.test.` by BIND's dnssec-signzone (NSEC), `nsec3.test.` by ldns-signzone (NSEC3),
`optout.test.` by dnssec-signzone (NSEC3 with opt-out); `plain.test.` is delegated without DS, and `bogus.test.` with a
DS that no key of it has.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.interop.programs import run

APEX = """\
$TTL 300
@ IN SOA ns.test. hostmaster.test. 1 3600 900 604800 300
@ IN NS ns.test.
"""
_ALGORITHM = "ECDSAP256SHA256"


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """A zone file, ready to be served. `ds` are the DS records that its parent may publish."""

    name: str
    path: Path
    ds: str = field(default="")

    @property
    def stem(self) -> str:
        """The zone's name for use in file names."""
        return stem(self.name)


def stem(zone: str) -> str:
    """A zone's name for use in file names."""
    return zone.rstrip(".") or "root"


def unsigned(directory: Path, name: str, records: str) -> Zone:
    """A zone without signatures."""
    path = directory / f"{stem(name)}.zone"
    path.write_text(f"$ORIGIN {name}\n{APEX}{records}\n")
    return Zone(name=name, path=path)


def signed_by_bind(directory: Path, name: str, records: str, *, extra: Sequence[str] = ()) -> Zone:
    """A zone signed by dnssec-signzone with a KSK and a ZSK; NSEC, unless `extra` says otherwise."""
    keys = directory / f"{stem(name)}.keys"
    keys.mkdir()
    ksk = run("dnssec-keygen", "-q", "-K", keys, "-a", _ALGORITHM, "-f", "KSK", name).strip()
    run("dnssec-keygen", "-q", "-K", keys, "-a", _ALGORITHM, name)
    plain = unsigned(directory, name, records)
    path = directory / f"{stem(name)}.signed"
    run("dnssec-signzone", "-q", "-S", "-K", keys, "-d", keys, "-o", name, "-f", path, *extra, plain.path)
    return Zone(name=name, path=path, ds=run("dnssec-dsfromkey", "-2", keys / f"{ksk}.key"))


def signed_by_ldns(directory: Path, name: str, records: str) -> Zone:
    """A zone signed by ldns-signzone with NSEC3 (RFC 9276: no salt, no extra iterations)."""
    keys = directory / f"{stem(name)}.keys"
    keys.mkdir()
    ksk = run("ldns-keygen", "-a", _ALGORITHM, "-k", name, cwd=keys).strip()
    zsk = run("ldns-keygen", "-a", _ALGORITHM, name, cwd=keys).strip()
    plain = unsigned(directory, name, records)
    path = directory / f"{stem(name)}.signed"
    run("ldns-signzone", "-n", "-t", "0", "-f", path, plain.path, keys / ksk, keys / zsk)
    return Zone(name=name, path=path, ds=run("ldns-key2ds", "-n", "-2", keys / f"{ksk}.key"))


def wrong_ds(ds: str) -> str:
    """The DS with another digest, so that no key of the child has it."""
    before, digest = ds.strip().rsplit(maxsplit=1)
    return f"{before} {digest[::-1]}"


def unknown_ds(name: str) -> str:
    """A DS of an algorithm that nobody knows (RFC 4035 section 5.2: the child counts as unsigned)."""
    return f"{name} 300 IN DS 4711 200 2 {'ab' * 32}"
