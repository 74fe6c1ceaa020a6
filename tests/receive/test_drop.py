"""The drop directory: what local programs leave there is accepted once, and nothing hostile that lies there."""

import asyncio
import itertools
import logging
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from letterlock.mail.addresses import Mailbox
from letterlock.mail.checked_content import SPOOLED_OCTETS, Body, ContentLost, LargeContent
from letterlock.mail.envelope import Envelope, TlsDemand
from letterlock.milter.frames import frame
from letterlock.queue.observing import Observers
from letterlock.queue.store import StoreFailed, StoreFull
from letterlock.receive import drop_directory
from letterlock.receive.ask_milter import Milter
from letterlock.receive.drop import DropCollector
from letterlock.receive.drop_directory import (
    MAX_REFUSED,
    MAX_REFUSED_OCTETS,
    MODE,
    UNFINISHED_SECONDS,
    DropDirectory,
    Dropped,
    DropUnusable,
    close_drop_directory,
)
from letterlock.receive.options import ReceiveOptions
from letterlock.receive.pipeline import Stage
from letterlock.receive.profiles import Profile, profile_of_local_users
from letterlock.receive.receipt_log import ReceiptLog
from letterlock.recipients.directory import Directory, LocalDomain
from letterlock.recipients.site import LocalSite
from letterlock.recipients.targets import Entry, RefusalEntry
from letterlock.sendmail.drop_file import leave
from letterlock.sendmail.transfer import SubmittedEnvelope as Letter
from tests.bodies import octets_of
from tests.memory_store import MemoryStore
from tests.receive.filters import FakeMilter, running_milter
from tests.receive.world import NOW, Delivery, StandingClock

OPTIONS = ReceiveOptions(hostname="mx.example.org", max_message_octets=10_000)
NOBODY = 65_534
USER = 54_321  # a user without a name, a home or rights


pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


class Killed(BaseException):
    """The process ends here."""


class CountingStore(MemoryStore):
    """A store in memory that counts what it accepts, and fails when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.accepted: list[tuple[Envelope, bytes]] = []
        self.fault: Exception | None = None

    async def accept(self, envelope: Envelope, body: Body, **more: Any) -> None:
        if self.fault is not None:
            raise self.fault
        await super().accept(envelope, body, **more)
        self.accepted.append((envelope, octets_of(body)))


class Drop:
    """A drop directory, a store, and a collector that can be killed and started again."""

    def __init__(self, path: Path, options: ReceiveOptions = OPTIONS, *, profile: Profile | None = None) -> None:
        self.path, self.options, self.profile = path, options, profile or Profile()
        self.store, self.delivery = CountingStore(), Delivery()
        self._ids = itertools.count(1)
        self.start()

    def start(self) -> None:
        self.directory = DropDirectory(self.path)
        self.collector = DropCollector(
            self.directory,
            self.options,
            self.profile,
            store=self.store,
            clock=StandingClock(),
            new_id=lambda: f"ID{next(self._ids)}",
            handover=self.delivery,
            observers=Observers((ReceiptLog(),)),
        )

    def leave(
        self, *recipients: str, sender: str = "ann@example.org", content: bytes = b"Subject: x\r\n\r\nhi\r\n"
    ) -> None:
        to = list(recipients or ("bob@example.net",))
        leave(str(self.path), [Letter(sender, to, body_type="7BIT").batch(to, content, "host.example.org")])

    def put(self, octets: bytes, *, mode: int = 0o640, uid: int = USER, name: str = "") -> Path:
        """A file as a hostile user could leave it."""
        file = self.path / (name or f"new-{os.urandom(16).hex()}")
        file.write_bytes(octets)
        if os.geteuid() == 0:
            os.chown(file, uid, -1)
        file.chmod(mode)
        return file

    async def collect(self) -> bool:
        return await self.collector.collect()

    @property
    def names(self) -> list[str]:
        return sorted(
            str(path.relative_to(self.path)) for path in self.path.rglob("*") if path.name not in ("taken", "refused")
        )


@pytest.fixture
def drop() -> Iterator[Drop]:
    """In a directory that every user can reach, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="letterlock-") as directory:
        Path(directory).chmod(0o755)
        made = Drop(Path(directory) / "queue-drop")
        yield made
        made.directory.close()


