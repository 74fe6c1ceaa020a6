"""`letterlock queue export` and `import`, as an operator runs them against real servers, and with kills in between."""

import asyncio
import base64
import contextlib
import json
import smtplib
import sys
import tarfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from letterlock.admin.client import Queues
from letterlock.admin.server import ControlServer
from letterlock.queue.folders import CONTROL_SOCKET
from letterlock.queue.orders import OrderKind
from letterlock.queue.store import Store
from letterlock.store.sealing import ContentSeal
from letterlock.store.segments.segment_store import open_queue
from tests.app.test_supervisor import arrived, configuration, free_port, send, serving
from tests.cli.running import SECONDS, Ran, letterlock
from tests.deliver.world import HandClock
from tests.queue.messages import ANN, BODY, CAT, envelope
from tests.queue.orders import obey
from tests.soak.reloads import unused_port
from tests.soak.sink import Sink

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))


@asynccontextmanager
async def queue(directory: Path, key: bytes | None = None) -> AsyncIterator[Store]:
    """A real store and its control socket, in this process."""
    folder(directory)
    store = await open_queue(directory, ContentSeal(key))
    server = ControlServer(store, directory / CONTROL_SOCKET, clock=HandClock(), wake=lambda: None)
    await server.start()
    try:
        yield store
    finally:
        await server.stop()
        await store.close()


