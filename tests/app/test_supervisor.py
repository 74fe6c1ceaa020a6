"""`letterlock serve` with several workers: one server to its users, none of whose mail a dead worker takes along."""

import asyncio
import contextlib
import os
import re
import signal
import smtplib
import socket
import sqlite3
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from tests import warm_start
from tests.cli.running import letterlock
from tests.soak.sink import Sink, digest
from tests.warm_start import Started

SECONDS = 30.0
CONTENT = b"Subject: x\r\nX-Soak: {number}\r\nX-Soak-Digest: {digest}\r\n\r\nhello\r\n"
LINE = re.compile(r"\w{3} [ \d]\d [\d:]{8} \S+ [\w/]+\[(\d+)\]: ")  # time, host, program and process


@contextmanager
def free_port() -> Iterator[int]:
    """A port that is nobody's now; a socket without listening keeps it ours, beside those that share it."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def configuration(directory: Path, port: int, target: int, workers: str) -> Path:
    path = directory / "letterlock.toml"
    path.write_text(
        f'hostname = "mx.example"\nworkers = {workers}\n[smtp]\nlisten = ["127.0.0.1:{port}"]\n'
        f'[queue]\ndirectory = "{directory}/queue"\nretry_first_seconds = 1\n'
        f'[resolver]\nupstream = ["127.0.0.1:9"]\n[delivery]\nloopback_hosts = true\nport = {target}\nmta_sts = false\n'
    )
    return path


class Running:
    """A server, and what it logged."""

    def __init__(self, process: Process | Started, stderr: asyncio.StreamReader) -> None:
        self.process = process
        self.stderr = stderr
        self.log: list[str] = []

    async def until(self, words: str, times: int = 1) -> None:
        """Read the log until it says so, as often."""
        async with asyncio.timeout(SECONDS):
            while sum(words in line for line in self.log) < times:
                line = await self.stderr.readline()
                assert line, "".join(self.log)
                self.log.append(line.decode())

    def workers(self) -> set[int]:
        """The processes that wrote into the log, without the supervisor."""
        wrote = {int(found[1]) for line in self.log if (found := LINE.match(line))}
        return wrote - {self.process.pid}

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(SECONDS):
            self.log += (await self.stderr.read()).decode().splitlines()
            return await self.process.wait()


@asynccontextmanager
async def serving(
    config: Path, ready: str = "workers are ready", before: Sequence[str] = (), after: Sequence[str] = ()
) -> AsyncIterator[Running]:
    """`before`: the words of a command that becomes the server; `after`: more options."""
    words = "serve", "--config", str(config), *after
    errors_end, its_errors = os.pipe()
    process: Process | Started
    if before:
        command = *before, sys.executable, "-m", "letterlock", *words
        process = await asyncio.create_subprocess_exec(*command, stderr=its_errors, start_new_session=True)
    else:
        process = warm_start.start(words, (0, 1, its_errors))
    os.close(its_errors)
    stderr, transport = await warm_start.reading(errors_end)
    running = Running(process, stderr)
    try:
        await running.until(ready)
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await stderr.read()  # until the last worker has let go of it
        await process.wait()
        transport.close()


def send(port: int, *numbers: int) -> None:
    """Each by a connection of its own, so that all workers get some."""
    for number in numbers:
        text = CONTENT.replace(b"{number}", b"%d" % number).replace(b"{digest}", digest(b"hello\r\n"))
        with smtplib.SMTP("127.0.0.1", port, timeout=SECONDS) as client:
            client.sendmail("a@b.example", ["to@[127.0.0.1]"], text)


async def arrived(sink: Sink, count: int) -> None:
    async with asyncio.timeout(SECONDS):
        while len(sink.arrived) < count:  # noqa: ASYNC110  # the sink is a thread
            await asyncio.sleep(0.02)


async def test_several_workers_share_one_address_and_a_dead_one_is_replaced(tmp_path: Path) -> None:
    with Sink("127.0.0.1") as sink, free_port() as port:
        async with serving(configuration(tmp_path, port, sink.port, "3")) as server:
            await asyncio.to_thread(send, port, *range(40))
            await arrived(sink, 40)
            await server.until("status=sent", 40)
            smtpd = {line.partition("smtpd[")[2].partition("]")[0] for line in server.log if "smtpd[" in line}
            assert len(smtpd) > 1, "connections are spread over the workers"
            victim = int(min(smtpd))
            os.kill(victim, signal.SIGKILL)
            await server.until("ended by itself (signal 9): started again")
            await asyncio.to_thread(send, port, *range(40, 60))
            await arrived(sink, 60)
            assert await server.stop() == 0
    assert set(sink.arrived.values()) == {1}
    assert not any("Traceback" in line for line in server.log)


async def test_children_of_others_may_end(tmp_path: Path) -> None:
    """A script that becomes the server by `exec` leaves it its children, and process 1 has those of everybody."""
    script = 'python=$1; shift; (sleep 0.1; echo "a child has ended" >&2) & exec "$python" "$@"'
    with free_port() as port:
        config = configuration(tmp_path, port, 9, "2")
        async with serving(config, before=("sh", "-c", script, "sh")) as server:
            await server.until("a child has ended")
            await asyncio.to_thread(send, port, *range(10))
            assert await server.stop() == 0
    assert not any("Traceback" in line or "ended by itself" in line for line in server.log)


async def test_process_1_of_a_container_has_a_supervisor_that_waits_for_all_children(tmp_path: Path) -> None:
    unshare = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc")
    script = 'python=$1; shift; (sleep 0.1; echo "a child has ended" >&2) & exec "$python" "$@"'
    config = configuration(tmp_path, 0, 9, "1")
    async with serving(config, "the worker is ready", before=(*unshare, "sh", "-c", script, "sh")) as server:
        await server.until("a child has ended")
        (port,) = {int(line.split("port ")[1].split(",")[0]) for line in server.log if "listening on" in line}
        await asyncio.to_thread(send, port, *range(3))
        await server.until("(queue active)", 3)
        (supervisor,) = {pid for pid in _children(server.process.pid) if _name(pid).startswith("python")}
        assert all(_state(pid) != "Z" for pid in _children(supervisor))


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text()


async def test_the_queue_of_all_workers_is_one_for_the_command(tmp_path: Path) -> None:
    with socket.socket() as nobody, free_port() as port:
        nobody.bind(("127.0.0.1", 0))  # and never listens
        config = configuration(tmp_path, port, nobody.getsockname()[1], "2")
        async with serving(config) as server:
            await asyncio.to_thread(send, port, *range(20))
            await server.until("(queue active)", 20)
            listed = (await letterlock("queue", "list", "--json", "--config", config)).data["messages"]
            assert len(listed) == 20
            assert [each["id"] for each in listed] == sorted(each["id"] for each in listed)
            queues = [tmp_path / "queue", tmp_path / "queue" / "worker-1"]
            counts = [_count(queue / "queue.db") for queue in queues]
            assert sum(counts) == 20
            for each in listed[:4]:
                assert (await letterlock("queue", "remove", each["id"], "--config", config)).status == 0
            assert (await letterlock("queue", "show", listed[5]["id"], "--config", config)).status == 0
            assert (await letterlock("queue", "retry", "--all", "--config", config)).status == 0
            assert await server.stop() == 0


async def test_with_fewer_workers_the_first_takes_over_what_the_others_left(tmp_path: Path) -> None:
    with Sink("127.0.0.1") as sink, free_port() as port:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            many = configuration(tmp_path, port, nobody.getsockname()[1], "4")
            async with serving(many) as server:
                await asyncio.to_thread(send, port, *range(30))
                await server.until("(queue active)", 30)
                assert await server.stop() == 0
        async with serving(configuration(tmp_path, port, sink.port, "2")) as server:
            await arrived(sink, 30)
            assert await server.stop() == 0
    assert set(sink.arrived.values()) == {1}
    assert sorted(path.name for path in (tmp_path / "queue").glob("worker-*")) == ["worker-1"]


async def test_workers_whose_supervisor_is_killed_end_by_themselves(tmp_path: Path) -> None:
    with socket.socket() as nobody, free_port() as port:
        nobody.bind(("127.0.0.1", 0))
        async with serving(configuration(tmp_path, port, nobody.getsockname()[1], "2")) as server:
            os.kill(server.process.pid, signal.SIGKILL)
            await server.until("the supervisor is gone", 2)
            await server.until("stopped", 2)


async def test_a_worker_that_cannot_start_stops_the_server(tmp_path: Path) -> None:
    with socket.socket() as nobody, free_port() as port:
        nobody.bind(("127.0.0.1", 0))
        config = configuration(tmp_path, port, nobody.getsockname()[1], "2")
        (tmp_path / "queue" / "worker-1" / "queue.db").mkdir(parents=True)
        ran = await letterlock("serve", "--config", config)
    assert ran.status == 1
    assert "worker 1" in ran.err


async def test_with_one_worker_left_everything_that_two_had_is_listed_and_delivered(tmp_path: Path) -> None:
    with Sink("127.0.0.1") as sink, free_port() as port:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            waiting = configuration(tmp_path, port, nobody.getsockname()[1], "2")
            async with serving(waiting) as server:
                await asyncio.to_thread(send, port, *range(12))
                await server.until("(queue active)", 12)
                assert await server.stop() == 0
            counts = [_count(tmp_path / "queue" / name) for name in ("queue.db", "worker-1/queue.db")]
            assert sum(counts) == 12
            assert counts[1], "connections are spread over the workers"
            one = configuration(tmp_path, 0, nobody.getsockname()[1], "1")
            async with serving(one, ready="queue in ") as server:
                listed = (await letterlock("queue", "list", "--json", "--config", one)).data
                assert (len(listed["messages"]), listed["problems"]) == (12, {})
                assert await server.stop() == 0
        async with serving(configuration(tmp_path, 0, sink.port, "1"), ready="queue in ") as server:
            await arrived(sink, 12)
            assert await server.stop() == 0
    assert set(sink.arrived.values()) == {1}
    assert list((tmp_path / "queue").glob("worker-*")) == []


async def test_a_queue_that_cannot_be_taken_over_is_told_at_the_start_and_wherever_the_queue_is_shown(
    tmp_path: Path,
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        config = configuration(tmp_path, 0, nobody.getsockname()[1], "1")
        broken = tmp_path / "queue" / "worker-3" / "queue.db"
        broken.parent.mkdir(parents=True)
        broken.write_bytes(b"not a database" * 300)
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as dead:
            dead.bind(str(broken.parent / "control.sock"))  # of a server that was killed
        async with serving(config, ready="queue in ") as server:
            assert any("worker-3 cannot be taken over" in line for line in server.log)
            for verb in ("list", "stats"):
                ran = await letterlock("queue", verb, "--config", config)
                assert ran.status == 1
                assert "the mail in the folder worker-3 is not served: " in ran.err
                ran = await letterlock("queue", verb, "--json", "--config", config)
                assert list(ran.data["problems"]) == ["worker-3"]
            assert await server.stop() == 0
    assert broken.read_bytes() == b"not a database" * 300


def _count(path: Path) -> int:
    with sqlite3.connect(path) as db:
        (count,) = db.execute("SELECT count(*) FROM message").fetchone()
    db.close()
    return int(count)
