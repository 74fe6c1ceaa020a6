"""The HTTPS server of an MTA-STS policy (RFC 8461 section 3.3): the honest one, and the attacker's."""

import ssl
from dataclasses import dataclass

from letterlock.lab.wire import Tell, Wire, say_nothing


@dataclass(frozen=True, slots=True)
class PolicyServer:
    """Serves one policy, inside TLS from the first octet. Says 404 to whoever asks for anything else."""

    context: ssl.SSLContext
    policy: bytes
    tell: Tell = say_nothing

    async def talk(self, wire: Wire) -> None:
        """One request. Raises ConnectionError when the client goes away, as it does from a wrong certificate."""
        await wire.start_tls(self.context, server=True)
        request = await wire.read_line()
        while await wire.read_line() != b"\r\n":
            pass
        found = request.startswith(b"GET /.well-known/mta-sts.txt ")
        body = self.policy if found else b"not here"
        status = b"200 OK" if found else b"404 Not Found"
        self.tell("the MTA-STS policy was fetched" if found else "somebody asked the policy host for something else")
        head = b"HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
        await wire.write(head % (status, len(body)) + body)
