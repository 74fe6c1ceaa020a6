"""Maildirs: whole or not at all, on disk before it is said, in no other place whatever the address says."""

import asyncio
import errno
import mailbox
import os
import re
import stat
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.deliver.attempt import attempt
from letterlock.deliver.local import maildir
from letterlock.deliver.local.maildir import (
    MAX_NAME_OCTETS,
    Letter,
    NoMailbox,
    base_of,
    deliver_to_maildirs,
    place,
    why_unwritable,
)
from letterlock.mail.addresses import Mailbox, parse_mailbox
from letterlock.queue.tasks import OutcomeKind, RecipientOutcome
from letterlock.routing.local_targets import Maildir
from tests.deliver.test_lmtp import kinds, routed
from tests.deliver.world import ANN, BOB, BODY, OPTIONS, SENDER, make_task

AT = 1_800_000_000.25
EVERYBODY = "/var/mail/{domain}/{local}"


def letter(body: bytes = BODY, reverse_path: Mailbox | None = SENDER) -> Letter:
    """A message on its way into Maildirs."""
    return Letter(content=body, reverse_path=reverse_path, at=AT, hostname="mail.example")


def file_of(letter: Letter, recipient: Mailbox) -> bytes:
    return b"".join(letter.for_recipient(recipient))


@pytest.fixture(name="base")
def base_fixture(tmp_path: Path) -> Path:
    """A directory with a mailbox for Ann."""
    (tmp_path / "example.org" / "ann").mkdir(parents=True)
    return tmp_path


async def deliver(base: Path, *recipients: Mailbox, create: bool = False, body: bytes = BODY) -> list[RecipientOutcome]:
    """Deliver below a directory."""
    target = Maildir(f"{base}/{{domain}}/{{local}}", create)
    return await deliver_to_maildirs(target, letter(body), recipients, token=lambda: "0123456789abcdef")


def files(base: Path) -> list[Path]:
    """All files below a directory."""
    return sorted(path for path in base.rglob("*") if path.is_file())


def descriptors() -> set[str]:
    """What this process has open."""
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def brief(outcome: RecipientOutcome) -> str:
    return f"{outcome.kind} {outcome.status}{' in doubt' * outcome.in_doubt}"


async def test_a_message_in_a_maildir(base: Path) -> None:
    (outcome,) = await deliver(base, ANN)
    assert (brief(outcome), outcome.text) == ("delivered 2.0.0", f"saved in {base}/example.org/ann")
    (file,) = files(base)
    content = b"Return-Path: <sender@example.net>\nDelivered-To: ann@example.org\nSubject: hello\n\nhello\n"
    assert file.read_bytes() == content
    assert file.parent == base / "example.org/ann/new"
    sizes = f"S={len(content)},W={len(content) + 5}"
    assert file.name == f"1800000000.M250000P{os.getpid()}R0123456789abcdef.mail.example,{sizes}"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert {path.name for path in file.parent.parent.iterdir()} == {"tmp", "new", "cur"}
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


async def test_python_s_own_reader_finds_it(base: Path) -> None:
    await deliver(base, ANN)
    (message,) = mailbox.Maildir(base / "example.org/ann", factory=None, create=False)
    assert (message["Subject"], message["Delivered-To"]) == ("hello", "ann@example.org")


async def test_each_recipient_has_a_file_and_an_outcome(base: Path) -> None:
    (base / "example.org/bob").mkdir()
    done = await deliver(base, ANN, Mailbox("nobody", "example.org"), BOB)
    assert [brief(one) for one in done] == ["delivered 2.0.0", "failed 5.1.1", "delivered 2.0.0"]
    assert [file.parts[-3] for file in files(base)] == ["ann", "bob"]


def test_rfc5321_4_4_the_null_reverse_path_stands_in_the_return_path() -> None:
    assert file_of(letter(reverse_path=None), ANN).startswith(b"Return-Path: <>\n")


def test_no_address_begins_a_field_of_its_own() -> None:
    evil = Mailbox('"a\r\nX-Evil: yes"', "example.org")
    assert b"\nX-Evil" not in file_of(letter(reverse_path=evil), evil)


def test_names_differ_and_hold_neither_slash_nor_colon() -> None:
    one = replace(letter(), hostname="a/b:c,d")
    assert re.fullmatch(r"\d+\.M\d{6}P\d+Rx\.a\\057b\\072c\\054d", one.name("x"))
    assert maildir._token() != maildir._token()


