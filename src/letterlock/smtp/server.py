"""The server's half of SMTP, without a socket: octets in, events out, octets to send (RFC 5321).

The driver calls `greet`, sends `take_output()`, hands what it reads to `feed`, and asks `next_event` until that is
None: then every command that one read brought was dealt with, and all replies go out in one write (RFC 2920). Decisions
are answered with `accept` or `refuse` before the next event. Misuse by the driver is a LocalProtocolError; the client
can cause replies, an end of the session, and nothing else.
"""

import base64
from collections.abc import Callable
from typing import ClassVar

from letterlock.mail.checked_content import CheckedContent, DotlessContent, LargeContent
from letterlock.mail.replies import Reply
from letterlock.smtp import server_replies as say
from letterlock.smtp.arriving import fault_of
from letterlock.smtp.client_events import LocalProtocolError
from letterlock.smtp.commands import (
    POSTMASTER,
    BadCommand,
    Command,
    Verb,
    parse_auth,
    parse_bdat,
    parse_command,
    parse_hello,
    parse_mail,
    parse_rcpt,
    parse_sasl,
)
from letterlock.smtp.content import has_dotted_line, unstuff_dots
from letterlock.smtp.lines import LineFault
from letterlock.smtp.server_events import (
    AuthAnswered,
    AuthOffered,
    Decision,
    End,
    Ended,
    Event,
    MessageReceived,
    RecipientOffered,
    Refused,
    SenderOffered,
    StartTlsRequested,
)
from letterlock.smtp.server_session import ServerSession, written
from letterlock.smtp.server_table import TABLE, Effect, State
from letterlock.smtp.server_transaction import Chunk, Transaction, recipient_octets

# Members of enums that each message meets: until Python 3.12, to look one up in its class costs more than a call.
_CLOSED = State.CLOSED
_CONTENT = State.CONTENT
_READY = State.READY
_RECIPIENTS = State.RECIPIENTS
_SASL = State.SASL
_SENDER = State.SENDER
_BDAT = Verb.BDAT
_SENDER_OK, _RECIPIENT_OK, _SEND_CONTENT = map(written, (say.SENDER_OK, say.RECIPIENT_OK, say.SEND_CONTENT))
_UNREADY = frozenset({State.NEW, State.HANDSHAKE})
_ANSWERS = {Verb.NOOP: say.OK, Verb.VRFY: say.CANNOT_VERIFY, Verb.HELP: say.HELP}


