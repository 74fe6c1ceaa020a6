"""Signing zones: by BIND's and LDNS' tools, and by a signer of our own that can do what those refuse to do."""

import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import dns.dnssec
import dns.dnssecalgs
import dns.dnssectypes
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdtypes.ANY.NSEC3
import dns.rrset
from dns.dnssecalgs.base import GenericPrivateKey
from dns.name import Name
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS
from dns.rdtypes.ANY.NSEC import NSEC, Bitmap
from dns.rdtypes.ANY.NSEC3 import Bitmap as Bitmap3
from dns.rdtypes.ANY.RRSIG import RRSIG
from dns.rrset import RRset

from tests.agreement.content import TTL, Content, hash_label, nsec3_hash
from tests.agreement.plan import Denial, Plan, Signer

_BIND_NAMES = {
    5: "RSASHA1",
    7: "NSEC3RSASHA1",
    8: "RSASHA256",
    10: "RSASHA512",
    13: "ECDSAP256SHA256",
    14: "ECDSAP384SHA384",
    15: "ED25519",
    16: "ED448",
}
_LDNS_NAMES = {**_BIND_NAMES, 7: "RSASHA1-NSEC3-SHA1"}
_RSA_BITS = 1024
_KSK, _ZSK = 257, 256


@dataclass(frozen=True, slots=True)
class Key:
    """A private key and its DNSKEY record."""

    private: GenericPrivateKey
    record: DNSKEY

    def sign(self, rrset: RRset, signer: Name, validity: tuple[int, int]) -> RRSIG:
        """A signature over an RRset; `validity` in seconds since 1970."""
        key = self.private.key  # type: ignore[attr-defined]  # every private class has its key
        return dns.dnssec.sign(rrset, key, signer, self.record, inception=validity[0], expiration=validity[1])


@lru_cache(maxsize=256)
def own_key(algorithm: int, flags: int, number: int = 0) -> Key:
    """A key; the same for the same arguments, since making RSA keys is slow."""
    kind = dns.dnssecalgs.get_algorithm_cls(dns.dnssectypes.Algorithm(algorithm))
    private = kind.generate(_RSA_BITS) if algorithm in (5, 7, 8, 10) else kind.generate()  # type: ignore[attr-defined]
    return Key(private, private.public_key().to_dnskey(flags=flags))


def moment(offset: int) -> int:
    """So many seconds from now."""
    return int(time.time()) + offset


def zone_text(plan: Plan, delegations: Iterable[tuple[str, str, str]]) -> str:
    """The zone before it is signed, as a file with absolute names."""
    origin = plan.origin.to_text()
    ns = f"ns.{origin}" if origin != "." else "ns."
    head = [f"$ORIGIN {origin}", f"$TTL {TTL}", f"@ IN SOA {ns} host.{origin.lstrip('.')} 1 7200 3600 1209600 {TTL}"]
    body = [f"@ IN NS {ns}", f"{ns} IN A 127.0.0.1"]
    rows = [f"{owner or '@'} IN {rdtype} {rdata}" for owner, rdtype, rdata in (*plan.records, *delegations)]
    return "\n".join([*head, *body, *rows, ""])


def sign_zone(
    plan: Plan, delegations: Iterable[tuple[str, str, str]], directory: Path
) -> tuple[Content, tuple[DS, ...]]:
    """Sign a zone as planned: what is published, and the DS records for its parent."""
    text = zone_text(plan, delegations)
    if not plan.signed:
        return Content.from_text(text, plan.origin), ()
    if plan.signer is Signer.OWN:
        content = _sign_ourselves(plan, text)
    else:
        place = directory / plan.origin.to_text(omit_final_dot=True)
        place.mkdir()
        tool = _sign_by_bind if plan.signer is Signer.BIND else _sign_by_ldns
        content = Content.from_text(tool(plan, text, place), plan.origin)
    return content, ds_records(plan.origin, content.sets[plan.origin][RdataType.DNSKEY], plan.digests)


def ds_records(origin: Name, keys: Iterable[dns.rdata.Rdata], digests: Iterable[int]) -> tuple[DS, ...]:
    """DS records for the key signing keys."""
    return tuple(
        dns.dnssec.make_ds(origin, key, dns.dnssectypes.DSDigest(digest), validating=True)
        for key in keys
        if isinstance(key, DNSKEY) and key.flags == _KSK
        for digest in digests
    )


# --- our own ---------------------------------------------------------------------------------------------------------


def _sign_ourselves(plan: Plan, text: str) -> Content:
    content = Content.from_text(text, plan.origin)
    ksk, zsk = own_key(plan.algorithm, _KSK, len(plan.origin)), own_key(plan.algorithm, _ZSK, len(plan.origin))
    for key in (ksk, zsk):
        content.add(plan.origin, TTL, key.record)
    _chain(plan, content)
    validity = moment(plan.validity[0]), moment(plan.validity[1])
    for name, held in content.sets.items():
        for rdtype, rrset in held.items():
            if _authoritative(content, name, rdtype):
                key = ksk if rdtype == RdataType.DNSKEY else zsk
                content.signatures[name, rdtype] = [key.sign(rrset, plan.origin, validity)]
    return content


