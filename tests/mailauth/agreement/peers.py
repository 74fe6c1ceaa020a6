"""The other opinions: dkimpy in this process, OpenDKIM as a library, with keys from a file instead of DNS."""

import base64
import ctypes
import logging
import re
from collections.abc import Sequence
from pathlib import Path

import dkim
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from letterlock.mailauth.dkim.signing_key import SigningKey

OPENDKIM = "libopendkim.so.11"
# from its dkim.h
_OP_SETOPT, _OPTS_QUERYMETHOD, _OPTS_QUERYINFO, _QUERY_FILE = 1, 6, 7, 1
_FORMS = {"simple": 0, "relaxed": 1}
_ALGORITHMS = {"rsa-sha256": 1, "ed25519-sha256": 2}
_MAX_FIELD_OCTETS = 8192


class Dkimpy:
    """dkimpy, which takes one message at a time."""

    name = "dkimpy"

    def __init__(self, keys: Sequence[SigningKey]) -> None:
        self._records = {key.record_name.encode() + b".": key.record.encode() for key in keys}
        self._logger = logging.getLogger("tests.dkimpy")
        self._logger.setLevel(logging.CRITICAL + 1)

    def _txt(self, name: bytes, timeout: float = 0) -> bytes:
        return self._records.get(name, b"")

    def passes(self, contents: Sequence[bytes]) -> list[bool]:
        """Whether any signature of each message holds."""
        return [self._any(content) for content in contents]

    def _any(self, content: bytes) -> bool:
        count = content.partition(b"\r\n\r\n")[0].lower().count(b"dkim-signature")
        return any(self._holds(content, number) for number in range(count))

    def _holds(self, content: bytes, number: int) -> bool:
        try:
            return bool(dkim.DKIM(content, logger=self._logger).verify(idx=number, dnsfunc=self._txt))
        except (dkim.DKIMException, AssertionError, KeyError, ValueError, IndexError, TypeError):
            return False

    def sign(self, content: bytes, key: SigningKey, form: str) -> bytes | None:
        """The message with a signature; None when dkimpy refuses it."""
        header, _, body = form.encode().partition(b"/")
        try:
            made = dkim.DKIM(content, logger=self._logger, signature_algorithm=key.algorithm.encode()).sign(
                key.selector.encode(),
                key.domain.encode(),
                _for_dkimpy(key),
                canonicalize=(header, body),
            )
        except dkim.DKIMException:
            return None
        return bytes(made) + content


def _for_dkimpy(key: SigningKey) -> bytes:
    if isinstance(key.key, ed25519.Ed25519PrivateKey):
        raw = key.key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        return base64.b64encode(raw)
    return pem(key)


def with_one_signature(content: bytes) -> list[bytes]:
    """The message once for each signature, without the other ones."""
    header, _, body = content.partition(b"\r\n\r\n")
    fields = re.split(rb"\r\n(?![ \t])", header)
    signatures = [field for field in fields if field.lower().startswith(b"dkim-signature")]
    return [
        b"\r\n".join(field for field in fields if field not in signatures or field is each) + b"\r\n\r\n" + body
        for each in signatures
    ]


def pem(key: SigningKey) -> bytes:
    kind = PrivateFormat.TraditionalOpenSSL if isinstance(key.key, rsa.RSAPrivateKey) else PrivateFormat.PKCS8
    return key.key.private_bytes(Encoding.PEM, kind, NoEncryption())


class OpenDkim:
    """OpenDKIM's library, fed with the very bytes: the milter protocol would not carry all white space."""

    name = "opendkim"

    def __init__(self, keys: Sequence[SigningKey], folder: Path) -> None:
        self._library = ctypes.CDLL(OPENDKIM)
        for name in ("dkim_init", "dkim_sign", "dkim_verify"):
            getattr(self._library, name).restype = ctypes.c_void_p
        self._handle = ctypes.c_void_p(self._library.dkim_init(None, None))
        path = folder / "keys"
        path.write_text("".join(f"{key.record_name} {key.record}\n" for key in keys))
        text, method = ctypes.create_string_buffer(bytes(path)), ctypes.c_int(_QUERY_FILE)
        self._set(_OPTS_QUERYMETHOD, ctypes.byref(method), ctypes.sizeof(method))
        self._set(_OPTS_QUERYINFO, text, len(text.value))

    def _set(self, option: int, value: object, octets: int) -> None:
        status = self._library.dkim_options(self._handle, _OP_SETOPT, option, value, ctypes.c_size_t(octets))
        assert status == 0, status

    def passes(self, contents: Sequence[bytes]) -> list[bool]:
        """Whether any signature of each message holds. One that it cannot read would end the others with it."""
        return [any(self._holds(each) for each in with_one_signature(content)) for content in contents]

    def _holds(self, content: bytes) -> bool:
        status = ctypes.c_int()
        task = ctypes.c_void_p(self._library.dkim_verify(self._handle, b"id", None, ctypes.byref(status)))
        try:
            return self._feed(task, content) == 0
        finally:
            self._library.dkim_free(task)

    def _feed(self, task: ctypes.c_void_p, content: bytes) -> int:
        """The status at the end of the message; 0 is a signature that holds."""
        statuses = [
            self._library.dkim_chunk(task, content, ctypes.c_size_t(len(content))),
            self._library.dkim_chunk(task, None, ctypes.c_size_t(0)),
            self._library.dkim_eom(task, None),
        ]
        return next((int(status) for status in statuses if status), 0)

    def sign(self, content: bytes, key: SigningKey, form: str) -> bytes | None:
        """The message with a signature; None when OpenDKIM refuses it."""
        header, _, body = form.partition("/")
        status = ctypes.c_int()
        algorithm = _ALGORITHMS[key.algorithm]
        names = key.selector.encode(), key.domain.encode()
        forms = _FORMS[header], _FORMS[body]
        whole = ctypes.c_ssize_t(-1)
        task = ctypes.c_void_p(
            self._library.dkim_sign(
                self._handle, b"id", None, pem(key), *names, *forms, algorithm, whole, ctypes.byref(status)
            )
        )
        try:
            if self._feed(task, content):
                return None
            field = ctypes.create_string_buffer(_MAX_FIELD_OCTETS)
            self._library.dkim_getsighdr(task, field, ctypes.c_size_t(_MAX_FIELD_OCTETS), ctypes.c_size_t(16))
            return b"DKIM-Signature: " + re.sub(rb"\r?\n", b"\r\n", field.value) + b"\r\n" + content
        finally:
            self._library.dkim_free(task)
