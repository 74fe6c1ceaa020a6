"""Final delivery to a command: a program of this machine reads the message, once for each recipient.

No shell is involved, and nothing of the message or its envelope is part of the command line: the program learns it from
its environment and reads the message on its standard input. What its exit status means is what Postfix's pipe(8) takes
it for, but for a command that could not be run at all, which is nobody's fault but ours: mail waits.
"""

import asyncio
import contextlib
import json
import logging
import math
import os
import pwd
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from letterlock.deliver import outcomes
from letterlock.deliver.local import launcher
from letterlock.deliver.local.maildir import Letter
from letterlock.deliver.unforeseen import unforeseen
from letterlock.mail.addresses import Mailbox
from letterlock.mail.checked_content import ContentLost
from letterlock.mail.envelope import Envelope
from letterlock.queue.tasks import OutcomeKind, RecipientOutcome
from letterlock.routing.local_targets import CommandHop

log = logging.getLogger("letterlock.deliver")
MAX_OUTPUT_OCTETS = 4096  # that are kept: more is read and thrown away, so that the command is not stopped by it
MAX_SAID_CHARACTERS = 400  # of its output in a reason: a few lines of a log
MAX_ENVIRONMENT_CHARACTERS = 1024  # of each value: an address has 320
GRACE_SECONDS = 10.0  # for the launcher to end, after the command's time
READ_OCTETS = 1 << 16  # chosen: as much as a pipe holds
PATH = "/usr/local/bin:/usr/bin:/bin"
_PLAIN = frozenset("!@%-_=+:,./^~#'&*?{}|")  # beside letters and digits: what is harmless in most scripts

# sysexits(3), as pipe(8) takes them; and 126 and 127, by which a shell says that it could not run something.
_STATUS: Mapping[int, tuple[str, str]] = {
    64: ("5.3.0", "command line usage error"),
    65: ("5.6.0", "data format error"),
    66: ("5.3.0", "cannot open input"),
    67: ("5.1.1", "user unknown"),
    68: ("5.1.2", "host name unknown"),
    69: ("5.3.0", "service unavailable"),
    70: ("5.3.0", "internal software error"),
    71: ("4.3.0", "system resource problem"),
    72: ("5.3.0", "critical system file missing"),
    73: ("5.2.0", "cannot create user output file"),
    74: ("5.3.0", "input/output error"),
    75: ("4.3.0", "temporary failure"),
    76: ("5.5.0", "remote error in protocol"),
    77: ("5.7.0", "permission denied"),
    78: ("5.3.5", "local configuration error"),
    126: ("4.3.5", "a program cannot be run"),
    127: ("4.3.5", "a program cannot be found"),
}
_OTHER_STATUS = ("5.3.0", "unknown error")


@dataclass(frozen=True, slots=True)
class _Run:
    """What became of a command, in the launcher's words, and the beginning of its output."""

    ending: str
    output: str


async def deliver_to_command(
    target: CommandHop, envelope: Envelope, letter: Letter, recipients: Sequence[Mailbox], private: Sequence[str] = ()
) -> list[RecipientOutcome]:
    """Run the command for each recipient, one after the other; what became of each. Raises ContentLost.

    `private` are directories that the command has no business with. When it is cancelled, the command is killed.
    """
    return [await _deliver(target, envelope, letter, recipient, private) for recipient in recipients]


async def _deliver(
    target: CommandHop, envelope: Envelope, letter: Letter, recipient: Mailbox, private: Sequence[str]
) -> RecipientOutcome:
    try:
        run = await _run(target, environment(envelope, recipient), letter.for_recipient(recipient), private)
    except OSError as error:
        return outcomes.deferred(recipient, "4.3.5", f"the command could not be run: {error.strerror or error}")
    except KeyError:
        return outcomes.deferred(recipient, "4.3.5", f"the command could not be run: there is no user {target.user}")
    except ContentLost:
        raise
    except Exception:  # what the recipients before got must not be lost to it
        log.exception("%s: internal error at %s; the message stays queued", envelope.id, target)
        _, code, text = unforeseen("the command")  # the sender reads it: no path
        return outcomes.deferred(recipient, code, text)
    return outcome_of(run.ending, run.output, recipient)


def outcome_of(ending: str, output: str, recipient: Mailbox) -> RecipientOutcome:
    """What the end of a command means for its recipient. A status code that its output begins with counts more."""
    word, _, rest = ending.partition(" ")
    match word:
        case "exit" if rest == "0":
            text = output or "handed to the command"
            return RecipientOutcome(recipient=recipient, kind=OutcomeKind.DELIVERED, status="2.0.0", text=text)
        case "exit":
            status, why = _STATUS.get(int(rest), _OTHER_STATUS)
            status, said = _own_status(status, output)
            text = f"the command ended with status {rest} ({why})" + (f": {said}" if said else "")
            return (outcomes.failed if status[0] == "5" else outcomes.deferred)(recipient, status, text)
        case "signal":
            text = f"the command was ended by signal {rest}"
        case "time":
            text = "the command took too long, and was ended"
        case "failed":
            return outcomes.deferred(recipient, "4.3.5", f"the command could not be run: {rest}")
        case _:
            text = "the command was stopped"
    return outcomes.deferred(recipient, "4.3.0", text + (f": {output}" if output else ""))


