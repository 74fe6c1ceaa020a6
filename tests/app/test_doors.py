"""The doors of a real server: one worker and several, TCP and UNIX sockets, reload, and what operators ask."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import dns.edns
import dns.message
import dns.query
import dns.rcode
from dns.message import Message

from letterlock.admin.client import Queues
from letterlock.cli import serve as serve_module
from letterlock.config import load
from letterlock.socketmap.netstrings import NetstringReader, netstring
from tests.cli.running import SECONDS, letterlock

CONFIG = """\
hostname = "mx.example.org"
workers = {workers}
[smtp]
listen = ["127.0.0.1:0"]
[queue]
directory = "{directory}/q"
min_free_octets = 1
[resolver]
listen = ["127.0.0.1:{dns}", "[::1]:{dns}"]
upstream = ["127.0.0.1:1"]
timeout_seconds = 0.2
[policy_server]
listen = ["127.0.0.1:{port}", "unix:{directory}/policy"]
[domain."pinned.example"]
tls = "dane-only"
"""


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


@asynccontextmanager
async def serving(directory: Path, verb: tuple[str, ...], workers: int = 1) -> AsyncIterator[tuple[Path, int]]:
    """A server of our own, ready."""
    port, config = free_port(), directory / "letterlock.toml"
    config.write_text(CONFIG.format(workers=workers, directory=directory, port=port, dns=free_port()))
    command = (sys.executable, "-m", "letterlock", *verb, "--config", str(config))
    ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    ready.bind(str(directory / "notify"))
    ready.setblocking(False)
    environment = os.environ | {"NOTIFY_SOCKET": str(directory / "notify")}
    process = await asyncio.create_subprocess_exec(*command, env=environment)
    try:
        async with asyncio.timeout(SECONDS):
            while not (await asyncio.get_running_loop().sock_recv(ready, 1000)).startswith(b"READY=1"):
                pass
        yield config, port
    finally:
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(SECONDS):
            assert await process.wait() == 0
        ready.close()


async def ask(place: int | Path, *questions: str) -> list[str]:
    if isinstance(place, Path):
        reader, writer = await asyncio.open_unix_connection(place)
    else:
        reader, writer = await asyncio.open_connection("127.0.0.1", place)
    frames, replies = NetstringReader(100_000), list[bytes]()
    async with asyncio.timeout(SECONDS):
        for question in questions:
            writer.write(netstring(question.encode()))
            before = len(replies)
            while len(replies) == before:
                data = await reader.read(65_536)
                assert data, "the connection ended"
                replies += frames.feed(data)
    writer.close()
    return [each.decode() for each in replies]


QUESTIONS = ("QUERY .example", "QUERY pinned.example", "QUERY [192.0.2.1]", "QUERY unknown.example")


async def _holds(directory: Path, port: int) -> None:
    for place in (port, directory / "policy"):
        nothing, pinned, literal, unknown = await ask(place, *QUESTIONS)
        assert (nothing, literal) == ("NOTFOUND ", "NOTFOUND ")
        assert pinned.startswith("TEMP ")  # its MX could not be found out: nobody sends anything anyway
        assert unknown.startswith("TEMP ")


async def test_a_server_answers_on_both_kinds_of_sockets_and_operators_see_what(tmp_path: Path) -> None:
    async with serving(tmp_path, ("serve",)) as (config, port):
        await _holds(tmp_path, port)
        ran = await letterlock("policy", "query", "[192.0.2.1]", "--config", config)
        assert ran.data["answer"] == "NOTFOUND "
        explained = await letterlock("policy", "explain", "unknown.example", "--config", config)
        assert "mail waits" in explained.out
        dumped = await letterlock("policy", "dump", "--config", config)
        assert "[192.0.2.1]  NOTFOUND" in dumped.out
        assert "forgotten" in (await letterlock("policy", "purge", "--config", config)).out
        assert (await letterlock("policy", "query", ".x", "--config", config)).status == 1


async def test_all_workers_answer_and_are_purged_together(tmp_path: Path) -> None:
    async with serving(tmp_path, ("serve",), workers=2) as (_config, port):
        for _ in range(10):
            await _holds(tmp_path, port)
        queues = Queues(tmp_path / "q")
        purged = await asyncio.to_thread(queues.everyone, "policy.purge")
        assert len(purged) == 2
        assert sum(each["count"] for each in await asyncio.to_thread(queues.everyone, "policy.dump")) == 0


async def test_the_doors_work_alone_without_a_queue(tmp_path: Path) -> None:
    async with serving(tmp_path, ("companion", "run")) as (config, port):
        await _holds(tmp_path, port)
        assert not (tmp_path / "q" / "queue.db").exists()
        ran = await letterlock("policy", "query", "[192.0.2.1]", "--config", config)
        assert ran.data["answer"] == "NOTFOUND "
        assert "no queue" in (await letterlock("queue", "list", "--config", config)).err
        refused = await letterlock("companion", "run", "--config", config)
        assert (refused.status, "is running" in refused.err) == (1, True)


async def test_a_resolver_door_that_would_ask_itself_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "letterlock.toml"
    at = f"127.0.0.1:{free_port()}"
    config.write_text(f'[resolver]\nlisten = ["{at}"]\nupstream = ["{at}"]\n[queue]\ndirectory = "q"\n')
    ran = await letterlock("companion", "run", "--config", config)
    assert ran.status == 1
    assert "would ask itself" in ran.err
    assert "hint: name the resolver" in ran.err


def dns_replies(port: int) -> list[Message]:
    """What the resolver door answers over UDP from different ports, and over TCP."""
    asked = [dns.message.make_query(name, "A", want_dnssec=True) for name in ("a.example", "b.example", ".") * 4]
    over_udp = [dns.query.udp(each, address, SECONDS, port) for each in asked for address in ("127.0.0.1", "::1")]
    return [*over_udp, *(dns.query.tcp(each, "127.0.0.1", SECONDS, port) for each in asked[:3])]


async def test_every_worker_answers_dns_and_all_have_one_secret_for_cookies(tmp_path: Path) -> None:
    async with serving(tmp_path, ("serve",), workers=2) as (config, _):
        port = load(config).keys.resolver_listen[0].port
        replies = await asyncio.to_thread(dns_replies, port)
        assert {each.rcode() for each in replies} == {dns.rcode.SERVFAIL}  # its upstream does not answer
        assert all(any(option.otype == dns.edns.EDE for option in each.options) for each in replies)
    assert serve_module.serve.name == "serve"
    assert "letterlock.companion.dns_cookies" in sys.modules  # loaded before workers are forked
