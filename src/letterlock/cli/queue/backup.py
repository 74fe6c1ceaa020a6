"""`letterlock queue export` and `import`: a running queue into a file, and from a file into a running queue."""

import os
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

import click

import letterlock
from letterlock.admin.archive import MODE, ArchiveMember, ArchiveOrigin, ArchiveReader, ArchiveWriter, BadArchive
from letterlock.admin.client import ControlClient, ControlSession, Queues
from letterlock.app.output import json_text
from letterlock.cli.queue.server_link import plural, progress, tell_problems, with_server
from letterlock.deliver.log import safe
from letterlock.queue.orders import MAX_REASON_CHARACTERS

COMPRESSED = (".gz", ".tgz")
MAX_SHOWN = 10  # damaged messages that are named
_FILE = click.argument("file", metavar="FILE", type=click.Path(path_type=Path))


@click.command("export")
@_FILE
@click.option("--in-clear", is_flag=True, help="Decrypt contents that [queue] key_file encrypts, for another key.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
@with_server
def export(client: Queues, *, file: Path, in_clear: bool, as_json: bool) -> None:
    """Write all waiting mail into an archive, while the server runs.

    FILE is a new file, compressed if its name ends in .gz or .tgz; - writes to standard output. It has every message
    that was accepted before the command began and is still waiting when its turn comes, with content, recipients,
    states and history. The queue does not change.

    Contents that [queue] key_file encrypts stay encrypted: the importing server needs the same key. The file contains
    addresses, and unencrypted contents, in cleartext; only you can read it (mode 0600).

    \b
    Exit status:
       0  every message is in the file
       1  some mail could not be copied and is named; the file has the rest
       2  usage error, such as a file that exists
       3  no server answers
    """
    problems = client.problems()
    origin = ArchiveOrigin.new(f"letterlock {letterlock.__version__}", time.time())
    total = client.size() if sys.stderr.isatty() else None
    with _new_file(file) as target, progress(total) as advance:
        writer = ArchiveWriter(target, origin, compressed=file.name.endswith(COMPRESSED))
        damaged: dict[str, str] = {}
        for number, part in enumerate(client.parts()):
            with part.session() as session:
                if number == 0:
                    session.ask("queue.export", archive=origin.name, in_clear=in_clear)
                for message_id in _ids(part):
                    if (damage := _copied(session, writer, message_id, in_clear=in_clear)) is not None:
                        damaged[message_id] = damage
                    advance(1)
        writer.end(damaged)
    counts: dict[str, int | str] = {
        "messages": writer.messages,
        "octets": writer.octets,
        "damaged": len(damaged),
        "archive": origin.name,
    }
    _tell(counts, f"{plural(writer.messages)} exported", as_json=as_json and str(file) != "-")
    _tell_damaged(damaged, "not exported")
    tell_problems(problems | client.problems())
    if damaged:
        sys.exit(1)


def _ids(part: ControlClient) -> Iterator[str]:
    """The ids in a worker's queue, in their order: those that come later than the command have greater ones."""
    for page in part.pages("queue.list", wanted={}):
        for message in page["messages"]:
            yield str(message["id"])


def _copied(session: ControlSession, writer: ArchiveWriter, message_id: str, *, in_clear: bool) -> str | None:
    """Copy a message, unless it has left the queue meanwhile; what is wrong with it."""
    answer = session.ask("queue.copy", id=message_id, in_clear=in_clear)
    if "octets" not in answer:
        return str(answer["damage"]) if answer["found"] else None
    document, content = answer["octets"]
    writer.add(message_id, b"".join(session.read(document)), session.read(content), content, str(answer["sha256"]))
    return None


@contextmanager
def _new_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that has its name once it is complete and on the disk. Ends the program when it cannot be written."""
    if str(path) == "-":
        if sys.stdout.isatty():
            raise click.UsageError("an archive is not written to a terminal: give a file, or a pipe")
        with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as out:
            yield out
        return
    part = path.with_name(path.name + ".part")
    if os.path.lexists(path):
        raise click.UsageError(f"{path} exists: name a new file")
    try:
        part.unlink(missing_ok=True)  # of an export that was killed
        with open(part, "xb", opener=lambda name, flags: os.open(name, flags, MODE)) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    except OSError as error:
        _drop(part)
        click.echo(f"error: {path} cannot be written: {error.strerror or error}", err=True)
        sys.exit(1)
    except BaseException:
        _drop(part)
        raise


def _drop(part: Path) -> None:
    with suppress(OSError):  # what made it fail is reported, not this
        part.unlink(missing_ok=True)


@click.command("import")
@_FILE
@click.option("--hold", is_flag=True, help="Hold everything, so that you can look before anything is delivered.")
@click.option("--because", metavar="TEXT", help="With --hold: your reason.")
@click.option("--salvage", is_flag=True, help="Import from a damaged file what precedes the damage.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
@with_server
def import_(client: Queues, *, file: Path, hold: bool, because: str | None, salvage: bool, as_json: bool) -> None:
    """Put the mail of an archive into the queue of the running server.

    FILE was written by `letterlock queue export`; - reads standard input. A file is checked as a whole before the first
    message is imported. Held messages stay held; all others are tried when they were due, or at once.

    Each message of an archive is imported once, even if you repeat the command because it was interrupted, and even if
    the message was delivered in the meantime. But another server that still has this mail, or delivered it after
    the export, delivers it as well: import with --hold if you are not sure.

    \b
    Exit status:
       0  every message of the archive is in the queue, or was imported before
       1  some could not be imported and are named, or the file is damaged
       2  usage error
       3  no server answers
    """
    if because is not None and not hold:
        raise click.UsageError("--because needs --hold")
    reason = (because or f"imported from {file.name}")[:MAX_REASON_CHARACTERS] if hold else None
    if reason is not None and not reason.isprintable():
        raise click.UsageError("write one printable line after --because")
    counts = {"imported": 0, "known": 0, "damaged": 0}
    damaged: dict[str, str] = {}
    try:
        with _opened(file) as source:
            total = None if salvage or not _is_file(source) else _checked(source)
            _import(client, ArchiveReader(source), reason, total, counts, damaged)
        broken = None
    except BadArchive as error:
        broken = str(error)
    counts["damaged"] = len(damaged)
    done = f"{plural(counts['imported'])} imported, {counts['known']:,} imported before or in the queue already"
    _tell(counts, done, as_json=as_json)
    _tell_damaged(damaged, "not imported")
    if broken is not None:
        hint = "" if salvage else "\n  hint: --salvage imports what precedes the damage"
        click.echo(f"error: {file}: {safe(broken)}{hint}", err=True)
    if damaged or broken is not None:
        sys.exit(1)


def _import(
    client: Queues, archive: ArchiveReader, hold: str | None, total: int | None, counts: dict[str, int],
    damaged: dict[str, str],
) -> None:  # fmt: skip
    """Put in each message, and count it. Raises BadArchive."""
    first, *others = client.parts()
    with ExitStack() as opened, progress(total) as advance:
        session = opened.enter_context(first.session())
        elsewhere = [opened.enter_context(each.session()) for each in others]
        for member in archive.messages():
            put_in = _put_in(session, elsewhere, archive.origin.name, member, hold)
            if isinstance(put_in, str):
                damaged[member.id] = put_in
            else:
                counts["imported" if put_in else "known"] += 1
            advance(1)


def _put_in(
    session: ControlSession, elsewhere: list[ControlSession], archive: str, member: ArchiveMember, hold: str | None
) -> bool | str:
    """Whether a message was put in, and not known already; or what is wrong with it."""
    if any(each.ask("queue.show", id=member.id)["message"] is not None for each in elsewhere):
        session.ask("queue.skip", archive=archive, id=member.id)
        return False
    request = {
        "verb": "queue.restore",
        "archive": archive,
        "hold": hold,
        "octets": [len(member.document), member.octets],
    }
    answer = session.send(request, member.pieces())
    return str(answer["damage"]) if "damage" in answer else bool(answer["restored"])


def _checked(source: IO[bytes]) -> int:
    """Check a whole file, and go back to its beginning; how many messages it has. Raises BadArchive."""
    count = sum(1 for _ in ArchiveReader(source).messages())
    source.seek(0)
    return count


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """A file to read, or standard input. Ends the program when it cannot be read."""
    try:
        with os.fdopen(os.dup(sys.stdin.fileno()), "rb") if str(path) == "-" else path.open("rb") as file:
            yield file
    except OSError as error:
        click.echo(f"error: {path} cannot be read: {error.strerror or error}", err=True)
        sys.exit(1)


def _is_file(file: IO[bytes]) -> bool:
    return stat.S_ISREG(os.fstat(file.fileno()).st_mode)


def _tell(counts: Mapping[str, int | str], words: str, *, as_json: bool) -> None:
    if as_json:
        click.echo(json_text(counts))
    else:
        click.echo(words, err=True)


def _tell_damaged(damaged: dict[str, str], what: str) -> None:
    for message_id, why in [*damaged.items()][:MAX_SHOWN]:
        click.echo(f"error: {what}: {safe(message_id)}: {safe(why)}", err=True)
    if len(damaged) > MAX_SHOWN:
        click.echo(f"error: and {len(damaged) - MAX_SHOWN:,} more", err=True)