@pytest.mark.parametrize(
    ("template", "address", "wanted"),
    [
        (EVERYBODY, "ann@example.org", "/var/mail/example.org/ann"),
        (EVERYBODY, "Ann.Smith+tag@Example.ORG", "/var/mail/example.org/ann.smith+tag"),
        (EVERYBODY, '"ann"@example.org', "/var/mail/example.org/ann"),
        (EVERYBODY, '"a\\"n"@example.org', "/var/mail/example.org/a%22n"),
        (EVERYBODY, '"../../etc/passwd"@example.org', "/var/mail/example.org/%2E.%2F..%2Fetc%2Fpasswd"),
        (EVERYBODY, '".."@example.org', "/var/mail/example.org/%2E."),
        (EVERYBODY, '"."@example.org', "/var/mail/example.org/%2E"),
        (EVERYBODY, '".ssh"@example.org', "/var/mail/example.org/%2Essh"),
        (EVERYBODY, "a/b@example.org", "/var/mail/example.org/a%2Fb"),
        (EVERYBODY, "a%2fb@example.org", "/var/mail/example.org/a%252fb"),
        (EVERYBODY, "{domain}@example.org", "/var/mail/example.org/%7Bdomain%7D"),
        (EVERYBODY, "zoë@example.org", "/var/mail/example.org/zo%C3%AB"),
        (EVERYBODY, "ann@[192.0.2.1]", "/var/mail/%5B192.0.2.1%5D/ann"),
        (EVERYBODY, "ann@[IPv6:2001:db8::1]", "/var/mail/%5Bipv6%3A2001%3Adb8%3A%3A1%5D/ann"),
        ("/home/u-{local}/Maildir", "ann@example.org", "/home/u-ann/Maildir"),
        ("/srv/all", "ann@example.org", "/srv/all"),
    ],
)
def test_where_a_mailbox_lies(template: str, address: str, wanted: str) -> None:
    assert str(place(template, parse_mailbox(address))) == wanted


def test_the_base_is_what_is_the_same_for_all() -> None:
    assert place("/srv/mail/{domain}/x/{local}", ANN).base == "/srv/mail"
    assert place("/srv/mail/all", ANN).names == ("all",)


@pytest.mark.parametrize("local", ["a\0b", "", '""', "x" * (MAX_NAME_OCTETS + 1), "/" * 86])
def test_an_address_that_makes_no_name_has_no_mailbox(local: str) -> None:
    with pytest.raises(NoMailbox):
        place(EVERYBODY, Mailbox(local, "example.org"))


@given(st.text(min_size=1, max_size=80), st.text(min_size=1, max_size=80))
def test_no_address_leaves_its_directory_and_no_two_share_one(local: str, other: str) -> None:
    try:
        where = place(EVERYBODY, Mailbox(local, "example.org"))
        elsewhere = place(EVERYBODY, Mailbox(other, "example.org"))
    except NoMailbox:
        return
    domain, name = where.names
    assert domain == "example.org"
    assert "/" not in name
    assert "\0" not in name
    assert not name.startswith(".")
    assert len(name.encode()) <= MAX_NAME_OCTETS
    if maildir._unquoted(local).translate(_SMALL) != maildir._unquoted(other).translate(_SMALL):
        assert where != elsewhere


_SMALL = {capital: capital + 32 for capital in range(ord("A"), ord("Z") + 1)}


async def test_mail_to_an_unknown_address_fails(base: Path) -> None:
    for recipient in (BOB, Mailbox("ann", "example.com")):
        (outcome,) = await deliver(base, recipient)
        assert brief(outcome) == "failed 5.1.1"
        assert outcome.text == "there is no mailbox of that name here"
    assert not files(base)


async def test_an_empty_directory_may_be_a_disk_that_is_not_mounted(base: Path) -> None:
    (base / "example.com").mkdir()
    (outcome,) = await deliver(base, Mailbox("ann", "example.com"))
    assert brief(outcome) == "deferred 4.3.5"
    assert "is the disk mounted?" in outcome.text
    (outcome,) = await deliver(base / "nowhere", ANN)
    assert brief(outcome) == "deferred 4.3.5"


async def test_mailboxes_are_made_where_that_is_wanted(base: Path) -> None:
    recipient = Mailbox("new", "example.com")
    done = [*await deliver(base, recipient, create=True), *await deliver(base, recipient, create=True)]
    assert [brief(one) for one in done] == ["delivered 2.0.0"] * 2
    assert stat.S_IMODE((base / "example.com/new").stat().st_mode) == 0o700


@pytest.mark.parametrize("link", ["example.org", "example.org/ann", "example.org/ann/new", "example.org/ann/tmp"])
async def test_no_symbolic_link_is_followed_below_the_base(link: str, tmp_path: Path) -> None:
    base, outside = tmp_path / "mail", tmp_path / "outside"
    for name in ("ann/new", "new", "tmp", "cur"):
        (outside / name).mkdir(parents=True)
    (base / link).parent.mkdir(parents=True)
    (base / link).symlink_to(outside)
    (outcome,) = await deliver(base, ANN, create=True)
    assert brief(outcome) == "deferred 4.3.5"
    assert "symbolic link" in outcome.text
    assert not files(outside)


async def test_the_base_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk/example.org/ann").mkdir(parents=True)
    (tmp_path / "mail").symlink_to(tmp_path / "disk")
    (outcome,) = await deliver(tmp_path / "mail", ANN)
    assert brief(outcome) == "delivered 2.0.0"


async def test_a_file_where_a_mailbox_should_be(base: Path) -> None:
    (base / "example.org/bob").write_text("not a directory")
    (outcome,) = await deliver(base, BOB, create=True)
    assert brief(outcome) == "deferred 4.3.5"
    assert "Not a directory" in outcome.text


