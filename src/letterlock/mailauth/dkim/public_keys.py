"""Public keys as domains publish them (RFC 6376 section 3.6.1, RFC 8301, RFC 8463), and what they can verify."""

import functools
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from letterlock.mailauth.dkim.reasons import DkimReason, UnusableSignature
from letterlock.mailauth.dkim.signature import Algorithm
from letterlock.mailauth.dkim.tags import colon_list, octets, parse_tags, shown

MIN_RSA_BITS = 1024  # RFC 8301 section 3.2; below 2048 the verdict states the size
MAX_RSA_BITS = 8192  # one check costs 0.2 ms; verifiers must take 4096 (RFC 8301 section 3.2)
MAX_RSA_EXPONENT_BITS = 33  # a full-size exponent costs 130 times what 65537 costs
_MAX_KEY_OCTETS = MAX_RSA_BITS // 8 + 100  # modulus, exponent and their wrapping: larger ones are not even parsed
_ED25519_OCTETS = 32  # RFC 8463 section 4.2
_CACHED_KEYS = 1024  # most mail comes from few domains; a parsed key takes about 1 KB


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that may be used for email. `testing` is t=y, `strict` t=s."""

    key: rsa.RSAPublicKey | ed25519.Ed25519PublicKey
    testing: bool
    strict: bool

    @property
    def bits(self) -> int:
        """The size of the modulus, or of the curve's field."""
        return self.key.key_size if isinstance(self.key, rsa.RSAPublicKey) else 8 * _ED25519_OCTETS

    def verifies(self, signature: bytes, digest: bytes) -> bool:
        """Whether the key made this signature over a SHA-256 digest; Ed25519 signs the digest itself (RFC 8463)."""
        try:
            if isinstance(self.key, rsa.RSAPublicKey):
                self.key.verify(signature, digest, padding.PKCS1v15(), Prehashed(SHA256()))
            else:
                self.key.verify(signature, digest)
        except InvalidSignature:  # the usual way to say no
            return False
        return True


@functools.lru_cache(maxsize=_CACHED_KEYS)
def _outcome(record: bytes, algorithm: Algorithm) -> PublicKey | UnusableSignature:
    try:
        return _read_key(record, algorithm)
    except UnusableSignature as refused:
        return refused.with_traceback(None)


def read_key(record: bytes, algorithm: Algorithm) -> PublicKey:
    """The key in a TXT record, for signatures of one algorithm; parsed once. Raises UnusableSignature."""
    outcome = _outcome(record, algorithm)
    if isinstance(outcome, UnusableSignature):
        raise UnusableSignature(outcome.reason, outcome.found)
    return outcome


def _read_key(record: bytes, algorithm: Algorithm) -> PublicKey:
    # Zone editors leave line ends in long records; the grammar has none there, and none changes a value.
    tags = parse_tags(record.replace(b"\r", b" ").replace(b"\n", b" "), DkimReason.KEY_SYNTAX)
    values = {name: tag.value for name, tag in tags.items()}
    if values.get(b"v", b"DKIM1") != b"DKIM1" or (b"v" in values and next(iter(values)) != b"v"):
        raise UnusableSignature(DkimReason.KEY_SYNTAX, "v= is not DKIM1, or not the first tag")
    if b"p" not in values:
        raise UnusableSignature(DkimReason.KEY_SYNTAX, "there is no p=")
    if values.get(b"k", b"rsa") != algorithm.key_type:
        raise UnusableSignature(DkimReason.KEY_ALGORITHM, f"k={shown(values.get(b'k', b'rsa'))}, a={algorithm}")
    if b"h" in values and b"sha256" not in colon_list(values[b"h"]):
        raise UnusableSignature(DkimReason.KEY_HASH, f"h={shown(values[b'h'])}")
    if not {b"*", b"email"} & set(colon_list(values.get(b"s", b"*"))):
        raise UnusableSignature(DkimReason.KEY_SERVICE, f"s={shown(values[b's'])}")
    if not values[b"p"]:
        raise UnusableSignature(DkimReason.KEY_REVOKED)
    flags = colon_list(values.get(b"t", b""))
    key = _load(octets(values[b"p"], "p", DkimReason.KEY_SYNTAX), algorithm)
    return PublicKey(key, testing=b"y" in flags, strict=b"s" in flags)


def _load(encoded: bytes, algorithm: Algorithm) -> rsa.RSAPublicKey | ed25519.Ed25519PublicKey:
    if algorithm is Algorithm.ED25519_SHA256:
        if len(encoded) != _ED25519_OCTETS:
            raise UnusableSignature(DkimReason.KEY_SYNTAX, f"an Ed25519 key has 32 bytes, this one {len(encoded)}")
        return ed25519.Ed25519PublicKey.from_public_bytes(encoded)
    if len(encoded) > _MAX_KEY_OCTETS:
        raise UnusableSignature(DkimReason.KEY_TOO_LARGE, f"{len(encoded)} bytes")
    try:
        key = load_der_public_key(encoded)  # SubjectPublicKeyInfo, or RSAPublicKey as in the ABNF
    except ValueError:
        raise UnusableSignature(DkimReason.KEY_SYNTAX, "p= is no public key") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise UnusableSignature(DkimReason.KEY_ALGORITHM, "p= is no RSA key")
    return _bounded(key)


def _bounded(key: rsa.RSAPublicKey) -> rsa.RSAPublicKey:
    exponent_bits = key.public_numbers().e.bit_length()
    if key.key_size < MIN_RSA_BITS:
        raise UnusableSignature(DkimReason.KEY_TOO_SHORT, f"{key.key_size} bits")
    if key.key_size > MAX_RSA_BITS or exponent_bits > MAX_RSA_EXPONENT_BITS:
        raise UnusableSignature(DkimReason.KEY_TOO_LARGE, f"{key.key_size} bits, exponent of {exponent_bits}")
    return key


def digest_of(data: bytes) -> bytes:
    """SHA-256, what all signatures here are over."""
    return sha256(data).digest()
