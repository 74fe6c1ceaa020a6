"""Random chains and TLSA RRsets, right and wrong in every way that matters to DANE; the same seed, the same shapes."""

import datetime as dt
import functools
import hashlib
import random
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from letterlock.identity.tlsa import TLSARecord

NOW = 1_800_000_000.0
YEAR = dt.timedelta(days=365)
HOST = "mx.example.org"
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@functools.cache
def key(number: int) -> Key:
    """One of a few keys: every fourth RSA, the others P-256."""
    if number % 4 == 3:
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True, slots=True)
class Case:
    """A presented chain, a TLSA RRset, the reference identifiers; `traits` say what is special, for a report."""

    chain: tuple[bytes, ...]
    records: tuple[TLSARecord, ...]
    references: tuple[str, ...]
    traits: tuple[str, ...] = field(default=())


@dataclass(slots=True)
class _Builder:
    chance: random.Random
    traits: list[str] = field(default_factory=list)

    def pick(self, what: str, usual: str, *others: str, often: float = 0.75) -> str:
        """The usual, or one of the others, which is then a trait."""
        if self.chance.random() < often:
            return usual
        choice = self.chance.choice(others)
        self.traits.append(f"{what}={choice}")
        return choice


def random_case(seed: int) -> Case:
    """The case of a number."""
    build = _Builder(random.Random(seed))
    path = _path(build)
    chain = _presented(build, path)
    stranger = _certificate(build, "Stranger", None, key(9), key(9), is_ca=True)
    records = tuple(_record(build, path, stranger) for _ in range(build.chance.choice((1, 1, 1, 2, 3, 5))))
    names = build.pick("references", "host", "several", "other")
    references = {"host": (HOST,), "several": ("example.org", HOST), "other": ("elsewhere.example",)}[names]
    return Case(chain, records, references, tuple(build.traits))


def _path(build: _Builder) -> list[x509.Certificate]:
    """From the leaf to the root; the leaf alone when it signs itself."""
    if build.pick("leaf", "issued", "self-signed", often=0.9) == "self-signed":
        return [_certificate(build, "Self", None, key(0), key(0), is_ca=build.chance.random() < 0.3, leaf=True)]
    depth = build.chance.choice((1, 2, 2, 3))
    above = _certificate(build, f"Authority {depth}", None, key(depth), key(depth), is_ca=True)
    path = [above]
    for level in range(depth - 1, -1, -1):
        subject = f"Authority {level}" if level else "Leaf"
        above = _certificate(build, subject, above, key(level), key(level + 1), is_ca=level > 0, leaf=not level)
        path.insert(0, above)
    return path


def _certificate(
    build: _Builder,
    subject: str,
    issuer: x509.Certificate | None,
    own: Key,
    signer: Key,
    *,
    is_ca: bool,
    leaf: bool = False,
) -> x509.Certificate:
    dates = build.pick("dates", "now", "expired", "future", often=0.93)
    now = dt.datetime.fromtimestamp(NOW, dt.UTC)
    start, end = {
        "now": (now - YEAR, now + YEAR),
        "expired": (now - 2 * YEAR, now - YEAR),
        "future": (now + YEAR, now + 2 * YEAR),
    }[dates]
    common_name = build.pick("cn", subject, HOST, "*.example.org", often=0.8) if leaf else subject
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.subject if issuer else name)
        .public_key(own.public_key())
        .serial_number(build.chance.getrandbits(64) + 1)
        .not_valid_before(start)
        .not_valid_after(end)
    )
    for extension in (*_constraints(build, is_ca=is_ca, leaf=leaf), *_usages(build, is_ca=is_ca)):
        builder = builder.add_extension(extension, critical=build.chance.random() < 0.5)
    if leaf:
        names = _LEAF_NAMES[build.pick("names", "host", "none", "wildcard", "other", "deep-wildcard", "upper")]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), False)
    if build.pick("identifiers", "both", "none") == "both":
        own_id = x509.SubjectKeyIdentifier.from_public_key(own.public_key())
        signer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        builder = builder.add_extension(own_id, False).add_extension(signer_id, False)
    if build.pick("signature", "right", "wrong", often=0.97) == "wrong":
        signer = key(8)
    return builder.sign(signer, hashes.SHA256())


