"""The result of a TLS handshake."""

from dataclasses import dataclass

from letterlock.frozen import frozen_dataclass
from letterlock.identity.strength import SessionStrength, session_strength


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A finished TLS handshake. `chain` holds the presented certificates as DER, the server's own first."""

    version: str  # as OpenSSL names it: TLSv1.3
    cipher: str
    group: str | None
    sni: str | None
    chain: tuple[bytes, ...]

    @property
    def strength(self) -> SessionStrength:
        """How strong the session is beyond its proof: the server's key, forward secrecy. Computed when asked for."""
        return session_strength(self.version, self.cipher, self.chain)


@dataclass(frozen=True, slots=True)
class HandshakeFailed:
    """A TLS handshake that did not finish."""

    detail: str
