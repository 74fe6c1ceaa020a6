"""A receiving SMTP server that keeps what it gets, and whether it came through TLS.

The honest server of every domain, and the server that a forged MX leads to: what differs is who owns the mailbox.
"""

import ssl
from dataclasses import dataclass, field

from letterlock.lab.raw_smtp import Tell, Wire, say_nothing

MAX_MESSAGE_OCTETS = 1 << 20  # chosen: messages of the lab have a few hundred octets
_READY = b"220 "
_OK = b"250 2.0.0 Ok\r\n"


@dataclass(frozen=True, slots=True)
class DeliveredMail:
    """One message that a server took: its content as it came, and whether the session was encrypted."""

    content: bytes
    encrypted: bool


@dataclass(slots=True)
class MailServer:
    """Answers SMTP in the name of `host`, offering STARTTLS, and keeps what arrives in `mailbox`."""

    host: str
    context: ssl.SSLContext
    tell: Tell = say_nothing
    mailbox: list[DeliveredMail] = field(default_factory=list)

    def holds(self, secret: bytes) -> bool:
        """Whether a message with the secret arrived here."""
        return any(secret in arrival.content for arrival in self.mailbox)

    async def talk(self, wire: Wire) -> None:
        """One session, from greeting to QUIT. Raises ConnectionError when the other side goes away."""
        await wire.write(_READY + self.host.encode() + b" ESMTP\r\n")
        while True:
            line = await wire.read_line()
            verb = line.split(None, 1)[0].upper() if line.strip() else b""
            if verb == b"DATA":
                await self._take(wire)
            elif verb == b"STARTTLS" and not wire.encrypted:
                await wire.write(b"220 2.0.0 Ready to start TLS\r\n")
                await wire.start_tls(self.context, server=True)
            elif verb == b"QUIT":
                await wire.write(b"221 2.0.0 Bye\r\n")
                return
            else:
                await wire.write(self._reply(verb, encrypted=wire.encrypted))

    def _reply(self, verb: bytes, *, encrypted: bool) -> bytes:
        if verb == b"EHLO":
            extensions = [b"PIPELINING", b"8BITMIME", b"ENHANCEDSTATUSCODES", b"SIZE %d" % MAX_MESSAGE_OCTETS]
            offered = [*extensions, b"REQUIRETLS" if encrypted else b"STARTTLS"]  # RFC 8689 section 2: inside TLS only
            lines = [self.host.encode(), *offered]
            return b"".join(b"250-%s\r\n" % line for line in lines[:-1]) + b"250 %s\r\n" % lines[-1]
        if verb == b"HELO":
            return b"250 %s\r\n" % self.host.encode()
        if verb in (b"MAIL", b"RCPT", b"RSET", b"NOOP"):
            return _OK
        return b"502 5.5.2 Command not recognised\r\n"

    async def _take(self, wire: Wire) -> None:
        await wire.write(b"354 End data with <CR><LF>.<CR><LF>\r\n")
        content = bytearray()
        while (line := await wire.read_line()) != b".\r\n":
            content += line.removeprefix(b".")
            if len(content) > MAX_MESSAGE_OCTETS:
                await wire.write(b"552 5.3.4 Message too big\r\n")
                return
        self.mailbox.append(DeliveredMail(bytes(content), wire.encrypted))
        self.tell(f"{self.host} took a message, {'encrypted' if wire.encrypted else 'in cleartext'}")
        await wire.write(b"250 2.0.0 Ok: in the mailbox\r\n")
