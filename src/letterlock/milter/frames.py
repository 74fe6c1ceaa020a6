"""Frames: four octets of length, a letter, data."""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntFlag, StrEnum

VERSION = 6  # of the protocol, SMFI_PROT_VERSION of libmilter 1.0.1 and later
MIN_VERSION = 2  # since sendmail 8.11; without the steps and macros of later versions
MAX_FRAME_OCTETS = 1 << 17  # a chunk of a body has at most 65,535 octets, and nothing else is longer
CHUNK_OCTETS = 65_535  # MILTER_CHUNK_SIZE of libmilter
_LENGTH = struct.Struct("!I")
_OPTIONS = struct.Struct("!III")


class BadFrame(ValueError):
    """What a filter sent is not the protocol; `str()` says why."""


class FilterAction(IntFlag):
    """What a filter may do to a message (SMFIF)."""

    ADD_HEADERS = 0x01
    CHANGE_BODY = 0x02
    ADD_RECIPIENT = 0x04
    DELETE_RECIPIENT = 0x08
    CHANGE_HEADERS = 0x10
    QUARANTINE = 0x20
    CHANGE_SENDER = 0x40
    ADD_RECIPIENT_WITH_PARAMETERS = 0x80
    SET_MACROS = 0x100


class FilterStep(IntFlag):
    """What a filter does not want to be sent, or does not answer (SMFIP)."""

    NO_CONNECT = 0x1
    NO_HELO = 0x2
    NO_MAIL = 0x4
    NO_RCPT = 0x8
    NO_BODY = 0x10
    NO_HEADERS = 0x20
    NO_END_OF_HEADERS = 0x40
    NO_REPLY_HEADER = 0x80
    NO_UNKNOWN = 0x100
    NO_DATA = 0x200
    SKIP = 0x400
    REJECTED_RECIPIENTS = 0x800
    NO_REPLY_CONNECT = 0x1000
    NO_REPLY_HELO = 0x2000
    NO_REPLY_MAIL = 0x4000
    NO_REPLY_RCPT = 0x8000
    NO_REPLY_DATA = 0x10000
    NO_REPLY_UNKNOWN = 0x20000
    NO_REPLY_END_OF_HEADERS = 0x40000
    NO_REPLY_BODY = 0x80000
    LEADING_SPACE = 0x100000


ALL_ACTIONS = FilterAction(0x1FF)
ALL_STEPS = FilterStep(0x1FFFFF)


class FilterCommand(StrEnum):
    """What we send."""

    OPTIONS = "O"
    MACROS = "D"
    CONNECT = "C"
    HELO = "H"
    MAIL = "M"
    RCPT = "R"
    DATA = "T"
    HEADER = "L"
    END_OF_HEADERS = "N"
    BODY = "B"
    END_OF_BODY = "E"
    ABORT = "A"
    QUIT = "Q"


# The numbers of the stages in a filter's request for macros (SMFIM).
MACRO_STAGES = (
    FilterCommand.CONNECT,
    FilterCommand.HELO,
    FilterCommand.MAIL,
    FilterCommand.RCPT,
    FilterCommand.DATA,
    FilterCommand.END_OF_BODY,
    FilterCommand.END_OF_HEADERS,
)
UNWANTED = {
    FilterCommand.CONNECT: FilterStep.NO_CONNECT,
    FilterCommand.HELO: FilterStep.NO_HELO,
    FilterCommand.MAIL: FilterStep.NO_MAIL,
    FilterCommand.RCPT: FilterStep.NO_RCPT,
    FilterCommand.DATA: FilterStep.NO_DATA,
    FilterCommand.HEADER: FilterStep.NO_HEADERS,
    FilterCommand.END_OF_HEADERS: FilterStep.NO_END_OF_HEADERS,
    FilterCommand.BODY: FilterStep.NO_BODY,
}
UNANSWERED = {
    FilterCommand.CONNECT: FilterStep.NO_REPLY_CONNECT,
    FilterCommand.HELO: FilterStep.NO_REPLY_HELO,
    FilterCommand.MAIL: FilterStep.NO_REPLY_MAIL,
    FilterCommand.RCPT: FilterStep.NO_REPLY_RCPT,
    FilterCommand.DATA: FilterStep.NO_REPLY_DATA,
    FilterCommand.HEADER: FilterStep.NO_REPLY_HEADER,
    FilterCommand.END_OF_HEADERS: FilterStep.NO_REPLY_END_OF_HEADERS,
    FilterCommand.BODY: FilterStep.NO_REPLY_BODY,
}


