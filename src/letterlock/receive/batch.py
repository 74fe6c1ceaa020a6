"""A message with its envelope as a file of SMTP commands (RFC 2442), read by the same server that reads the network.

So what holds for a client holds for a file: the grammar of addresses, line ends, line lengths, sizes and hops. A file
has one message. Pure: bytes in, a message out.
"""

import re
from dataclasses import dataclass, field

from letterlock.mail.addresses import Mailbox
from letterlock.mail.replies import Reply
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
_SHOWN_OCTETS = 320


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
    """Read a file to its end. Raises BadBatch."""
    if not octets.endswith(_END):
        raise BadBatch("its end is missing")
    reader = _Reader(SmtpServer(hostname, limits, starttls=False, postmaster=postmaster))
    at = 0
    while reader.wants_commands:
        end = octets.find(b"\n", at) + 1
        if not end:
            raise BadBatch("it has no message")
        reader.command(octets[at:end])
        at = end
    if reader.batch.recipients:
        reader.content(octets[at:])
    return reader.batch


class _Reader:
    def __init__(self, server: SmtpServer) -> None:
        self.batch = Batch()
        self._server = server
        self._server.greet()
        self._nobody = False

    @property
    def wants_commands(self) -> bool:
        """Whether the content has not begun."""
        return self._server.state is not State.CONTENT and not self._nobody

    def command(self, line: bytes) -> None:
        """Take one command. Raises BadBatch."""
        self._server.feed(line)
        while (event := self._server.next_event()) is not None:
            self._note(event, line)
        self._server.take_output()

    def _note(self, event: Event, line: bytes) -> None:
        match event:
            case SenderOffered(reverse_path):
                self.batch.reverse_path = reverse_path
                self._server.accept()
            case RecipientOffered(recipient=recipient):
                self.batch.recipients.append(recipient)
                self._server.accept()
            case Refused("RCPT", reply):
                found = _PATH.search(line)
                text = (found[1] if found else line)[:_SHOWN_OCTETS]
                self.batch.refused.append((text.decode("utf-8", "replace"), reply))
            case Refused("DATA") if self.batch.refused and not self.batch.recipients:
                self._nobody = True
            case Refused(_, reply):
                raise BadBatch(f"a command is refused: {reply}")
            case _:
                raise BadBatch("it ends before its message, or has it in another form")

    def content(self, octets: bytes) -> None:
        """Take the content, and what ends it. Raises BadBatch."""
        self._server.feed(octets)
        match self._server.next_event():
            case MessageReceived() as message:
                self.batch.message = message
                self._server.accept()
            case Refused("END-OF-MESSAGE", reply):
                self.batch.refused += [(str(recipient), reply) for recipient in dict.fromkeys(self.batch.recipients)]
            case _:
                raise BadBatch("its message has no end")
        if self._server.next_event() != Ended(End.QUIT):
            raise BadBatch("there is more than one message")
