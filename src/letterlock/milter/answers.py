"""What a filter answers: verdicts, and changes to the message. Everything is checked as it is read."""

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from letterlock.mail.addresses import InvalidAddress, Mailbox, parse_mailbox
from letterlock.mail.replies import Reply
from letterlock.milter.frames import Agreed, BadFrame, FilterAction

MAX_REPLY_OCTETS = 2048  # of a reply that the client gets: some thirty lines
MAX_REASON_OCTETS = 500  # chosen: of a quarantine; a line of a listing
MAX_VALUE_OCTETS = 1 << 16  # of a header field: what one frame of libmilter holds
_INDEX = struct.Struct("!I")
_NAME = re.compile(rb"[!-9;-~]{1,998}")
# After CRLF became LF. A line end that is no fold would make a field of its own; a CR would become a bare one.
_BAD_VALUE = re.compile(rb"\n(?![ \t])|[\r\0]")
_REPLY_LINE = re.compile(r"([45]\d\d)([ -])(.*)")


class Verdict(StrEnum):
    """The letters that end a command."""

    CONTINUE = "c"
    ACCEPT = "a"
    REJECT = "r"
    TEMPFAIL = "t"
    DISCARD = "d"
    SKIP = "s"
    REPLY = "y"
    FAIL = "f"  # the connection to the filter is to be taken for failed
    SHUTDOWN = "4"  # the session ends with 421


@dataclass(frozen=True, slots=True)
class FilterAnswer:
    """A verdict; with REPLY, the filter's own reply for the client."""

    verdict: Verdict
    reply: Reply | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """The filter is alive and needs longer."""


@dataclass(frozen=True, slots=True)
class AddHeader:
    """A field at the end of the header section, or at this index; 0 and 1 are the beginning, as in Postfix."""

    name: bytes
    value: bytes
    index: int | None = None


@dataclass(frozen=True, slots=True)
class ChangeHeader:
    """Another value for the field of this name with this number (1: the first); an empty one removes it."""

    name: bytes
    value: bytes
    number: int


@dataclass(frozen=True, slots=True)
class ReplaceBody:
    """A part of a new body; the parts belong together."""

    part: bytes


@dataclass(frozen=True, slots=True)
class AddRecipient:
    """One more recipient."""

    recipient: Mailbox


@dataclass(frozen=True, slots=True)
class DeleteRecipient:
    """One recipient less."""

    recipient: Mailbox


@dataclass(frozen=True, slots=True)
class ChangeSender:
    """Another reverse-path; None is the null reverse-path."""

    reverse_path: Mailbox | None


@dataclass(frozen=True, slots=True)
class Quarantine:
    """The message is to wait for an operator, for this reason."""

    why: str


Change = AddHeader | ChangeHeader | ReplaceBody | AddRecipient | DeleteRecipient | ChangeSender | Quarantine


def read_answer(letter: str, data: bytes, agreed: Agreed, *, at_end: bool) -> FilterAnswer | Progress | Change:
    """One frame of a filter. `at_end`: the end of the body was sent, so changes are allowed. Raises BadFrame."""
    if letter == "p":
        return Progress()
    if letter == Verdict.REPLY:
        return FilterAnswer(Verdict.REPLY, _reply(data))
    if letter in set(Verdict):
        return FilterAnswer(Verdict(letter))
    if letter not in _CHANGES:
        raise BadFrame(f"an unknown answer {letter!r}")
    action, read = _CHANGES[letter]
    if not at_end:
        raise BadFrame(f"a change of the message, {letter!r}, before its end was sent")
    if not agreed.actions & action:
        raise BadFrame(f"a change of the message, {letter!r}, that was not agreed")
    return read(data)


def _texts(data: bytes, least: int, most: int | None = None) -> list[bytes]:
    if not data.endswith(b"\0"):
        raise BadFrame("a text without its zero octet")
    texts = data[:-1].split(b"\0")
    if not least <= len(texts) <= (most or least):
        raise BadFrame(f"{len(texts)} texts where there should be {least}")
    return texts


