"""The state of a mail transaction in a server session, and the reasons to reject its message."""

from dataclasses import dataclass, field

from letterlock.mail.addresses import Mailbox
from letterlock.mail.checked_content import PIECE_OCTETS, CheckedContent, LargeContent
from letterlock.mail.envelope import BodyType
from letterlock.mail.replies import Reply
from letterlock.mail.wishes import NO_WISHES, NOTHING_SAID, RecipientWishes, Ret, Wishes
from letterlock.smtp import server_replies as say
from letterlock.smtp.arriving import ArrivingContent, fault_of_lines
from letterlock.smtp.content import has_dotted_line
from letterlock.smtp.server_events import MessageReceived, ServerLimits

RECIPIENT_OCTETS = 1024  # of the objects that hold one recipient and its wishes: 780 to 1,190 measured by tracemalloc


@dataclass(slots=True)
class Transaction:
    """A mail transaction; `offered` counts every RCPT, accepted or not. `recipients` keeps their order."""

    reverse_path: Mailbox | None = None
    body_type: BodyType = BodyType.SEVEN_BIT
    requiretls: bool = False
    smtputf8: bool = False
    ret: Ret | None = None
    envid: str | None = None
    content: bytearray = field(default_factory=bytearray)  # of the chunks so far, unless it is in `arriving`
    arriving: ArrivingContent | None = None  # of a large message
    refusal: Reply | None = None  # of the message, when it came between two chunks
    recipients: dict[Mailbox, None] = field(default_factory=dict)
    wishes: dict[Mailbox, RecipientWishes] = field(default_factory=dict)
    offered: int = 0
    envelope_octets: int = 0  # about what the envelope takes in memory

    def add(self, recipient: Mailbox, wishes: RecipientWishes, octets: int) -> None:
        """Take a recipient in, who takes about so many octets in memory."""
        self.recipients[recipient] = None
        self.envelope_octets += octets
        if wishes is not NOTHING_SAID and wishes != NOTHING_SAID:
            self.wishes[recipient] = wishes

    @property
    def _wished(self) -> bool:
        return bool(self.wishes) or self.ret is not None or self.envid is not None

    def message(self, content: CheckedContent | LargeContent) -> MessageReceived:
        """The transaction's message, whole."""
        return MessageReceived(
            reverse_path=self.reverse_path,
            recipients=tuple(self.recipients),
            body_type=self.body_type,
            requiretls=self.requiretls,
            wishes=Wishes(self.ret, self.envid, self.wishes) if self._wished else NO_WISHES,
            smtputf8=self.smtputf8,
            content=content,
        )

    def look_through_chunks(self, limits: ServerLimits) -> Reply | None:
        """Take in what a large message has so far; the reply that refuses it."""
        if len(self.content) > limits.max_message_octets:
            return say.TOO_LARGE
        if len(self.content) < PIECE_OCTETS + (limits.max_text_line_octets if self.arriving else 0):
            return None
        end = self.content.rfind(b"\r\n")
        lines = bytes(self.content[: end + 2]) if end >= 0 else b""
        del self.content[: len(lines)]
        return self.take_lines(lines, bytes(self.content), limits, dotless=not has_dotted_line(lines))

    def take_lines(self, lines: bytes, tail: bytes, limits: ServerLimits, *, dotless: bool) -> Reply | None:
        """Add lines to the content that is arriving. `tail`: the unfinished line that follows."""
        if self.arriving is None:
            self.arriving = ArrivingContent(limits)
        if (fault := self.arriving.take(lines, dotless=dotless)) is not None:
            return fault
        if len(tail) <= limits.max_text_line_octets + 1:  # it may have a dot more than counts
            return None
        return fault_of_lines(tail, limits) or say.TEXT_LINE_TOO_LONG


def recipient_octets(recipient: Mailbox, wishes: RecipientWishes) -> int:
    """About what a recipient takes in memory."""
    octets = RECIPIENT_OCTETS + len(recipient.local_part) + len(recipient.domain)
    return octets if wishes.orcpt is None else octets + len(wishes.orcpt)


@dataclass(slots=True)
class Chunk:
    """A chunk announced by BDAT: how many octets it has, how many are `left`, and the reply if they are not wanted."""

    octets: int
    left: int
    last: bool
    refusal: Reply | None = None
    wanted: bool = True  # it belongs to a mail transaction
