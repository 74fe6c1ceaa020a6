"""A message in a file: as it was received, with the line ends of any system, alone or at the beginning of an mbox."""

import re
from typing import BinaryIO

from letterlock.deliver.log import safe
from letterlock.mailauth.message import Message, OversizedHeader, split, with_crlf

MAX_MESSAGE_OCTETS = 100 << 20  # servers accept 25 to 50 MB; a bound for what a pipe can make us keep
_SHOWN_CHARACTERS = 60  # chosen: of a line, in a note
# RFC 4155: a line "From ADDRESS DATE" before each message, a blank line behind it. `From :` is a header field.
_MBOX_LINE = re.compile(rb"From (?![ \t]*:)[^\n]*\n")
_NEXT_IN_MBOX = re.compile(rb"\n(?=\r?\nFrom \S[^\n]* [0-9]{4}[^\n]*\n)")
_BARE_CR = re.compile(rb"\r(?!\n)")


class NotAMessage(ValueError):
    """The file cannot be checked. `str()` says why."""


def read_message(file: BinaryIO) -> tuple[Message, tuple[str, ...]]:
    """The message, and notes about what may surprise. Raises NotAMessage."""
    try:
        content = file.read(MAX_MESSAGE_OCTETS + 1)
        if len(content) > MAX_MESSAGE_OCTETS:
            raise NotAMessage(f"the message is larger than {MAX_MESSAGE_OCTETS >> 20} MB")
        content, notes = _out_of_mbox(content)
        message = split(with_crlf(content))
    except OSError as error:
        raise NotAMessage(error.strerror or "cannot be read") from None
    except OversizedHeader as error:
        raise NotAMessage(str(error)) from None
    if not any(field.name for field in message.fields):
        raise NotAMessage("it has no header field, so it is no mail")
    return message, (*notes, *_oddities(message, content))


def _out_of_mbox(content: bytes) -> tuple[bytes, tuple[str, ...]]:
    """The first message of an mbox; any other content as it is."""
    line = _MBOX_LINE.match(content)
    if line is None:
        return content, ()
    following = _NEXT_IN_MBOX.search(content, line.end())
    end = following.end() if following else len(content)
    several = "of several messages; the first one is checked" if following else "of one message"
    return content[line.end() : end], (f"this is an mbox {several}, without the line {_shown(line[0])}",)


def _oddities(message: Message, content: bytes) -> tuple[str, ...]:
    found = []
    if malformed := message.named(b""):
        found.append(f"the header has a line that is no field: {_shown(malformed[0].raw)}")
    if _BARE_CR.search(content):
        found.append("there is a CR without LF, which no mail may contain (RFC 5322 section 2.3)")
    return tuple(found)


def _shown(line: bytes) -> str:
    return repr(safe(line.decode("utf-8", "replace").strip()[:_SHOWN_CHARACTERS]))