_LEAF_NAMES = {
    "host": (HOST,),
    "none": (),
    "wildcard": ("*.example.org",),
    "other": ("mx.example.net", "mx2.example.org"),
    "deep-wildcard": ("*.org", "m*.example.org", "*.mx.example.org"),
    "upper": ("MX.Example.ORG",),
}


def _constraints(build: _Builder, *, is_ca: bool, leaf: bool) -> list[x509.ExtensionType]:
    if not is_ca:
        return [x509.BasicConstraints(False, None)] if build.chance.random() < 0.5 else []
    kind = "ca" if leaf else build.pick("constraints", "ca", "absent", "not-ca", "path-0", often=0.92)
    return {
        "ca": [x509.BasicConstraints(True, None)],
        "absent": [],
        "not-ca": [x509.BasicConstraints(False, None)],
        "path-0": [x509.BasicConstraints(True, 0)],
    }[kind]  # type: ignore[return-value]  # a list of one kind of extension is a list of extensions here


def _usages(build: _Builder, *, is_ca: bool) -> list[x509.ExtensionType]:
    usages: list[x509.ExtensionType] = []
    kind = build.pick("usage", "absent", "sign-certificates", "sign-data")
    if kind != "absent":
        usages.append(_key_usage(certificates=kind == "sign-certificates", data=kind == "sign-data"))
    extended = build.pick("extended-usage", "absent", "server", "client", often=0.85 if not is_ca else 0.95)
    if extended != "absent":
        oid = ExtendedKeyUsageOID.SERVER_AUTH if extended == "server" else ExtendedKeyUsageOID.CLIENT_AUTH
        usages.append(x509.ExtendedKeyUsage([oid]))
    return usages


def _key_usage(*, certificates: bool, data: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=data,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _presented(build: _Builder, path: list[x509.Certificate]) -> tuple[bytes, ...]:
    how = build.pick("sent", "whole", "without-root", "leaf-only", "shuffled", "twice", "with-stranger", often=0.5)
    others = path[1:]
    if how == "without-root":
        others = path[1:-1]
    elif how == "leaf-only":
        others = []
    elif how == "shuffled":
        build.chance.shuffle(others)
    elif how == "twice":
        others = others * 2
    elif how == "with-stranger":
        others = [_certificate(build, "Stranger", None, key(9), key(9), is_ca=True), *others]
    return tuple(one.public_bytes(Encoding.DER) for one in (path[0], *others))


def _record(build: _Builder, path: list[x509.Certificate], stranger: x509.Certificate) -> TLSARecord:
    usage = build.chance.choice((2, 2, 2, 3, 3, 3, 2, 3, 0, 1, 4))
    selector = build.chance.choice((0, 0, 0, 1, 1, 1, 1, 2))
    matching_type = build.chance.choice((0, 0, 1, 1, 1, 2, 2, 3))
    likely = path[0] if usage == 3 else build.chance.choice(path[1:] or path)
    target = {"likely": likely, "any": build.chance.choice(path), "stranger": stranger}[
        build.pick("target", "likely", "any", "stranger")
    ]
    data = target.public_bytes(Encoding.DER)
    if selector == 1:
        data = target.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if matching_type:
        data = (hashlib.sha512 if matching_type == 2 else hashlib.sha256)(data).digest()
    damage = build.pick("data", "whole", "short", "long", "changed", often=0.9)
    if damage == "short":
        data = data[:-1]
    elif damage == "long":
        data += b"\0"
    elif damage == "changed":
        data = data[:-1] + bytes((data[-1] ^ 1,))
    return TLSARecord(usage, selector, matching_type, data)
