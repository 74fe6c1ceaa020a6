"""Serves MTA-STS policies over HTTPS (RFC 8461 section 3.3): one GET per connection, and nothing else.

Each domain's policy is a file; it is read again when it changes, and a file that is no policy does not replace one that
was. So is the certificate. Everybody can connect, so connections, bytes and seconds are bounded.
"""

import asyncio
import logging
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from letterlock.mtasts.policy import MAX_POLICY_OCTETS, InvalidPolicy, parse_policy
from letterlock.net.file_states import FileState, file_states
from letterlock.net.streams import TcpStream
from letterlock.net.tls import BadCertificate, ServerContext, accept_tls
from letterlock.ports import Stream

log = logging.getLogger("letterlock.sts")
PATH = "/.well-known/mta-sts.txt"
PREFIX = "mta-sts."
MAX_CLIENTS = 200  # at once: senders fetch a policy once a day
MAX_REQUEST_OCTETS = 8_192  # of a header: senders write some 200
SECONDS = 15.0  # for handshake, request and answer together
LOOK_SECONDS = 5.0  # between two looks at the files
SUFFIX = ".txt"
_READ_OCTETS = 4_096  # chosen: a request for the policy has a few hundred octets


class PolicyFolder:
    """The policies in a folder, `example.org.txt` being that of example.org."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._states: dict[str, tuple[int, int] | None] = {}  # None: it could not be read, which is logged once
        self._texts: dict[str, bytes] = {}

    @property
    def domains(self) -> tuple[str, ...]:
        """Those that have a policy."""
        return tuple(sorted(self._texts))

    def text(self, domain: str) -> bytes | None:
        """The policy of a domain."""
        return self._texts.get(domain)

    def look(self) -> None:
        """Read what has changed. What cannot be read, or is no policy, is logged. Raises OSError for the folder.

        A folder that cannot be read says nothing: the policies that were read before stay.
        """
        paths = [path for path in self._folder.iterdir() if path.name.endswith(SUFFIX)]  # glob hides every error
        found = {path.name.removesuffix(SUFFIX).lower(): path for path in paths}
        for domain in set(self._texts) - set(found):
            log.info("the policy of %s is gone", domain)
            del self._texts[domain], self._states[domain]
        for domain, path in found.items():
            self._read(domain, path)

    def _read(self, domain: str, path: Path) -> None:
        try:
            status = path.stat()
            state = status.st_mtime_ns, status.st_size
            if self._states.get(domain) == state:
                return
            with path.open("rb") as file:
                text = file.read(MAX_POLICY_OCTETS + 1)
        except OSError as error:  # perhaps it can be read at the next look
            if self._states.get(domain, ()) is not None:
                log.warning("%s: %s", path, error.strerror)
            self._states[domain] = None
            return
        self._states[domain] = state
        policy = parse_policy(text)
        if isinstance(policy, InvalidPolicy):
            log.error("%s is not a policy, and is not served: %s", path, policy.detail)
            return
        for oddity in policy.oddities:
            log.warning("%s: %s", path, oddity)
        self._texts[domain] = b"\r\n".join(text.splitlines()) + b"\r\n"
        log.info("the policy of %s is served: mode %s", domain, policy.mode.value)


class StsHost:
    """Answers on bound sockets with the policies of a folder, until cancelled: `run()`."""

    def __init__(self, policies: PolicyFolder, certificate: Path, key: Path) -> None:
        """Raises BadCertificate."""
        self._policies = policies
        self._paths = certificate, key
        self._context = ServerContext.load(certificate, key)
        self._refused: tuple[FileState, ...] = ()
        self._clients: set[asyncio.Task[None]] = set()

    async def run(self, sockets: Sequence[socket.socket]) -> None:
        """Serve on sockets that listen, and look at the files now and then."""
        async with asyncio.TaskGroup() as group:
            for bound in sockets:
                group.create_task(self._accept(bound, group))
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                self.look()

    def look(self) -> None:
        """Read policies and certificate again, if they have changed."""
        try:
            self._policies.look()
        except OSError as error:
            log.warning("the policies: %s", error.strerror)
        states = file_states(*self._paths)
        if states in (self._context.files, self._refused):
            return
        try:
            self._context = ServerContext.load(*self._paths)
            log.info("the certificate was renewed")
        except BadCertificate as error:  # half replaced, perhaps
            self._refused = states
            log.warning("%s: the current certificate stays in use", error)

    async def _accept(self, bound: socket.socket, group: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(bound)
            except OSError as error:  # no descriptors, say
                log.warning("a connection is lost: %s", error.strerror)
                await asyncio.sleep(1.0)  # usually no descriptor was free, and one soon will be
                continue
            with suppress(OSError):  # gone again already
                stream = TcpStream(connection)
                self._begin(stream, group)

    def _begin(self, stream: TcpStream, group: asyncio.TaskGroup) -> None:
        if len(self._clients) >= MAX_CLIENTS:
            stream.abort()
            return
        client = group.create_task(self._serve(stream))
        self._clients.add(client)
        client.add_done_callback(self._clients.discard)

    async def _serve(self, plain: TcpStream) -> None:
        stream: Stream = plain
        try:
            async with asyncio.timeout(SECONDS):
                stream, _ = await accept_tls(plain, self._context)
                await stream.write(respond(await _request(stream), self._policies))
                await stream.close()
        except (OSError, TimeoutError) as error:
            log.debug("a client is gone: %s", error)
        finally:
            stream.abort()


async def _request(stream: Stream) -> bytes:
    """The header of a request, as far as it may be long; b"" when it is too long or cut off. Raises OSError."""
    found = bytearray()
    while b"\r\n\r\n" not in found:
        data = await stream.read(_READ_OCTETS)
        found += data
        if not data or len(found) > MAX_REQUEST_OCTETS:
            return b""
    return bytes(found[: found.index(b"\r\n\r\n")])


def respond(request: bytes, policies: PolicyFolder) -> bytes:
    """The whole response to the header of a request."""
    line, *fields = request.decode("latin-1").split("\r\n")
    method, _, rest = line.partition(" ")
    target, _, version = rest.partition(" ")
    if not version.startswith("HTTP/1."):
        return _response("400 Bad Request")
    if method not in ("GET", "HEAD"):
        return _response("405 Method Not Allowed", "Allow: GET, HEAD")
    split = (each.partition(":") for each in fields)
    hosts = [value.strip().lower() for name, _, value in split if name.lower() == "host"]
    host = hosts[0].partition(":")[0].removesuffix(".") if len(hosts) == 1 else ""
    text = policies.text(host.removeprefix(PREFIX)) if host.startswith(PREFIX) else None
    if text is None:
        return _response("421 Misdirected Request")
    if target.partition("?")[0] != PATH:
        return _response("404 Not Found")
    return _response("200 OK", body=text, is_head=method == "HEAD")


def _response(status: str, *fields: str, body: bytes = b"", is_head: bool = False) -> bytes:
    """A response that no cache may store: a sender that fetches a policy wants the one that holds now."""
    lines = (
        f"HTTP/1.1 {status}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
        *fields,
    )
    return "\r\n".join((*lines, "", "")).encode("ascii") + (b"" if is_head else body)
