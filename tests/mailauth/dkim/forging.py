"""Signatures with any tags, as our signer would never write them, and keys to make them with."""

import base64
import functools
from collections.abc import Mapping
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from letterlock.mailauth.dkim.canonical import Form, canonical_field
from letterlock.mailauth.dkim.signing_key import SigningKey
from letterlock.mailauth.dkim.verify import DkimVerdict, examine
from letterlock.mailauth.message import Field, split
from letterlock.resolver.answer import Answer, LookupFailure
from tests.mailauth.answers import txt

NOW = 1_800_000_000.0
KEY_NAME = "sel._domainkey.example.org"
MESSAGE = b"From: Ann <ann@example.org>\r\nTo: b@y.test\r\nSubject: Hello\r\n\r\nHi there\r\n"
ED25519 = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@functools.cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def ed25519_key(domain: str = "example.org", selector: str = "sel") -> SigningKey:
    return SigningKey(domain, selector, ED25519)


RECORD = ed25519_key().record


def forged(
    changed: Mapping[str, str | None] = {},
    message: bytes = MESSAGE,
    *,
    body: bytes = b"Hi there\r\n",
    key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey = ED25519,
) -> bytes:
    """A message with one signature (relaxed header) that holds, whatever the other tags are; None leaves a tag out."""
    tags: dict[str, str | None] = {
        "v": "1",
        "a": "ed25519-sha256" if isinstance(key, ed25519.Ed25519PrivateKey) else "rsa-sha256",
        "c": "relaxed/relaxed",
        "d": "example.org",
        "s": "sel",
        "h": "from:to:subject",
        "bh": base64.b64encode(sha256(body).digest()).decode(),
        **changed,
    }
    text = "DKIM-Signature: " + "; ".join(f"{name}={value}" for name, value in tags.items() if value is not None)
    unsigned = f"{text}; b=".encode()
    names = (tags["h"] or "").lower().replace(" ", "").encode().split(b":")
    signed = _selected(message, names) + canonical_field(Field(b"dkim-signature", unsigned), Form.RELAXED)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        signature = key.sign(sha256(signed).digest())
    else:
        signature = key.sign(signed, padding.PKCS1v15(), SHA256())
    return unsigned + base64.b64encode(signature) + b"\r\n" + message


def _selected(message: bytes, names: list[bytes]) -> bytes:
    left = list(split(message).fields)
    found = b""
    for name in names:
        for field in reversed(left):
            if field.name == name:
                left.remove(field)
                found += canonical_field(field, Form.RELAXED) + b"\r\n"
                break
    return found


def verdicts(message: bytes, *answers: Answer | LookupFailure, now: float = NOW) -> tuple[DkimVerdict, ...]:
    """The verdicts on a message, when DNS has these answers (without any: the key of `forged`)."""
    given = answers or (txt(KEY_NAME, RECORD),)
    return examine(split(message)).judge({str(each.question.name)[:-1]: each for each in given}, now)


def verdict(message: bytes, *answers: Answer | LookupFailure, now: float = NOW) -> DkimVerdict:
    (only,) = verdicts(message, *answers, now=now)
    return only