async def test_what_was_left_is_accepted_once_with_its_owner_and_is_gone(
    drop: Drop, caplog: pytest.LogCaptureFixture
) -> None:
    """Input 32, its second half."""
    caplog.set_level(logging.INFO)
    drop.leave()
    (file,) = drop.path.glob("new-*")
    os.chown(file, USER, -1)
    assert not await drop.collect()
    assert not await drop.collect()
    [(envelope, body)] = drop.store.accepted
    assert (envelope.id, envelope.client) == ("ID1", f"local[uid={USER}]")
    assert (envelope.reverse_path, envelope.recipients) == (
        Mailbox("ann", "example.org"),
        (Mailbox("bob", "example.net"),),
    )
    assert (envelope.accepted_at, envelope.expires_at, envelope.size) == (NOW, NOW + 5 * 86_400, len(body))
    assert body == (
        b"Received: by mx.example.org (Letterlock, from userid 54321)\r\n\tid ID1;\r\n"
        b"\tMon, 21 Sep 2026 14:13:20 +0000\r\nSubject: x\r\n\r\nhi\r\n"
    )
    assert drop.names == []
    assert [(taken.id, content) for taken, content, _ in drop.delivery.taken] == [("ID1", body)]
    assert f"ID1: uid={USER} from=<ann@example.org>" in caplog.messages


async def test_another_user_can_leave_mail_and_neither_list_nor_read_nor_remove_it(drop: Drop) -> None:
    drop.leave()
    path, (name,) = drop.path, drop.names
    acts: list[Callable[[], object]] = [
        lambda: list(path.iterdir()),
        (path / name).read_bytes,
        lambda: (path / name).write_bytes(b"x"),
        (path / name).unlink,
        lambda: (path / name).rename(path / "mine"),
        lambda: (path / "taken").rename(path / "mine"),
        (path / "refused").rmdir,
        lambda: list((path / "taken").iterdir()),
        lambda: path.chmod(0o700),
    ]
    with user(USER):
        for act in acts:
            with pytest.raises(PermissionError):
                act()
        drop.leave()
    await drop.collect()
    clients = sorted(envelope.client for envelope, _ in drop.store.accepted)
    assert clients == [f"local[uid={os.geteuid()}]", f"local[uid={USER}]"]


def test_a_server_without_rights_reads_what_another_user_left(drop: Drop) -> None:
    """The set-group-ID bit gives the file to the server's group, whatever the sender's own."""
    path = drop.path.parent / "nobodys-drop"
    path.mkdir(0o700)
    os.chown(path, NOBODY, NOBODY)
    with user(NOBODY):
        directory = DropDirectory(path)
    with user(USER):
        before = os.umask(0o077)
        leave(str(path), [b"hello"])
        os.umask(before)
    with user(NOBODY):
        (name,) = directory.ready(10, time.time())
        assert directory.take(name, "ID1")
        left = directory.open("ID1", 100)
        assert (left.read(100), left.uid) == (b"hello", USER)
        left.close()
        directory.finish("ID1")
        assert directory.taken(10) == []
        directory.close()


