"""`-bs`: SMTP on standard input and output, passed on to the server, line by line.

The server gets one command at a time and the next after its reply, so that a file of commands works as a program that
waits for replies does. STARTTLS is neither offered nor passed on, for what is said here stays on this machine, nor is
BDAT, whose octets are no lines. When DATA is refused, what a file of commands has next is a message, which must not be
taken for commands: it is passed over. A program that waits for replies has sent none, and goes on.
"""

import os

from letterlock.sendmail.exits import NOINPUT, OK, PROTOCOL, TEMPFAIL, UNAVAILABLE, Failure
from letterlock.sendmail.session import Lost, ServerReply, SubmissionSession

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

READ_OCTETS = 65_536  # chosen: few system calls, and little memory
MAX_LINE_OCTETS = 65_536  # chosen: far above what SMTP allows (998); bounds what is held while a line has no end
_NOT_HERE = b"502 5.5.1 Not offered here\r\n"
_NOT_OFFERED = frozenset({"STARTTLS", "CHUNKING"})
_NOT_PASSED_ON = frozenset({b"STARTTLS", b"BDAT"})
_CLOSING = b"421 4.3.0 The server is gone; nothing more was sent\r\n"


def relay(session: SubmissionSession, source: int, sink: int) -> int:
    """Pass SMTP from one descriptor (`source`) to the server, and its replies to another (`sink`).

    Until QUIT or the end of the input; returns the exit status. Raises Failure.
    """
    lines = _Lines(source)
    refused = False
    try:
        _answer(sink, session.reply())
        for line in lines:
            verb = line.partition(b" ")[0].strip().upper()
            if verb in _NOT_PASSED_ON:
                refused = True
                has_octets = verb == b"BDAT" and lines.waiting()  # looked at before the reply: a program answers that
                _write(sink, _NOT_HERE)
                if has_octets:
                    break  # they are no commands
                continue
            session.send(line)
            reply = session.reply()
            refused |= reply.code >= 400
            if verb == b"DATA" and not 300 <= reply.code < 400 and lines.waiting():
                _pass_over_content(lines)
            _answer(sink, _without_extensions(reply) if verb == b"EHLO" else reply)
            if verb == b"QUIT" or reply.code == 421:
                break
            if 300 <= reply.code < 400:
                reply = _pass_content(session, lines)
                refused |= reply.code >= 400
                _answer(sink, reply)
    except Lost as lost:
        _write(sink, _CLOSING)
        raise Failure(TEMPFAIL, str(lost)) from None
    return UNAVAILABLE if refused else OK


def _pass_over_content(lines: "_Lines") -> None:
    for line in lines:
        if line == b".\r\n":
            return


def _pass_content(session: SubmissionSession, lines: "_Lines") -> ServerReply:
    held = bytearray()
    for line in lines:
        held += line
        if line == b".\r\n":
            session.send(held, quiet=True)
            return session.reply()
        if len(held) > READ_OCTETS:
            session.send(held, quiet=True)
            held.clear()
    raise Failure(NOINPUT, "the input ended in the middle of a message; it was not sent")


class _Lines:
    """The input's lines, each with CRLF; an unfinished last one too. Raises Failure."""

    def __init__(self, source: int) -> None:
        self._source = source
        self._held = bytearray()
        self._ended = False

    def __iter__(self) -> "Iterator[bytes]":
        while True:
            end = self._held.find(b"\n")
            if end < 0 and not self._ended:
                self._read()
                continue
            if not self._held:
                return
            line = bytes(self._held[:end] if end >= 0 else self._held)
            del self._held[: len(line) + 1]
            yield line.removesuffix(b"\r") + b"\r\n"

    def waiting(self) -> bool:
        """Whether there is more input already: the other side does not wait for replies."""
        if self._held:
            return True
        import select  # noqa: PLC0415  # seldom needed

        try:
            ready, _, _ = select.select([self._source], [], [], 0)
        except (OSError, ValueError):  # a descriptor that cannot be waited for, or too high a one
            return True
        if ready and not self._ended:
            self._read()
        return bool(self._held)

    def _read(self) -> None:
        try:
            received = os.read(self._source, READ_OCTETS)
        except OSError as error:
            raise Failure(NOINPUT, f"the input cannot be read: {error.strerror}") from None
        self._ended = not received
        self._held += received
        if len(self._held) > MAX_LINE_OCTETS + READ_OCTETS and b"\n" not in self._held:
            raise Failure(PROTOCOL, f"a line has more than {MAX_LINE_OCTETS} bytes")


def _without_extensions(reply: ServerReply) -> ServerReply:
    lines = [line for line in reply.lines if line.partition(" ")[0].upper() not in _NOT_OFFERED]
    last = len(lines) - 1
    raw = "".join(f"{reply.code}{' ' if number == last else '-'}{line}\r\n" for number, line in enumerate(lines))
    return ServerReply(reply.code, lines, raw.encode())


def _answer(sink: int, reply: ServerReply) -> None:
    _write(sink, reply.raw)


def _write(sink: int, octets: bytes) -> None:
    while octets:
        try:
            octets = octets[os.write(sink, octets) :]
        except OSError as error:
            raise Failure(TEMPFAIL, f"the replies cannot be written: {error.strerror}") from None
