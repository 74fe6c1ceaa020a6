"""The client's half of SMTP and LMTP, without a socket: octets in, events out, octets to send (RFC 5321, RFC 2033).

The driver requests steps (`hello`, `start_tls`, `begin`, `send_message`, `quit`), sends `take_output()`, and hands
what it reads to `receive`. Every answer is matched to the command that it answers; one that answers nothing, or comes
before its command, ends the session. Misuse by the driver is a LocalProtocolError, nonsense from the server a
RemoteProtocolError, from any method; there is nothing else. MAIL, RCPT and DATA go out together where the server offers
PIPELINING (RFC 2920 section 3.1), and only then; with CHUNKING a small message may go in the same group (RFC 3030
section 4.2). The next message's may go out behind a content, in its group.

LMTP is another greeting, LHLO, and another end: a reply for each recipient that RCPT accepted, in their order (RFC 2033
section 4.2). Until its reply has come, a recipient's fate is unknown, whatever the others got.
"""

from collections.abc import Sequence

from letterlock.mail.addresses import Mailbox
from letterlock.mail.replies import Reply
from letterlock.mail.wishes import NO_WISHES, Wishes
from letterlock.smtp.client_content import BareLineEnd, WireContent, wire_content
from letterlock.smtp.client_events import (
    Capabilities,
    ConnectionEnded,
    EnvelopeAnswered,
    Event,
    Greeted,
    HelloAnswered,
    LocalProtocolError,
    LoginAnswered,
    MessageAnswered,
    QuitAnswered,
    RecipientAnswered,
    RemoteProtocolError,
    SenderAnswered,
    ServerClosing,
    TlsAnswered,
    TlsGoAhead,
    parse_capabilities,
)
from letterlock.smtp.client_steps import (
    ACCEPTING,
    DATA_COMMAND,
    GO_AHEAD,
    GREETING_COMMAND,
    MESSAGE_COMMAND,
    QUIT_COMMAND,
    RSET_COMMAND,
    STARTTLS_COMMAND,
    ClientCommand,
    ClientState,
    Step,
    while_awaiting,
)
from letterlock.smtp.command_text import as_ascii, as_utf8
from letterlock.smtp.reply_parser import MAX_REPLY_LINE_OCTETS, MAX_REPLY_LINES, MalformedReply, ReplyParser

MAX_RECIPIENTS = 100  # what every server must take (RFC 5321 section 4.5.3.1.8), and what bounds a pipelined group
_NO_CAPABILITIES = Capabilities()


# Members of enums that each message meets: until Python 3.12, to look one up in its class costs more than a call.
_WAITING = ClientState.WAITING
_READY = ClientState.READY
_SENDING = ClientState.SENDING
_CLOSED = ClientState.CLOSED
_GREETING, _STARTTLS = Step.GREETING, Step.STARTTLS
_MAIL = Step.MAIL
_RCPT = Step.RCPT
_DATA = Step.DATA
_BDAT = Step.BDAT
_MESSAGE = Step.MESSAGE
_HELLO = frozenset({Step.EHLO, Step.HELO, Step.LHLO})
_ENVELOPE = frozenset({Step.RSET, Step.MAIL, Step.RCPT, Step.DATA, Step.NO_MESSAGE})
_SKIPPED_WHEN_POINTLESS = frozenset({Step.RCPT, Step.DATA})
_DEAF = frozenset({ClientState.CLOSED, ClientState.HANDSHAKE})


