"""Large messages are sent piece by piece, from the disk, and never ended when they turn out to be damaged."""

from dataclasses import replace
from pathlib import Path

import pytest

from letterlock.deliver.attempt import attempt
from letterlock.deliver.contents import TAIL_OCTETS, Contents
from letterlock.deliver.local.delivery import deliver_locally
from letterlock.deliver.pool import SessionPool
from letterlock.mail.checked_content import Body, ContentLost, LargeContent
from letterlock.net.tls import ServerContext
from letterlock.queue.store import StoreFailed
from letterlock.queue.tasks import Attempt, OutcomeKind
from letterlock.routing.local_targets import LmtpSocket, Maildir
from tests.certificates import Credential
from tests.deliver.lmtp_server import LmtpServer, serving
from tests.deliver.test_pool import dane
from tests.deliver.world import ADDRESS, ANN, OPTIONS, HandClock, MemoryDialer, Server, make_ports, make_task
from tests.memory_store import MemoryTail
from tests.schedule.hand_store import HandStore
from tests.schedule.test_deliverer import task_for, until, working

HEAD = b"Subject: large\r\n\r\n"
BLOCKS = tuple(b".%d\r\n" % number + (b"x" * 70 + b"\r\n") * 1000 for number in range(5))
OFFERED = ("PIPELINING", "SIZE 1000000", "8BITMIME")


def large(*, dotless: bool = False, lost: bool = False, on_disk: bool = True) -> LargeContent:
    """A content with a tail, or in pieces."""
    tail = MemoryTail("tail", BLOCKS, lost=lost) if on_disk else None
    pieces = (HEAD,) if on_disk else (HEAD, *BLOCKS)
    octets = sum(map(len, (HEAD, *BLOCKS)))
    return LargeContent(pieces=pieces, octets=octets, ascii_only=True, dotless=dotless, tail=tail)


async def send(dialer: MemoryDialer, body: Body, pool: SessionPool | None = None) -> Attempt:
    task = make_task(ANN)
    task = replace(task, envelope=replace(task.envelope, size=len(body)))
    return await attempt(task, body, ports=make_ports(dialer), options=OPTIONS, pool=pool)


def kinds(made: Attempt) -> list[OutcomeKind]:
    return [outcome.kind for outcome in made.outcomes]


@pytest.mark.parametrize("on_disk", [True, False])
async def test_rfc5321_4_5_2_by_data_the_dots_of_every_piece_are_doubled(dialer: MemoryDialer, on_disk: bool) -> None:
    server = dialer.handlers[ADDRESS] = Server(extensions=OFFERED)
    assert kinds(await send(dialer, large(on_disk=on_disk))) == [OutcomeKind.DELIVERED]
    assert server.messages == [HEAD + b"".join(b"." + block for block in BLOCKS)]


@pytest.mark.parametrize("on_disk", [True, False])
async def test_rfc3030_2_by_bdat_it_is_one_chunk_of_the_announced_size(dialer: MemoryDialer, on_disk: bool) -> None:
    server = dialer.handlers[ADDRESS] = Server(extensions=(*OFFERED, "CHUNKING"))
    assert kinds(await send(dialer, large(on_disk=on_disk))) == [OutcomeKind.DELIVERED]
    assert server.messages == [HEAD + b"".join(BLOCKS)]


async def test_the_next_message_goes_through_the_same_session(dialer: MemoryDialer) -> None:
    server = dialer.handlers[ADDRESS] = Server(extensions=OFFERED)
    pool = SessionPool(HandClock(), OPTIONS)
    for _ in range(2):
        assert kinds(await send(dialer, large(), pool)) == [OutcomeKind.DELIVERED]
    assert len(server.messages) == 2
    assert dialer.dialled == [ADDRESS]
    await pool.close()


@pytest.mark.parametrize("extensions", [OFFERED, (*OFFERED, "CHUNKING")])
async def test_damaged_content_is_never_ended(dialer: MemoryDialer, extensions: tuple[str, ...]) -> None:
    server = dialer.handlers[ADDRESS] = Server(extensions=extensions)
    with pytest.raises(ContentLost):
        await send(dialer, large(lost=True))
    await dialer.aclose()
    assert not server.messages
    assert dialer.dialled == [ADDRESS], "no other host is tried"


async def test_a_server_that_hangs_up_in_the_middle_is_not_in_doubt(dialer: MemoryDialer) -> None:
    dialer.handlers[ADDRESS] = Server(extensions=OFFERED, answers={"DATA": [b"354 go\r\n421 4.3.2 closing\r\n"]})
    [outcome] = (await send(dialer, large())).outcomes
    assert (outcome.kind, outcome.in_doubt) == (OutcomeKind.DEFERRED, False)


