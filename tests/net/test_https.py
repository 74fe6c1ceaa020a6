"""The policy fetch against servers of every kind: RFC 8461 section 3.3, RFC 9112, in bounded time and memory."""

import datetime as dt
import time
from pathlib import Path

import pytest

from letterlock.mtasts import Fetched, FetchFailed, FetchFailure
from letterlock.net.https import MAX_FRAMING_OCTETS
from tests.certificates import Credential, authority, self_signed
from tests.net.https_servers import (
    GOOD,
    HOST,
    POLICY,
    ROOT,
    CountedDialer,
    Script,
    fetch,
    ok,
    repeating,
    saying,
    serving,
)

MAX_READ_OCTETS = 2 * 65_536 + MAX_FRAMING_OCTETS  # policy, framing, and what TLS and one read add
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


async def failed(script: Script, directory: Path, credential: Credential | None = GOOD) -> FetchFailed:
    async with serving(script, directory, credential) as server:
        outcome = await fetch(server)
    assert isinstance(outcome, FetchFailed)
    assert outcome.detail.isprintable()
    assert len(outcome.detail) <= 300
    return outcome


async def test_rfc8461_3_3_the_request_names_host_and_path_and_what_is_wanted(tmp_path: Path) -> None:
    async with serving(saying(ok()), tmp_path) as server:
        assert await fetch(server) == Fetched(POLICY)
        [request] = server.requests
    assert request.startswith(b"GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.example.org\r\n")
    assert b"\r\nAccept: text/plain\r\n" in request
    assert b"\r\nConnection: close\r\n" in request
    assert server.sni == [HOST]


@pytest.mark.parametrize(
    "pieces",
    [
        (ok(kind="Text/Plain; charset=utf-8"),),
        (PLAIN + b"\r\n", POLICY),
        (b"HTTP/1.0 200 fine\r\nContent-Type: text/plain\r\n\r\n" + POLICY,),
        (PLAIN.replace(b"\r\n", b"\n") + b"\n" + POLICY,),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", ok()),
        (ok(POLICY, "Content-Encoding: identity"),),
        (ok(POLICY) + b"and more that nobody asked for",),
        (CHUNKED, b"%x\r\n%s\r\n0\r\n\r\n" % (len(POLICY), POLICY)),
        (CHUNKED, b"".join(b"01 ;a=b\r\n%c\r\n" % octet for octet in POLICY), b"0\r\nTrailer: x\r\n\r\n"),
    ],
)
async def test_rfc9112_6_3_every_framing_of_a_body_is_read(pieces: tuple[bytes, ...], tmp_path: Path) -> None:
    async with serving(saying(*pieces), tmp_path) as server:
        assert await fetch(server) == Fetched(POLICY)


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "303 See", "307 Temporary", "308 Permanent", "300 Choose"]
)
async def test_rfc8461_3_3_no_redirect_is_followed(status: str, tmp_path: Path) -> None:
    answer = ok(POLICY, "Location: https://mta-sts.example.org/.well-known/mta-sts.txt", status=status)
    async with serving(saying(answer), tmp_path) as server:
        outcome = await fetch(server)
        assert len(server.requests) == 1
    assert isinstance(outcome, FetchFailed)
    assert outcome.kind is FetchFailure.FETCH
    assert "redirects are not followed" in outcome.detail


@pytest.mark.parametrize("status", ["404 Not Found", "500 Oops", "201 Created", "204 Empty", "206 Part", "999 What"])
async def test_rfc8461_3_3_only_200_counts(status: str, tmp_path: Path) -> None:
    outcome = await failed(saying(ok(status=status)), tmp_path)
    assert (outcome.kind, outcome.detail) == (FetchFailure.FETCH, f"answered {status[:3]} instead of 200")