class SmtpClient:
    """One session. `name` is what we call ourselves in EHLO: a domain name or an address literal.

    `secure`: the session is inside TLS from its first octet (RFC 8314 section 3), and there is no STARTTLS. `lmtp`: the
    server speaks LMTP. `ignored`: EHLO keywords, in capitals, that are read as if they were not there.

    To be read only, as `lmtp` and `ignored` are: `state` is what may come next. `capabilities` are what the server
    offered in its last EHLO reply; none before it, and nothing of what came before TLS. `sent_early`: the message of
    this transaction went out with its envelope. `fault` is what the server did wrong, if the session is over for it.
    """

    def __init__(
        self,
        name: str,
        *,
        secure: bool = False,
        lmtp: bool = False,
        ignored: frozenset[str] = frozenset(),
        max_line_octets: int = MAX_REPLY_LINE_OCTETS,
        max_reply_lines: int = MAX_REPLY_LINES,
    ) -> None:
        self._name = as_ascii(name)
        self._parser = ReplyParser(max_line_octets=max_line_octets, max_lines=max_reply_lines)
        self._output: list[bytes] = []
        # Lists, though taken from in front: they are short, and an empty deque takes 760 bytes of each idle session.
        self._due = [GREETING_COMMAND]
        self._plan: list[ClientCommand] = []
        self.state = _WAITING
        self.capabilities: Capabilities = _NO_CAPABILITIES
        self._secure = secure
        self.lmtp = lmtp
        self.ignored = ignored
        self._sender_accepted = False
        self._accepted: list[Mailbox] = []
        self._transaction_open = False
        self._fresh = True
        self._by_data = False  # this transaction's content goes by DATA, though CHUNKING is offered
        self.sent_early = False
        self.fault: str | None = None  # no exception: that would keep the frames that it came through, and they this

    @property
    def awaiting(self) -> Step | None:
        """The step whose reply comes next; None when none is due."""
        return self._due[0].step if self._due else None

    @property
    def secure(self) -> bool:
        """Whether the session is inside TLS."""
        return self._secure

    @property
    def pipelining(self) -> bool:
        """Whether commands go out in groups (RFC 2920)."""
        return self.capabilities.pipelining

    @property
    def chunking(self) -> bool:
        """Whether the content of this transaction goes out by BDAT (RFC 3030) and not by DATA."""
        return self.capabilities.chunking and not self._by_data

    @property
    def may_follow(self) -> bool:
        """Whether another envelope may go out behind the content that is on its way (RFC 2920 section 3.1)."""
        return self.capabilities.pipelining and not self.sent_early and self._due == [MESSAGE_COMMAND]

    @property
    def may_send_early(self) -> bool:
        """Whether the message may go out in one group with its envelope.

        Only in the first transaction: one that served before may have ended unseen, and nothing is to be in doubt then.
        """
        return self._fresh and self.capabilities.chunking and self.capabilities.pipelining

    def take_output(self) -> bytes:
        """The octets to send now; they are handed out once."""
        output = b"".join(self._output)
        self._output.clear()
        return output

    def hello(self) -> None:
        """EHLO; LHLO in LMTP (RFC 2033 section 4.1). Raises LocalProtocolError."""
        self._demand(ClientState.GREETED)
        step, verb = (Step.LHLO, b"LHLO ") if self.lmtp else (Step.EHLO, b"EHLO ")
        self._send([ClientCommand(step, verb + self._name + b"\r\n")])

    def hello_without_extensions(self) -> None:
        """HELO, for a server that does not know EHLO; never inside TLS, nor in LMTP. Raises LocalProtocolError."""
        self._demand(ClientState.GREETED)
        if self.lmtp:
            raise LocalProtocolError("there is no HELO in LMTP")
        if self._secure:
            raise LocalProtocolError("a server that answered STARTTLS knows EHLO")
        self._send([ClientCommand(Step.HELO, b"HELO " + self._name + b"\r\n")])

    def start_tls(self) -> None:
        """STARTTLS (RFC 3207). Raises LocalProtocolError when it was not offered."""
        self._demand(_READY)
        if self._secure or not self.capabilities.starttls:
            raise LocalProtocolError("STARTTLS is not on offer")
        self._send([STARTTLS_COMMAND])

    def tls_established(self) -> None:
        """The handshake is done: forget what the server said in clear; EHLO comes next (RFC 3207 section 4.2)."""
        self._demand(ClientState.HANDSHAKE)
        self.capabilities = _NO_CAPABILITIES
        self._secure = True
        self.state = ClientState.GREETED

    def log_in(self, mechanism: str, response: bytes | None) -> None:
        """AUTH with a mechanism and, in base64, its initial response (RFC 4954); only inside TLS.

        One that is too long for a command line goes with the first challenge (section 4). Raises LocalProtocolError.
        """
        self._demand(_READY)
        if not self._secure or mechanism not in self.capabilities.auth:
            raise LocalProtocolError(f"AUTH {mechanism} is not on offer inside TLS")
        line = b"AUTH " + as_ascii(mechanism)
        if response is not None:
            line += b" " + (response or b"=")
        self._send([ClientCommand(Step.AUTH, line + b"\r\n")])

    def answer_challenge(self, response: bytes) -> None:
        """The response to a challenge, in base64. Raises LocalProtocolError."""
        self._demand(ClientState.CHALLENGED)
        self._send([ClientCommand(Step.AUTH, response + b"\r\n")])

    def begin(
        self,
        reverse_path: Mailbox | None,
        recipients: Sequence[Mailbox],
        *,
        size: int,
        eight_bit: bool = False,
        requiretls: bool = False,
        wishes: Wishes = NO_WISHES,
        smtputf8: bool = False,
        early: WireContent | None = None,
        behind: bool = False,
    ) -> None:
        """MAIL and RCPT, and DATA where content does not go by BDAT.

        `size` is the content's octets, `eight_bit` whether it has octets above 127; `early` is the content, to go out
        now. `behind`: in one group with the last octet of the content before it, whose reply is due, and with DATA: no
        other reply can be taken for its 354, so one too many or too few is found before any content is sent.

        Raises LocalProtocolError: 1 to MAX_RECIPIENTS recipients, addresses beyond ASCII only with `smtputf8`, and that
        only where it is offered (RFC 6531 section 3.2), 8-bit only where 8BITMIME is, REQUIRETLS only inside TLS and
        where it is (RFC 8689 section 2), `early` only where `may_send_early`, `behind` where `may_follow`. `wishes` go
        only to a server that offers DSN (RFC 3461 section 5.2).
        """
        if not behind:
            self._demand(_READY)
        elif not self.may_follow:
            raise LocalProtocolError("the envelope must wait for the answer to the content before it")
        offered = self.capabilities
        parameters = b"" if offered.size is None else b" SIZE=%d" % size
        if eight_bit or requiretls or smtputf8:
            parameters += self._demanded(eight_bit, requiretls, smtputf8)
        if not 1 <= len(recipients) <= MAX_RECIPIENTS:
            raise LocalProtocolError(f"a transaction has 1 to {MAX_RECIPIENTS} recipients, not {len(recipients)}")
        if early is not None and (behind or not self.may_send_early):
            raise LocalProtocolError("the message must wait for the answers to its envelope")
        write = as_utf8 if smtputf8 else as_ascii
        commands = [RSET_COMMAND] if self._transaction_open and not behind else []
        told = wishes if offered.dsn else NO_WISHES
        sender = b"MAIL FROM:<>" if reverse_path is None else write(f"MAIL FROM:<{reverse_path}>")
        if told is not NO_WISHES:
            parameters += as_ascii(told.parameters)
        commands.append(ClientCommand(_MAIL, sender + parameters + b"\r\n"))
        for one in recipients:
            wished = as_ascii(told.of(one).parameters) if told.recipients else b""
            commands.append(ClientCommand(_RCPT, write(f"RCPT TO:<{one}>") + wished + b"\r\n", one))
        if early is not None:
            commands.append(ClientCommand(_BDAT, b"BDAT %d LAST\r\n" % len(early.content)))
        elif behind or not offered.chunking:
            commands.append(DATA_COMMAND)
        self._sender_accepted = False
        self._accepted = []
        self._transaction_open = True
        self._fresh = False
        self._by_data = behind
        self.sent_early = early is not None
        if offered.pipelining:
            self._send(commands)
        else:
            self._plan = commands
            self._go_on()
        if early is not None:
            self._output.append(early.content)

    def _demanded(self, eight_bit: bool, requiretls: bool, smtputf8: bool) -> bytes:
        """Parameters of MAIL for what the server must offer. Raises LocalProtocolError."""
        if eight_bit and not self.capabilities.eight_bit_mime:
            raise LocalProtocolError("the server does not offer 8BITMIME")
        if requiretls and not (self._secure and self.capabilities.requiretls):
            raise LocalProtocolError("the server does not offer REQUIRETLS inside TLS")
        if smtputf8 and not self.capabilities.smtputf8:
            raise LocalProtocolError("the server does not offer SMTPUTF8")
        words = b" BODY=8BITMIME" if eight_bit else b""
        words += b" SMTPUTF8" if smtputf8 else b""
        return words + (b" REQUIRETLS" if requiretls else b"")

    def send_message(self, content: bytes | WireContent) -> None:
        """The message content, which has CRLF line ends only: dot-stuffed and ended (RFC 5321 section 4.5.2), or in
        one chunk as it is (RFC 3030 section 2).

        Raises LocalProtocolError on a bare CR or LF: some servers would see another end of the message than others.
        """
        self._demand(_SENDING)
        try:
            ready = content if isinstance(content, WireContent) else wire_content(content)
        except BareLineEnd as error:
            raise LocalProtocolError(str(error)) from None
        self._await(self._message_answers())
        if self.chunking:
            self._output += (b"BDAT %d LAST\r\n" % len(ready.content), ready.content)
        else:
            self._output += (ready.octets, b".\r\n")

    def begin_message(self, octets: int) -> bytes:
        """The same for a message of so many octets that the driver writes itself, with its dots doubled after DATA.

        Returns what it writes behind the last octet: until then there is no message. Raises LocalProtocolError.
        """
        self._demand(_SENDING)
        self._await(self._message_answers())
        if not self.chunking:
            return b".\r\n"
        self._output.append(b"BDAT %d LAST\r\n" % octets)
        return b""

    def _message_answers(self) -> list[ClientCommand]:
        if not self.lmtp:
            return [MESSAGE_COMMAND]
        return [ClientCommand(_MESSAGE, recipient=recipient) for recipient in self._accepted]

    def quit(self) -> None:
        """QUIT. Raises LocalProtocolError."""
        self._demand(ClientState.GREETED, _READY)
        self._send([QUIT_COMMAND])

    def receive(self, data: bytes) -> list[Event]:
        """Take what was read, b"" for the end of the connection; the events that follow from it.

        Raises RemoteProtocolError; ConnectionEnded when an answer was due; LocalProtocolError after the end. What
        was rightly answered before the fault is handed out first, and the fault raised by the next call.
        """
        if self.state in _DEAF:
            if self.fault is not None:
                raise RemoteProtocolError(self.fault)
            raise LocalProtocolError(f"nothing to receive while {self.state}")
        if not data:
            return self._connection_ended()
        self._parser.feed(data)
        events: list[Event] = []
        try:
            while self.state not in _DEAF and (reply := self._parser.next_reply()) is not None:
                events += self._match(reply)
        except MalformedReply as error:
            self._fault(f"{error}, {while_awaiting(self.awaiting)}")
            if not events:
                raise RemoteProtocolError(self.fault) from None
        except RemoteProtocolError:
            if not events:
                raise
        return events

    def _connection_ended(self) -> list[Event]:
        due, self.state = self.awaiting, _CLOSED
        if due is Step.QUIT or due is None:
            return []
        raise ConnectionEnded(f"the server closed the connection {while_awaiting(due)}")

    def _match(self, reply: Reply) -> list[Event]:
        if not self._due:
            if reply.code != 421:
                raise self._fault(f"the server sent an unexpected reply: {reply}")
            self.state = _CLOSED
            return [ServerClosing(reply)]
        command = self._due.pop(0)
        step = command.step
        accepted = reply.code in ACCEPTING[step]
        if not accepted and not (reply.transient or reply.permanent):
            raise self._fault(f"the server answered {step} with {reply}")
        if step in _ENVELOPE:
            events = self._answer_envelope(command, reply, accepted=accepted)
        elif step is _MESSAGE:
            events = [self._message_answered(command, reply)]
        else:
            events = [self._answer(step, reply, accepted=accepted)]
        if not accepted and reply.code == 421:
            self.state = _CLOSED
            events.append(ServerClosing(reply))
        return events

    def _answer(self, step: Step, reply: Reply, *, accepted: bool) -> Event:
        if step in _HELLO:
            return self._greeted_back(step, reply, accepted=accepted)
        if step is _GREETING:
            self.state = ClientState.GREETED if accepted else _CLOSED
            return Greeted(reply)
        if step is _STARTTLS:
            return self._answer_tls(reply)
        if step is Step.AUTH:
            self.state = ClientState.CHALLENGED if reply.code == 334 else _READY  # RFC 4954 section 6
            return LoginAnswered(reply)
        self.state = _CLOSED
        return QuitAnswered(reply)

    def _message_answered(self, command: ClientCommand, reply: Reply) -> Event:
        if not self._due:
            self._transaction_open = False
            self.state = _READY
        return MessageAnswered(reply, command.recipient)

    def _greeted_back(self, step: Step, reply: Reply, *, accepted: bool) -> Event:
        if not accepted:
            self.state = ClientState.GREETED
            return HelloAnswered(reply, None)
        self.state = _READY
        if step is Step.HELO:
            self.capabilities = _NO_CAPABILITIES
        else:
            self.capabilities = parse_capabilities(reply.lines, self.ignored)
        return HelloAnswered(reply, self.capabilities)

    def _answer_tls(self, reply: Reply) -> Event:
        if reply.code not in GO_AHEAD:
            self.state = _READY
            return TlsAnswered(reply, TlsGoAhead.REFUSED)
        if self._parser.pending:
            self.state = _CLOSED
            return TlsAnswered(reply, TlsGoAhead.INJECTED)
        self.state = ClientState.HANDSHAKE
        return TlsAnswered(reply, TlsGoAhead.READY)

    def _answer_envelope(self, command: ClientCommand, reply: Reply, *, accepted: bool) -> list[Event]:
        step, recipient, due = command.step, command.recipient, self._due
        events: list[Event]
        if recipient is not None:
            if accepted and not self._sender_accepted:
                raise self._fault("the server refused MAIL and then accepted RCPT")
            if accepted:
                self._accepted.append(recipient)
            events = [RecipientAnswered(recipient, reply)]
        elif step is _MAIL:
            self._sender_accepted = accepted
            events = [SenderAnswered(reply)]
        elif step is _DATA:
            return self._answer_data(reply, accepted=accepted)
        elif step is Step.NO_MESSAGE:
            return self._envelope_over(None)
        elif accepted:
            events = []
        else:
            raise self._fault(f"the server refused RSET: {reply}")
        if not due:
            events += self._go_on()
        elif due[0].step is _BDAT:
            events += self._content_is_there()
        return events

    def _content_is_there(self) -> list[Event]:
        """The whole envelope is answered; the reply to the message comes next."""
        self._due.pop(0)
        self._due.extend(self._message_answers() if self._accepted else [ClientCommand(Step.NO_MESSAGE)])
        return [EnvelopeAnswered(tuple(self._accepted), None)] if self._accepted else []

    def _answer_data(self, reply: Reply, *, accepted: bool) -> list[Event]:
        if not accepted:
            self._accepted = []
            return self._envelope_over(reply)
        if self._accepted:
            self.state = _SENDING
            return [EnvelopeAnswered(tuple(self._accepted), reply)]
        if self.lmtp:
            raise self._fault(f"the server wants a message that is for nobody: {reply}")  # RFC 2033 section 4.2: a 503
        self._await([ClientCommand(Step.NO_MESSAGE)])
        self._output.append(b".\r\n")  # RFC 2920 section 3.1: an unwanted 354 is ended with an empty message
        return []

    def _go_on(self) -> list[Event]:
        """Send the next command of the plan, which there is without PIPELINING; leave out what has become pointless."""
        if not self._plan:
            return self._content_is_next() if self.chunking else []
        if self._plan[0].step in _SKIPPED_WHEN_POINTLESS and self._pointless():
            self._plan.clear()
            return self._envelope_over(None)
        self._send([self._plan.pop(0)])
        return []

    def _content_is_next(self) -> list[Event]:
        """All of the envelope is answered, and no DATA asks for leave."""
        if not self._accepted:
            return self._envelope_over(None)
        self.state = _SENDING
        return [EnvelopeAnswered(tuple(self._accepted), None)]

    def _pointless(self) -> bool:
        return not self._sender_accepted or (self._plan[0].step is _DATA and not self._accepted)

    def _envelope_over(self, reply: Reply | None) -> list[Event]:
        self.state = _READY
        return [EnvelopeAnswered((), reply)]

    def _send(self, commands: Sequence[ClientCommand]) -> None:
        self._await(commands)
        self._output += [command.line for command in commands]

    def _await(self, commands: Sequence[ClientCommand]) -> None:
        """Raises RemoteProtocolError when the server has spoken before it was asked."""
        if not self._due and self._parser.pending:
            raise self._fault(f"the server spoke before it was sent {commands[0].step}")
        self._due += commands
        self.state = _WAITING

    def _demand(self, *states: ClientState) -> None:
        if self.state not in states:
            raise LocalProtocolError(f"not while the session is {self.state}")

    def _fault(self, what: str) -> RemoteProtocolError:
        self.state = _CLOSED
        self.fault = what
        return RemoteProtocolError(what)
