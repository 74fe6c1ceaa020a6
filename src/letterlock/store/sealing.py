"""How contents lie on the disk: with a checksum, or, with the operator's key, encrypted.

A checksum detects damage. Encryption (AES-256-GCM) hides message contents from anyone with the disk but not the key; a
key for each message is derived from the operator's by HMAC-SHA-256 over the message's id, so that no nonce can meet
itself under one key, and no content can be put under another message. Addresses and times are not encrypted: the queue
is searched by them.
"""

import hmac
import os
import zlib
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from letterlock.queue.store import WrongKey
from letterlock.sqlite.writer import explain
from letterlock.store.rows import Damaged
from letterlock.store.segments.segment_log import sync_directory

KEY_OCTETS = 32  # of AES-256
CHECK_FILE = "key-check"
_CHECKED = b"\0LLc"  # no content begins with NUL: each begins with a header field
_SEALED = b"\0LLe"
_NONCE_OCTETS = 12  # 96 bits, as AES-GCM takes (RFC 5116 section 5.1)
_CRC_OCTETS = 4  # of a CRC-32


class ContentSeal:
    """Puts contents into the form that they have on disk, and back. Without a key there is a checksum and no secret."""

    def __init__(self, key: bytes | None = None) -> None:
        """Raises ValueError: a key has KEY_OCTETS."""
        if key is not None and len(key) != KEY_OCTETS:
            raise ValueError(f"a key must have {KEY_OCTETS} bytes, not {len(key)}")
        self._key = key

    @property
    def encrypts(self) -> bool:
        """Whether there is a key."""
        return self._key is not None

    def is_sealed(self, octets: bytes) -> bool:
        """Whether this content is encrypted, with any key."""
        return octets.startswith(_SEALED)

    def close(self, message_id: str, octets: bytes) -> bytes:
        """A content, or another secret of a message, as it is written."""
        if self._key is None:
            return _CHECKED + zlib.crc32(octets).to_bytes(_CRC_OCTETS, "big") + octets
        nonce = os.urandom(_NONCE_OCTETS)
        return _SEALED + nonce + self._cipher(message_id).encrypt(nonce, octets, None)

    def open(self, message_id: str, octets: bytes) -> bytes:
        """The octets that were closed. Older ones without either are returned as they are. Raises Damaged."""
        if octets.startswith(_CHECKED):
            content = octets[len(_CHECKED) + _CRC_OCTETS :]
            if zlib.crc32(content).to_bytes(_CRC_OCTETS, "big") != octets[len(_CHECKED) :][:_CRC_OCTETS]:
                raise Damaged("its content does not have its checksum")
            return content
        if not octets.startswith(_SEALED):
            return octets
        if self._key is None:
            raise Damaged("its content is encrypted, and there is no key")
        nonce, sealed = octets[len(_SEALED) :][:_NONCE_OCTETS], octets[len(_SEALED) + _NONCE_OCTETS :]
        try:
            return self._cipher(message_id).decrypt(nonce, sealed, None)
        except (InvalidTag, ValueError):
            raise Damaged("its encrypted content was changed, or is another key's") from None

    def cipher_of(self, name: str) -> AESGCM | None:
        """The cipher of something that has its own nonces, under a name that no message has; None without a key."""
        return None if self._key is None else self._cipher(name)

    def _cipher(self, message_id: str) -> AESGCM:
        return AESGCM(hmac.digest(self._key or b"", b"letterlock message " + message_id.encode(), "sha256"))


IN_CLEAR = ContentSeal()


def check_key(directory: Path, seal: ContentSeal) -> None:
    """See that a queue is opened with the key that it was encrypted with, before anything is taken for damage.

    Raises StoreFailed.
    """
    path, name = directory / CHECK_FILE, "check"
    try:
        if path.exists():
            _see_that_it_opens(path.read_bytes(), name, seal, directory)
        elif seal.encrypts:
            _write_durably(path, seal.close(name, b"letterlock"))
    except OSError as error:
        raise explain(error, str(path)) from None


def _see_that_it_opens(octets: bytes, name: str, seal: ContentSeal, directory: Path) -> None:
    if not seal.encrypts:
        raise WrongKey(f"the queue in {directory} is encrypted, and [queue] key_file is not set")
    try:
        seal.open(name, octets)
    except Damaged:
        raise WrongKey(f"the queue in {directory} is encrypted with another key than [queue] key_file has") from None


def _write_durably(path: Path, octets: bytes) -> None:
    part = path.with_name(path.name + ".new")
    with open(part, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(octets)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    sync_directory(path.parent)