@contextmanager
def user(uid: int) -> Iterator[None]:
    """Act as a user with a group of its own and no others."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


HOSTILE: dict[str, Callable[[Path], object]] = {
    "a symbolic link": lambda path: path.symlink_to("/etc/passwd"),
    "a link to nothing": lambda path: path.symlink_to("/nowhere"),
    "a pipe": os.mkfifo,
    "a socket": lambda path: os.mknod(path, 0o640 | stat.S_IFSOCK),
    "a directory": lambda path: path.mkdir(),
    "a full directory": lambda path: (path / "x").mkdir(parents=True),
    "an empty file": lambda path: path.touch(0o640),
    "a file of another form": lambda path: path.write_bytes(os.urandom(5_000)),
    "a huge file": lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_RDWR, 0o640), 1 << 40),
}


@pytest.mark.parametrize("what", HOSTILE)
async def test_nothing_hostile_is_accepted_and_nothing_stops_the_others(drop: Drop, what: str) -> None:
    for _ in range(3):
        HOSTILE[what](drop.path / f"new-{os.urandom(16).hex()}")
    drop.leave()
    await drop.collect()
    await drop.collect()
    assert len(drop.store.accepted) == 1
    assert [name for name in drop.names if name.startswith("taken")] == []
    assert not [name for name in drop.names if name.startswith("new-")] or what == "a full directory"


BATCH = Letter("ann@example.org", ["bob@example.net"], body_type="7BIT").batch(
    ["bob@example.net"], b"Subject: x\r\n\r\nhi\r\n", "host.example.org"
)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o660])
async def test_a_file_that_others_can_write_is_not_believed(drop: Drop, mode: int) -> None:
    drop.put(BATCH, mode=mode)
    await drop.collect()
    assert drop.store.accepted == []
    assert drop.names == ["refused/ID1"]


async def test_a_file_of_another_group_is_not_believed(drop: Drop) -> None:
    os.chown(drop.put(BATCH), USER, USER)
    await drop.collect()
    assert (drop.store.accepted, drop.names) == ([], ["refused/ID1"])


async def test_a_file_with_another_name_is_not_believed(drop: Drop) -> None:
    """Else somebody could link another user's file here, and send it."""
    (drop.path.parent / "other").hardlink_to(drop.put(BATCH))
    await drop.collect()
    assert (drop.store.accepted, drop.names) == ([], [])
    assert (drop.path.parent / "other").read_bytes() == BATCH


async def test_what_is_not_called_whole_is_left_alone_and_removed_when_it_is_old(drop: Drop) -> None:
    drop.put(BATCH, name=f"tmp-{'0' * 32}")
    drop.put(BATCH, name="notes.txt")
    now = time.time()
    await drop.collect()
    drop.directory.ready(10, now + UNFINISHED_SECONDS - 60)
    assert drop.names == ["notes.txt", f"tmp-{'0' * 32}"]
    drop.directory.ready(10, now + UNFINISHED_SECONDS + 60)
    assert drop.names == []
    assert drop.store.accepted == []


