"""The endpoint of the metrics: one path, bounded, and nobody who connects can hold it up."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from letterlock.metrics import endpoint
from letterlock.metrics.endpoint import MAX_CLIENTS, MAX_REQUEST_OCTETS, MetricsEndpoint, respond
from letterlock.metrics.exposition import OPENMETRICS, PROMETHEUS


def render(openmetrics: bool) -> str:
    return "x 1\n# EOF\n" if openmetrics else "x 1\n"


@pytest.mark.parametrize(
    ("request_", "status", "rest"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9725\r\n\r\n", b"200 OK", b"x 1\n"),
        (b"GET /metrics?a=b HTTP/1.0\r\n\r\n", b"200 OK", b"x 1\n"),
        (b"HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", b"200 OK", b""),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"404 Not Found", b"The metrics are at /metrics.\n"),
        (
            b"GET /metrics/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"404 Not Found",
            b"The metrics are at /metrics.\n",
        ),
        (b"POST /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", b"405 Method Not Allowed", b"Only GET.\n"),
        (b"\x16\x03\x01\xff\r\n\r\n", b"400 Bad Request", b"This is HTTP/1.1.\n"),
        (b"GET /metrics HTTP/2\r\n\r\n", b"400 Bad Request", b"This is HTTP/1.1.\n"),
        (b"\r\n\r\n", b"400 Bad Request", b"This is HTTP/1.1.\n"),
    ],
)
def test_requests_and_their_responses(request_: bytes, status: bytes, rest: bytes) -> None:
    header, _, body = respond(request_, render).partition(b"\r\n\r\n")
    assert header.startswith(b"HTTP/1.1 " + status)
    assert b"Connection: close" in header
    assert body == rest


def test_openmetrics_is_for_whoever_asks_for_it() -> None:
    asked = b"GET /metrics HTTP/1.0\r\nAccept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n\r\n"
    assert OPENMETRICS.encode() in respond(asked, render)
    assert PROMETHEUS.encode() in respond(b"GET /metrics HTTP/1.0\r\nAccept: */*\r\n\r\n", render)


NAMES = frozenset(("mx.example.org",))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.8.9.1:9725",
        "[::1]:9725",
        "192.0.2.7:9725",
        "[2001:db8::1]",
        "localhost",
        "LocalHost.:80",
        "MX.example.ORG:9725",
    ],
)
def test_a_request_names_an_address_loopback_or_a_name_of_ours(host: str) -> None:
    assert b"200 OK" in respond(f"GET /metrics HTTP/1.1\r\nhost: {host}\r\n\r\n".encode(), render, NAMES)


@pytest.mark.parametrize(
    "host",
    [
        *(
            "evil.example",
            "evil.example:9725",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "[evil]",
            "[::1",
            "",
        ),
        *("mx.example.org.evil", ":9725", "mx.example.org:x", "a@localhost", "localhost localhost", "127.0.0.1,evil"),
    ],
)
def test_dns_rebinding_is_refused(host: str) -> None:
    """A web page has its own name resolved to this address: the browser sends the name."""
    request = f"GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    response = respond(request, render, NAMES)
    assert response.startswith(b"HTTP/1.1 421 ")
    assert b"x 1" not in response
    assert b"200 OK" in respond(request, render, None), "over a UNIX socket nobody can do that"


@pytest.mark.parametrize("fields", ["", "Host: localhost\r\nHost: localhost\r\n", "Host: localhost\r\nhost: evil\r\n"])
def test_rfc9112_3_2_one_host_field(fields: str) -> None:
    assert respond(f"GET /metrics HTTP/1.1\r\n{fields}\r\n".encode(), render).startswith(b"HTTP/1.1 400 ")


@asynccontextmanager
async def answering() -> AsyncIterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.setblocking(False)
        serving = MetricsEndpoint(listening, render, tuple)
        await serving.start()
        try:
            yield listening.getsockname()[1]
        finally:
            await serving.stop()


async def ask(port: int, request_: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request_)
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def test_over_a_socket() -> None:
    async with asyncio.timeout(20), answering() as port:
        for _ in range(3):
            assert (await ask(port, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")).endswith(b"x 1\n")


async def test_a_request_without_an_end_is_dropped() -> None:
    async with asyncio.timeout(20), answering() as port:
        assert await ask(port, b"GET /" + b"a" * (2 * MAX_REQUEST_OCTETS)) == b""


async def test_silent_clients_are_dropped_and_too_many_are_not_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "REQUEST_SECONDS", 0.3)
    async with asyncio.timeout(20), answering() as port:
        silent = [asyncio.create_task(ask(port, b"GET")) for _ in range(MAX_CLIENTS)]
        await asyncio.sleep(0.1)
        assert await ask(port, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n") == b"", (
            "as many as there may be are there"
        )
        assert await asyncio.gather(*silent) == [b""] * MAX_CLIENTS
        assert (await ask(port, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")).endswith(b"x 1\n")


async def test_stopping_does_not_wait_for_clients() -> None:
    async with asyncio.timeout(20):
        async with answering() as port:
            silent = asyncio.create_task(ask(port, b"GET"))
            await asyncio.sleep(0.05)
        assert await silent == b""
