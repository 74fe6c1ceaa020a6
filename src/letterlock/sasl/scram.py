"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, 7677, 9266), the server's side.

The server keeps no password and never sees one. Its proof goes to the client as a challenge, because SMTP has no data
with success (RFC 4954 section 4).
"""

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass, field

from letterlock.sasl.exchange import Accepted, Challenge, NeedCredential, Outcome, Rejected
from letterlock.sasl.prepare import Unprepared, prepare

MIN_ITERATIONS = 4096  # RFC 7677 section 4
MAX_ITERATIONS = 1_000_000  # of a stored credential: a client's phone computes it at every login
MAX_NONCE_OCTETS = 256  # chosen: clients send 18 to 32
_FIRST = re.compile(rb"((?:n|y|p=([A-Za-z0-9.-]+)),(?:a=([^,]*))?,)(n=([^,]+),r=([!-+\--~]+)(?:,.*)?)", re.DOTALL)
_BAD_ESCAPE = re.compile(rb"=(?!2C|3D)")
_FINAL = re.compile(rb"(c=([A-Za-z0-9+/=]+),r=([!-+\--~]+)(?:,(?!p=)[^,]*)*),p=([A-Za-z0-9+/=]+)")
_CREDENTIAL = re.compile(r"SCRAM-SHA-256\$([0-9]{4,7}):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)")


class BadCredential(ValueError):
    """A stored credential is none."""


@dataclass(frozen=True, slots=True)
class ScramCredential:
    """What the server keeps of a password; `str()` is the form of RFC 5803."""

    iterations: int
    salt: bytes
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)

    @classmethod
    def of_password(cls, password: str, salt: bytes, iterations: int = MIN_ITERATIONS) -> "ScramCredential":
        """The credential of a prepared password."""
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        return cls(iterations, salt, hashlib.sha256(client_key).digest(), hmac.digest(salted, b"Server Key", "sha256"))

    @classmethod
    def parse(cls, text: str) -> "ScramCredential":
        """Read the form of RFC 5803. Raises BadCredential."""
        found = _CREDENTIAL.fullmatch(text)
        if not found:
            raise BadCredential("no SCRAM-SHA-256 credential (RFC 5803)")
        try:
            salt, stored, server = (base64.b64decode(part, validate=True) for part in found.groups()[1:])
        except binascii.Error:
            raise BadCredential("a SCRAM-SHA-256 credential with malformed base64") from None
        iterations = int(found[1])
        # octets of SHA-256
        if len(stored) != 32 or len(server) != 32 or not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
            raise BadCredential("a SCRAM-SHA-256 credential with other lengths or iterations than the standard's")
        return cls(iterations, salt, stored, server)

    def __str__(self) -> str:
        parts = self.salt, self.stored_key, self.server_key
        salt, stored, server = (base64.b64encode(part).decode() for part in parts)
        return f"SCRAM-SHA-256${self.iterations}:{salt}${stored}:{server}"


class Scram:
    """One exchange.

    `binding` is the tls-exporter value of the TLS session (RFC 9266), or None where there is none; `plus` whether the
    mechanism is the one with channel binding. `nonce` is ours: printable, without a comma, never used before.
    """

    def __init__(self, nonce: bytes, *, plus: bool, binding: bytes | None) -> None:
        self._nonce = nonce
        self._plus = plus
        self._binding = binding
        self._user = ""
        self._acting_for: str | None = None
        self._header = self._client_first = self._server_first = b""
        self._credential: ScramCredential | None = None
        self._proved = False

    def step(self, response: bytes | None) -> Outcome:
        """Take client-first, client-final, and then the empty answer to our proof."""
        if response is None:
            return Challenge(b"")
        if self._proved:
            return (
                Rejected("more than an empty answer", self._user)
                if response
                else Accepted(self._user, self._acting_for)
            )
        return self._take_final(response) if self._credential else self._take_first(response)

    def _take_first(self, message: bytes) -> Outcome:
        found = _FIRST.fullmatch(message)
        if not found or len(found[6]) > MAX_NONCE_OCTETS:
            return Rejected("malformed SCRAM message")
        self._header, binding_type, acting_for, self._client_first, user, nonce = found.groups()
        if fault := self._binding_fault(binding_type):
            return Rejected(fault)
        try:
            self._acting_for = _name(acting_for) if acting_for else None
            self._user = prepare(_name(user).encode())
        except Unprepared as error:
            return Rejected(f"malformed user name: {error}")
        self._nonce = nonce + self._nonce
        return NeedCredential(self._user)

    def _binding_fault(self, kind: bytes | None) -> str:
        """What is wrong with the client's channel binding flag (RFC 5802 section 6)."""
        if self._plus:
            return "" if kind == b"tls-exporter" and self._binding else "another channel binding than tls-exporter"
        if kind is not None:
            return "channel binding without -PLUS"
        if self._header.startswith(b"y") and self._binding:
            return "somebody removed -PLUS from our list of mechanisms"
        return ""

    def continue_with(self, credential: ScramCredential) -> Challenge:
        """Go on with what is stored of the user, true or false."""
        self._credential = credential
        salt = base64.b64encode(credential.salt)
        self._server_first = b"r=%b,s=%b,i=%d" % (self._nonce, salt, credential.iterations)
        return Challenge(self._server_first)

    def _take_final(self, message: bytes) -> Outcome:
        found, credential = _FINAL.fullmatch(message), self._credential
        if not found or credential is None:
            return Rejected("malformed SCRAM message", self._user)
        unproved, binding, nonce, proof_text = found.groups()
        expected = self._header + (self._binding or b"" if self._plus else b"")
        try:
            bound, proof = base64.b64decode(binding, validate=True), base64.b64decode(proof_text, validate=True)
        except binascii.Error:
            return Rejected("malformed SCRAM message", self._user)
        signed = b",".join((self._client_first, self._server_first, unproved))
        signature = hmac.digest(credential.stored_key, signed, "sha256")
        client_key = bytes(ours ^ theirs for ours, theirs in zip(signature, proof, strict=False))
        holds = hmac.compare_digest(hashlib.sha256(client_key).digest(), credential.stored_key)
        if not (hmac.compare_digest(bound, expected) and hmac.compare_digest(nonce, self._nonce)):
            return Rejected("another channel binding or nonce", self._user)
        if not holds or len(proof) != len(signature):
            return Rejected("authentication failure", self._user)
        self._proved = True
        verifier = hmac.digest(credential.server_key, signed, "sha256")
        return Challenge(b"v=" + base64.b64encode(verifier))


def _name(saslname: bytes) -> str:
    """A name as it travels (RFC 5802 section 5.1). Raises Unprepared."""
    if _BAD_ESCAPE.search(saslname):
        raise Unprepared("malformed escape")
    try:
        return saslname.replace(b"=2C", b",").replace(b"=3D", b"=").decode()
    except UnicodeDecodeError:
        raise Unprepared("not UTF-8") from None
