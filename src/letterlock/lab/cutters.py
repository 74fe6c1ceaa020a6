"""Attackers on the path who break off what they cannot read: before TLS, in the handshake, and after it.

They hope for a client that falls back to cleartext. On a connection without STARTTLS they relay, and read.
"""

from letterlock.lab.attackers import OnPath, RelayedSession
from letterlock.lab.raw_smtp import PeerClosed, Tell, Wire, say_nothing

# A TLS record with the fatal alert handshake_failure (RFC 8446 sections 5.1 and 6.2).
_HANDSHAKE_FAILURE = bytes([21, 3, 3, 0, 2, 2, 40])
_RECORD_HEADER_OCTETS = 5  # RFC 8446 section 5.1: type, version, length
_APPLICATION_DATA = 23  # RFC 8446 section 5.1; so is an encrypted Finished of TLS 1.3


class ConnectionCutter:
    """Breaks every connection off at once. Never holds anything."""

    def __init__(self, tell: Tell = say_nothing) -> None:
        self._tell = tell

    def holds(self, _secret: bytes) -> bool:
        """Whether the attacker read the secret."""
        return False

    async def talk(self, wire: Wire) -> None:
        """One connection."""
        self._tell("attacker on the path: resets the connection")
        wire.abort()


class CutBeforeHandshake(OnPath):
    """Closes the connection at STARTTLS."""

    async def _starttls(self, session: RelayedSession) -> None:
        self._tell("attacker on the path: closes the connection at STARTTLS")
        session.victim.abort()
        raise PeerClosed("cut")


class CutInHandshake(OnPath):
    """Closes the connection after the ClientHello."""

    async def _starttls(self, session: RelayedSession) -> None:
        await self._go_ahead(session)
        await session.victim.read_some()
        self._tell("attacker on the path: closes the connection after the ClientHello")
        session.victim.abort()
        raise PeerClosed("cut")


class HandshakeRefuser(OnPath):
    """Answers the ClientHello with an alert."""

    async def _starttls(self, session: RelayedSession) -> None:
        await self._go_ahead(session)
        await session.victim.read_some()
        self._tell("attacker on the path: answers the ClientHello with the alert handshake_failure")
        await session.victim.write(_HANDSHAKE_FAILURE)
        raise PeerClosed("refused")


class CutAfterHandshake(OnPath):
    """Passes the handshake on, and closes the connection when the client has finished it."""

    async def _starttls(self, session: RelayedSession) -> None:
        await self._go_ahead(session)
        await self._pass_through(session)

    def _finished(self, from_victim: bytes | bytearray) -> bool:
        if not _has_application_data(from_victim):
            return False
        self._tell("attacker on the path: closes the connection after the TLS handshake")
        return True


def _has_application_data(records: bytes | bytearray) -> bool:
    """Whether a whole record of application data is among TLS records."""
    at = 0
    while at + _RECORD_HEADER_OCTETS <= len(records):
        end = at + _RECORD_HEADER_OCTETS + int.from_bytes(records[at + 3 : at + 5])
        if records[at] == _APPLICATION_DATA and end <= len(records):
            return True
        at = end
    return False