@dataclass(frozen=True, slots=True)
class Agreed:
    """What was agreed with a filter. `macros`: the only ones it wants, by stage; of other stages all."""

    version: int
    actions: FilterAction
    steps: FilterStep
    macros: Mapping[FilterCommand, frozenset[str]]

    def wants(self, command: FilterCommand) -> bool:
        """Whether a command is sent at all."""
        return not self.steps & UNWANTED.get(command, 0)

    def answers(self, command: FilterCommand) -> bool:
        """Whether the filter answers a command."""
        return not self.steps & UNANSWERED.get(command, 0)


NOTHING_AGREED = Agreed(0, FilterAction(0), FilterStep(0), {})


def frame(command: str, data: bytes = b"") -> bytes:
    """One frame."""
    return _LENGTH.pack(len(data) + 1) + command.encode("ascii") + data


def options() -> bytes:
    """Our offer: all actions and all steps."""
    return frame(FilterCommand.OPTIONS, _OPTIONS.pack(VERSION, ALL_ACTIONS, ALL_STEPS))


def read_options(letter: str, data: bytes) -> Agreed:
    """A filter's answer to our offer. Raises BadFrame."""
    if letter != FilterCommand.OPTIONS:
        raise BadFrame(f"it answers {letter!r} to our options")
    if len(data) < _OPTIONS.size:
        raise BadFrame("its options are too short")
    version, actions, steps = _OPTIONS.unpack_from(data)
    if not MIN_VERSION <= version <= VERSION:
        raise BadFrame(f"it speaks version {version} of the protocol")
    if actions & ~int(ALL_ACTIONS) or steps & ~int(ALL_STEPS):
        raise BadFrame("it wants what was not offered")
    return Agreed(version, FilterAction(actions), FilterStep(steps), _read_macro_lists(data[_OPTIONS.size :]))


def _read_macro_lists(data: bytes) -> dict[FilterCommand, frozenset[str]]:
    lists: dict[FilterCommand, frozenset[str]] = {}
    while data:
        if len(data) <= _LENGTH.size or (end := data.find(b"\0", _LENGTH.size)) < 0:
            raise BadFrame("its list of macros is cut off")
        (stage,) = _LENGTH.unpack_from(data)
        if stage >= len(MACRO_STAGES):
            raise BadFrame(f"it wants macros for stage {stage}")
        names = data[_LENGTH.size : end].decode("ascii", "replace").replace(",", " ").split()
        lists[MACRO_STAGES[stage]] = frozenset(names)
        data = data[end + 1 :]
    return lists


def macros(command: FilterCommand, values: Mapping[str, str], agreed: Agreed) -> bytes:
    """The macros that go before a command: those with a value that the filter wants."""
    wanted = agreed.macros.get(command)
    chosen = {name: value for name, value in values.items() if value and (wanted is None or name in wanted)}
    return frame(FilterCommand.MACROS, command.encode() + strings(item for pair in chosen.items() for item in pair))


def strings(values: Iterable[str]) -> bytes:
    """Texts, each with a NUL behind it; what they have of NUL themselves is left out."""
    return b"".join(text.replace("\0", "").encode("utf-8", "surrogateescape") + b"\0" for text in values)


def connect(name: str, address: str, port: int) -> bytes:
    """CONNECT, from an IP address."""
    kind, written = (b"6", f"IPv6:{address}") if ":" in address else (b"4", address)
    return frame(FilterCommand.CONNECT, strings((name,)) + kind + port.to_bytes(2, "big") + strings((written,)))


def path(command: FilterCommand, address: str, parameters: Iterable[str] = ()) -> bytes:
    """MAIL or RCPT; `address` without its brackets."""
    return frame(command, strings((f"<{address}>", *parameters)))


def header(name: bytes, value: bytes, agreed: Agreed) -> bytes:
    """A header field. `value` is what follows the colon, without the last line end."""
    if not agreed.steps & FilterStep.LEADING_SPACE and value.startswith(b" "):
        value = value[1:]
    return frame(FilterCommand.HEADER, name + b"\0" + value.replace(b"\r\n", b"\n").replace(b"\0", b"") + b"\0")


class FrameReader:
    """Cuts what a filter sends into frames."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take what was read."""
        self._buffer += data

    def next_frame(self) -> tuple[str, bytes] | None:
        """A letter and its data; None: more has to be read. Raises BadFrame."""
        buffer = self._buffer
        if len(buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(buffer)
        if not 1 <= length <= MAX_FRAME_OCTETS:
            raise BadFrame(f"a frame of {length} octets")
        end = _LENGTH.size + length
        if len(buffer) < end:
            return None
        letter, data = chr(buffer[_LENGTH.size]), bytes(buffer[_LENGTH.size + 1 : end])
        del buffer[:end]
        return letter, data
