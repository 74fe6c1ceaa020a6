"""The client's side of SASL: SCRAM-SHA-256 with and without channel binding, PLAIN and LOGIN.

The strongest mechanism that the server offers is used. With SCRAM (RFC 5802, 7677, 9266) the server must prove that it
knows the password too, before the login counts.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol

MIN_ITERATIONS = 4096  # RFC 7677 section 4: with fewer, what a false server sees can be guessed from
MAX_ITERATIONS = 1_000_000  # about a second of work: more is an attack, or a mistake
_SERVER_FIRST = re.compile(rb"r=([!-+\--~]+),s=([A-Za-z0-9+/=]+),i=([0-9]{1,10})(?:,.*)?")
_VERIFIER = re.compile(rb"v=([A-Za-z0-9+/=]+)(?:,.*)?")


class LoginFailed(Exception):
    """The login cannot go on, or the server has not proved itself; `str()` says why, without secrets."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user's name and password, both after SASLprep."""

    user: str
    password: str = field(repr=False)


class ClientMechanism(Protocol):
    """One login. `proven`: nothing is left that the server has to prove."""

    name: str
    proven: bool

    def initial(self) -> bytes | None:
        """The response that goes with AUTH; None: the server begins."""

    def answer(self, challenge: bytes) -> bytes:
        """The response to a challenge. Raises LoginFailed."""


class PlainLogin:
    """PLAIN (RFC 4616)."""

    name = "PLAIN"
    proven = True

    def __init__(self, credentials: Credentials) -> None:
        self._message = f"\0{credentials.user}\0{credentials.password}".encode()

    def initial(self) -> bytes:
        """All that there is to say."""
        return self._message

    def answer(self, _challenge: bytes) -> bytes:
        """There is nothing to answer. Raises LoginFailed."""
        raise LoginFailed("the server asks for more than PLAIN provides")


class LoginLogin:
    """LOGIN: name and password, each when the server asks. No standard; old servers have nothing else."""

    name = "LOGIN"
    proven = True

    def __init__(self, credentials: Credentials) -> None:
        self._answers = [credentials.password.encode(), credentials.user.encode()]

    def initial(self) -> None:
        """The server asks first."""

    def answer(self, _challenge: bytes) -> bytes:
        """The name, then the password, whatever the server's words are. Raises LoginFailed."""
        if not self._answers:
            raise LoginFailed("the server asks for more than LOGIN provides")
        return self._answers.pop()


class ScramLogin:
    """SCRAM-SHA-256; with `binding`, the tls-exporter value of the session (RFC 9266), SCRAM-SHA-256-PLUS.

    `flag`: what the client says of channel binding (RFC 5802 section 6): `n` it has none, `y` it has, but the server
    offers no -PLUS. `nonce` is printable, without a comma, and never used before.
    """

    def __init__(self, credentials: Credentials, nonce: bytes, *, binding: bytes | None, flag: bytes = b"n") -> None:
        self.name = "SCRAM-SHA-256" if binding is None else "SCRAM-SHA-256-PLUS"
        self.proven = False
        self._password = credentials.password.encode()
        self._nonce = nonce
        self._header = (flag if binding is None else b"p=tls-exporter") + b",,"
        self._bound = base64.b64encode(self._header + (binding or b""))
        user = credentials.user.replace("=", "=3D").replace(",", "=2C").encode()
        self._client_first = b"n=" + user + b",r=" + nonce
        self._verifier: bytes | None = None

    def initial(self) -> bytes:
        """The client's first message."""
        return self._header + self._client_first

    def answer(self, challenge: bytes) -> bytes:
        """The proof, then nothing more once the server has proved itself. Raises LoginFailed."""
        if self._verifier is None:
            return self._prove(challenge)
        found = _VERIFIER.fullmatch(challenge)
        if found is None or not hmac.compare_digest(_decoded(found[1]), self._verifier):
            raise LoginFailed("the server does not know the password: its proof is false")
        self.proven = True
        return b""

    def _prove(self, message: bytes) -> bytes:
        found = _SERVER_FIRST.fullmatch(message)
        if found is None:
            raise LoginFailed("the server's SCRAM message is malformed")
        nonce, salt, iterations = found[1], _decoded(found[2]), int(found[3])
        if not nonce.startswith(self._nonce) or len(nonce) == len(self._nonce):
            raise LoginFailed("the server's nonce does not begin with ours")
        if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
            raise LoginFailed(f"the server wants {iterations} iterations")
        salted = hashlib.pbkdf2_hmac("sha256", self._password, salt, iterations)
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        unproved = b"c=" + self._bound + b",r=" + nonce
        signed = b",".join((self._client_first, message, unproved))
        signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
        proof = bytes(ours ^ theirs for ours, theirs in zip(client_key, signature, strict=True))
        self._verifier = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256")
        return unproved + b",p=" + base64.b64encode(proof)


def choose(offered: Collection[str], credentials: Credentials, nonce: bytes, binding: bytes | None) -> ClientMechanism:
    """The strongest mechanism of those offered, in capitals; `binding` None: the session has no unique value.

    Raises LoginFailed.
    """
    if "SCRAM-SHA-256-PLUS" in offered and binding is not None:
        return ScramLogin(credentials, nonce, binding=binding)
    if "SCRAM-SHA-256" in offered:
        flag = b"n" if binding is None else b"y"
        return ScramLogin(credentials, nonce, binding=None, flag=flag)
    if "PLAIN" in offered:
        return PlainLogin(credentials)
    if "LOGIN" in offered:
        return LoginLogin(credentials)
    raise LoginFailed(
        "the server offers no mechanism that can be used: " + (" ".join(sorted(offered)) or "none at all")
    )


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise LoginFailed("the server's SCRAM message has malformed base64") from None
