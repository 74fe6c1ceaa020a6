"""POST of a report: any 2xx will do, everything is bounded, and no certificate is asked for (RFC 8460 section 3)."""

from pathlib import Path

import pytest

from letterlock.net.dial import TcpDialer
from letterlock.net.https import post
from tests.certificates import authority
from tests.net.https_servers import GOOD, Server, ok, repeating, saying, serving

BODY = b"\x1f\x8b report"


async def posted(server: Server, *, seconds: float = 10.0) -> str | None:
    return await post(
        "reports.example.org",
        "/v1?x=1",
        ["127.0.0.1"],
        BODY,
        "application/tlsrpt+gzip",
        connect=TcpDialer().dial,
        port=server.port,
        deadline_seconds=seconds,
    )


async def test_rfc8460_3_a_report_is_posted_whatever_the_certificate_is(tmp_path: Path) -> None:
    stranger = authority("Unknown").leaf("other.example")
    for credential in (GOOD, stranger):
        async with serving(saying(ok(status="201 Created")), tmp_path, credential) as server:
            assert await posted(server) is None
            head, _, body = server.requests[0].partition(b"\r\n\r\n")
            assert head.startswith(b"POST /v1?x=1 HTTP/1.1\r\nHost: reports.example.org\r\n")
            assert b"Content-Type: application/tlsrpt+gzip\r\nContent-Length: 9\r\n" in head
            assert body in (BODY, b"")
            assert server.sni == ["reports.example.org"]


@pytest.mark.parametrize("status", ["301 Moved", "400 Bad Request", "500 Oops"])
async def test_nothing_else_is_a_success_and_no_redirect_is_followed(tmp_path: Path, status: str) -> None:
    async with serving(saying(ok(status=status)), tmp_path) as server:
        assert await posted(server) == f"reports.example.org answered {status[:3]}"


async def test_endless_and_silent_answers_end(tmp_path: Path) -> None:
    async with serving(repeating(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"), tmp_path) as server:
        assert "more than" in (await posted(server) or "")
    async with serving(repeating(b"HTTP/1.1 200", b"", 0.05), tmp_path) as server:
        assert "within 0.2 s" in (await posted(server, seconds=0.2) or "")


async def test_cleartext_and_nobody_are_failures(tmp_path: Path) -> None:
    async with serving(saying(ok()), tmp_path, None) as server:
        assert "TLS handshake" in (await posted(server) or "")
    assert "cannot connect" in (await posted(server) or "")
    assert (
        await post("a.example", "/", [], BODY, "x/y", connect=TcpDialer().dial) == "there is no address to connect to"
    )
