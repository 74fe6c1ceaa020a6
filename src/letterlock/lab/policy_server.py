"""The HTTPS server of an MTA-STS policy (RFC 8461 section 3.3): the honest one, and the attacker's."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass

from letterlock.lab.raw_smtp import Tell, Wire, say_nothing

PATH = "/.well-known/mta-sts.txt"


@dataclass(frozen=True, slots=True)
class PolicyServer:
    """Serves the policy of the host that is asked for, inside TLS from the first octet. Other requests get a 404.

    With a `location` it serves nothing itself, and redirects requests for the policy there.
    """

    context: ssl.SSLContext
    policy_of: Callable[[str], bytes]
    tell: Tell = say_nothing
    location: str | None = None

    async def talk(self, wire: Wire) -> None:
        """One request. Raises ConnectionError when the client goes away, as it does from a wrong certificate."""
        await wire.start_tls(self.context, server=True)
        request = await wire.read_line()
        host = b""
        while (line := await wire.read_line()) != b"\r\n":
            if line.lower().startswith(b"host:"):
                host = line[5:].strip()
        found = request.startswith(f"GET {PATH} ".encode())
        await wire.write(self._response(host.decode(errors="replace").partition(":")[0], found=found))

    def _response(self, host: str, *, found: bool) -> bytes:
        if not found:
            self.tell("somebody asked the policy host for something else")
            return _response(b"404 Not Found", b"not here")
        if self.location is not None:
            self.tell("the policy host redirects to a policy of the attacker's")
            return _response(b"301 Moved Permanently", b"not here", b"Location: " + self.location.encode())
        self.tell("the MTA-STS policy was fetched")
        return _response(b"200 OK", self.policy_of(host))


def _response(status: bytes, body: bytes, *fields: bytes) -> bytes:
    length = b"Content-Length: %d" % len(body)
    return b"\r\n".join(
        (b"HTTP/1.1 " + status, b"Content-Type: text/plain", length, b"Connection: close", *fields, b"", body)
    )
