"""All output of the verbs goes through here: the one place where text from outside is made harmless.

`guarded_streams` puts a guard in front of standard output and standard error. Whatever is written there by anybody
(a verb, a usage error, a progress bar, a traceback) has its control characters, bidirectional overrides and lone
surrogates escaped. Only line feeds pass, and on a terminal the few sequences that Letterlock writes itself.
Data for programs is ASCII JSON, by `json_text`.
"""

import errno
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO, cast

from letterlock.mail.printable import printable

EXIT_OUTPUT = 74  # EX_IOERR of sysexits.h: what was found could not be written
EXIT_PIPE = 141  # 128 + SIGPIPE, as a shell shows for programs that end because their reader has gone
# The looks of `style.py` and of click; beside them, what progress bars on standard error need: back to the start,
# clear the line, hide the cursor.
_LOOKS = r"\x1b\[(?:0|1|2|3[0-7]|1;3[0-7])m"
_OURS = re.compile(f"({_LOOKS})")
_OURS_WITH_BARS = re.compile(rf"({_LOOKS}|\x1b\[K|\x1b\[\?25[lh]|\r)")


class OutputLost(Exception):
    """Standard output cannot be written to; `number` is the errno. Not an OSError: it is no fault of a verb's files."""

    def __init__(self, number: int) -> None:
        super().__init__(f"cannot write to standard output: {os.strerror(number)}")
        self.number = number


def json_text(values: object, *, indent: int | None = None) -> str:
    """JSON in printable ASCII, so that none of it acts on a terminal, whatever its encoding; `indent` in spaces."""
    return json.dumps(values, indent=indent).replace("\x7f", "\\u007f")


def harmless(text: str, ours: re.Pattern[str] | None = None) -> str:
    """The text with its line feeds, and with the sequences that `ours` (one group) matches; all else escaped."""
    return "\n".join(_line(line, ours) for line in text.split("\n"))


def _line(line: str, ours: re.Pattern[str] | None) -> str:
    if ours is None or line.isprintable():
        return printable(line)
    return "".join(part if number % 2 else printable(part) for number, part in enumerate(ours.split(line)))


class GuardedStream(io.TextIOBase):
    """A text stream whose reader is safe from what is written."""

    encoding: str = "utf-8"  # of the stream behind it, from the start on
    errors: str | None = None

    def __init__(self, stream: TextIO, ours: re.Pattern[str], *, needed: bool) -> None:
        """`ours` passes on a terminal. `needed`: a failure to write raises OutputLost; else it is ignored."""
        self._stream = stream
        self._needed = needed
        self._ours = ours if stream.isatty() else None
        self.encoding, self.errors = stream.encoding, stream.errors

    @property
    def unguarded(self) -> TextIO:
        """The stream itself, for those who escape on their own."""
        return self._stream

    def write(self, text: str, /) -> int:
        """Write it, made harmless. Raises OutputLost."""
        try:
            self._stream.write(harmless(text, self._ours))
        except OSError as error:
            self._lost(error)
        return len(text)

    def flush(self) -> None:
        """Write what waits. Raises OutputLost."""
        try:
            self._stream.flush()
        except OSError as error:
            self._lost(error)

    def _lost(self, error: OSError) -> None:
        if self._needed:
            raise OutputLost(error.errno or errno.EIO) from None

    def writable(self) -> bool:
        """It is for writing."""
        return True

    def isatty(self) -> bool:
        """Whether a person reads it at a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The descriptor behind it."""
        return self._stream.fileno()


@contextmanager
def guarded_streams() -> Iterator[None]:
    """Guard both streams. Ends the program with EXIT_OUTPUT or EXIT_PIPE when standard output cannot be written to.

    A standard input that is closed is empty meanwhile: verbs read it, and no file or socket gets its descriptor.
    """
    if sys.stdin is None:
        sys.stdin = os.fdopen(_nowhere(0, os.O_RDONLY), closefd=False)
    streams = sys.stdout, sys.stderr
    out = GuardedStream(_encoding_all(streams[0], 1), _OURS, needed=True)
    err = GuardedStream(_encoding_all(streams[1], 2), _OURS_WITH_BARS, needed=False)
    sys.stdout, sys.stderr = cast("TextIO", out), cast("TextIO", err)
    try:
        try:
            yield
        finally:
            out.flush()
    except OutputLost as lost:
        _exit(lost)
    finally:
        err.flush()
        sys.stdout, sys.stderr = streams


def _exit(lost: OutputLost) -> None:
    """Report the error in one line, unless the reader has simply gone; leave the interpreter nothing to flush."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, sys.stdout.fileno())
    os.close(silence)
    if lost.number == errno.EPIPE:
        raise SystemExit(EXIT_PIPE) from None
    sys.stderr.write(f"error: {lost}\n")
    raise SystemExit(EXIT_OUTPUT) from None


def _encoding_all(stream: TextIO | None, descriptor: int) -> TextIO:
    """The stream, which escapes what its encoding lacks; a closed one leads nowhere, and keeps its descriptor taken.

    Without that, the next socket or file would get the descriptor, and be written to.
    """
    if stream is None:
        return os.fdopen(_nowhere(descriptor, os.O_WRONLY), "w", closefd=False)
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream


def _nowhere(descriptor: int, flags: int) -> int:
    """Make a descriptor that is closed lead nowhere; the descriptor."""
    silence = os.open(os.devnull, flags)
    if silence != descriptor:
        os.dup2(silence, descriptor)
        os.close(silence)
    return descriptor
