"""The endpoint that Prometheus asks: GET /metrics over HTTP/1.1, and nothing else.

A request is read as far as its header, the answer is written, and the connection ends. Bounded in connections, bytes
and time, since anybody on this machine can connect. A web page that has its name resolved to this address (DNS
rebinding) names itself in the Host field, and is refused; an address there cannot have been rebound.
"""

import asyncio
import ipaddress
import logging
import re
import socket
from collections.abc import Callable, Collection

from letterlock.metrics.exposition import OPENMETRICS, PROMETHEUS

MAX_REQUEST_OCTETS = 8_192  # Prometheus sends some 300
MAX_CLIENTS = 8  # at once: a few scrapers, and somebody who looks
REQUEST_SECONDS = 5.0  # for the request, and again for the answer
PATH = "/metrics"
LOOPBACK_NAMES = frozenset(("localhost", "localhost.localdomain", "ip6-localhost"))
_HOST = re.compile(
    r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]*))(?::\d*)?"
)  # RFC 3986 section 3.2.2: [IPv6] or a name, and a port
log = logging.getLogger("letterlock.metrics")


class MetricsEndpoint:
    """Answers on a socket that is bound and listens, between `start` and `stop`.

    `render` makes the text, as OpenMetrics if it is called with True. `names` has those that this machine may be asked
    by besides its addresses and the loopback names; None are all, for a UNIX socket, which no web page reaches.
    Several processes may share the socket.
    """

    def __init__(
        self, listening: socket.socket, render: Callable[[bool], str], names: Callable[[], Collection[str] | None]
    ) -> None:
        self._listening = listening
        self._render = render
        self._names = names
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Answer from now on."""
        self._server = await asyncio.start_server(
            self._accept, sock=self._listening.dup(), limit=MAX_REQUEST_OCTETS, start_serving=True
        )

    async def stop(self) -> None:
        """Answer nobody any more. The socket stays the caller's to close."""
        if self._server is not None:
            self._server.close()
            for client in tuple(self._clients):
                client.cancel()
            await asyncio.gather(*self._clients, return_exceptions=True)
            await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = asyncio.current_task()
        if client is None or len(self._clients) >= MAX_CLIENTS:
            writer.transport.abort()
            return
        self._clients.add(client)
        client.add_done_callback(self._clients.discard)
        try:
            await self._answer(reader, writer)
            writer.close()
            await writer.wait_closed()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:  # gone, slow, or no request
            log.debug("a client of the metrics: %s", error)
        finally:
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(REQUEST_SECONDS):
            request = await reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(REQUEST_SECONDS):
            writer.write(respond(request, self._render, self._names()))
            await writer.drain()


def respond(request: bytes, render: Callable[[bool], str], names: Collection[str] | None = ()) -> bytes:
    """The whole response to a request's header."""
    line, *fields = request.decode("latin-1").split("\r\n")
    method, _, rest = line.partition(" ")
    target, _, version = rest.partition(" ")
    if not version.startswith("HTTP/1."):
        return _response("400 Bad Request", "text/plain", "This is HTTP/1.1.\n")
    hosts = [value.strip() for name, _, value in (each.partition(":") for each in fields) if name.lower() == "host"]
    if len(hosts) != 1 and (hosts or version != "HTTP/1.0"):  # RFC 9112 section 3.2
        return _response("400 Bad Request", "text/plain", "One Host field, please.\n")
    if names is not None and hosts and not _is_ours(hosts[0], names):
        hint = "This is not the host's name here. Ask by its address, or add the name to [metrics] host_names.\n"
        return _response("421 Misdirected Request", "text/plain", hint)
    if method not in ("GET", "HEAD"):
        return _response("405 Method Not Allowed", "text/plain", "Only GET.\n", "Allow: GET, HEAD")
    if target.partition("?")[0] != PATH:
        return _response("404 Not Found", "text/plain", f"The metrics are at {PATH}.\n", head=method == "HEAD")
    openmetrics = any(_accepts_openmetrics(field) for field in fields)
    kind = OPENMETRICS if openmetrics else PROMETHEUS
    return _response("200 OK", kind, render(openmetrics), head=method == "HEAD")


def _is_ours(host: str, names: Collection[str]) -> bool:
    """Whether a Host field names an address, loopback, or one of our names."""
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    if found[1] is not None:
        return _is_address(found[1])
    name = found[2].lower().rstrip(".")
    return _is_address(name) or name in LOOPBACK_NAMES or name in names


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:  # a name
        return False
    return True


def _accepts_openmetrics(field: str) -> bool:
    name, _, value = field.partition(":")
    return name.lower() == "accept" and "application/openmetrics-text" in value.lower()


def _response(status: str, kind: str, text: str, *fields: str, head: bool = False) -> bytes:
    body = text.encode()
    lines = (
        f"HTTP/1.1 {status}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
        *fields,
    )
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (b"" if head else body)
