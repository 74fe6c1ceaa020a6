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
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"200 OK", b"x 1\n"),
        (b"GET /metrics?a=b HTTP/1.0\r\n\r\n", b"200 OK", b"x 1\n"),
        (b"HEAD /metrics HTTP/1.1\r\n\r\n", b"200 OK", b""),
        (b"GET / HTTP/1.1\r\n\r\n", b"404 Not Found", b"The metrics are at /metrics.\n"),
        (b"GET /metrics/../../etc/passwd HTTP/1.1\r\n\r\n", b"404 Not Found", b"The metrics are at /metrics.\n"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405 Method Not Allowed", b"Only GET.\n"),
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
    asked = b"GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n\r\n"
    assert OPENMETRICS.encode() in respond(asked, render)
    assert PROMETHEUS.encode() in respond(b"GET /metrics HTTP/1.1\r\nAccept: */*\r\n\r\n", render)


@asynccontextmanager
async def answering() -> AsyncIterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.setblocking(False)
        serving = MetricsEndpoint(listening, render)
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
            assert (await ask(port, b"GET /metrics HTTP/1.1\r\n\r\n")).endswith(b"x 1\n")


async def test_a_request_without_an_end_is_dropped() -> None:
    async with asyncio.timeout(20), answering() as port:
        assert await ask(port, b"GET /" + b"a" * (2 * MAX_REQUEST_OCTETS)) == b""


async def test_silent_clients_are_dropped_and_too_many_are_not_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "REQUEST_SECONDS", 0.3)
    async with asyncio.timeout(20), answering() as port:
        silent = [asyncio.create_task(ask(port, b"GET")) for _ in range(MAX_CLIENTS)]
        await asyncio.sleep(0.1)
        assert await ask(port, b"GET /metrics HTTP/1.1\r\n\r\n") == b"", "as many as there may be are there"
        assert await asyncio.gather(*silent) == [b""] * MAX_CLIENTS
        assert (await ask(port, b"GET /metrics HTTP/1.1\r\n\r\n")).endswith(b"x 1\n")


async def test_stopping_does_not_wait_for_clients() -> None:
    async with asyncio.timeout(20):
        async with answering() as port:
            silent = asyncio.create_task(ask(port, b"GET"))
            await asyncio.sleep(0.05)
        assert await silent == b""
