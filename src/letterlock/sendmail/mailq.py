"""`letterlock-mailq`: the queue of the running server, printed as Postfix's mailq prints its own.

The answers come in pages and are printed page by page, so that a million messages need the memory of one page.
"""

import _json
import _socket
import os
import sys
import time

from letterlock.sendmail.exits import (
    INCOMPLETE,
    IOERR,
    NOPERM,
    OK,
    PROTOCOL,
    TEMPFAIL,
    UNAVAILABLE,
    USAGE,
    Failure,
    prepare_streams,
    printable,
)
from letterlock.sendmail.settings import CONTROL_SOCKET, settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

HELP = """\
usage: letterlock-mailq [-C FILE]

  -C FILE            the server's configuration

Prints the queue of the running server as Postfix's mailq prints its own. Only root and the server's user may ask.

Exit status: 0; 1 if mail of former workers could not be taken over and is not shown; else as sysexits.h has it.
"""
WORKER = "worker-"
MAX_ANSWER_OCTETS = 64 << 20  # chosen: 64 MiB, far more than one answer of the server; bounds memory
READ_OCTETS = 1 << 18  # chosen: a long answer in few system calls
TIMEOUT_SECONDS = 30.0  # chosen: a local server answers in milliseconds, and a busy one in seconds
_HEADING = "----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------"
_REASON_WIDTH = 76  # as the mailq of Postfix aligns reasons, on the right
_MARKS = {"leased": "*", "held": "!", "quarantined": "!"}


class _Context:
    """The settings of the JSON scanner: the same ones that `json.loads` passes."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float


# What `json` wraps; the wrapper loads `re`, which costs 8 ms. (The stub names the type of the context wrongly.)
_scan_json = _json.make_scanner(_Context())  # type: ignore[arg-type]


def main() -> int:
    """Run the command with the program's arguments; its exit status."""
    prepare_streams()
    try:
        if sys.argv[1:] == ["--help"]:
            sys.stdout.write(HELP)
            return OK
        return show(_config(sys.argv[1:]))
    except Failure as failure:
        sys.stderr.write(f"letterlock-mailq: {failure}\n")
        return failure.status
    except KeyboardInterrupt:  # the user had seen enough
        return TEMPFAIL


def _config(words: list[str]) -> str | None:
    """`-C FILE`; `-v`, `-q` and `-A…` are taken and have no effect. Raises Failure (USAGE)."""
    config = None
    words = list(words)
    while words:
        word = words.pop(0)
        if word.startswith("-C") and (word[2:] or words):
            config = word[2:] or words.pop(0)
        elif word[:2] not in ("-v", "-q", "-A"):
            raise Failure(USAGE, "usage: letterlock-mailq [-C FILE]")
    return config


def show(config: str | None) -> int:
    """Print the queue of the server with this configuration; the exit status. Raises Failure."""
    count = octets = 0
    first = settings(config).queue_directory()
    try:
        for directory in _directories(first):
            for message in _messages(directory):
                sys.stdout.write(("\n" if count else f"{_HEADING}\n") + _entry(message))
                count += 1
                octets += message["size"]
        sys.stdout.write(_summary(count, octets))
        sys.stdout.flush()
    except BrokenPipeError:  # `mailq | head`
        _let_go()
        return OK
    except OSError as error:  # a full disk
        _let_go()
        raise Failure(IOERR, f"cannot write to standard output: {error.strerror}") from None
    _refuse_to_hide(first)
    return OK


def _refuse_to_hide(first: str) -> None:
    """Raises Failure (INCOMPLETE) if there is mail that is not shown, because the server could not take it over."""
    problems = _ask(first, '{"verb": "queue.problems"}\n')["problems"]
    if problems:
        each = (f"the mail in the folder {name} is not served: {why}" for name, why in problems.items())
        hint = "  hint: keep the folder; the server takes its mail over by itself once this is repaired"
        raise Failure(INCOMPLETE, "\n".join([*map(printable, each), hint]))


