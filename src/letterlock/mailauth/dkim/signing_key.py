"""Private keys that sign, and the records that publish them (RFC 6376 section 3.6.1, RFC 8463 section 3)."""

import base64
from dataclasses import dataclass, field
from typing import cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from letterlock.mail.names import MAX_NAME_OCTETS, InvalidName, normalise
from letterlock.mailauth.dkim.signature import Algorithm

LEAST_RSA_BITS = 1024  # RFC 8301 section 3.2: signers MUST use at least 1024
MIN_RSA_BITS = 2048  # and SHOULD use at least 2048 (same section)
MAX_RSA_BITS = 4096  # larger ones need not be verified by anybody (same section)
_RSA = Algorithm.RSA_SHA256
TXT_STRING_OCTETS = 255  # RFC 1035 section 3.3


class InvalidKey(ValueError):
    """A key cannot sign. `str()` says why; never with a part of the key."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key with the domain (d=) and selector (s=) under which its public half is published."""

    domain: str
    selector: str
    key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey = field(repr=False)
    algorithm: Algorithm = field(init=False, repr=False, compare=False)
    """What its signatures are, a=: looked at for each message, while to ask which kind of key it is takes a while."""

    def __post_init__(self) -> None:
        """Check the names. Raises InvalidKey."""
        algorithm = _RSA if isinstance(self.key, rsa.RSAPrivateKey) else Algorithm.ED25519_SHA256
        object.__setattr__(self, "algorithm", algorithm)
        try:
            names = normalise(self.domain), normalise(self.selector)
        except InvalidName as error:
            raise InvalidKey(str(error)) from None
        if names != (self.domain, self.selector) or len(self.record_name) > MAX_NAME_OCTETS:
            raise InvalidKey(f"{self.record_name[:MAX_NAME_OCTETS]} is not a name in lower-case A-labels")
        _require_bits(self.key, LEAST_RSA_BITS)

    @property
    def record_name(self) -> str:
        """The name of the TXT record that publishes it."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def record(self) -> str:
        """The TXT record that publishes it, in one piece."""
        public = self.key.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            octets = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        else:
            octets = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        kind = self.algorithm.key_type.decode()
        return f"v=DKIM1; k={kind}; p={base64.b64encode(octets).decode()}"

    def sign(self, digest: bytes) -> bytes:
        """The signature over a SHA-256 digest. Costs 0.25 ms with RSA-2048 and 0.04 ms with Ed25519."""
        if self.algorithm is _RSA and isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(digest, padding.PKCS1v15(), Prehashed(SHA256()))
        return cast("ed25519.Ed25519PrivateKey", self.key).sign(digest)


def read_signing_key(pem: bytes, domain: str, selector: str, *, min_rsa_bits: int = MIN_RSA_BITS) -> SigningKey:
    """Read an unencrypted private key in PEM (PKCS #8, or PKCS #1 for RSA). Raises InvalidKey.

    `min_rsa_bits` may be as low as 1024, for a domain that cannot publish a longer key yet.
    """
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InvalidKey("it is no unencrypted private key in PEM") from None
    if not isinstance(key, rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
        raise InvalidKey("it is neither an RSA nor an Ed25519 key")
    _require_bits(key, max(min_rsa_bits, LEAST_RSA_BITS))
    return SigningKey(domain, selector, key)


def _require_bits(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey, least: int) -> None:
    if isinstance(key, rsa.RSAPrivateKey) and not least <= key.key_size <= MAX_RSA_BITS:
        raise InvalidKey(f"the RSA key has {key.key_size} bits; {least} to {MAX_RSA_BITS} can sign")


def zone_line(name: str, record: str) -> str:
    """The record as a line of a zone file, in strings of at most 255 bytes (RFC 6376 section 3.6.2.2)."""
    strings = [record[at : at + TXT_STRING_OCTETS] for at in range(0, len(record), TXT_STRING_OCTETS)]
    return f"{name}. IN TXT ( " + " ".join(f'"{string}"' for string in strings) + " )"
