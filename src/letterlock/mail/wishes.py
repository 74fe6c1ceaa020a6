"""The notifications that a sender requests: NOTIFY, ORCPT, RET and ENVID (RFC 3461 section 4).

ORCPT and ENVID are kept as they came, in xtext, and go on as they came; only a notification shows what they mean. An
ORCPT in UTF-8 is the exception: it is kept, and goes on, in the 7-bit form of RFC 6533 section 3, which every server
takes.
"""

import re
from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum

from letterlock.frozen import frozen_dataclass
from letterlock.mail.addresses import BEYOND_ASCII, Mailbox

MAX_ENVID_OCTETS = 100  # RFC 3461 section 4.4
MAX_ORCPT_OCTETS = 500  # RFC 3461 section 4.2
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
_ENCODED = re.compile(r"\+([0-9A-F]{2})")
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_BEYOND_ASCII = re.compile(rf"[{BEYOND_ASCII}]")
_PRINTABLE = re.compile(r"[ -~]+")


class NotRfc3461(ValueError):
    """The text does not follow the grammar of RFC 3461."""


class Event(StrEnum):
    """The events that a sender may request notice of (RFC 3461 section 4.1), in the order in which we write them."""

    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


class Ret(StrEnum):
    """How much of a message comes back with the notification of its failure (RFC 3461 section 4.3)."""

    FULL = "FULL"
    HDRS = "HDRS"


@frozen_dataclass(frozen=True, slots=True)
class RecipientWishes:
    """What is wished for one recipient. `notify` empty is NEVER, None is not given; `orcpt` is `type;xtext`."""

    notify: frozenset[Event] | None = None
    orcpt: str | None = None

    def wants(self, event: Event) -> bool:
        """Whether the sender is notified; by default, of failure and delay (RFC 3461 section 4.1)."""
        return event is not Event.SUCCESS if self.notify is None else event in self.notify

    @property
    def parameters(self) -> str:
        """The parameters of RCPT, each with a space in front."""
        notify = "" if self.notify is None else f" NOTIFY={write_notify(self.notify)}"
        return notify + (f" ORCPT={self.orcpt}" if self.orcpt else "")


NOTHING_SAID = RecipientWishes()


@frozen_dataclass(frozen=True, slots=True)
class Wishes:
    """What is wished for one message; `recipients` has those of whom something was said. `envid` is xtext."""

    ret: Ret | None = None
    envid: str | None = None
    recipients: Mapping[Mailbox, RecipientWishes] = field(default_factory=dict, hash=False)

    def of(self, recipient: Mailbox) -> RecipientWishes:
        """What is wished for a recipient."""
        return self.recipients.get(recipient, NOTHING_SAID)

    @property
    def parameters(self) -> str:
        """The parameters of MAIL, each with a space in front."""
        return (f" RET={self.ret}" if self.ret else "") + (f" ENVID={self.envid}" if self.envid else "")


NO_WISHES = Wishes()


def parse_notify(text: str) -> frozenset[Event]:
    """NEVER, or some of SUCCESS, FAILURE, DELAY, with commas between (RFC 3461 section 4.1). Raises NotRfc3461."""
    words = text.upper().split(",")
    if words == ["NEVER"]:
        return frozenset()
    try:
        return frozenset(Event(word) for word in words)
    except ValueError:
        raise NotRfc3461("NOTIFY is NEVER, or some of SUCCESS, FAILURE, DELAY") from None


def write_notify(notify: frozenset[Event]) -> str:
    """The value of NOTIFY."""
    return ",".join(event for event in Event if event in notify) or "NEVER"


def parse_orcpt(text: str) -> str:
    """`type;xtext` (RFC 3461 section 4.2), as it came; of type utf-8 in 7 bits (RFC 6533). Raises NotRfc3461."""
    if not text.isascii() and text[:6].lower() == "utf-8;":
        text = _BEYOND_ASCII.sub(lambda found: f"\\x{{{ord(found[0]):X}}}", text)
    read_orcpt(text)
    return text


def read_orcpt(text: str) -> tuple[str, str]:
    """Address type and address of an ORCPT. Raises NotRfc3461."""
    kind, semicolon, address = text.partition(";")
    if not semicolon or not _ADDRESS_TYPE.fullmatch(kind) or len(text) > MAX_ORCPT_OCTETS:
        raise NotRfc3461(f"ORCPT is an address type, a semicolon and xtext, {MAX_ORCPT_OCTETS} octets at most")
    return kind, decode_xtext(address)


def parse_envid(text: str) -> str:
    """An envelope id in xtext (RFC 3461 section 4.4), as it came. Raises NotRfc3461."""
    if len(text) > MAX_ENVID_OCTETS:
        raise NotRfc3461(f"ENVID has {MAX_ENVID_OCTETS} octets at most")
    decode_xtext(text)
    return text


def decode_xtext(text: str) -> str:
    """What xtext stands for: printable ASCII, not nothing (RFC 3461 section 4). Raises NotRfc3461.

    Control characters are refused: RFC 3461 section 4.4 allows none, and a line end would forge a field.
    """
    if not _XTEXT.fullmatch(text):
        raise NotRfc3461("this is no xtext")
    decoded = _ENCODED.sub(lambda found: chr(int(found[1], 16)), text)
    if not _PRINTABLE.fullmatch(decoded):
        raise NotRfc3461("only printable ASCII can be meant")
    return decoded