class Disk:
    """The operating system's calls, one of which fails."""

    def __init__(self, call: str, error: int, after: int = 0) -> None:
        self.call, self.error, self.after = call, error, after
        self.real = getattr(os, call)

    def __call__(self, *arguments: object, **options: object) -> object:
        self.after -= 1
        if self.after < 0:
            raise OSError(self.error, os.strerror(self.error))
        return self.real(*arguments, **options)


@pytest.mark.parametrize(
    ("call", "error", "after", "wanted"),
    [
        ("open", errno.ENOSPC, 6, "deferred 4.3.1"),
        ("write", errno.ENOSPC, 0, "deferred 4.3.1"),
        ("write", errno.EDQUOT, 0, "deferred 4.2.2"),
        ("write", errno.EIO, 0, "deferred 4.3.0"),
        ("fsync", errno.EIO, 3, "deferred 4.3.0"),
        ("rename", errno.ENOSPC, 0, "deferred 4.3.1"),
        ("fsync", errno.EIO, 4, "deferred 4.3.0 in doubt"),
        ("open", errno.EACCES, 0, "deferred 4.3.5"),
        ("open", errno.EMFILE, 0, "deferred 4.3.0"),
        ("mkdir", errno.EROFS, 0, "deferred 4.3.5"),
    ],
)
async def test_what_the_disk_refuses_is_tried_again_and_leaves_nothing(
    call: str, error: int, after: int, wanted: str, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, call, Disk(call, error, after))
    (outcome,) = await deliver(base, ANN)
    monkeypatch.undo()
    assert brief(outcome) == wanted
    assert os.strerror(error) in outcome.text
    assert bool(files(base)) == outcome.in_doubt


async def test_writes_in_pieces_are_joined(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, bytes(data[:7])))
    await deliver(base, ANN)
    (file,) = files(base)
    assert file.read_bytes() == file_of(letter(), ANN)


async def test_everything_is_on_disk_before_it_is_said(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, rename = os.fsync, os.rename

    def note_fsync(file: int) -> None:
        fsync(file)
        done.append("fsync " + Path(f"/proc/self/fd/{file}").readlink().name.partition(".")[0])

    def note_rename(*names: str, src_dir_fd: int, dst_dir_fd: int) -> None:
        rename(*names, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        done.append("rename")

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "rename", note_rename)
    await deliver(base, ANN)
    assert done == ["fsync ann", "fsync ann", "fsync ann", "fsync 1800000000", "rename", "fsync new"]


async def test_no_descriptor_stays_open(base: Path) -> None:
    before = descriptors()
    await deliver(base, ANN, BOB, Mailbox("..", "example.org"))
    assert descriptors() == before


async def test_who_was_not_begun_when_it_is_cancelled_gets_nothing(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began, go_on, loop = asyncio.Event(), threading.Event(), asyncio.get_running_loop()
    rename = os.rename

    def slow(*names: str, src_dir_fd: int, dst_dir_fd: int) -> None:
        loop.call_soon_threadsafe(began.set)
        go_on.wait(10)
        rename(*names, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "rename", slow)
    (base / "example.org/bob").mkdir()
    delivering = asyncio.create_task(deliver(base, ANN, BOB))
    await began.wait()
    delivering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await delivering
    go_on.set()
    await loop.shutdown_default_executor()
    assert [file.parts[-3] for file in files(base)] == ["ann"]


async def test_an_attempt_ends_in_maildirs_and_says_so(base: Path) -> None:
    target = Maildir(f"{base}/{{domain}}/{{local}}")
    made = await attempt(make_task(ANN, BOB), BODY, ports=routed(target), options=OPTIONS)
    assert kinds(made) == [OutcomeKind.DELIVERED, OutcomeKind.FAILED]
    assert made.host == str(target)
    assert made.reasons[0].code == "rule-route"


@pytest.mark.parametrize(
    ("template", "base"),
    [(EVERYBODY, "/var/mail"), ("/srv/mail-{domain}/{local}", "/srv"), ("/srv/all/box", "/srv/all"), ("/box", "/")],
)
def test_the_part_of_a_path_that_all_mailboxes_share(template: str, base: str) -> None:
    assert base_of(Maildir(template)) == base


def test_what_would_keep_mail_waiting_is_known_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = Maildir(f"{tmp_path}/{{local}}", create=True)
    assert why_unwritable(target) is None
    assert why_unwritable(Maildir(f"{tmp_path}/none/{{local}}")) == f"{tmp_path}/none: No such file or directory"
    monkeypatch.setattr(os, "access", lambda _, mode: mode != os.W_OK)
    assert "cannot be written by this user" in (why_unwritable(target) or "")
    assert why_unwritable(replace(target, create=False)) is None, "the mailboxes below may be writable"
    monkeypatch.setattr(os, "access", lambda _, mode: mode != os.X_OK)
    assert "cannot be entered" in (why_unwritable(replace(target, create=False)) or "")
    real = os.statvfs
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result((*real(path)[:8], os.ST_RDONLY, 255)))
    assert "read-only for this service" in (why_unwritable(target) or "")