async def test_a_connection_that_ends_after_the_final_dot_leaves_a_doubt(dialer: MemoryDialer) -> None:
    dialer.handlers[ADDRESS] = Server(extensions=OFFERED, answers={".": [b""]})
    [outcome] = (await send(dialer, large())).outcomes
    assert (outcome.kind, outcome.in_doubt) == (OutcomeKind.DEFERRED, True)


async def test_inside_tls(dialer: MemoryDialer, context: ServerContext, credential: Credential) -> None:
    server = dialer.handlers[ADDRESS] = Server(context, extensions=(*OFFERED, "STARTTLS"))
    ports = make_ports(dialer, dane(credential))
    made = await attempt(make_task(ANN), large(), ports=ports, options=OPTIONS)
    assert kinds(made) == [OutcomeKind.DELIVERED]
    assert server.messages == [HEAD + b"".join(b"." + block for block in BLOCKS)]


async def test_a_damaged_message_is_quarantined_and_others_go_on(dialer: MemoryDialer) -> None:
    store = HandStore(HandClock())
    server = dialer.handlers[ADDRESS] = Server(extensions=OFFERED)
    bad, good = task_for("a.example", 1), task_for("b.example", 2)
    store.bodies = {bad.envelope.id: large(lost=True), good.envelope.id: large()}
    store.put(bad, good)
    async with working(store, dialer):
        await until(lambda: len(store.settled) == 1 and bool(store.quarantined))
    assert store.quarantined == {bad.envelope.id: "its content does not have its checksum"}
    assert len(server.messages) == 1


async def test_what_cannot_be_quarantined_is_deferred(dialer: MemoryDialer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: str) -> None:
        raise StoreFailed("the disk failed")

    store = HandStore(HandClock())
    monkeypatch.setattr(store, "quarantine", broken)
    dialer.handlers[ADDRESS] = Server(extensions=OFFERED)
    bad = task_for("a.example", 1)
    store.bodies = {bad.envelope.id: large(lost=True)}
    store.put(bad)
    async with working(store, dialer):
        await until(lambda: len(store.settled) == 1)
    assert store.settled[0][0].deferred


def test_of_a_large_content_only_what_is_in_memory_counts() -> None:
    contents = Contents(4 * TAIL_OCTETS)
    contents.begin("one", "M1", 100 * TAIL_OCTETS)
    contents.begin("two", "M2", 100 * TAIL_OCTETS)
    assert not contents.has_room(1)
    contents.end("one")
    assert contents.has_room(100 * TAIL_OCTETS)


def test_what_an_older_version_stored_whole_counts_whole() -> None:
    contents = Contents(8 * TAIL_OCTETS)
    contents.begin("one", "M1", 6 * TAIL_OCTETS)
    assert contents.has_room(2 * TAIL_OCTETS)
    contents.read("M1", b"x" * (6 * TAIL_OCTETS))
    assert not contents.has_room(2 * TAIL_OCTETS)
    contents.end("one")
    assert contents.has_room(4 * TAIL_OCTETS)


async def test_into_a_maildir(tmp_path: Path) -> None:
    target = Maildir(f"{tmp_path}/{{local}}", create=True)
    made = await deliver_locally(make_task(ANN), large(), target, ports=make_ports(MemoryDialer()), options=OPTIONS)
    assert kinds(made) == [OutcomeKind.DELIVERED]
    [file] = (tmp_path / "ann" / "new").iterdir()
    content = file.read_bytes()
    assert content.endswith((HEAD + b"".join(BLOCKS)).replace(b"\r\n", b"\n"))
    assert f",S={len(content)},W={len(content) + content.count(10)}" in file.name


async def test_a_damaged_message_leaves_nothing_in_a_maildir(tmp_path: Path) -> None:
    target = Maildir(f"{tmp_path}/{{local}}", create=True)
    ports = make_ports(MemoryDialer())
    with pytest.raises(ContentLost):
        await deliver_locally(make_task(ANN), large(lost=True), target, ports=ports, options=OPTIONS)
    assert not [*(tmp_path / "ann" / "new").iterdir(), *(tmp_path / "ann" / "tmp").iterdir()]


async def test_by_lmtp(tmp_path: Path) -> None:
    server = LmtpServer()
    async with serving(server, tmp_path / "lmtp"):
        target = LmtpSocket(str(tmp_path / "lmtp"))
        ports = make_ports(MemoryDialer())
        made = await deliver_locally(make_task(ANN), large(), target, ports=ports, options=OPTIONS)
        assert kinds(made) == [OutcomeKind.DELIVERED]
        with pytest.raises(ContentLost):
            await deliver_locally(make_task(ANN), large(lost=True), target, ports=ports, options=OPTIONS)
    assert len(server.messages) == 1