def _reply(data: bytes) -> Reply:
    (text,) = _texts(data, 1)
    if len(text) > MAX_REPLY_OCTETS or not text.isascii():
        raise BadFrame("a reply that is too long, or no ASCII")
    lines, code = list[str](), ""
    for line in text.decode("ascii").replace("%%", "%").replace("\r\n", "\n").split("\n"):
        found = _REPLY_LINE.fullmatch(line)
        if found is None or not line.isprintable() or (code and found[1] != code):
            raise BadFrame(f"{line[:60]!r} is no reply")
        code = found[1]
        lines.append(found[3] or "Refused")
    return Reply(int(code), tuple(lines))


def _field(data: bytes) -> tuple[bytes, bytes]:
    name, value = _texts(data, 2)
    if not _NAME.fullmatch(name):
        raise BadFrame(f"{name[:60]!r} is no name of a header field")
    value = value.replace(b"\r\n", b"\n")
    if len(value) > MAX_VALUE_OCTETS or _BAD_VALUE.search(value):
        raise BadFrame(f"the value of {name[:60]!r} is too long, or has a line end that is no fold")
    return name, value.replace(b"\n", b"\r\n")


def _indexed(data: bytes) -> tuple[int, bytes, bytes]:
    if len(data) < _INDEX.size:
        raise BadFrame("a header field without its index")
    return (_INDEX.unpack_from(data)[0], *_field(data[_INDEX.size :]))


def _add(data: bytes) -> AddHeader:
    return AddHeader(*_field(data))


def _insert(data: bytes) -> AddHeader:
    index, name, value = _indexed(data)
    return AddHeader(name, value, index)


def _change(data: bytes) -> ChangeHeader:
    number, name, value = _indexed(data)
    if number == 0:
        raise BadFrame("a header field to change has the index 0")
    return ChangeHeader(name, value, number)


def _address(text: bytes) -> Mailbox | None:
    bare = text.removeprefix(b"<").removesuffix(b">")
    try:
        return parse_mailbox(bare.decode("utf-8")) if bare else None
    except (InvalidAddress, UnicodeDecodeError):
        raise BadFrame(f"{text[:80]!r} is no address") from None


def _recipient(text: bytes) -> Mailbox:
    found = _address(text)
    if found is None:
        raise BadFrame("a recipient without an address")
    return found


def _add_recipient(data: bytes) -> AddRecipient:
    return AddRecipient(_recipient(_texts(data, 1)[0]))


def _add_with_parameters(data: bytes) -> AddRecipient:
    return AddRecipient(_recipient(_texts(data, 1, 2)[0]))


def _delete_recipient(data: bytes) -> DeleteRecipient:
    return DeleteRecipient(_recipient(_texts(data, 1)[0]))


def _change_sender(data: bytes) -> ChangeSender:
    return ChangeSender(_address(_texts(data, 1, 2)[0]))


def _quarantine(data: bytes) -> Quarantine:
    (why,) = _texts(data, 1)
    return Quarantine(why[:MAX_REASON_OCTETS].decode("utf-8", "replace"))


_CHANGES: Mapping[str, tuple[FilterAction, Callable[[bytes], Change]]] = {
    "h": (FilterAction.ADD_HEADERS, _add),
    "i": (FilterAction.ADD_HEADERS, _insert),
    "m": (FilterAction.CHANGE_HEADERS, _change),
    "b": (FilterAction.CHANGE_BODY, ReplaceBody),
    "+": (FilterAction.ADD_RECIPIENT, _add_recipient),
    "2": (FilterAction.ADD_RECIPIENT_WITH_PARAMETERS, _add_with_parameters),
    "-": (FilterAction.DELETE_RECIPIENT, _delete_recipient),
    "e": (FilterAction.CHANGE_SENDER, _change_sender),
    "q": (FilterAction.QUARANTINE, _quarantine),
}
