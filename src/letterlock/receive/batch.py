"""A message with its envelope as a file of SMTP commands (RFC 2442), read by the same server that reads the network.

So what holds for a client holds for a file: the grammar of addresses, line ends, line lengths, sizes and hops. A file
has one message. Pure: bytes in, a message out.
"""

import re
from dataclasses import dataclass, field

from letterlock.mail.addresses import Mailbox
from letterlock.mail.checked_content import PIECE_OCTETS
from letterlock.mail.replies import Reply
from letterlock.smtp.arriving import ArrivingContent
from letterlock.smtp.server import SmtpServer
from letterlock.smtp.server_events import (
    End,
    Ended,
    Event,
    MessageReceived,
    RecipientOffered,
    Refused,
    SenderOffered,
    ServerLimits,
)
from letterlock.smtp.server_table import State

_END = b"\r\n.\r\nQUIT\r\n"
_PATH = re.compile(rb"<(.*)>")
_SHOWN_OCTETS = 320  # the longest mailbox (RFC 5321 section 4.5.3.1)


class BadBatch(Exception):
    """The file is no message with its envelope; `str()` says why."""


@dataclass(slots=True)
class Batch:
    """What a file has: a message, unless all was refused; and what was refused, each with the reply."""

    reverse_path: Mailbox | None = None
    message: MessageReceived | None = None
    recipients: list[Mailbox] = field(default_factory=list)
    refused: list[tuple[str, Reply]] = field(default_factory=list)


def read_batch(octets: bytes, hostname: str, limits: ServerLimits, postmaster: Mailbox | None = None) -> Batch:
    """Read a whole file. Raises BadBatch."""
    reader = BatchReader(hostname, limits, postmaster)
    reader.feed(octets)
    return reader.end()


class BatchReader:
    """Reads a file block by block: `feed` each, and `end`. A large message is there to be spooled meanwhile."""

    def __init__(self, hostname: str, limits: ServerLimits, postmaster: Mailbox | None = None) -> None:
        self._batch = Batch()
        self._server = SmtpServer(hostname, limits, starttls=False, postmaster=postmaster)
        self._server.greet()
        self._nobody = False
        self._waiting = b""  # of a command that is not whole
        self._begun = False  # the content
        self._over = False
        self._last = b""
        self.arriving: ArrivingContent | None = None  # the content of a large message, so far

    def feed(self, octets: bytes) -> None:
        """The next octets. Raises BadBatch."""
        self._last = (self._last + octets)[-len(_END) :]
        octets, self._waiting = self._waiting + octets, b""
        at = 0
        while not (self._begun or self._nobody):
            end = octets.find(b"\n", at) + 1
            if not end:
                self._wait(octets[at:])
                return
            self._command(octets[at:end])
            self._begun, at = self._server.state is State.CONTENT, end
        if self._begun and at < len(octets):
            self._content(octets[at:] if at else octets)

    def end(self) -> Batch:
        """The message and its envelope, after the last block. Raises BadBatch."""
        if self._last != _END:
            raise BadBatch("its end is missing")
        if not (self._over or self._nobody):
            raise BadBatch("it has no message")
        return self._batch

    def _wait(self, begun: bytes) -> None:
        if len(begun) > PIECE_OCTETS:
            raise BadBatch("it has no message, but a line without an end")
        self._waiting = begun

    def _command(self, line: bytes) -> None:
        """Take one command. Raises BadBatch."""
        self._server.feed(line)
        while (event := self._server.next_event()) is not None:
            self._note(event, line)
        self._server.take_output()

    def _note(self, event: Event, line: bytes) -> None:
        match event:
            case SenderOffered(reverse_path):
                self._batch.reverse_path = reverse_path
                self._server.accept()
            case RecipientOffered(recipient=recipient):
                self._batch.recipients.append(recipient)
                self._server.accept()
            case Refused("RCPT", reply):
                found = _PATH.search(line)
                text = (found[1] if found else line)[:_SHOWN_OCTETS]
                self._batch.refused.append((text.decode("utf-8", "replace"), reply))
            case Refused("DATA") if self._batch.refused and not self._batch.recipients:
                self._nobody = True
            case Refused(_, reply):
                raise BadBatch(f"a command is refused: {reply}")
            case _:
                raise BadBatch("it ends before its message, or has it in another form")

    def _content(self, octets: bytes) -> None:
        """Take content, and what ends it. Raises BadBatch."""
        if self._over:
            raise BadBatch("there is more than one message")
        self._server.feed(octets)
        while not self._over and (event := self._server.next_event()) is not None:
            self.arriving = self._server.arriving or self.arriving
            match event:
                case MessageReceived() as message:
                    self._batch.message = message
                    self._server.accept()
                case Refused("END-OF-MESSAGE", reply):
                    whom = dict.fromkeys(self._batch.recipients)
                    self._batch.refused += [(str(recipient), reply) for recipient in whom]
                case Ended(End.QUIT):
                    self._over = True
                case _:
                    raise BadBatch("its message has no end, or there is more than one")
        if self._over and self._server.held_octets:
            raise BadBatch("there is more than one message")
        self.arriving = self._server.arriving or self.arriving