def _own_status(usual: str, output: str) -> tuple[str, str]:
    first, _, rest = output.partition(" ")
    parts = first.split(".")
    if len(parts) == 3 and parts[0] in ("4", "5") and all(part.isascii() and part.isdigit() for part in parts):
        return first, rest
    return usual, output


def environment(envelope: Envelope, recipient: Mailbox) -> dict[str, str]:
    """All that the command's environment has. The names are those of Postfix's local(8)."""
    orcpt = envelope.wishes.of(recipient).orcpt
    original = orcpt.partition(";")[2] if orcpt else ""
    local = recipient.local_part
    values = {
        "SENDER": "" if envelope.reverse_path is None else str(envelope.reverse_path),
        "RECIPIENT": str(recipient),
        "ORIGINAL_RECIPIENT": original or str(recipient),
        "LOCAL": local,
        "EXTENSION": local.partition("+")[2],
        "DOMAIN": recipient.domain,
        "QUEUE_ID": envelope.id,
    }
    fixed = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": "/", "SHELL": "/bin/sh"}
    return fixed | {name: _harmless(value) for name, value in values.items()}


def _harmless(text: str) -> str:
    """What a careless script could take for more than text becomes `_`, as in Postfix."""
    return "".join(each if each.isalnum() or each in _PLAIN else "_" for each in text[:MAX_ENVIRONMENT_CHARACTERS])


async def _run(target: CommandHop, environ: Mapping[str, str], pieces: Iterator[bytes], private: Sequence[str]) -> _Run:
    """Raises OSError, KeyError, ContentLost."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        user = None if target.user is None else pwd.getpwnam(target.user)
        settings = {
            "control": theirs.fileno(),
            "argv": target.argv,
            "seconds": target.seconds,
            "cpu": math.ceil(target.seconds),
            "memory": target.memory_octets,
            "user": None if user is None or user.pw_uid == os.geteuid() else (user.pw_uid, user.pw_gid),
            "private": list(private),
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", launcher.__file__, json.dumps(settings)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environ,
            cwd="/",
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
        theirs.close()
        talking = [asyncio.create_task(each) for each in (_feed(process, pieces), _output(process), _ending(ours))]
        try:
            async with asyncio.timeout(target.seconds + GRACE_SECONDS):
                _, output, ending = await asyncio.gather(*talking)
        except TimeoutError:
            return _Run("time", "")
        finally:
            for task in talking:
                task.cancel()
            await asyncio.gather(*talking, return_exceptions=True)
            ours.close()  # the launcher kills what is left
            await _end(process)
    return _Run(ending or "stopped", output or "")


async def _feed(process: asyncio.subprocess.Process, pieces: Iterator[bytes]) -> str:
    """Write the message. A command need not read all of it. Raises ContentLost."""
    writer = process.stdin
    if writer is None:
        raise AssertionError("its standard input is a pipe")
    # it has closed its input; its exit status says how it went
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while piece := await asyncio.to_thread(next, pieces, b""):
            writer.write(piece)
            await writer.drain()
    writer.close()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # as above
        await writer.wait_closed()
    return ""


async def _output(process: asyncio.subprocess.Process) -> str:
    """The beginning of what it says, in one line."""
    reader, kept = process.stdout, b""
    if reader is None:
        raise AssertionError("its standard output is a pipe")
    while data := await reader.read(READ_OCTETS):
        kept += data[: MAX_OUTPUT_OCTETS - len(kept)]
    line = " ".join(kept.decode("utf-8", "replace").split())
    return "".join(each if each.isprintable() else "?" for each in line)[:MAX_SAID_CHARACTERS]


async def _ending(control: socket.socket) -> str:
    return (await asyncio.get_running_loop().sock_recv(control, READ_OCTETS)).decode("utf-8", "replace")


async def _end(process: asyncio.subprocess.Process) -> None:
    """The launcher ends by itself, for its control socket is closed; one that does not is killed."""
    try:
        async with asyncio.timeout(GRACE_SECONDS):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            process.kill()


def why_not_runnable(target: CommandHop) -> str | None:
    """Why mail for a command would wait, as far as that can be seen without any; None: it can be run."""
    program = Path(target.argv[0])
    try:
        if not os.access(program, os.X_OK) or not program.is_file():
            return f"{program} is no program that this user can run"
        if target.user is not None and pwd.getpwnam(target.user).pw_uid != os.geteuid() and not _may_change_user():
            return f"this process may not become user {target.user}: it needs CAP_SETUID and CAP_SETGID"
    except KeyError:
        return f"there is no user {target.user}"
    except OSError as error:
        return f"{program}: {error.strerror}"
    return None


def _may_change_user() -> bool:
    """Whether a child could become another user: root, or CAP_SETGID (6) and CAP_SETUID (7) that children inherit."""
    lines = Path("/proc/self/status").read_text().splitlines()
    ambient = next((int(line.split()[1], 16) for line in lines if line.startswith("CapAmb")), 0)
    return os.geteuid() == 0 or (ambient >> 6) & 3 == 3