def folder(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path


def names_in(path: Path) -> list[str]:
    return sorted(each.name for each in path.iterdir())


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


async def on(directory: Path, *arguments: str | Path) -> Ran:
    return await letterlock("queue", *arguments, "--queue", directory)


async def accept(store: Store, *names: str) -> None:
    for name in names:
        await store.accept(envelope(name, ANN, CAT, expires_at=9e9), BODY, next_attempt_at=8e9)


async def ids(store: Store) -> list[str]:
    return [each.id for each in await store.messages(limit=10_000)]


@pytest.fixture
async def archive(tmp_path: Path) -> Path:
    """Of three messages, one of them held."""
    async with queue(tmp_path / "old") as store:
        await accept(store, "M1", "M2", "M3")
        await obey(store, OrderKind.HOLD, "M2", reason="ask legal")
        assert (await on(tmp_path / "old", "export", tmp_path / "queue.tar")).status == 0
    return tmp_path / "queue.tar"


async def test_a_queue_goes_into_a_file_that_only_its_owner_reads_and_into_another_queue(
    tmp_path: Path, archive: Path
) -> None:
    assert mode(archive) == 0o600
    assert names_in(tmp_path) == ["old", "queue.tar"]
    async with queue(tmp_path / "new") as store:
        ran = await on(tmp_path / "new", "import", archive, "--json")
        assert (ran.status, ran.data) == (0, {"imported": 3, "known": 0, "damaged": 0})
        states = {each.id: {one.state for one in each.recipients} for each in await store.messages(limit=9)}
        assert states == {"M1": {"queued"}, "M2": {"held"}, "M3": {"queued"}}
        assert await store.body("M3") == BODY
        await obey(store, OrderKind.REMOVE, "M1")
        ran = await on(tmp_path / "new", "import", archive)
        assert (ran.status, ran.err) == (0, "0 messages imported, 3 imported before or in the queue already\n")
        assert await ids(store) == ["M2", "M3"]


async def test_everything_is_held_if_so_ordered(tmp_path: Path, archive: Path) -> None:
    async with queue(tmp_path / "new") as store:
        assert (await on(tmp_path / "new", "import", archive, "--because", "x")).status == 2
        assert (await on(tmp_path / "new", "import", archive, "--hold", "--because", "a drill")).status == 0
        because = {each.id: each.recipients[0].held_because for each in await store.messages(limit=9)}
        assert because == {"M1": "a drill", "M2": "ask legal", "M3": "a drill"}


async def test_a_file_that_exists_is_not_overwritten_and_a_failed_export_leaves_none(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("precious")
    async with queue(tmp_path / "old") as store:
        await accept(store, "M1")
        ran = await on(tmp_path / "old", "export", kept)
        assert (ran.status, "exists" in ran.err, kept.read_text()) == (2, True, "precious")
        ran = await on(tmp_path / "old", "export", tmp_path / "no such folder" / "queue.tar")
        assert (ran.status, "cannot be written" in ran.err) == (1, True)
        assert (await on(tmp_path / "old", "export", "/dev/full/x")).status == 1
    assert (await on(tmp_path / "old", "export", tmp_path / "queue.tar")).status == 3, "there is no server"
    assert names_in(tmp_path) == ["kept", "old"]


def cut_before_the_last_content(archive: Path) -> Path:
    octets, cut = archive.read_bytes(), archive.with_name("cut.tar")
    cut.write_bytes(octets[: octets.rindex(BODY)])
    return cut


async def test_a_damaged_file_is_refused_whole_and_salvaged_on_request(tmp_path: Path, archive: Path) -> None:
    cut = cut_before_the_last_content(archive)
    async with queue(tmp_path / "new") as store:
        ran = await on(tmp_path / "new", "import", cut)
        assert (ran.status, "cut short" in ran.err, await ids(store)) == (1, True, [])
        ran = await on(tmp_path / "new", "import", cut, "--salvage")
        assert (ran.status, "cut short" in ran.err, await ids(store)) == (1, True, ["M1", "M2"])
        assert (await on(tmp_path / "new", "import", archive, "--json")).data["imported"] == 1
        assert await ids(store) == ["M1", "M2", "M3"]
        for wrong in (tmp_path / "none.tar", tmp_path):
            assert (await on(tmp_path / "new", "import", wrong)).status == 1


async def test_a_pipe_carries_a_queue_as_well(tmp_path: Path) -> None:
    async with queue(tmp_path / "old") as old, queue(tmp_path / "new") as new:
        await accept(old, "M1", "M2")
        command = f"'{sys.executable}' -m letterlock queue"
        line = f"{command} export - --queue '{tmp_path}/old' | {command} import - --queue '{tmp_path}/new' --json"
        process = await asyncio.create_subprocess_shell(line, stdout=PIPE, stderr=PIPE)
        out, err = await process.communicate()
        assert json.loads(out) == {"imported": 2, "known": 0, "damaged": 0}, err.decode()
        assert await ids(new) == ["M1", "M2"]


async def test_what_is_sealed_stays_sealed_in_the_file_and_needs_its_key(tmp_path: Path) -> None:
    sealed, clear = tmp_path / "sealed.tar", tmp_path / "clear.tar"
    async with queue(tmp_path / "old", KEY) as store:
        await accept(store, "M1")
        assert (await on(tmp_path / "old", "export", sealed)).status == 0
        assert (await on(tmp_path / "old", "export", clear, "--in-clear")).status == 0
    assert BODY not in sealed.read_bytes()
    assert BODY in clear.read_bytes()
    for name, key in (("other", OTHER), ("none", None)):
        async with queue(tmp_path / name, key) as store:
            ran = await on(tmp_path / name, "import", sealed)
            assert (ran.status, "key" in ran.err, await ids(store)) == (1, True, [])
            assert (await on(tmp_path / name, "import", clear)).status == 0
            assert await store.body("M1") == BODY
    async with queue(tmp_path / "same", KEY) as store:
        assert (await on(tmp_path / "same", "import", sealed)).status == 0
        assert await store.body("M1") == BODY
    for name in ("other", "same"):
        assert not any(BODY in each.read_bytes() for each in (tmp_path / name).iterdir() if each.is_file())


async def test_a_damaged_message_is_named_and_the_others_are_in_the_file(tmp_path: Path) -> None:
    async with queue(tmp_path / "old") as store:
        await accept(store, "M1", "M2")
    damaged = (tmp_path / "old" / "queue.db").read_bytes().replace(BODY, BODY.swapcase(), 1)
    (tmp_path / "old" / "queue.db").write_bytes(damaged)
    async with queue(tmp_path / "old"):
        ran = await on(tmp_path / "old", "export", tmp_path / "queue.tar", "--json")
    assert (ran.status, ran.data["messages"], ran.data["damaged"]) == (1, 1, 1)
    assert "not exported: M" in ran.err
    with tarfile.open(tmp_path / "queue.tar") as tar:
        end = tar.extractfile("end.json")
        assert end is not None
        assert json.load(end)["damaged"] == 1


async def _fed(config: Path, octets: bytes, imported: int) -> Process:
    """An import that was given a part of an archive, once so many messages are in; it waits for the rest."""
    command = sys.executable, "-m", "letterlock", "queue", "import", "-", "--hold", "--config", str(config)
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL)
    assert process.stdin is not None
    process.stdin.write(octets)
    await process.stdin.drain()
    queues = Queues(config.parent / "queue")
    async with asyncio.timeout(SECONDS):
        while await asyncio.to_thread(queues.size) < imported:  # noqa: ASYNC110  # another process imports
            await asyncio.sleep(0.02)
    return process


async def _killed(process: Process) -> None:
    process.kill()
    with contextlib.suppress(ProcessLookupError, ConnectionError, BrokenPipeError):
        await process.communicate()


def _config(directory: Path, port: int, target: int, workers: int) -> Path:
    directory.mkdir(exist_ok=True)
    return configuration(directory, port, target, str(workers))


async def test_an_import_survives_kills_and_other_workers_and_nothing_comes_twice(tmp_path: Path) -> None:
    """Two workers export under load; one worker imports, is killed, and three go on; each message arrives once."""
    archive = tmp_path / "queue.tar"
    with Sink("127.0.0.1") as sink, free_port() as old_port, unused_port(shared=False) as new_port:
        old = _config(tmp_path / "old", old_port, 9, 2)
        async with serving(old):
            await asyncio.to_thread(send, old_port, *range(40))
            more = asyncio.create_task(asyncio.to_thread(send, old_port, *range(40, 60)))
            ran = await letterlock("queue", "export", archive, "--config", old, "--json")
            await more
            assert ran.status == 0
            exported = ran.data["messages"]
            assert exported >= 40, "all that was accepted before is in it"
        octets = archive.read_bytes()
        async with serving(_config(tmp_path / "new", new_port, sink.port, 1), "asking 127") as server:
            await _killed(await _fed(tmp_path / "new/letterlock.toml", octets[: len(octets) // 3], 5))
            waiting = await _fed(tmp_path / "new/letterlock.toml", octets[: len(octets) // 2], 15)
            server.process.kill()
            await server.process.wait()
            await _killed(waiting)
        new = _config(tmp_path / "new", new_port, sink.port, 3)
        async with serving(new):
            ran = await letterlock("queue", "import", archive, "--hold", "--config", new, "--json")
            assert (ran.status, ran.data["imported"] + ran.data["known"]) == (0, exported)
            assert ran.data["known"] >= 15
            assert (await letterlock("queue", "release", "--all", "--config", new)).status == 0
            await arrived(sink, exported)
            ran = await letterlock("queue", "import", archive, "--config", new, "--json")
            assert (ran.status, ran.data["known"]) == (0, exported)
        one = _config(tmp_path / "new", new_port, sink.port, 1)
        async with serving(one, "asking 127"):
            ran = await letterlock("queue", "import", archive, "--config", one, "--json")
            assert (ran.status, ran.data["known"]) == (0, exported)
    assert len(sink.arrived) == exported
    assert set(sink.arrived.values()) == {1}
    assert sink.damaged == []


def send_large(port: int, content: bytes) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=SECONDS) as client:
        client.sendmail("a@b.example", ["to@[127.0.0.1]"], content)


@pytest.mark.parametrize("sealed", [False, True])
async def test_a_large_message_that_lies_in_a_file_of_its_own_is_whole_in_the_archive(
    tmp_path: Path, sealed: bool
) -> None:
    body = b"".join(b"%08d\r\n" % number for number in range(400_000))  # four megabytes
    found = []
    for name, given in (("old", True), ("new", False)):
        with unused_port(shared=False) as port:
            config = _config(tmp_path / name, port, 9, 1)
            if sealed:
                key_for(config)
            async with serving(config, "asking 127"):
                if given:
                    await asyncio.to_thread(send_large, port, b"Subject: large\r\n\r\n" + body)
                    assert (await letterlock("queue", "export", tmp_path / "q.tar.gz", "--config", config)).status == 0
                else:
                    ran = await letterlock("queue", "import", tmp_path / "q.tar.gz", "--hold", "--config", config)
                    assert ran.status == 0, ran.err
                listed = (await letterlock("queue", "list", "--json", "--config", config)).data["messages"]
                assert len(listed) == 1
                shown = await letterlock(
                    "queue", "show", listed[0]["id"], "--message", "--full", "--raw", "--config", config
                )
                assert body.decode().replace("\r\n", "\n") in shown.out.replace("\r\n", "\n")
                found.append((listed[0]["id"], listed[0]["size"]))
    assert found[0] == found[1]


def key_for(config: Path) -> None:
    (config.parent / "queue.key").write_text(base64.b64encode(KEY).decode() + "\n")
    (config.parent / "queue.key").chmod(0o600)
    config.write_text(config.read_text().replace("[queue]\n", '[queue]\nkey_file = "queue.key"\n'))


@pytest.mark.parametrize("hostile", [{}, {"order": 7}, {"next_hop": "x"}, {"order": "hold", "at": "now"}])
async def test_a_history_that_is_none_is_left_out_and_breaks_no_command(
    tmp_path: Path, hostile: dict[str, object]
) -> None:
    async with queue(tmp_path / "new") as store:
        await accept(store, "M1")
        copy = await store.copy("M1")
        assert copy is not None
        await obey(store, OrderKind.REMOVE, "M1")
        orders = {"order": "hold", "at": 5, "next_hop": None, "reason": "kept"}
        await store.restore("archive", replace(copy, journal=(hostile, orders, {**hostile, "reasons": 7})))
        for verb in ("show", "trace"):
            for more in ((), ("--json",)):
                ran = await on(tmp_path / "new", verb, "M1", *more)
                assert (ran.status, ran.err) == (0, "")
        assert "kept" in (await on(tmp_path / "new", "trace", "M1")).out
