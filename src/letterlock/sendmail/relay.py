"""`-bs`: SMTP on standard input and output, passed on to the server, line by line.

The server gets one command at a time and the next after its reply, so that a file of commands works as a program that
waits for replies does. STARTTLS is neither offered nor passed on: what is said here stays on this machine. A DATA that
is refused ends the session, because what follows in a file of commands is a message and not for the server's ears.
"""

import os

from letterlock.sendmail.exits import NOINPUT, OK, PROTOCOL, TEMPFAIL, UNAVAILABLE, Failure
from letterlock.sendmail.session import Lost, Reply, Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

READ_OCTETS = 65_536
MAX_LINE_OCTETS = 65_536
_NO_TLS = b"502 5.5.1 STARTTLS is not offered here\r\n"
_CLOSING = b"421 4.3.0 The server is gone; nothing more was sent\r\n"


def relay(session: Session, source: int, sink: int) -> int:
    """Speak until QUIT or the end of the input; the exit status. Raises Failure."""
    lines = _lines(source)
    refused = False
    try:
        _answer(sink, session.reply())
        for line in lines:
            verb = line.partition(b" ")[0].strip().upper()
            if verb == b"STARTTLS":
                _write(sink, _NO_TLS)
                continue
            session.send(line)
            reply = session.reply()
            _answer(sink, _without_starttls(reply) if verb == b"EHLO" else reply)
            refused |= reply.code >= 400
            if verb == b"QUIT" or reply.code == 421 or (verb == b"DATA" and reply.code != 354):
                break
            if reply.code == 354:
                reply = _pass_content(session, lines)
                refused |= reply.code >= 400
                _answer(sink, reply)
    except Lost as lost:
        _write(sink, _CLOSING)
        raise Failure(TEMPFAIL, str(lost)) from None
    return UNAVAILABLE if refused else OK


def _pass_content(session: Session, lines: "Iterator[bytes]") -> Reply:
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


def _lines(source: int) -> "Iterator[bytes]":
    """The input's lines, each with CRLF; an unfinished last one too."""
    held = b""
    while True:
        try:
            received = os.read(source, READ_OCTETS)
        except OSError as error:
            raise Failure(NOINPUT, f"the input cannot be read: {error.strerror}") from None
        *lines, held = (held + received).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r") + b"\r\n"
        if len(held) > MAX_LINE_OCTETS:
            raise Failure(PROTOCOL, f"a line has more than {MAX_LINE_OCTETS} octets")
        if not received:
            if held:
                yield held.removesuffix(b"\r") + b"\r\n"
            return


def _without_starttls(reply: Reply) -> Reply:
    lines = [line for line in reply.lines if line.upper() != "STARTTLS"]
    last = len(lines) - 1
    raw = "".join(f"{reply.code}{' ' if number == last else '-'}{line}\r\n" for number, line in enumerate(lines))
    return Reply(reply.code, lines, raw.encode())


def _answer(sink: int, reply: Reply) -> None:
    _write(sink, reply.raw)


def _write(sink: int, octets: bytes) -> None:
    while octets:
        try:
            octets = octets[os.write(sink, octets) :]
        except OSError as error:
            raise Failure(TEMPFAIL, f"the replies cannot be written: {error.strerror}") from None
