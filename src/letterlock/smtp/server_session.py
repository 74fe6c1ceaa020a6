"""The state of a server session, and the questions that its driver may ask."""

from collections import deque
from collections.abc import Collection

from letterlock.mail.addresses import Mailbox
from letterlock.mail.replies import Reply
from letterlock.smtp.arriving import ArrivingContent
from letterlock.smtp.commands import POSTMASTER
from letterlock.smtp.lines import Input
from letterlock.smtp.server_events import Decision, Ended, Event, ServerLimits
from letterlock.smtp.server_table import State
from letterlock.smtp.server_transaction import Chunk, Transaction

IN_TRANSACTION = frozenset({State.SENDER, State.RECIPIENTS, State.CONTENT, State.CHUNKS})
RECEIVING = frozenset({State.CONTENT, State.CHUNK, State.CHUNKS})


class ServerSession:
    """One session. `hostname` is our name in greeting and EHLO; `starttls` whether STARTTLS is offered.

    `secure`: the session is inside TLS from its first byte (RFC 8314 section 3.3).
    `postmaster` gets what comes for `<postmaster>` and for the postmaster of `hostname`; None: the latter.
    """

    def __init__(
        self,
        hostname: str,
        limits: ServerLimits,
        *,
        starttls: bool,
        secure: bool = False,
        postmaster: Mailbox | None = None,
    ) -> None:
        self._hostname = hostname
        self._postmaster = postmaster or Mailbox(POSTMASTER, hostname)
        self._limits = limits
        self._starttls = starttls
        self._input = Input(max_command_octets=limits.max_command_octets)
        self._octets = self._input.octets
        self._output: list[bytes] = []
        self._events: deque[Event] = deque()
        self.state = State.NEW  # where the session stands; to be read only, and read a dozen times per message
        self._decision: Decision | None = None
        self._ended: Ended | None = None
        self._client_gone = False
        self._secure = secure
        self._bad_commands = 0
        self._idle_commands = 0
        self.commands = 0  # command lines that were read: whether a silent client gets on
        self._last_step = "CONNECT"
        self._hello: str | None = None
        self._extended = False
        self._discarding: Reply | None = None
        self._chunk: Chunk | None = None
        self._back_to = State.READY
        self._mechanisms: tuple[str, ...] = ()
        self._authenticated = False
        self._mail = Transaction()

    @property
    def secure(self) -> bool:
        """Whether the session is inside TLS."""
        return self._secure

    @property
    def hello(self) -> str | None:
        """The name that the client gave in EHLO or HELO: a claim, never checked."""
        return self._hello

    @property
    def protocol(self) -> str:
        """The keyword of a Received field's `with` (RFC 3848, RFC 6531 section 4.3)."""
        name = "UTF8SMTP" if self._mail.smtputf8 else "ESMTP" if self._extended else "SMTP"
        if self._secure and self._extended:
            name += "S"
        return name + "A" if self._authenticated else name

    @property
    def recipients(self) -> Collection[Mailbox]:
        """The recipients accepted so far in the mail transaction; the collection changes with it."""
        return self._mail.recipients

    @property
    def in_transaction(self) -> bool:
        """Whether a mail transaction is open."""
        return self.state in IN_TRANSACTION or (self._chunk is not None and self._chunk.wanted)

    @property
    def receiving(self) -> bool:
        """Whether message content is arriving, or a part of it is here."""
        return self.state in RECEIVING

    @property
    def last_step(self) -> str:
        """The last command that was read, CONNECT before the first, or END-OF-MESSAGE: where a client got lost."""
        return self._last_step

    @property
    def held_octets(self) -> int:
        """The octets of unfinished input, message content in the main, and of the envelope."""
        arriving = self._mail.arriving
        held = len(self._octets) + len(self._mail.content) + self._mail.envelope_octets
        return held if arriving is None else held + arriving.held_octets

    @property
    def arriving(self) -> ArrivingContent | None:
        """The content of the mail transaction so far, if it is a large one: another object for another message."""
        return self._mail.arriving

    def take_output(self) -> bytes:
        """The octets to send now; they are handed out once."""
        pieces = self._output
        if len(pieces) == 1:
            return pieces.pop()
        output = b"".join(pieces)
        pieces.clear()
        return output

    def _say(self, reply: Reply) -> None:
        self._output.append(written(reply))


def written(reply: Reply) -> bytes:
    """A reply as it is sent."""
    first = [f"{reply.code}-{line}\r\n" for line in reply.lines[:-1]]
    return f"{''.join(first)}{reply.code} {reply.lines[-1]}\r\n".encode("ascii")
