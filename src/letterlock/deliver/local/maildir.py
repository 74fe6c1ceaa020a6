"""Final delivery into Maildirs: written in `tmp`, made durable, renamed into `new`, and the directory made durable.

A reader sees a message whole or not at all, and needs no lock. What is answered `delivered` is on disk. Files and
directories belong to the user that the service runs as, and only that user can read them (0600, 0700): readers are this
user, or get at them through an ACL on the mailbox's directory.

What an address can do to a path: nothing. `{local}` and `{domain}` become one name each, in which only letters, digits
and `-_+=.` stand for themselves, a dot not at the beginning; all else is written as `%2F` is. ASCII letters become
small, for a mailbox here is the same whatever its case (RFC 5321 section 2.4 leaves that to the final host).
Directories are opened one in the other, and no symbolic link is followed below the last directory before the first
placeholder.

A mailbox that is not there, in a directory that has others: the address is unknown, 5.1.1. Where the directory is empty
or missing, mail waits: its disk may not be mounted.
"""

import asyncio
import errno
import logging
import os
import re
import secrets
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from letterlock.deliver import outcomes
from letterlock.deliver.unforeseen import unforeseen
from letterlock.mail.addresses import Mailbox
from letterlock.mail.checked_content import Body, ContentLost, LargeContent
from letterlock.queue.tasks import OutcomeKind, RecipientOutcome
from letterlock.routing.local_targets import PLACEHOLDERS, Maildir

log = logging.getLogger("letterlock.deliver")

MAX_NAME_OCTETS = 255  # of one name in a directory, on every usual file system
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_+=.")
_QUOTED_PAIR = re.compile(r"\\(.)")
_STATUS = {  # RFC 3463: whose storage it is, and who has something to repair
    errno.ENOSPC: "4.3.1",
    errno.EDQUOT: "4.2.2",
    errno.EFBIG: "4.2.2",
    errno.EACCES: "4.3.5",
    errno.EPERM: "4.3.5",
    errno.ELOOP: "4.3.5",
    errno.ENOTDIR: "4.3.5",
    errno.ENOENT: "4.3.5",
    errno.EROFS: "4.3.5",
}
_OTHER_STATUS = "4.3.0"


class NoMailbox(Exception):
    """The address has no mailbox here."""


@dataclass(frozen=True, slots=True)
class MailboxLocation:
    """Where one mailbox lies: `names`, at least one, below the directory `base`, which is the operator's."""

    base: str
    names: tuple[str, ...]

    def __str__(self) -> str:
        return "/".join((self.base.rstrip("/"), *self.names))


def place(template: str, recipient: Mailbox) -> MailboxLocation:
    """Where a recipient's mailbox lies. Raises NoMailbox for an address that makes no name of 1 to 255 octets."""
    parts, fixed = _split(template)
    local, domain = _name_of(_unquoted(recipient.local_part)), _name_of(recipient.domain)
    names = tuple(part.replace("{domain}", domain).replace("{local}", local) for part in parts[fixed:])
    if any(len(name) > MAX_NAME_OCTETS for name in names):
        raise NoMailbox("the address is too long for the name of a directory")
    return MailboxLocation("/" + "/".join(parts[:fixed]), names)


def _split(template: str) -> tuple[list[str], int]:
    """The names of a template's path, and how many of them are the same for every mailbox: all but one at most."""
    parts = [name for name in template.split("/") if name]
    fixed = next((at for at, part in enumerate(parts) if any(each in part for each in PLACEHOLDERS)), len(parts))
    return parts, min(fixed, len(parts) - 1)


def base_of(target: Maildir) -> str:
    """The directory that all mailboxes lie in."""
    parts, fixed = _split(target.template)
    return "/" + "/".join(parts[:fixed])


