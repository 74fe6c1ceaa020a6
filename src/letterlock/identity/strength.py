"""How strong a public key is, whether a verifier can afford it, and what a TLS session is worth beyond its proof."""

from collections.abc import Sequence
from enum import StrEnum

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from letterlock.frozen import frozen_dataclass
from letterlock.identity.certificates import InvalidCertificate, parse_certificate

MIN_RSA_BITS = 2048  # 112 bits of security (NIST SP 800-57 part 1, table 2)
MIN_EC_BITS = 224  # the same
MAX_RSA_BITS = 8192  # one check costs 0.2 ms; more costs the verifier more than the signer deserves
MAX_RSA_EXPONENT_BITS = 33  # as in WebPKI verifiers; a full-size exponent costs 130 times what 65537 costs
_FORWARD_SECRET = ("ECDHE-", "DHE-", "TLS_")  # as OpenSSL names suites; TLS_ are those of TLS 1.3


@frozen_dataclass(frozen=True, slots=True)
class KeyFacts:
    """A public key: its kind (`RSA`, `EC`, `Ed25519`, `Ed448`), its size, and the size of an RSA key's exponent."""

    kind: str
    bits: int
    exponent_bits: int = 0

    def __str__(self) -> str:
        return self.kind if self.kind.startswith("Ed") else f"{self.kind}-{self.bits}"

    @property
    def weak(self) -> bool:
        """Whether the key gives less than 112 bits of security."""
        return self.bits < (MIN_RSA_BITS if self.kind == "RSA" else MIN_EC_BITS)

    @property
    def fault(self) -> str | None:
        """Why no certification path may contain the key, in words that follow "its key"; None for a good one."""
        if self.weak:
            least = MIN_RSA_BITS if self.kind == "RSA" else MIN_EC_BITS
            return f"is too short: {self.kind} with {self.bits} bits; at least {least} are required"
        if self.kind != "RSA":
            return None
        if self.bits > MAX_RSA_BITS:
            return f"is too long: RSA with {self.bits} bits; at most {MAX_RSA_BITS} are accepted"
        if self.exponent_bits > MAX_RSA_EXPONENT_BITS:
            return f"has an RSA exponent of {self.exponent_bits} bits; at most {MAX_RSA_EXPONENT_BITS} are accepted"
        return None


def key_facts(certificate: x509.Certificate) -> KeyFacts | None:
    """The kind of key in a certificate; None for kinds that are unknown here, and for keys that cannot be read."""
    try:
        return facts_of_key(certificate.public_key())
    except (ValueError, TypeError, UnsupportedAlgorithm):  # callers fail closed where it matters
        return None


def facts_of_key(key: object) -> KeyFacts | None:
    """The facts on a public key of `cryptography`; None for kinds that are unknown here."""
    if isinstance(key, rsa.RSAPublicKey):
        return KeyFacts("RSA", key.key_size, key.public_numbers().e.bit_length())
    if isinstance(key, ec.EllipticCurvePublicKey):
        return KeyFacts("EC", key.curve.key_size)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return KeyFacts("Ed25519", 256)
    if isinstance(key, ed448.Ed448PublicKey):
        return KeyFacts("Ed448", 448)
    return None


def key_fault(certificate: x509.Certificate) -> str | None:
    """Why no certification path may contain a certificate with this key, in words that follow "its key"."""
    facts = key_facts(certificate)
    return "is of a kind that is not supported" if facts is None else facts.fault


class Weakness(StrEnum):
    """The weaknesses of a session, although it may be encrypted and authenticated."""

    SHORT_KEY = "short-key"
    NO_FORWARD_SECRECY = "no-forward-secrecy"


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class SessionStrength:
    """How strong a TLS session is. `key` is the server's; None if it is of an unknown kind or cannot be read."""

    version: str
    cipher: str
    key: KeyFacts | None
    forward_secret: bool

    @property
    def weaknesses(self) -> tuple[Weakness, ...]:
        """The weaknesses as codes, for programs."""
        found = {
            Weakness.SHORT_KEY: self.key is not None and self.key.weak,
            Weakness.NO_FORWARD_SECRECY: not self.forward_secret,
        }
        return tuple(weakness for weakness, there in found.items() if there)

    @property
    def sentences(self) -> tuple[str, ...]:
        """One sentence for each weakness, for people."""
        words = {
            Weakness.SHORT_KEY: f"the server's key is too short ({self.key}): it can be broken with known means",
            Weakness.NO_FORWARD_SECRECY: (
                f"no forward secrecy ({self.version} {self.cipher}, RSA key transport): "
                "an attacker who gets the server's key later can read sessions recorded now"
            ),
        }
        return tuple(words[weakness] for weakness in self.weaknesses)


def session_strength(version: str, cipher: str, chain: Sequence[bytes]) -> SessionStrength:
    """How strong a session with this TLS version, cipher suite (OpenSSL's name) and presented chain is."""
    return SessionStrength(
        version=version, cipher=cipher, key=_server_key(chain), forward_secret=cipher.startswith(_FORWARD_SECRET)
    )


def _server_key(chain: Sequence[bytes]) -> KeyFacts | None:
    try:
        return key_facts(parse_certificate(chain[0])) if chain else None
    except InvalidCertificate:  # no advice on a key that cannot be read
        return None