def _authoritative(content: Content, name: Name, rdtype: RdataType) -> bool:
    if name in content.cuts:
        return rdtype in (RdataType.DS, RdataType.NSEC)
    return not any(name.is_subdomain(cut) for cut in content.cuts)


def _types(content: Content, name: Name) -> list[RdataType]:
    """The bitmap of a name, without the types of denial itself."""
    held = {
        each for each in content.sets.get(name, {}) if name not in content.cuts or each in (RdataType.NS, RdataType.DS)
    }
    signed = held - ({RdataType.NS} if name in content.cuts else set())
    return sorted([*held, *([RdataType.RRSIG] if signed else [])])


def _chain(plan: Plan, content: Content) -> None:
    """The NSEC or NSEC3 records."""
    if plan.denial is Denial.NSEC:
        owners = sorted(name for name in content.existing if name in content.sets)
        for name, following in zip(owners, [*owners[1:], owners[0]], strict=True):
            types = sorted({*_types(content, name), RdataType.NSEC, RdataType.RRSIG})
            record = NSEC(  # type: ignore[no-untyped-call]  # not typed by the library
                dns.rdataclass.IN, RdataType.NSEC, following, Bitmap.from_rdtypes(types)
            )
            content.add(name, TTL, record)
        return
    salt = b"" if plan.salt == "-" else bytes.fromhex(plan.salt)
    flags = 1 if plan.denial is Denial.OPT_OUT else 0
    parameters = dns.rdata.from_text("IN", "NSEC3PARAM", f"1 0 {plan.iterations} {plan.salt}")
    content.add(plan.origin, TTL, parameters)
    left_out = {cut for cut in content.cuts if RdataType.DS not in content.sets[cut]} if flags else set()
    hashes = sorted((nsec3_hash(name, salt, plan.iterations), name) for name in content.existing - left_out)
    for (digest, name), (after, _) in zip(hashes, [*hashes[1:], hashes[0]], strict=True):
        bitmap = Bitmap3.from_rdtypes(_types(content, name))
        owner = Name((hash_label(digest), *plan.origin.labels))
        record3 = dns.rdtypes.ANY.NSEC3.NSEC3(  # type: ignore[no-untyped-call]  # not typed by the library
            dns.rdataclass.IN, RdataType.NSEC3, 1, flags, plan.iterations, salt, after, bitmap
        )
        content.add(owner, TTL, record3)


# --- tools -----------------------------------------------------------------------------------------------------------


def run(*command: str | Path, cwd: Path) -> str:
    """Run a tool; what it printed. Raises CalledProcessError."""
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True, timeout=60).stdout


def _stamp(offset: int, form: str = "%Y%m%d%H%M%S") -> str:
    return time.strftime(form, time.gmtime(moment(offset)))


def _sign_by_bind(plan: Plan, text: str, place: Path) -> str:
    (place / "zone").write_text(text)
    origin = plan.origin.to_text()
    size = ["-b", str(_RSA_BITS)] if plan.algorithm in (5, 7, 8, 10) else []
    for flag in (["-f", "KSK"], []):
        run("dnssec-keygen", "-q", "-a", _BIND_NAMES[plan.algorithm], *size, *flag, origin, cwd=place)
    denial = [] if plan.denial is Denial.NSEC else ["-3", plan.salt, "-H", str(plan.iterations)]
    denial += ["-A"] if plan.denial is Denial.OPT_OUT else []
    begins, ends = map(_stamp, plan.validity)
    fixed = ("-q", "-S", "-P", "-O", "full", "-o", origin, "-f", "signed")
    run("dnssec-signzone", *fixed, "-s", begins, "-e", ends, *denial, "zone", cwd=place)
    return (place / "signed").read_text()


def _sign_by_ldns(plan: Plan, text: str, place: Path) -> str:
    (place / "zone").write_text(text)
    origin = plan.origin.to_text()
    size = ["-b", str(_RSA_BITS)] if plan.algorithm in (5, 7, 8, 10) else []
    keys = [
        run("ldns-keygen", "-a", _LDNS_NAMES[plan.algorithm], *size, *flag, origin, cwd=place).strip()
        for flag in (["-k"], [])
    ]
    denial = [] if plan.denial is Denial.NSEC else ["-n", "-t", str(plan.iterations), "-s", plan.salt.replace("-", "")]
    if plan.denial is not Denial.NSEC and plan.salt == "-":
        denial = denial[:-2]
    denial += ["-p"] if plan.denial is Denial.OPT_OUT else []
    begins, ends = map(_stamp, plan.validity)
    run("ldns-signzone", "-i", begins, "-e", ends, *denial, "-o", origin, "-f", "signed", "zone", *keys, cwd=place)
    return (place / "signed").read_text()