class SmtpServer(ServerSession):
    """One session: see ServerSession for its arguments, and for what the driver may ask."""

    # --- what the driver does ----------------------------------------------------------------------------------------

    def greet(self) -> None:
        """220. Raises LocalProtocolError."""
        self._demand(State.NEW)
        self._say(Reply(220, (f"{self._hostname} ESMTP Letterlock",)))
        self.state = State.HELLO

    def feed(self, data: bytes) -> None:
        """Take what was read; b"" when the client closed. After the end of the session it is ignored.

        Raises LocalProtocolError: not before `greet` and not during the TLS handshake.
        """
        if self.state in _UNREADY:
            raise LocalProtocolError(f"nothing to feed while {self.state}")
        if not data:
            self._client_gone = True
        elif self.state is not _CLOSED:
            self._input.feed(data)

    def next_event(self) -> Event | None:
        """The next event; None when there is nothing until more is fed. After Ended, Ended again.

        Raises LocalProtocolError while a decision or the TLS handshake is due.
        """
        if self._decision is not None or self.state in _UNREADY:
            raise LocalProtocolError("a decision or the TLS handshake is due")
        while not self._events:
            if self._ended is not None:
                return self._ended
            # Without octets only a chunk can go on, for it may have none: nothing is looked at in vain after each turn.
            if (not self._octets and self._chunk is None) or not self._step():
                if not self._client_gone:
                    return None
                self._end(End.LOST)
        return self._events.popleft()

    def accept(self, note: str = "") -> None:
        """Accept the last event; for a message, `note` is the text of its 250 reply (`queued as 4F2A1`).

        Raises LocalProtocolError when no decision is due.
        """
        decision = self._take_decision()
        if isinstance(decision, RecipientOffered):  # not by `match`, which takes several times as long for each class
            self._mail.add(decision.recipient, decision.wishes, decision.octets)
            self.state = _RECIPIENTS
            self._output.append(_RECIPIENT_OK)
        elif isinstance(decision, SenderOffered):
            self._mail.reverse_path = decision.reverse_path
            self.state = _SENDER
            self._output.append(_SENDER_OK)
        elif isinstance(decision, MessageReceived):
            self._bad_commands = self._idle_commands = 0
            self._output.append(f"250 2.0.0 Ok: {note}\r\n".encode("ascii") if note else b"250 2.0.0 Ok\r\n")
            self._mail = Transaction()
            self.state = _READY
        else:
            self._authenticated = True
            self.state = _READY
            self._say(say.AUTHENTICATED)

    def refuse(self, reply: Reply) -> None:
        """Reject the last event with a 4yz or 5yz reply; 421 ends the session.

        Raises LocalProtocolError when no decision is due or the reply does not refuse.
        """
        if not (reply.transient or reply.permanent):
            raise LocalProtocolError(f"{reply} does not refuse")
        decision = self._take_decision()
        if isinstance(decision, AuthOffered | AuthAnswered):
            self.state = _READY
        if isinstance(decision, MessageReceived):
            self._end_transaction(reply)
        else:
            self._say(reply)
        if reply.code == 421:
            self._end(End.REFUSED)
        else:
            self._count_mistake(reply)

    def offer_auth(self, mechanisms: tuple[str, ...]) -> None:
        """Offer AUTH from the next EHLO on. Raises LocalProtocolError outside TLS: passwords do not travel in clear."""
        if not self._secure:
            raise LocalProtocolError("AUTH is for inside TLS")
        self._mechanisms = mechanisms

    def challenge(self, data: bytes) -> None:
        """Answer AUTH, or the client's answer to a challenge, with another challenge (334).

        Raises LocalProtocolError when neither is due.
        """
        if not isinstance(self._decision, AuthOffered | AuthAnswered):
            raise LocalProtocolError("no authentication is going on")
        self._decision = None
        self.state = _SASL
        self._say(Reply(334, (base64.b64encode(data).decode("ascii"),)))

    def discard_content(self, reply: Reply) -> None:
        """Keep no more of the message that is arriving; `reply` (4yz or 5yz) answers its end.

        Raises LocalProtocolError when none is arriving or the reply does not refuse.
        """
        if not self.receiving:
            raise LocalProtocolError(f"not while the session is {self.state}")
        if not (reply.transient or reply.permanent):
            raise LocalProtocolError(f"{reply} does not refuse")
        if self.state is _CONTENT:
            self._discarding = self._discarding or reply
        elif self._chunk is not None:
            self._chunk.refusal = self._chunk.refusal or reply
        else:
            self._mail.refusal = reply  # it answers the next chunk
        self._mail.content = bytearray()
        self._mail.arriving = None

    def tls_established(self) -> None:
        """The handshake is done: forget what was said in clear; EHLO comes next (RFC 3207 section 4.2)."""
        self._demand(State.HANDSHAKE)
        self._secure = True
        self._hello = None
        self._extended = False
        self._bad_commands = self._idle_commands = 0
        self._mail = Transaction()
        self.state = State.HELLO

    def end(self, reply: Reply) -> None:
        """End the session from our side with this reply (421: time-out, shutdown), at any time."""
        if self._ended is None:
            self._decision = None
            self._events.clear()
            self._say(reply)
            self._end(End.REFUSED)

    def _demand(self, state: State) -> None:
        if self.state is not state:
            raise LocalProtocolError(f"not while the session is {self.state}")

    def _take_decision(self) -> Decision:
        decision, self._decision = self._decision, None
        if decision is None:
            raise LocalProtocolError("no decision is due")
        return decision

    # --- one step: a command line, or the content --------------------------------------------------------------------

    def _step(self) -> bool:
        """Go on with what was fed; False when more is needed."""
        if self.state is _CONTENT:
            return self._read_content()
        if self._chunk is not None:
            return self._read_chunk(self._chunk)
        line = self._input.next_line()
        if line is None:
            return False
        self.commands += 1
        try:
            if self.state is _SASL:
                self._hear_sasl(line)
            else:
                self._obey(line)
        except BadCommand as bad:
            self._refuse_command(bad)
        return True

    def _obey(self, line: bytes | LineFault) -> None:
        self._last_step = "UNKNOWN"
        if isinstance(line, LineFault):
            fatal = line is LineFault.BARE_LINE_END
            raise BadCommand(say.BARE_LINE_END if fatal else say.LINE_TOO_LONG, fatal=fatal)
        command = parse_command(line)
        verb = self._last_step = command.verb
        effect = TABLE[verb][self.state]
        if verb is _BDAT:
            self._begin_chunk(command, effect if isinstance(effect, Reply) else None)
        elif isinstance(effect, Reply):
            raise BadCommand(effect)
        else:
            self._EFFECTS[effect](self, command)

    def _refuse_command(self, bad: BadCommand) -> None:
        self._refuse(bad.reply)
        if bad.fatal:
            self._end(End.REFUSED)
        else:
            self._count_mistake(bad.reply)

    def _refuse(self, reply: Reply) -> None:
        self._say(reply)
        self._events.append(Refused(self._last_step, reply, self._mail.reverse_path))

    def _count_mistake(self, reply: Reply) -> None:
        self._bad_commands += reply.permanent
        if self._bad_commands > self._limits.max_bad_commands:
            self._refuse(say.TOO_MANY_ERRORS)
            self._end(End.REFUSED)

    def _count_idle(self) -> bool:
        """Count a command that brings no mail; False when it was one too many, and the session is over."""
        self._idle_commands += 1
        if self._idle_commands <= self._limits.max_idle_commands:
            return True
        self._refuse(say.TOO_MANY_IDLE_COMMANDS)
        self._end(End.REFUSED)
        return False

    def _be_last(self) -> None:
        """Refuse a command after which the client did not wait (RFC 2920 section 3.1): do not read what follows."""
        if self._octets:
            raise BadCommand(say.NOT_SYNCHRONIZED, fatal=True)

    # --- effects -----------------------------------------------------------------------------------------------------

    def _greet_back(self, command: Command) -> None:
        self._be_last()
        name = parse_hello(command.argument)
        if not self._count_idle():
            return
        self._hello = name
        self._extended = command.verb is Verb.EHLO
        self._mail = Transaction()
        self.state = _READY
        self._say(Reply(250, self._offers() if self._extended else (self._hostname,)))

    def _offers(self) -> tuple[str, ...]:
        return say.offers(
            self._hostname,
            self._limits.max_message_octets,
            self._limits.max_recipients,
            starttls=self._starttls and not self._secure,
            secure=self._secure,
            mechanisms=self._mechanisms,
        )

    def _offer_sender(self, command: Command) -> None:
        mail = parse_mail(command.argument)
        if mail.size is not None and mail.size > self._limits.max_message_octets:
            raise BadCommand(say.TOO_LARGE)
        if mail.requiretls and not self._secure:
            raise BadCommand(say.REQUIRETLS_IN_CLEAR)
        self._mail.body_type, self._mail.requiretls = mail.body_type, mail.requiretls
        self._mail.ret, self._mail.envid, self._mail.smtputf8 = mail.ret, mail.envid, mail.smtputf8
        self._decide(SenderOffered(mail.reverse_path, mail.size))

    def _offer_recipient(self, command: Command) -> None:
        mail = self._mail
        offered = parse_rcpt(command.argument, smtputf8=mail.smtputf8)
        if mail.offered >= self._limits.max_recipients:
            raise BadCommand(say.TOO_MANY_RECIPIENTS)
        mail.offered += 1
        named = offered.recipient
        ours = named is None or (named.domain == self._hostname and named.local_part.lower() == POSTMASTER)
        recipient = self._postmaster if named is None or ours else named
        if recipient in mail.recipients:
            self._say(say.RECIPIENT_OK)  # given again: one copy, and what the first RCPT asked for (RFC 5321 4.1.1.3)
            return
        octets = recipient_octets(recipient, offered.wishes)
        self._decide(RecipientOffered(mail.reverse_path, recipient, offered.wishes, ours, octets))

    def _take_content(self, _: Command) -> None:
        self._be_last()
        self._discarding = None
        self._input.begin_content()
        self.state = _CONTENT
        self._output.append(_SEND_CONTENT)

    def _reset(self, _: Command) -> None:
        if self._count_idle():
            self._mail = Transaction()
            self.state = State.HELLO if self._hello is None else _READY
            self._say(say.OK)

    def _answer_only(self, command: Command) -> None:
        if self._count_idle():
            self._say(_ANSWERS[command.verb])

    def _start_tls(self, _: Command) -> None:
        if self._secure:
            raise BadCommand(say.ALREADY_TLS)
        if not self._starttls:
            raise BadCommand(say.NOT_IMPLEMENTED)
        if self._octets:
            raise BadCommand(say.INJECTED, fatal=True)
        self._say(say.GO_AHEAD_TLS)
        self.state = State.HANDSHAKE
        self._events.append(StartTlsRequested())

    def _begin_auth(self, command: Command) -> None:
        self._be_last()
        if not self._mechanisms:
            raise BadCommand(say.AUTH_IN_CLEAR if self._starttls and not self._secure else say.NOT_IMPLEMENTED)
        if self._authenticated:
            raise BadCommand(say.ALREADY_AUTHENTICATED)
        asked = parse_auth(command.argument)
        if asked.mechanism not in self._mechanisms:
            raise BadCommand(say.NO_SUCH_MECHANISM)
        if self._count_idle():
            self._decide(AuthOffered(asked.mechanism, asked.response))

    def _hear_sasl(self, line: bytes | LineFault) -> None:
        """The client's answer to a challenge is no command. Whatever is wrong with it ends the authentication."""
        self._last_step = Verb.AUTH
        self.state = _READY
        if isinstance(line, LineFault):
            fatal = line is LineFault.BARE_LINE_END
            raise BadCommand(say.BARE_LINE_END if fatal else say.LINE_TOO_LONG, fatal=fatal)
        self._be_last()
        if line == b"*":
            raise BadCommand(say.AUTH_CANCELLED)
        self._decide(AuthAnswered(parse_sasl(line)))

    def _leave(self, _: Command) -> None:
        self._say(say.BYE)
        self._end(End.QUIT)

    _EFFECTS: ClassVar[dict[Effect, Callable[["SmtpServer", Command], None]]] = {
        Effect.GREET: _greet_back,
        Effect.OPEN: _offer_sender,
        Effect.ADD: _offer_recipient,
        Effect.TAKE: _take_content,
        Effect.RESET: _reset,
        Effect.ANSWER: _answer_only,
        Effect.SECURE: _start_tls,
        Effect.PROVE: _begin_auth,
        Effect.LEAVE: _leave,
    }

    # --- content -----------------------------------------------------------------------------------------------------

    def _read_content(self) -> bool:
        if self._discarding is not None:
            if not self._input.skip_content():
                return False
            self._finish_content(CheckedContent(), self._discarding)
            return True
        content = self._input.next_content()
        if content is None:
            if (fault := self._look_through_content()) is not None:
                self.discard_content(fault)
                self._input.skip_content()
            return False
        dotless = not self._input.dotted
        self._end_content(content if dotless else unstuff_dots(content), dotless=dotless)
        return True

    def _look_through_content(self) -> Reply | None:
        """Take in what a large message has so far; the reply that refuses it."""
        # Stuffed dots do not count as size: at the worst every line is one, and three octets travel as four.
        if len(self._octets) > self._limits.max_message_octets * 4 // 3 + 8:
            return say.TOO_LARGE
        if not self._input.ripe:
            return None
        lines, dotless = self._input.take_lines(), not self._input.dotted
        return self._mail.take_lines(
            lines if dotless else unstuff_dots(lines), self._input.tail, self._limits, dotless=dotless
        )

    def _end_content(self, content: bytes, *, dotless: bool) -> None:
        """The last lines of a content, or all of it, are here."""
        if (arriving := self._mail.arriving) is not None:
            fault = arriving.take(content, dotless=dotless, last=True)
            self._finish_content(arriving.whole(), fault)
            return
        checked = DotlessContent(content) if dotless else CheckedContent(content)
        del content  # it may be large, and what follows looks at a copy
        self._finish_content(checked, fault_of(checked, self._limits))

    def _begin_chunk(self, command: Command, refusal: Reply | None) -> None:
        """The octets of a chunk are read whether they are wanted or not (RFC 3030 section 2): none is a command."""
        asked = parse_bdat(command.argument)
        self._chunk = Chunk(asked.octets, asked.octets, asked.last, refusal or self._mail.refusal, refusal is None)
        self._back_to, self.state = self.state, State.CHUNK
        if not refusal and not (asked.octets or asked.last):
            self._count_idle()

    def _read_chunk(self, chunk: Chunk) -> bool:
        octets = self._input.take(chunk.left)
        chunk.left -= len(octets)
        if chunk.refusal is None:
            self._mail.content += octets
            if (fault := self._mail.look_through_chunks(self._limits)) is not None:
                self.discard_content(fault)
        if chunk.left:
            return False
        self._chunk = None
        self._end_chunk(chunk)
        return True

    def _end_chunk(self, chunk: Chunk) -> None:
        if not chunk.wanted and chunk.refusal is not None:
            self.state = self._back_to
            self._refuse_command(BadCommand(chunk.refusal))
        elif chunk.refusal is not None:  # the transaction is over: whatever comes of it is refused (RFC 3030 section 2)
            self._finish_content(CheckedContent(), chunk.refusal)
        elif not chunk.last:
            self.state = State.CHUNKS
            self._say(Reply(250, (f"2.0.0 {chunk.octets} octets received",)))
        else:
            content, self._mail.content = self._mail.content, bytearray()
            if content and not content.endswith(b"\r\n"):
                content += b"\r\n"
            self._end_content(bytes(content), dotless=not has_dotted_line(content))

    def _finish_content(self, content: CheckedContent | LargeContent, fault: Reply | None) -> None:
        self._last_step = "END-OF-MESSAGE"
        if fault is None:
            self._decide(self._mail.message(content))
            return
        self._events.append(Refused(self._last_step, fault, self._mail.reverse_path))
        self._end_transaction(fault)
        self._count_mistake(fault)

    # --- bookkeeping -------------------------------------------------------------------------------------------------

    def _decide(self, decision: Decision) -> None:
        self._decision = decision
        self._events.append(decision)

    def _end_transaction(self, reply: Reply) -> None:
        self._say(reply)
        self._mail = Transaction()
        self.state = _READY

    def _end(self, why: End) -> None:
        self.state = _CLOSED
        self._ended = Ended(why)