@pytest.mark.parametrize("kind", ["text/html", "application/octet-stream", "text/plainer", "", "text/plain2; a"])
async def test_rfc8461_3_3_only_text_plain_counts(kind: str, tmp_path: Path) -> None:
    outcome = await failed(saying(ok(kind=kind)), tmp_path)
    assert outcome.kind is FetchFailure.FETCH
    assert "text/plain" in outcome.detail


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
        ok(POLICY, "Content-Type: text/html"),
        ok(POLICY, "Content-Encoding: gzip"),
        ok(POLICY, "Content-Length: 7"),
        ok(POLICY, "Transfer-Encoding: chunked"),
        PLAIN + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        PLAIN + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        PLAIN.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        PLAIN + b"Content-Length: -1\r\n\r\n",
        PLAIN + b"Content-Length: 0x10\r\n\r\n",
        PLAIN + b"Content-Length: " + b"9" * 400 + b"\r\n\r\n",
        PLAIN + b"No colon\r\n\r\n",
        PLAIN + b"Space : before\r\n\r\n",
        PLAIN + b"X: folded\r\n over lines\r\n\r\n",
        PLAIN + b"X: a\x00b\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"220 mx.example.org ESMTP\r\n",
        b"\x00\x1b[2J\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n" + ok(),
        CHUNKED + b"xyz\r\n\r\n",
        CHUNKED + b"-1\r\n\r\n",
        CHUNKED + b"1\r\nab\r\n0\r\n\r\n",
        CHUNKED + b"fffffffff\r\n",
    ],
)
async def test_rfc9112_an_answer_against_the_grammar_is_none(answer: bytes, tmp_path: Path) -> None:
    assert (await failed(saying(answer), tmp_path)).kind is FetchFailure.FETCH


@pytest.mark.parametrize(
    "script",
    [
        saying(cut=True),
        saying(b""),
        saying(PLAIN, cut=True),
        saying(PLAIN),
        saying(ok()[:-1]),
        saying(ok()[:-1], cut=True),
        saying(PLAIN + b"\r\n" + POLICY, cut=True),
        saying(CHUNKED + b"%x\r\n%s" % (len(POLICY) + 9, POLICY)),
        saying(CHUNKED + b"%x\r\n%s\r\n" % (len(POLICY), POLICY)),
        saying(CHUNKED + b"%x\r\n%s\r\n0\r\nTrai" % (len(POLICY), POLICY)),
    ],
)
async def test_rfc9112_8_an_answer_that_is_cut_short_is_none(script: Script, tmp_path: Path) -> None:
    assert (await failed(script, tmp_path)).kind is FetchFailure.FETCH