def _let_go() -> None:
    """Leave nothing that the interpreter would write to standard output at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _summary(count: int, octets: int) -> str:
    if not count:
        return "Mail queue is empty\n"
    return f"\n-- {(octets + 512) // 1024} Kbytes in {count} Request{'s' if count != 1 else ''}.\n"  # rounded


def _entry(message: "dict[str, Any]") -> str:
    """Id, size, date and sender; then the recipients that wait, each below the reason why."""
    states = [recipient["state"] for recipient in message["recipients"]]
    mark = next((_MARKS[state] for state in states if state in _MARKS), "")
    when = time.strftime("%a %b %e %H:%M:%S", time.localtime(message["accepted_at"]))
    name, sender = printable(message["id"]) + mark, printable(message["sender"]) or "MAILER-DAEMON"
    lines = [f"{name:<17} {message['size']:>8} {when:>19.19} {sender}"]
    reason = ""
    for recipient in sorted(message["recipients"], key=_reason):
        if recipient["state"] == "delivered":
            continue
        if _reason(recipient) and _reason(recipient) != reason:
            reason = _reason(recipient)
            lines.append(f"({printable(reason)})".rjust(_REASON_WIDTH + 2))
        lines.append(f"{'':<46} {printable(recipient['recipient'])}")
    return "\n".join(lines) + "\n"


def _reason(recipient: "dict[str, Any]") -> str:
    """Why a recipient waits: the operator's words if the operator holds it."""
    return str(recipient.get("held_because") or recipient["reason"] or "")


def _directories(first: str) -> list[str]:
    """The queues of all workers that are served; the first one always, because it shows whether a server runs."""
    try:
        names = sorted(name for name in os.listdir(first) if name.startswith(WORKER) and name[len(WORKER) :].isdigit())
    except PermissionError:
        raise Failure(NOPERM, f"only the server's user and root may look into {first}") from None
    except OSError:
        names = []
    others = (os.path.join(first, name) for name in names)
    return [first, *filter(_is_served, others)]


def _is_served(directory: str) -> bool:
    """Whether a server answers there; a socket that a dead one left is no reason to fail."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.settimeout(TIMEOUT_SECONDS)
        connection.connect(os.path.join(directory, CONTROL_SOCKET))
    except (FileNotFoundError, ConnectionRefusedError):  # nobody is there
        return False
    except OSError:  # asked again, it says what is wrong
        return True
    finally:
        connection.close()
    return True


def _messages(directory: str) -> "Iterator[dict[str, Any]]":
    """Every message of one worker, page by page."""
    after = "null"
    while True:
        page = _ask(directory, f'{{"verb": "queue.list", "after": {after}}}\n')
        yield from page["messages"]
        if not page["more"]:
            return
        after = f'"{page["after"]}"'


def _ask(directory: str, question: str) -> "dict[str, Any]":
    """One question, one answer. Raises Failure."""
    path = os.path.join(directory, CONTROL_SOCKET)
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.settimeout(TIMEOUT_SECONDS)
        connection.connect(path)
        connection.sendall(question.encode())
        answer = _scan_json(_line(connection).decode(), 0)[0]
    except PermissionError:
        raise Failure(NOPERM, f"only the server's user and root may ask it at {path}") from None
    except (ValueError, StopIteration):
        raise Failure(PROTOCOL, f"what answers at {path} is not understood") from None
    except OSError as error:
        trouble = f"no server answers at {path}: {error.strerror or error}"
        raise Failure(UNAVAILABLE, f"{trouble} (start it, or name its configuration with -C)") from None
    finally:
        connection.close()
    if not isinstance(answer, dict):
        raise Failure(PROTOCOL, f"what answers at {path} is not understood")
    if "error" in answer:
        raise Failure(TEMPFAIL, printable(str(answer["error"])))
    return answer


def _line(connection: _socket.socket) -> bytes:
    held = bytearray()
    while not held.endswith(b"\n"):
        received = connection.recv(READ_OCTETS)
        held += received
        if not received or len(held) > MAX_ANSWER_OCTETS:
            raise ValueError("no whole line")
    return bytes(held)
