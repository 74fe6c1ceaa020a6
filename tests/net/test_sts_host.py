"""The host of MTA-STS policies: what it answers, what it reads again, and what bounds it (RFC 8461 section 3.3)."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from letterlock.mtasts import Fetched, FetchFailed
from letterlock.net import sts_host
from letterlock.net.dial import TcpDialer
from letterlock.net.https import fetch_policy
from letterlock.net.sts_host import MAX_REQUEST_OCTETS, PolicyFolder, StsHost, respond
from tests.net.https_servers import GOOD, POLICY, ROOT, ROOTS, FixedClock

REQUEST = b"GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.example.org"


@pytest.fixture
def folder(tmp_path: Path) -> PolicyFolder:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "example.org.txt").write_bytes(POLICY)
    found = PolicyFolder(tmp_path / "policies")
    found.look()
    return found


@asynccontextmanager
async def hosted(folder: PolicyFolder, directory: Path) -> AsyncIterator[tuple[StsHost, int]]:
    host = StsHost(folder, *GOOD.write(directory))
    with socket.create_server(("127.0.0.1", 0)) as bound:
        bound.setblocking(False)
        task = asyncio.create_task(host.run([bound]))
        try:
            yield host, bound.getsockname()[1]
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def fetched(port: int, host: str = "mta-sts.example.org") -> Fetched | FetchFailed:
    connect = TcpDialer().dial
    return await fetch_policy(host, ["127.0.0.1"], roots=ROOTS, clock=FixedClock(), connect=connect, port=port)


async def test_rfc8461_3_3_our_own_client_takes_the_policy(folder: PolicyFolder, tmp_path: Path) -> None:
    async with hosted(folder, tmp_path) as (_, port):
        assert await fetched(port) == Fetched(POLICY)


async def test_a_renewed_certificate_is_served(folder: PolicyFolder, tmp_path: Path) -> None:
    async with hosted(folder, tmp_path) as (host, port):
        first = GOOD.write(tmp_path)[0].read_bytes()
        renewed = ROOT.leaf("mta-sts.example.org").write(tmp_path)[0].read_bytes()
        assert renewed != first
        host.look()
        assert await fetched(port) == Fetched(POLICY)


async def test_clients_that_do_not_speak_hold_no_place_for_ever(
    folder: PolicyFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sts_host, "MAX_CLIENTS", 1)
    monkeypatch.setattr(sts_host, "SECONDS", 0.3)
    async with hosted(folder, tmp_path) as (_, port):
        with socket.create_connection(("127.0.0.1", port)) as silent:
            silent.setblocking(False)
            assert isinstance(await fetched(port), FetchFailed)  # the only place is taken
            assert await asyncio.get_running_loop().sock_recv(silent, 1) == b""  # until its time is up
        assert await fetched(port) == Fetched(POLICY)


async def test_an_endless_request_ends(folder: PolicyFolder, tmp_path: Path) -> None:
    class Endless:
        async def read(self, _octets: int) -> bytes:
            return b"x" * 1_000

    assert await sts_host._request(Endless()) == b""  # type: ignore[arg-type]  # it reads, and nothing else
    assert MAX_REQUEST_OCTETS < 10_000


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (REQUEST, b"200 OK"),
        (REQUEST.upper().replace(b"/.WELL-KNOWN/MTA-STS.TXT", b"/.well-known/mta-sts.txt"), b"200 OK"),
        (REQUEST + b":443", b"200 OK"),
        (REQUEST.replace(b"GET", b"HEAD"), b"200 OK"),
        (REQUEST.replace(b"GET", b"POST"), b"405"),
        (REQUEST.replace(b"mta-sts.txt", b"other.txt"), b"404"),
        (REQUEST.replace(b"/.well-known", b"/../.well-known"), b"404"),
        (REQUEST.replace(b"example.org", b"example.com"), b"421"),
        (REQUEST.replace(b"mta-sts.example.org", b"example.org"), b"421"),
        (REQUEST.replace(b"mta-sts.example.org", b"mta-sts.../example.org"), b"421"),
        (REQUEST + b"\r\nHost: mta-sts.example.org", b"421"),
        (b"GET /.well-known/mta-sts.txt HTTP/1.1", b"421"),
        (b"", b"400"),
        (b"\x00\xff", b"400"),
    ],
)
def test_what_is_asked_and_what_is_answered(folder: PolicyFolder, request_head: bytes, status: bytes) -> None:
    response = respond(request_head, folder)
    assert response.startswith(b"HTTP/1.1 " + status)
    assert b"\r\nConnection: close\r\n" in response
    is_whole = status == b"200 OK" and not request_head.startswith(b"HEAD")
    assert response.endswith(POLICY if is_whole else b"\r\n\r\n")


def test_a_file_that_is_no_policy_does_not_replace_one(folder: PolicyFolder, tmp_path: Path) -> None:
    path = tmp_path / "policies" / "example.org.txt"
    path.write_text("no policy")
    folder.look()
    assert folder.text("example.org") == POLICY
    path.write_bytes(POLICY.replace(b"enforce", b"testing"))
    os.utime(path, (1, 1))
    folder.look()
    assert b"mode: testing" in (folder.text("example.org") or b"")
    path.unlink()
    (tmp_path / "policies" / "other.example.txt").write_bytes(POLICY.replace(b"\r\n", b"\n"))
    folder.look()
    assert folder.domains == ("other.example",)
    assert folder.text("other.example") == POLICY


def test_a_folder_that_cannot_be_read_takes_no_policy_away(folder: PolicyFolder, tmp_path: Path) -> None:
    (tmp_path / "policies").rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError):
        folder.look()
    assert folder.text("example.org") == POLICY
    (tmp_path / "elsewhere").rename(tmp_path / "policies")
    folder.look()
    assert folder.domains == ("example.org",)


def test_a_file_that_could_not_be_read_is_read_at_the_next_look(
    folder: PolicyFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "policies" / "other.example.txt").write_bytes(POLICY)

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", refuse)
        for _ in range(3):
            folder.look()
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"{tmp_path}/policies/other.example.txt: Permission denied"
    ]
    folder.look()
    assert folder.text("other.example") == POLICY