async def test_nobody_can_hide_mail_behind_many_names(drop: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Directories that are not empty cannot be removed by the server; whoever made them gains nothing."""
    monkeypatch.setattr(drop_directory, "MAX_LISTED", 7)
    for number in range(60):
        (drop.path / f"full-{number}" / "x").mkdir(parents=True)
    drop.leave()
    for _ in range(60 // 7 + 2):
        await drop.collect()
    assert len(drop.store.accepted) == 1


async def test_a_large_file_that_is_no_message_is_not_kept(drop: Drop) -> None:
    drop.put(b"x" * (MAX_REFUSED_OCTETS + 1))
    await drop.collect()
    assert (drop.store.accepted, drop.names) == ([], [])


async def test_what_is_no_message_is_kept_for_the_operator_up_to_a_limit(drop: Drop) -> None:
    for _ in range(MAX_REFUSED + 20):
        drop.put(b"nonsense")
    while await drop.collect():
        pass
    assert len(drop.names) == MAX_REFUSED
    assert {name.partition("/")[0] for name in drop.names} == {"refused"}


async def test_a_file_that_grows_while_it_is_read_is_bounded(drop: Drop) -> None:
    drop.put(BATCH + b"x" * (2 * OPTIONS.max_message_octets + (1 << 20)))
    await drop.collect()
    assert (drop.store.accepted, drop.names) == ([], [])


@pytest.mark.parametrize("step", ["take", "open", "accept", "accepted", "finish", "finished", "handed over"])
async def test_a_kill_at_any_point_neither_loses_nor_doubles_a_message(
    drop: Drop, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    drop.leave()

    def killed(*_: object, **__: object) -> None:
        raise Killed

    async def killed_after_accept(envelope: Envelope, body: Body, **more: Any) -> None:
        await CountingStore.accept(drop.store, envelope, body, **more)
        raise Killed

    def killed_after_finish(message_id: str) -> None:
        DropDirectory.finish(drop.directory, message_id)
        raise Killed

    match step:
        case "take" | "open" | "finish":
            monkeypatch.setattr(drop.directory, step, killed)
        case "accept":
            monkeypatch.setattr(drop.store, "accept", killed)
        case "accepted":
            monkeypatch.setattr(drop.store, "accept", killed_after_accept)
        case "finished":
            monkeypatch.setattr(drop.directory, "finish", killed_after_finish)
        case "handed over":
            monkeypatch.setattr(drop.delivery, "take", killed)
    with pytest.raises(Killed):
        await drop.collect()
    assert drop.delivery.taken == [], "nothing is delivered while its file is there"
    monkeypatch.undo()
    drop.start()
    await drop.collect()
    await drop.collect()
    assert len(drop.store.accepted) == 1
    assert drop.names == []


@pytest.mark.parametrize("fault", [StoreFailed("disk I/O error"), StoreFull("no space")])
async def test_what_the_store_does_not_take_waits_and_keeps_its_id(drop: Drop, fault: StoreFailed) -> None:
    drop.leave()
    drop.store.fault = fault
    assert not await drop.collect()
    assert drop.names == ["taken/ID1"]
    assert (stat.S_IMODE(drop.path.stat().st_mode) == MODE) is not isinstance(fault, StoreFull)
    drop.store.fault = None
    await drop.collect()
    assert [envelope.id for envelope, _ in drop.store.accepted] == ["ID1"]
    assert drop.names == []
    assert stat.S_IMODE(drop.path.stat().st_mode) == MODE


async def test_a_file_that_cannot_be_removed_is_not_accepted_again(drop: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
    drop.leave()

    def fails(_: str) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(drop.directory, "finish", fails)
    await drop.collect()
    drop.store._kept.clear()  # it was delivered
    await drop.collect()
    assert len(drop.store.accepted) == 1
    monkeypatch.undo()
    await drop.collect()
    assert (len(drop.store.accepted), drop.names) == (1, [])


@pytest.mark.parametrize("fault", [OSError(5, "Input/output error"), RuntimeError("a bug")])
async def test_one_that_cannot_be_taken_in_keeps_nobody_waiting(
    drop: Drop, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    for number in range(5):
        drop.leave(f"u{number}@example.net")
    real = drop.directory.open

    def fails_for_the_second(message_id: str, max_octets: int) -> Dropped:
        if message_id == "ID2":
            raise fault
        return real(message_id, max_octets)

    monkeypatch.setattr(drop.directory, "open", fails_for_the_second)
    await drop.collect()
    await drop.collect()
    assert len(drop.store.accepted) == 4
    assert drop.names == ["taken/ID2"]
    monkeypatch.undo()
    drop.directory.close()
    drop.start()
    await drop.collect()
    assert (len(drop.store.accepted), drop.names) == (5, [])


async def test_a_sender_is_told_of_recipients_that_are_refused(drop: Drop) -> None:
    drop.leave("x@-.-", "bob@example.net")
    await drop.collect()
    (notification, content), (message, _) = drop.store.accepted
    assert (notification.reverse_path, notification.recipients) == (None, (Mailbox("ann", "example.org"),))
    assert b"x@-.-" in content
    assert message.recipients == (Mailbox("bob", "example.net"),)


async def test_nobody_is_told_who_has_no_address(drop: Drop) -> None:
    drop.leave("x@-.-", sender="")
    await drop.collect()
    assert (drop.store.accepted, drop.names) == ([], [])


async def test_what_delivery_has_no_room_for_is_not_due_before_its_file_is_gone(
    drop: Drop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drop.delivery, "prepare", lambda _: ())
    drop.leave()
    await drop.collect()
    assert await drop.store.lease(NOW, limit=10, lease_seconds=60) == []
    assert len(await drop.store.lease(NOW + 60, limit=10, lease_seconds=60)) == 1


async def test_many_are_taken_in_several_goes(drop: Drop) -> None:
    for _ in range(150):
        drop.leave()
    assert await drop.collect()
    assert not await drop.collect()
    assert len(drop.store.accepted) == 150


async def test_it_looks_at_its_start_and_stops_when_told(drop: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
    drop.leave()
    looked = asyncio.Event()
    monkeypatch.setattr(drop.delivery, "take", lambda *_: looked.set())
    running = asyncio.create_task(drop.collector.run())
    async with asyncio.timeout(20):
        await looked.wait()
        drop.collector.stop()
        await running
    assert len(drop.store.accepted) == 1


@pytest.mark.parametrize(("networks", "demand"), [(None, TlsDemand.TLS_REQUIRED_NO), ((), TlsDemand.NONE)])
async def test_rfc8689_3_the_header_counts_where_it_counts_from_this_machine(
    tmp_path: Path, networks: tuple[()] | None, demand: TlsDemand
) -> None:
    drop = Drop(tmp_path / "queue-drop", profile=Profile(tls_required_no_networks=networks))
    drop.leave(content=b"TLS-Required: No\r\n\r\nhi\r\n")
    await drop.collect()
    assert drop.store.accepted[0][0].tls_demand is demand
    drop.directory.close()


def test_local_users_may_send_where_the_loopback_may_relay() -> None:
    assert profile_of_local_users([Profile()])
    assert not profile_of_local_users([Profile(relay_networks=())])


def test_a_drop_directory_of_somebody_else_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "drop"
    path.mkdir()
    os.chown(path, USER, USER)
    with pytest.raises(DropUnusable, match="somebody else"):
        DropDirectory(path)
    close_drop_directory(path)
    assert stat.S_IMODE(path.stat().st_mode) != 0o700


@pytest.mark.parametrize("name", ["taken", "refused"])
def test_a_directory_in_it_that_somebody_else_made_is_not_used(tmp_path: Path, name: str) -> None:
    path = tmp_path / "drop"
    (path / name).mkdir(parents=True)
    os.chown(path / name, USER, USER)
    with pytest.raises(DropUnusable, match="somebody else"):
        DropDirectory(path)


def test_a_link_is_no_drop_directory(tmp_path: Path) -> None:
    (tmp_path / "drop").symlink_to(tmp_path)
    with pytest.raises(DropUnusable):
        DropDirectory(tmp_path / "drop")


def test_where_local_users_may_not_send_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "drop"
    path.mkdir(0o700)
    DropDirectory(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == MODE
    close_drop_directory(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


ROOMY = replace(OPTIONS, max_message_octets=4 * SPOOLED_OCTETS)
LARGE = b"Subject: large\r\n\r\n" + (b"x" * 70 + b"\r\n") * (2 * SPOOLED_OCTETS // 72)


async def test_the_body_of_a_large_message_is_never_in_memory_whole(drop: Drop) -> None:
    drop.collector.reload(ROOMY, drop.profile)
    drop.leave("bob@example.net", content=LARGE)
    await drop.collect()
    [(envelope, content)] = drop.store.accepted
    assert content.endswith(LARGE)
    assert envelope.size == len(content)
    body = await drop.store.body(envelope.id)
    assert isinstance(body, LargeContent)
    assert body.held_octets < 1000
    assert [spool.discarded for spool in drop.store.spools] == [False]
    assert drop.names == []


async def test_what_cannot_be_accepted_leaves_nothing_spooled(drop: Drop) -> None:
    drop.collector.reload(ROOMY, drop.profile)
    drop.leave("bob@example.net", content=LARGE)
    drop.store.fault = StoreFull("full")
    await drop.collect()
    assert [spool.discarded for spool in drop.store.spools] == [True]
    assert drop.names == ["taken/ID1"]
    drop.store.fault = None
    await drop.collect()
    assert [spool.discarded for spool in drop.store.spools] == [True, False]
    assert len(drop.store.accepted) == 1


async def test_a_large_one_that_is_refused_leaves_nothing_spooled(drop: Drop) -> None:
    drop.collector.reload(ROOMY, drop.profile)
    drop.leave("bob@example.net", content=LARGE + b"a\nb\r\n", sender="")
    await drop.collect()
    assert not drop.store.accepted
    assert all(spool.discarded for spool in drop.store.spools)
    assert drop.names == []


async def test_a_directory_that_systemd_closed_at_a_reload_is_opened_again(drop: Drop) -> None:
    """It sets StateDirectoryMode= for each command that it runs, ExecReload= included."""
    path = drop.collector._directory.path
    path.chmod(0o700)
    drop.collector.reload(ROOMY, drop.profile)
    assert stat.S_IMODE(path.stat().st_mode) == 0o3733
    path.chmod(0o700)
    await drop.collector.collect()
    assert stat.S_IMODE(path.stat().st_mode) == 0o3733


def _filtered(milter: FakeMilter) -> Profile:
    return Profile(milters=(Milter(name="test", address=milter.address),))


async def test_a_message_that_a_filter_quarantines_waits_and_so_do_its_copies(drop: Drop, tmp_path: Path) -> None:
    """It was delivered at once: a verdict of the filter on local mail counted for nothing."""
    held = FakeMilter({"E": frame("q", b"looks odd\0") + frame("c")})
    async with running_milter(held, tmp_path) as milter:
        drop.collector.reload(OPTIONS, _filtered(milter))
        drop.leave()
        await drop.collect()
    [message] = await drop.store.messages(limit=10)
    assert [(each.state, each.held_because) for each in message.recipients] == [("quarantined", "looks odd")]
    assert drop.delivery.taken == []
    assert drop.names == []


async def test_a_message_that_a_filter_discards_is_named_in_the_log(
    drop: Drop, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with running_milter(FakeMilter({"E": frame("d")}), tmp_path) as milter:
        drop.collector.reload(OPTIONS, _filtered(milter))
        drop.leave()
        await drop.collect()
    assert (drop.store.accepted, drop.names) == ([], [])
    assert "ID1: discarded, from local[uid=0]: by milter test" in caplog.messages


async def test_it_is_closed_when_local_users_may_not_send_any_more(
    drop: Drop, caplog: pytest.LogCaptureFixture
) -> None:
    """`sendmail` reports that then, instead of leaving mail that nobody takes in."""
    drop.collector.reload(OPTIONS, None)
    assert stat.S_IMODE(drop.path.stat().st_mode) == 0o700
    assert "local users may not send" in caplog.text
    drop.collector.reload(OPTIONS, drop.profile)
    assert stat.S_IMODE(drop.path.stat().st_mode) == MODE


@pytest.mark.parametrize("what", ["a symbolic link", "a socket", "a directory", "a full directory"])
async def test_what_became_something_else_while_it_was_taken_does_not_stay(drop: Drop, what: str) -> None:
    """Its owner can put it under the name between the look at it and the move."""
    HOSTILE[what](drop.path / "taken" / "ID99")
    await drop.collect()
    assert [name for name in drop.names if name.startswith("taken")] == []


class OneTable:
    """Aliases: one that refuses, and one that stands for a sender."""

    name = "aliases"

    async def find(self, key: str) -> Entry | None:
        if key == "ann":
            return (Mailbox("eve", "example.net"),)
        return (RefusalEntry("no"),) if key == "a" else None


REFUSING = LocalSite(Directory({"example.org": LocalDomain(aliases=(OneTable(),), mailboxes=())}))


async def test_a_refusal_is_reported_to_whom_an_alias_of_ours_stands_for(drop: Drop) -> None:
    """A sender who is only an alias has no mailbox: the notification could not be delivered, and was dropped."""
    drop.collector.reload(replace(OPTIONS, site=REFUSING), drop.profile)
    drop.leave("a@example.org", sender="ann@example.org")
    await drop.collect()
    [(envelope, _)] = drop.store.accepted
    assert [str(each) for each in envelope.recipients] == ["eve@example.net"]


async def test_rfc3461_4_1_who_asked_for_no_notification_gets_none(drop: Drop) -> None:
    drop.collector.reload(replace(OPTIONS, site=REFUSING), drop.profile)
    to = ["a@example.org"]
    letter = Letter("ann@example.org", to, body_type="7BIT", notify="NEVER")
    leave(str(drop.path), [letter.batch(to, b"Subject: x\r\n\r\nhi\r\n", "host.example.org")])
    await drop.collect()
    assert (drop.store.accepted, drop.names) == ([], [])


async def test_a_spooled_body_that_cannot_be_read_back_is_read_from_its_file_again(
    drop: Drop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It was taken for a bug, and waited for the next start."""

    async def lost(*_: object) -> None:
        raise ContentLost("its content does not have its checksum")

    drop.leave()
    with monkeypatch.context() as patched:
        patched.setattr(Stage, "run_waiting", lost)
        await drop.collect()
    assert "ID1: cannot be accepted now: its content does not have its checksum" in caplog.messages
    await drop.collect()
    assert [envelope.id for envelope, _ in drop.store.accepted] == ["ID1"]