def why_unwritable(target: Maildir) -> str | None:
    """Why this process cannot write mailboxes there, as far as that can be seen without any mail; None: it can."""
    base = base_of(target)
    try:
        if os.statvfs(base).f_flag & os.ST_RDONLY:
            return f"{base} is on a file system that is read-only for this service"
    except OSError as error:
        return f"{base}: {_said(error)}"
    if not os.access(base, os.X_OK):
        return f"{base} cannot be entered by this user"
    if target.create and not os.access(base, os.W_OK):
        return f"{base} cannot be written by this user, and mailboxes are to be made there"
    return None


def _unquoted(local_part: str) -> str:
    """`"ann"@x` is the same mailbox as `ann@x` (RFC 5321 section 4.1.2)."""
    if len(local_part) >= 2 and local_part.startswith('"') and local_part.endswith('"'):
        return _QUOTED_PAIR.sub(r"\1", local_part[1:-1])
    return local_part


def _name_of(text: str) -> str:
    """A text as part of a file's name: never empty, hidden, a way up or a way down; different texts never alike."""
    octets = text.encode("utf-8", "surrogateescape")
    if not octets:
        raise NoMailbox("the address has an empty part")
    if b"\0" in octets:
        raise NoMailbox("the address has a NUL in it")
    shown = "".join(chr(octet).lower() if chr(octet) in _PLAIN else f"%{octet:02X}" for octet in octets)
    return f"%2E{shown[1:]}" if shown.startswith(".") else shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One message on its way into Maildirs. `content` has CRLF line ends; `at`: seconds since 1970.

    `message_id` is what the log calls it.
    """

    reverse_path: Mailbox | None
    content: Body
    at: float
    hostname: str
    message_id: str = ""

    def for_recipient(self, recipient: Mailbox) -> Iterator[bytes]:
        """The file: Return-Path (RFC 5321 section 4.4), Delivered-To, and the message; lines end with LF, as in files.

        A large message is read from the disk piece by piece; raises ContentLost.
        """
        sender = "" if self.reverse_path is None else str(self.reverse_path)
        yield _field("Return-Path", f"<{sender}>") + _field("Delivered-To", str(recipient))
        pieces = self.content.blocks() if isinstance(self.content, LargeContent) else (self.content,)
        for piece in pieces:
            yield piece.replace(b"\r\n", b"\n")

    def name(self, token: str) -> str:
        """A name that no other file has: moment, process, chance and host."""
        host = self.hostname.replace("/", r"\057").replace(":", r"\072").replace(",", r"\054")
        seconds, micro = divmod(int(self.at * 1_000_000), 1_000_000)
        return f"{seconds}.M{micro:06}P{os.getpid()}R{token}.{host}"


def _field(name: str, value: str) -> bytes:
    shown = "".join(character if character.isprintable() else "?" for character in value)
    return f"{name}: {shown}\n".encode("utf-8", "replace")


def _token() -> str:
    return secrets.token_hex(8)


async def deliver_to_maildirs(
    target: Maildir, letter: Letter, recipients: Sequence[Mailbox], *, token: Callable[[], str] = _token
) -> list[RecipientOutcome]:
    """Write a message into the mailbox of each recipient, in a thread; what became of each. Never raises for the disk.

    Raises ContentLost where the content cannot be read. When it is cancelled, those who were not begun get nothing.
    """
    stopped = threading.Event()

    def write_all() -> list[RecipientOutcome]:
        return [_deliver(target, letter, recipient, token()) for recipient in recipients if not stopped.is_set()]

    try:
        return await asyncio.to_thread(write_all)
    except asyncio.CancelledError:
        stopped.set()
        raise


def _deliver(target: Maildir, letter: Letter, recipient: Mailbox, token: str) -> RecipientOutcome:
    shown = target.template
    try:
        where = place(target.template, recipient)
        shown = str(where)
        return _write(where, letter, recipient, token, create=target.create)
    except NoMailbox as unknown:
        return outcomes.failed(recipient, "5.1.1", str(unknown))  # the sender reads it: no path
    except OSError as error:
        code = _STATUS.get(error.errno or 0, _OTHER_STATUS)
        return outcomes.deferred(recipient, code, f"{shown}: {_said(error)}")
    except ContentLost:
        raise
    except Exception:
        log.exception("%s: internal error at %s; the message stays queued", letter.message_id, shown)
        _, code, text = unforeseen("the mailbox")  # the sender reads it: no path
        return outcomes.deferred(recipient, code, text)


def _write(where: MailboxLocation, letter: Letter, recipient: Mailbox, token: str, *, create: bool) -> RecipientOutcome:
    name = letter.name(token)
    with (
        _mailbox(where, create=create) as mailbox,
        _directory("tmp", mailbox, create=True) as tmp,
        _directory("new", mailbox, create=True) as new,
        _directory("cur", mailbox, create=True),
    ):
        octets, lines = _write_file(name, letter.for_recipient(recipient), tmp)
        try:  # `S` is the file's octets, `W` what they are with CRLF, as readers' quotas want them
            os.rename(name, f"{name},S={octets},W={octets + lines}", src_dir_fd=tmp, dst_dir_fd=new)
        except OSError:
            _discard(name, tmp)
            raise
        try:
            os.fsync(new)
        except OSError as error:
            text = f"{where}: saved, and perhaps not for good: {_said(error)}; it is tried again"
            return outcomes.deferred(recipient, _OTHER_STATUS, text, in_doubt=True)
    return RecipientOutcome(recipient=recipient, kind=OutcomeKind.DELIVERED, status="2.0.0", text=f"saved in {where}")


def _write_file(name: str, pieces: Iterator[bytes], directory: int) -> tuple[int, int]:
    """Write a file durably, or leave none; how many octets and lines it has. Raises OSError, ContentLost."""
    file, octets, lines = os.open(name, _NEW_FILE, 0o600, dir_fd=directory), 0, 0
    try:
        try:
            for piece in pieces:
                octets, lines = octets + len(piece), lines + piece.count(b"\n")
                rest = memoryview(piece)
                while rest:
                    rest = rest[os.write(file, rest) :]
            os.fsync(file)
        finally:
            os.close(file)
    except Exception:
        _discard(name, directory)
        raise
    return octets, lines


def _discard(name: str, directory: int) -> None:
    with suppress(OSError):  # readers clear `tmp` of what is older than 36 hours
        os.unlink(name, dir_fd=directory)


@contextmanager
def _mailbox(where: MailboxLocation, *, create: bool) -> Iterator[int]:
    """The mailbox's directory, opened name by name from the base on."""
    with ExitStack() as opened:
        directory = os.open(where.base, _DIRECTORY)
        opened.callback(os.close, directory)
        for name in where.names:
            directory = _enter(name, directory, create=create)
            opened.callback(os.close, directory)
        yield directory


@contextmanager
def _directory(name: str, parent: int, *, create: bool) -> Iterator[int]:
    directory = _enter(name, parent, create=create)
    try:
        yield directory
    finally:
        os.close(directory)


def _enter(name: str, parent: int, *, create: bool) -> int:
    """Open a directory, made where it is missing and may be. Raises NoMailbox, OSError."""
    try:
        return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    except FileNotFoundError:
        if not create:
            raise _missing(name, parent) from None
    except NotADirectoryError:
        if stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, f"{name} is a symbolic link, which is not followed") from None
        raise
    with suppress(FileExistsError):  # another delivery was faster
        os.mkdir(name, 0o700, dir_fd=parent)
        os.fsync(parent)
    return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)


def _missing(name: str, parent: int) -> Exception:
    with os.scandir(parent) as entries:
        if next(entries, None) is None:
            return OSError(errno.ENOENT, f"{name} is not there, and nothing beside it: is the disk mounted?")
    return NoMailbox("there is no mailbox of that name here")


def _said(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
