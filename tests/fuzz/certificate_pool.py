"""Random certificates that point at each other in every way: loops, cross-signing, dear keys, odd extensions."""

import datetime as dt
import functools
import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from letterlock.identity.certificates import InvalidCertificate, read_spki
from letterlock.identity.tlsa import TLSARecord
from tests.identity.hostile_chains import rsa_key, with_exponent
from tests.identity.random_cases import _key_usage

NOW = 1_800_000_000.0
HOST = "mx.example.org"
NAMES = ("A", "B", "C", "a", "Host", HOST)
DNS_NAMES = (HOST, "*.example.org", "mx.example.net", "example.org", "MX.Example.Org", "xn--mx-fka.example.org")
Signer = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A key to put into a certificate, and one to sign with, which need not belong to it."""

    public: object
    signer: Signer


@functools.cache
def key_pairs() -> tuple[KeyPair, ...]:
    """Keys of every kind, the usual ones more often; the last three cannot have signed anything."""
    usual: list[Signer] = [ec.generate_private_key(ec.SECP256R1()) for _ in range(6)]
    usual += [ed25519.Ed25519PrivateKey.generate(), ed448.Ed448PrivateKey.generate()]
    usual += [ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP224R1())]
    usual += [rsa_key(1024), rsa_key(2048), rsa_key(3072)]
    pairs = [KeyPair(one.public_key(), one) for one in usual]
    dear = [KeyPair(with_exponent(rsa_key(bits), exponent), rsa_key(bits)) for bits, exponent in _DEAR]
    return (*pairs, *dear)


_DEAR = ((3072, 3071), (2048, 64), (2048, 33))


@dataclass(frozen=True, slots=True)
class Pool:
    """Certificates as DER, for each those that may have issued it, and the keys that stand in them."""

    certificates: tuple[bytes, ...]
    above: dict[bytes, list[bytes]]
    keys: tuple[bytes, ...]


def make_pool(chance: random.Random, size: int = 60) -> Pool:
    """So many certificates."""
    made = [_certificate(chance) for _ in range(size)]
    above = {
        one.der: [other.der for other in made if other.subject == one.issuer and other.own is one.signer]
        for one in made
    }
    certificates = tuple(one.der for one in made)
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    keys = tuple(pair.public.public_bytes(*form) for pair in key_pairs())  # type: ignore[attr-defined]  # public keys
    return Pool(certificates, above, keys)


def random_chain(chance: random.Random, pool: Pool) -> list[bytes]:
    """Certificates of which most follow each other, in the order of a chain, or shuffled."""
    chain = [chance.choice(pool.certificates)]
    for _ in range(chance.choice((0, 1, 2, 3, 3, 7, 15))):
        issuers = pool.above[chain[-1]]
        chain.append(chance.choice(issuers if issuers and chance.random() < 0.9 else pool.certificates))
    others = chain[1:]
    if chance.random() < 0.2:
        chance.shuffle(others)
    return [chain[0], *others]


@dataclass(frozen=True, slots=True)
class _Made:
    """A certificate, and what it says and was made with."""

    der: bytes
    subject: str
    issuer: str
    own: KeyPair
    signer: KeyPair


def _certificate(chance: random.Random) -> _Made:
    pairs = key_pairs()
    own, signer = (chance.choice(pairs[:6]) if chance.random() < 0.6 else chance.choice(pairs) for _ in range(2))
    subject, issuer = chance.choice(NAMES), chance.choice(NAMES[:4])
    builder = x509.CertificateBuilder().subject_name(_name(subject)).issuer_name(_name(issuer))
    builder = builder.public_key(own.public)  # type: ignore[arg-type]  # one of the kinds that it takes
    start, end = chance.choice(((-1, 1),) * 8 + ((-2, -1), (1, 2)))
    now, year = dt.datetime.fromtimestamp(NOW, dt.UTC), dt.timedelta(days=365)
    builder = builder.not_valid_before(now + start * year).not_valid_after(now + end * year)
    builder = builder.serial_number(chance.choice((1, chance.getrandbits(128) + 1)))
    for extension in _extensions(chance, own, signer):
        builder = builder.add_extension(extension, chance.random() < 0.5)
    by_hash = isinstance(signer.signer, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
    algorithm = chance.choice((hashes.SHA256(),) * 8 + (hashes.SHA384(), hashes.SHA224()))
    signed = builder.sign(signer.signer, algorithm if by_hash else None)
    return _Made(signed.public_bytes(Encoding.DER), subject, issuer, own, signer)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _extensions(chance: random.Random, own: KeyPair, signer: KeyPair) -> list[x509.ExtensionType]:
    """Half of the certificates are what an authority needs, and speak for the host too; the others are anything."""
    if chance.random() < 0.5:
        return [x509.BasicConstraints(True, None), x509.SubjectAlternativeName([x509.DNSName(HOST)])]
    made = (make(chance, own, signer) for make in _EXTENSIONS)
    return [extension for extension in made if extension is not None]


Make = Callable[[random.Random, KeyPair, KeyPair], x509.ExtensionType | None]


def _constraints(chance: random.Random, _own: KeyPair, _signer: KeyPair) -> x509.ExtensionType | None:
    kind = chance.random()
    if kind < 0.6:
        return x509.BasicConstraints(True, chance.choice((None, None, None, 0, 1)))
    return x509.BasicConstraints(False, None) if kind < 0.75 else None


def _usage(chance: random.Random, _own: KeyPair, _signer: KeyPair) -> x509.ExtensionType | None:
    if chance.random() < 0.6:
        return None
    certificates, data = chance.choice(((True, True), (True, True), (True, False), (False, True)))
    return _key_usage(certificates=certificates, data=data)


def _extended(chance: random.Random, _own: KeyPair, _signer: KeyPair) -> x509.ExtensionType | None:
    if chance.random() < 0.7:
        return None
    server, client = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
    return x509.ExtendedKeyUsage(chance.choice(([server], [server, client], [client])))


def _alternative(chance: random.Random, _own: KeyPair, _signer: KeyPair) -> x509.ExtensionType | None:
    if chance.random() < 0.3:
        return None
    names: list[x509.GeneralName] = [x509.DNSName(chance.choice(DNS_NAMES)) for _ in range(chance.choice((1, 2, 5)))]
    if chance.random() < 0.2:
        names.append(x509.RFC822Name("a@example.org"))
    return x509.SubjectAlternativeName(names)


def _names(chance: random.Random, _own: KeyPair, _signer: KeyPair) -> x509.ExtensionType | None:
    if chance.random() < 0.8:
        return None
    some: list[x509.GeneralName] = [
        x509.DNSName(chance.choice(("example.org", ".example.org", "", "mx.example.org", "net"))),
        x509.DirectoryName(_name(chance.choice(NAMES))),
        x509.RFC822Name("example.org"),
    ]
    chosen = chance.sample(some, chance.choice((1, 1, 2)))
    return x509.NameConstraints(chosen, None) if chance.random() < 0.7 else x509.NameConstraints(None, chosen)


def _own_identifier(chance: random.Random, own: KeyPair, signer: KeyPair) -> x509.ExtensionType | None:
    named = own if chance.random() < 0.9 else signer
    return x509.SubjectKeyIdentifier(_identifier(named)) if chance.random() < 0.5 else None


def _signers_identifier(chance: random.Random, own: KeyPair, signer: KeyPair) -> x509.ExtensionType | None:
    named = signer if chance.random() < 0.9 else own
    return x509.AuthorityKeyIdentifier(_identifier(named), None, None) if chance.random() < 0.5 else None


def _identifier(pair: KeyPair) -> bytes:
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(pair.public.public_bytes(*form)).digest()[:20]  # type: ignore[attr-defined]  # a public key


def _odd(chance: random.Random, _own: KeyPair, _signer: KeyPair) -> x509.ExtensionType | None:
    if chance.random() < 0.9:
        return None
    if chance.random() < 0.7:
        policy = x509.PolicyInformation(x509.ObjectIdentifier("1.2.3.4"), None)
        return x509.CertificatePolicies([policy])
    return x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.5"), b"\x05\x00")


_EXTENSIONS: Sequence[Make] = (
    _constraints,
    _usage,
    _extended,
    _alternative,
    _names,
    _own_identifier,
    _signers_identifier,
    _odd,
)


def random_records(chance: random.Random, pool: Pool, chain: Sequence[bytes]) -> list[TLSARecord]:
    """TLSA records, most of them about the chain."""
    return [_record(chance, pool, chain) for _ in range(chance.choice((1, 1, 2, 5, 60)))]


def _record(chance: random.Random, pool: Pool, chain: Sequence[bytes]) -> TLSARecord:
    selector, kind = chance.choice((0, 1, 1)), chance.choice((0, 1, 1, 2, 3))
    data = chance.choice((*chain, chance.choice(pool.certificates)))
    if selector == 1:
        data = _spki(data) if chance.random() < 0.7 else chance.choice(pool.keys)
    if kind in (1, 2):
        data = (hashlib.sha256 if kind == 1 else hashlib.sha512)(data).digest()
    if chance.random() < 0.05:
        data = damaged(chance, data)
    return TLSARecord(chance.choice((2, 2, 2, 3, 1)), selector, kind, data)


def _spki(der: bytes) -> bytes:
    try:
        return read_spki(der)
    except InvalidCertificate:
        return b"nothing"


def damaged(chance: random.Random, der: bytes) -> bytes:
    """Octets flipped, cut, doubled, or taken from elsewhere."""
    data = bytearray(der)
    for _ in range(chance.choice((1, 1, 2, 8))):
        at = chance.randrange(len(data) or 1)
        match chance.randrange(4):
            case 0 if data:
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                del data[at : at + chance.randrange(1, 20)]
            case 2:
                data[at:at] = data[at : at + chance.randrange(1, 40)]
            case _:
                data[at : at + 1] = bytes((chance.choice((0, 0x30, 0x7F, 0x80, 0x84, 0xFF)),))
    return bytes(data)
