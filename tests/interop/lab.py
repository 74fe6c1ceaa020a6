"""The laboratory: a small internet of real programs on loopback, from a signed root to a mailbox."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.certificates import Authority, Credential, authority
from tests.interop import nameservers, postfix
from tests.interop.nameservers import Place
from tests.interop.postfix import Postfix
from tests.interop.programs import loopback_prefix, try_run
from tests.interop.zones import Zone, signed_by_bind, signed_by_ldns, unknown_ds, unsigned, wrong_ds

DOMAINS = ("nsec.test", "nsec3.test", "plain.test", "verify.test", "bogus.test", "expired.test")
MX_NAMES = ("mx.nsec.test", "mx.nsec3.test", "mx.plain.test", "mx.verify.test", "mx.bogus.test", "mx.expired.test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """Everything that runs, and what the tests need to know of it."""

    directory: Path
    prefix: str
    anchor: Path
    unbound: Place
    postfix: Postfix
    authority: Authority
    certificate: Path
    key: Path
    zones: tuple[Zone, ...]

    def address(self, number: int) -> str:
        """An address of the lab's own part of 127.0.0.0/8."""
        return f"{self.prefix}.{number}"


@contextmanager
def public_directory() -> Iterator[Path]:
    """A directory that programs which gave up root may enter too (pytest's own are closed to them)."""
    directory = Path(tempfile.mkdtemp(prefix="letterlock-interop-"))
    try:
        directory.chmod(0o755)
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def lab() -> Iterator[Lab]:
    """Build it, start it, and end it."""
    with ExitStack() as stack:
        directory = stack.enter_context(public_directory())
        prefix = loopback_prefix()
        ca = authority("Lab CA")
        credential = ca.leaf(*MX_NAMES)
        certificate, key = write_with_root(credential, ca, directory)
        mail = Place.free(f"{prefix}.25")
        zones = _build_zones(directory, mail, credential, ca)
        anchor = directory / "root.ds"
        anchor.write_text(zones["."].ds)
        place = _start_dns(stack, directory, prefix, zones, anchor)
        receiving = postfix.receiver(
            directory / "receiver", mail, hostname="mx.nsec.test", domains=DOMAINS, certificate=certificate, key=key
        )
        yield Lab(
            directory=directory,
            prefix=prefix,
            anchor=anchor,
            unbound=place,
            postfix=stack.enter_context(receiving),
            authority=ca,
            certificate=certificate,
            key=key,
            zones=tuple(zones.values()),
        )


def write_with_root(credential: Credential, ca: Authority, directory: Path, name: str = "server") -> tuple[Path, Path]:
    """Write a chain with its root, as DANE-TA(2) demands of servers (RFC 7672 section 3.1.2), and the key."""
    whole = Credential(
        certificate=credential.certificate, key=credential.key, issuers=(*credential.issuers, ca.credential.certificate)
    )
    return whole.write(directory, name)


def delv(lab: Lab, name: str, rdtype: str) -> str:
    """What BIND's delv says about a name, asking Unbound and trusting the lab's root."""
    owner, _, _, algorithm_and_digest = lab.anchor.read_text().split(maxsplit=3)
    fields = algorithm_and_digest.split()
    anchors = lab.directory / "delv.conf"
    tag, algorithm, digest_type, digest = fields
    anchors.write_text(f'trust-anchors {{ "{owner}" static-ds {tag} {algorithm} {digest_type} "{digest}"; }};\n')
    place = lab.unbound
    _, stdout, stderr = try_run(
        "delv", "-a", anchors, "+root=.", f"@{place.address}", "-p", str(place.port), "+cd", name, rdtype
    )
    return stdout + stderr


def _start_dns(stack: ExitStack, directory: Path, prefix: str, zones: dict[str, Zone], anchor: Path) -> Place:
    stubs: dict[str, Place] = {}
    authorities = (
        # BIND listens on addresses that an interface has, and on no others.
        (nameservers.bind, "127.0.0.1", (".", "plain.test.", "alien.test.", "child.optout.test.", "expired.test.")),
        (nameservers.knot, f"{prefix}.2", ("test.", "optout.test.", "verify.test.")),
        (nameservers.nsd, f"{prefix}.3", ("nsec.test.", "nsec3.test.", "bogus.test.", "sub.nsec.test.")),
    )
    for start, address, names in authorities:
        own = directory / start.__name__
        own.mkdir()
        place = Place.free(address)
        stack.enter_context(start(own, place, [zones[name] for name in names]))
        stubs |= dict.fromkeys(names, place)
    own = directory / "unbound"
    own.mkdir()
    place = Place.free(f"{prefix}.53")
    stack.enter_context(nameservers.unbound(own, place, stubs, anchor))
    return place


def _build_zones(directory: Path, mail: Place, credential: Credential, ca: Authority) -> dict[str, Zone]:
    service = f"_{mail.port}._tcp"
    end_entity = f"{service}.mx TLSA 3 1 1 {hashlib.sha256(credential.spki).hexdigest()}"
    trust_anchor = f"{service}.mx TLSA 2 0 1 {hashlib.sha256(ca.der).hexdigest()}"
    server = f"@ MX 10 mx\nmx A {mail.address}"
    children = (
        signed_by_bind(directory, "nsec.test.", f"{server}\n{end_entity}\n{_NSEC}"),
        signed_by_ldns(directory, "nsec3.test.", f"{server}\n{trust_anchor}\n{_NSEC3}"),
        signed_by_bind(directory, "optout.test.", _OPTOUT, extra=("-3", "-", "-A")),
        signed_by_bind(directory, "bogus.test.", f"{server}\n{end_entity}"),
        signed_by_bind(directory, "expired.test.", f"{server}\n{end_entity}", extra=_PAST),
        unsigned(directory, "plain.test.", f"{server}\n{end_entity}"),
        unsigned(directory, "verify.test.", server),
        unsigned(directory, "alien.test.", server),
        unsigned(directory, "sub.nsec.test.", "www A 127.0.0.1"),
        unsigned(directory, "child.optout.test.", "www A 127.0.0.1"),
    )
    zones = {zone.name: zone for zone in children}
    top = signed_by_bind(directory, "test.", _delegations(zones))
    root = signed_by_bind(directory, ".", f"test. NS ns.test.\nns.test. A 127.0.0.1\n{top.ds}")
    return zones | {"test.": top, ".": root}


def _delegations(zones: dict[str, Zone]) -> str:
    names = [name for name in zones if name.count(".") == 2]
    published = {**{name: zones[name].ds for name in names}, "alien.test.": unknown_ds("alien.test.")}
    published["bogus.test."] = wrong_ds(zones["bogus.test."].ds)
    delegations = (f"{name} NS ns.test.\n{published[name]}" for name in names)
    return "\n".join(("ns A 127.0.0.1", *delegations))


_PAST = ("-P", "-s", "20200101000000", "-e", "20200201000000")
_NSEC = """\
www CNAME mx
far CNAME mx.nsec3.test.
clear CNAME mx.plain.test.
broken CNAME mx.bogus.test.
dangling CNAME absent.nsec.test.
*.wild TXT "any"
*.wild MX 10 mx
given.wild TXT "given"
leaf.a.b.c TXT "below empty non-terminals"
sub NS ns.test.
"""
_NSEC3 = """\
www CNAME mx
far CNAME mx.nsec.test.
tree DNAME nsec.test.
*.wild TXT "any"
*.wild MX 10 mx
given.wild TXT "given"
leaf.a.b.c TXT "below empty non-terminals"
"""
_OPTOUT = """\
signed TXT "here"
child NS ns.test.
"""