@pytest.mark.parametrize(
    "script",
    [
        saying(ok(b"x" * 65_537)),
        saying(PLAIN + b"Content-Length: 999999999999\r\n\r\n"),
        saying(CHUNKED + b"ffffffff\r\n"),
        repeating(PLAIN + b"\r\n", b"x" * 8_192),
        repeating(CHUNKED, b"2000\r\n" + b"x" * 8_192 + b"\r\n"),
        repeating(CHUNKED, b"1;" + b"x" * 200 + b"\r\nx\r\n"),
        repeating(CHUNKED + b"1;", b"x" * 8_192),
        repeating(CHUNKED + b"0\r\n", b"Trailer: more\r\n"),
        repeating(PLAIN, b"Header: more\r\n" * 100),
        repeating(PLAIN + b"X: ", b"x" * 8_192),
        repeating(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        repeating(b"HTTP/1.1 200 ", b"x" * 8_192),
        repeating(b"", b"\r\n" * 1_000),
    ],
    ids=[
        "length one too many",
        "enormous length",
        "enormous chunk",
        "endless body",
        "chunk flood",
        "chunk extension flood",
        "endless chunk extension",
        "trailer flood",
        "header flood",
        "endless header",
        "interim flood",
        "endless status line",
        "empty lines",
    ],
)
async def test_rfc8461_3_3_what_is_too_large_ends_in_bounded_time_and_memory(script: Script, tmp_path: Path) -> None:
    dialer, began = CountedDialer(), time.monotonic()
    async with serving(script, tmp_path) as server:
        outcome = await fetch(server, dialer)
    assert isinstance(outcome, FetchFailed)
    assert outcome.kind is FetchFailure.FETCH
    assert dialer.octets < MAX_READ_OCTETS
    assert time.monotonic() - began < 5


async def test_rfc8461_3_3_a_policy_of_exactly_the_limit_is_read(tmp_path: Path) -> None:
    async with serving(saying(ok(b"x" * 65_536)), tmp_path) as server:
        assert await fetch(server) == Fetched(b"x" * 65_536)


@pytest.mark.parametrize(
    "script",
    [
        repeating(b"", b"", 0.01),
        repeating(PLAIN + b"X: ", b"x", 0.01),
        repeating(PLAIN + b"\r\n", b"x", 0.01),
        repeating(PLAIN + b"Content-Length: 1000\r\n\r\n", b"x", 0.01),
        repeating(CHUNKED, b"1\r\nx\r\n", 0.01),
    ],
    ids=["silence", "header drip", "body drip", "length drip", "chunk drip"],
)
async def test_rfc8461_3_3_a_slow_drip_ends_at_the_deadline(script: Script, tmp_path: Path) -> None:
    began = time.monotonic()
    async with serving(script, tmp_path) as server:
        outcome = await fetch(server, deadline_seconds=0.3)
    assert outcome == FetchFailed(FetchFailure.FETCH, f"{HOST} did not answer in full within 0.3 s")
    assert time.monotonic() - began < 3


async def test_a_silent_handshake_ends_at_the_deadline(tmp_path: Path) -> None:
    async with serving(repeating(b"", b"", 0.01), tmp_path, None) as server:
        outcome = await fetch(server, deadline_seconds=0.2)
    assert isinstance(outcome, FetchFailed)
    assert "within 0.2 s" in outcome.detail


YESTERDAY = dt.datetime(2027, 1, 14, tzinfo=dt.UTC)  # the tests' now is 2027-01-15
TOMORROW = dt.datetime(2027, 1, 16, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    "credential",
    [
        ROOT.leaf("example.org"),
        ROOT.leaf("mx.example.org"),
        ROOT.leaf("*.mta-sts.example.org"),
        ROOT.leaf(common_name=HOST),
        ROOT.leaf(HOST, not_after=YESTERDAY),
        ROOT.leaf(HOST, not_before=TOMORROW),
        self_signed(HOST),
        authority("Somebody else").leaf(HOST),
    ],
    ids=["parent name", "other name", "too deep wildcard", "common name", "expired", "future", "self-signed", "other"],
)
async def test_rfc8461_3_3_the_certificate_must_be_publicly_trusted_for_the_policy_host(
    credential: Credential, tmp_path: Path
) -> None:
    async with serving(saying(ok()), tmp_path, credential) as server:
        outcome = await fetch(server)
    assert isinstance(outcome, FetchFailed)
    assert outcome.kind is FetchFailure.WEBPKI
    assert server.requests == []  # nothing was asked of a server that could not prove itself


@pytest.mark.parametrize("credential", [ROOT.leaf("*.example.org"), ROOT.intermediate().leaf(HOST)])
async def test_rfc8461_3_3_wildcards_and_intermediates_are_fine(credential: Credential, tmp_path: Path) -> None:
    async with serving(saying(ok()), tmp_path, credential) as server:
        assert await fetch(server) == Fetched(POLICY)


async def test_a_server_without_tls_is_a_failed_handshake(tmp_path: Path) -> None:
    outcome = await failed(saying(ok()), tmp_path, None)
    assert outcome.kind is FetchFailure.FETCH
    assert "handshake" in outcome.detail


async def test_the_first_address_that_answers_is_used(tmp_path: Path) -> None:
    dialer = CountedDialer()
    async with serving(saying(ok()), tmp_path) as server:
        assert await fetch(server, dialer, addresses=("127.0.0.2", "127.0.0.1", "127.0.0.3")) == Fetched(POLICY)
    assert dialer.dialled == ["127.0.0.2", "127.0.0.1"]


async def test_no_address_and_no_server_are_failures(tmp_path: Path) -> None:
    async with serving(saying(ok()), tmp_path) as server:
        nowhere = await fetch(server, addresses=())
        refused = await fetch(server, addresses=("127.0.0.2",))
    assert nowhere == FetchFailed(FetchFailure.FETCH, "there is no address to connect to")
    assert isinstance(refused, FetchFailed)
    assert "127.0.0.2" in refused.detail


async def test_only_so_many_addresses_are_tried(tmp_path: Path) -> None:
    dialer = CountedDialer()
    async with serving(saying(ok()), tmp_path) as server:
        await fetch(server, dialer, addresses=tuple(f"127.0.1.{last}" for last in range(1, 30)))
    assert len(dialer.dialled) == 8
