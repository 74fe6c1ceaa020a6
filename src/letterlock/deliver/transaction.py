"""The mail transactions of one message in a cleared session (RFC 5321 section 3.3).

MAIL FROM goes through `Conversation.begin`, which wants the proof that this very session may have the message.

A small message to a server with PIPELINING and CHUNKING goes out together with its envelope, which saves a round trip;
of a large one no octet does before a recipient was accepted. Behind a content the envelope of the message that comes
next may go out in the same group, which saves another (`following.py`).
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from letterlock.deliver import outcomes
from letterlock.deliver.conversation import BLOCK_OCTETS, MAX_AT_ONCE_OCTETS, SessionLost
from letterlock.deliver.reply_hints import asks_for_tls, too_many_recipients
from letterlock.deliver.session import Opened
from letterlock.deliver.unforeseen import unforeseen
from letterlock.dsn import in_seven_bits
from letterlock.mail.addresses import Mailbox
from letterlock.mail.checked_content import Body, ContentLost, LargeContent, has_utf8_header, in_one_piece
from letterlock.mail.envelope import Envelope, TlsDemand
from letterlock.mail.replies import Reply
from letterlock.queue.tasks import RecipientOutcome
from letterlock.smtp.client import MAX_RECIPIENTS
from letterlock.smtp.client_content import BareLineEnd, WireContent, stuff_dots, wire_content
from letterlock.smtp.client_events import (
    EnvelopeAnswered,
    Event,
    MessageAnswered,
    RecipientAnswered,
    SenderAnswered,
)

log = logging.getLogger("letterlock.deliver")

_NOTHING, _CHUNKING, _PIPELINING = frozenset[str](), frozenset({"CHUNKING"}), frozenset({"PIPELINING"})
_NOT_UNDERSTOOD = frozenset({500, 502, 503, 504})
MAX_EARLY_OCTETS = 1 << 16  # chosen: what is sent before the replies came, so that both sides never wait for each other
_Ready = WireContent | LargeContent
_Invite = Callable[[], bool]
IN_DOUBT = "the message was sent, but no answer came back; it may have been delivered, and is tried again"


@dataclass(slots=True)
class Transacted:
    """What a session led to. Recipients without an outcome may be tried elsewhere; `lost` is what ended the session.

    `unable`: who could not have the message at this server; the outcome is theirs if no other host does better.
    `broke_on`: EHLO keywords that the server offers, and may do better without. `broke_in_group`: it may do better
    where no envelope follows a content in the same group. `broken`: what ended it was a bug.
    """

    outcomes: dict[Mailbox, RecipientOutcome] = field(default_factory=dict)
    unable: dict[Mailbox, RecipientOutcome] = field(default_factory=dict)
    lost: SessionLost | None = None
    broke_on: frozenset[str] = frozenset()
    broke_in_group: bool = False
    broken: bool = False

    def settled(self, recipient: Mailbox) -> bool:
        """Whether it is known what became of a recipient here."""
        return recipient in self.outcomes or recipient in self.unable


def transact(
    session: Opened,
    envelope: Envelope,
    recipients: Sequence[Mailbox],
    body: Body,
    *,
    server: str,
    begun: "MessageInSession | None" = None,
    invite: _Invite | None = None,
) -> Coroutine[None, None, Transacted]:
    """Send a message to recipients, in as many transactions as it takes. Does not raise, not even for a bug: what the
    server took must be known. But where the content cannot be read, it raises ContentLost before the message was ended.

    `session` carries the proof that it may have the message; `server` is its name and address, for people. Raises
    TypeError at once when that proof was given for another session. `begun`: the envelope went out already, by
    `begin_behind`. `invite` is called once when the last content is on its way, and the reply to it settles all that is
    not settled: it may send another message's envelope behind it, and returns whether it did.
    """
    session.conversation.demand(session.cleared)
    return (begun or MessageInSession(session, envelope, body, server)).serve(recipients, invite)


def begin_behind(
    session: Opened, envelope: Envelope, recipients: Sequence[Mailbox], body: Body, *, server: str
) -> "MessageInSession | None":
    """Send an envelope behind the content of another message that is on its way in the session; None where it cannot
    go out in one piece, or nothing is to be sent: then nothing was done.

    `session` carries the proof that it may have this message.
    """
    if len(recipients) > MAX_RECIPIENTS or len(body) > MAX_EARLY_OCTETS or isinstance(body, LargeContent):
        return None
    sending = MessageInSession(session, envelope, body, server)
    return sending if sending.begin_behind(recipients) else None


def _a_bug() -> SessionLost:
    _, code, text = unforeseen("the session")
    return SessionLost(code, text)


def _in_seven_bits(body: Body) -> bytes | None:
    """Nothing for one on the disk: no notification of a mail server is that large."""
    if isinstance(body, LargeContent) and body.tail is not None:
        return None
    return in_seven_bits(in_one_piece(body))


async def _next(blocks: Iterator[bytes], content: LargeContent) -> bytes | None:
    """The next block; the disk is not read in the event loop. Raises ContentLost."""
    return next(blocks, None) if content.tail is None else await asyncio.to_thread(next, blocks, None)


class MessageInSession:
    """One message in one session: see `transact`."""

    def __init__(self, session: Opened, envelope: Envelope, body: Body, server: str) -> None:
        self._session = session
        self._conversation = session.conversation
        if envelope.reverse_path is None:
            offered = self._conversation.client.capabilities
            if not (offered.eight_bit_mime or body.isascii()):
                body = _in_seven_bits(body) or body
        self._envelope = envelope
        self._body = body
        self._server = server
        self.done = Transacted()
        self._eight_bit = not body.isascii()
        self._utf8_header = envelope.smtputf8 and has_utf8_header(body)
        self._beyond_ascii = False  # whether anything can need SMTPUTF8: looked at once for all transactions
        try:
            self._ready: _Ready | None = wire_content(body) if isinstance(body, bytes) else body
        except BareLineEnd:
            self._ready = None  # said of every recipient
        self._begun: _Transaction | None = None  # whose envelope went out behind another message

    def begin_behind(self, recipients: Sequence[Mailbox]) -> bool:
        """Send the envelope behind another message, if all can have this one; whether it was sent."""
        ready, self._beyond_ascii = self._ready, self._utf8_header or self._has_addresses_beyond_ascii(recipients)
        if ready is None or self._impossible(recipients):
            return False
        self._begun = self._begin([*recipients], ready, behind=True)
        return True

    async def serve(self, recipients: Sequence[Mailbox], invite: _Invite | None) -> Transacted:
        """As many transactions as it takes, and what they came to (see `transact`)."""
        try:
            if self._ready is None:
                self._refuse_bare_line_ends(recipients)
            else:
                waiting = await self._begun.run(invite) if self._begun is not None else self._able(recipients)
                while waiting:
                    group, rest = waiting[:MAX_RECIPIENTS], waiting[MAX_RECIPIENTS:]
                    waiting = await self._begin(group, self._ready).run(None if rest else invite) + rest
        except SessionLost as lost:
            # Without the frames that it came through: they have what it is kept in, and all would be left to the
            # collector.
            lost.__traceback__ = lost.__context__ = None
            self.done.lost = lost
        except ContentLost:
            raise
        except Exception:
            log.exception("%s: internal error in the session with %s", self._envelope.id, self._server)
            self.done.lost, self.done.broken = _a_bug(), True
        return self.done

    def _able(self, recipients: Sequence[Mailbox]) -> list[Mailbox]:
        """Those who can have the message at this server."""
        self._beyond_ascii = self._utf8_header or self._has_addresses_beyond_ascii(recipients)
        if not (impossible := self._impossible(recipients)):
            return [*recipients]
        self.done.unable |= impossible
        return [one for one in recipients if one not in impossible]

    def _refuse_bare_line_ends(self, recipients: Sequence[Mailbox]) -> None:
        text = "the message has a bare CR or LF, which servers read in different ways"
        for recipient in recipients:
            self.done.outcomes[recipient] = outcomes.failed(recipient, "5.6.0", text)

    def _impossible(self, recipients: Sequence[Mailbox]) -> dict[Mailbox, RecipientOutcome]:
        """Who cannot have the message at this server, whatever it would answer."""
        if (why := self._unsendable()) is not None:
            return {recipient: self._cannot_have_it(recipient, *why) for recipient in recipients}
        if not self._beyond_ascii or self._conversation.client.capabilities.smtputf8:
            return {}
        what = "the header has" if self._utf8_header else "an address has"
        text = f"{what} characters beyond ASCII, and {self._server} does not take SMTPUTF8"
        return {one: self._cannot_have_it(one, "5.6.7", text) for one in recipients if self._needs_smtputf8((one,))}

    def _cannot_have_it(self, recipient: Mailbox, status: str, text: str) -> RecipientOutcome:
        """For good, unless what the server offered was read in clear: anybody on the path can remove a line of that."""
        if self._session.exposed:
            return outcomes.deferred(recipient, status, f"{text}; it said so in clear, and is asked again")
        return outcomes.failed(recipient, status, text)

    def _needs_smtputf8(self, recipients: Sequence[Mailbox]) -> bool:
        """Whether these can have the message only with SMTPUTF8 (RFC 6531 section 3.2)."""
        return self._utf8_header or self._has_addresses_beyond_ascii(recipients)

    def _has_addresses_beyond_ascii(self, recipients: Sequence[Mailbox]) -> bool:
        reverse_path = self._envelope.reverse_path
        if reverse_path is not None and reverse_path.needs_smtputf8:
            return True
        return any(recipient.needs_smtputf8 for recipient in recipients)

    def _unsendable(self) -> tuple[str, str] | None:
        """Why nobody can have the message at this server: status and text."""
        offered = self._conversation.client.capabilities
        if self._eight_bit and not offered.eight_bit_mime:
            return "5.6.3", f"the message has 8-bit content, and {self._server} takes 7-bit content only"
        if offered.size and len(self._body) > offered.size:
            return "5.3.4", f"the message has {len(self._body)} octets; {self._server} takes {offered.size} at most"
        return None

    def _begin(self, group: list[Mailbox], ready: _Ready, *, behind: bool = False) -> "_Transaction":
        """One transaction, with its envelope on its way."""
        envelope, early = self._envelope, None
        if not behind and self._conversation.client.may_send_early and len(self._body) <= MAX_EARLY_OCTETS:
            early = ready if isinstance(ready, WireContent) else None
        self._conversation.begin(
            self._session.cleared,
            envelope.reverse_path,
            group,
            size=len(self._body),
            eight_bit=self._eight_bit,
            requiretls=envelope.tls_demand is TlsDemand.REQUIRETLS,
            wishes=envelope.wishes,
            smtputf8=self._beyond_ascii and self._needs_smtputf8(group),
            early=early,
            behind=behind,
        )
        return _Transaction(self._session, ready, group, self._server, self.done, behind=behind)


class _Transaction:
    """One mail transaction whose envelope is on its way."""

    def __init__(
        self, session: Opened, ready: _Ready, group: list[Mailbox], server: str, done: Transacted, *, behind: bool
    ) -> None:
        self._session = session
        self._conversation = session.conversation
        self._ready = ready
        self._group = group
        self._server = server
        self._done = done
        self._behind = behind  # the envelope is in one group with the content of another message
        self._invite: _Invite | None = None
        self._followed = False  # the envelope of another one is in one group with this content
        self._by_bdat = False  # how the content went out: what follows it may go out in another way
        self._too_many: dict[Mailbox, Reply] = {}
        self._over: EnvelopeAnswered | None = None
        self._unanswered: list[Mailbox] = []  # those who were accepted, until the answer to the message
        self._answers = 0
        self._end = b""  # what ends a message that is written piece by piece
        self._in_doubt = False  # from the block with the final dot on

    async def run(self, invite: _Invite | None) -> list[Mailbox]:
        """See it through; the recipients that the server wants in another one (RFC 5321 section 4.5.3.1.10).

        Raises SessionLost, and after a bug whatever that raised.
        """
        self._invite = invite
        try:
            try:
                await self._conversation.exchange(self._hear)
                if self._unanswered:
                    await self._write_large()
                    self._let_others_follow()
                    await self._conversation.exchange(self._hear)
            except SessionLost as lost:
                await self._conclude(lost)
        except SessionLost:
            raise
        except Exception:
            self._doubt_what_went_out(_a_bug())
            raise
        return self._for_another()

    def _hear(self, event: Event) -> bool:
        """Take an answer; whether to go on. 421 refuses nobody: the session ends, and another host may do better."""
        if isinstance(event, (SenderAnswered, RecipientAnswered)):
            if event.reply.code >= 400:
                self._refused(event, event.reply)
        elif isinstance(event, EnvelopeAnswered):
            self._over = event
            self._unanswered += event.accepted
            return bool(event.accepted) and self._message_is_under_way()
        elif isinstance(event, MessageAnswered):
            self._answers += 1
            if self._by_bdat and self._answers == 1:
                self._refuse_unknown_chunks(event.reply)
            if self._followed:
                self._refuse_out_of_step(event.reply)
            self._answered(event.reply)
            return bool(self._unanswered)
        return True

    def _refused(self, event: SenderAnswered | RecipientAnswered, reply: Reply) -> None:
        if reply.code == 421:
            raise SessionLost("4.3.2", f"the server is closing: {reply}", reply)
        if self._behind and reply.code in _NOT_UNDERSTOOD:
            self._refuse_confusion(event, reply)
        match event:
            case SenderAnswered():
                for recipient in self._group:
                    self._record(recipient, reply, "MAIL FROM")
            case RecipientAnswered(recipient) if too_many_recipients(reply):
                self._too_many[recipient] = reply
            case RecipientAnswered(recipient):
                self._record(recipient, reply, "RCPT TO")

    def _refuse_confusion(self, event: SenderAnswered | RecipientAnswered, reply: Reply) -> None:
        """A server that does not understand an envelope behind a content refuses nobody. Raises SessionLost.

        But after a refused MAIL, RCPT is rightly out of order.
        """
        subject = event.recipient if isinstance(event, RecipientAnswered) else self._group[0]
        if not self._done.settled(subject):
            raise self._broke_in_group(reply)

    def _broke_in_group(self, reply: Reply) -> SessionLost:
        self._done.broke_in_group = True
        return SessionLost("4.5.0", f"the server answered an envelope behind another message's content with {reply}")

    def _refuse_out_of_step(self, reply: Reply) -> None:
        """Where the replies behind it cannot be right, this one may answer something else. Raises SessionLost."""
        fault = self._conversation.client.fault
        if fault is not None:
            raise SessionLost("4.5.0", f"after {reply}, as if the message had been answered, {fault}")

    def _let_others_follow(self) -> None:
        """Invite another message's envelope into this content's group, where nothing but the reply is awaited here."""
        if self._invite is None or self._too_many or self._done.unable or not self._conversation.client.may_follow:
            return
        self._followed = self._invite()

    def _message_is_under_way(self) -> bool:
        """Send the content, unless it went out before, or is so large that it goes out block by block."""
        client, ready = self._conversation.client, self._ready
        self._by_bdat = client.chunking
        if isinstance(ready, LargeContent):
            self._conversation.command(self._begin_message, ready)
            return False
        if not client.sent_early:
            self._conversation.command(client.send_message, ready)
            if len(ready.octets) > MAX_AT_ONCE_OCTETS:
                return False
        self._in_doubt = True
        self._let_others_follow()
        return True

    def _begin_message(self, content: LargeContent) -> None:
        self._end = self._conversation.client.begin_message(len(content))

    async def _write_large(self) -> None:
        if isinstance(self._ready, LargeContent):
            await self._conversation.send()
            await self._write_pieces(self._ready)
        else:
            await self._write_last(self._conversation.client.take_output())

    async def _write_pieces(self, content: LargeContent) -> None:
        """Write a content piece by piece, each looked at before the one before it is sent: so the last one, and the end
        of the message, go out only when all of it was found undamaged. Raises ContentLost.
        """
        blocks = content.blocks()
        as_it_is = content.dotless or self._by_bdat
        block = next(blocks)
        while following := await _next(blocks, content):
            await self._conversation.write_blocks(block if as_it_is else stuff_dots(block))
            block = following
        await self._write_last((block if as_it_is else stuff_dots(block)) + self._end)

    async def _write_last(self, output: bytes) -> None:
        """Write the end of the message; from its last block on, the server may have all of it."""
        last = max(0, len(output) - BLOCK_OCTETS)
        await self._conversation.write_blocks(output[:last])
        self._in_doubt = True
        await self._conversation.write(output[last:])

    def _answered(self, reply: Reply) -> None:
        """One reply to the message: for all of its recipients, in LMTP for the next one (RFC 2033 section 4.2)."""
        for _ in range(1 if self._conversation.client.lmtp else len(self._unanswered)):
            self._record(self._unanswered.pop(0), reply, "the message")

    def _refuse_unknown_chunks(self, reply: Reply) -> None:
        """It offered CHUNKING and does not know BDAT: no word on the message, and what it made of the octets who knows.

        That session is over, and the recipients have no outcome. Raises SessionLost.
        """
        if reply.code in _NOT_UNDERSTOOD:
            self._unanswered.clear()
            self._done.broke_on = _CHUNKING
            raise SessionLost("4.5.0", f"the server offers CHUNKING and answers BDAT with {reply}")

    async def _conclude(self, lost: SessionLost) -> None:
        """Make the best of a session that was lost; where it went with the message, nobody knows what became of that.

        Raises it again unless everything was answered.
        """
        if self._over is None:
            if not lost.said:
                self._doubt_what_went_out(lost)
                self._suspect()
            raise lost
        while self._unanswered and (refusal := await self._last_words()) is not None:
            self._answered(refusal)
        self._doubt_what_went_out(lost)
        if self._unanswered and not lost.said:
            self._suspect()
        if self._unanswered or self._done.broke_on:
            raise lost

    def _suspect(self) -> None:
        """Note what the server may have broken on, though it offers it: what was in use when the session was lost.

        A session that served before may have ended for having been idle, and its envelope shows nothing.
        """
        if self._followed or (self._behind and self._over is None):
            self._done.broke_in_group = True
            return
        client = self._conversation.client
        sent_by_bdat = self._by_bdat or (client.chunking and client.sent_early)
        in_a_group = client.pipelining and self._over is None and not self._session.reused
        self._done.broke_on |= (_CHUNKING if sent_by_bdat else _NOTHING) | (_PIPELINING if in_a_group else _NOTHING)

    async def _last_words(self) -> Reply | None:
        """A refusal that the server sent before it cut us off; a 2yz without the final dot would mean nothing."""
        try:
            async with asyncio.timeout(self._conversation.timeouts.goodbye):
                event = await self._conversation.next_event()
        except (SessionLost, TimeoutError):  # nothing more was heard: the outcome stays unknown
            return None
        return event.reply if isinstance(event, MessageAnswered) and not event.reply.positive else None

    def _for_another(self) -> list[Mailbox]:
        """The recipients left for another transaction; those that the final reply refused get that outcome."""
        over = self._over
        if over is None or over.accepted:
            return [one for one in self._too_many if not self._done.settled(one)] if self._too_many else []
        if over.reply is not None and over.reply.code == 421:
            raise SessionLost("4.3.2", f"the server is closing: {over.reply}", over.reply)
        if self._behind and over.reply is not None and over.reply.permanent and self._some_were_accepted():
            raise self._broke_in_group(over.reply)
        for recipient, reply in self._too_many.items():
            self._record(recipient, reply, "RCPT TO")
        if over.reply is not None:
            for recipient in self._group:
                self._record(recipient, over.reply, "DATA")
        return []

    def _some_were_accepted(self) -> bool:
        return not all(one in self._too_many or self._done.settled(one) for one in self._group)

    def _doubt_what_went_out(self, lost: SessionLost) -> None:
        """The recipients that may have the message already."""
        if self._over is None and self._conversation.client.sent_early:
            self._doubt([one for one in self._group if one not in self._too_many], lost)
        elif self._in_doubt:
            self._doubt(self._unanswered, lost)

    def _doubt(self, unanswered: Iterable[Mailbox], lost: SessionLost) -> None:
        text = f"{self._server}: {lost.text}: {IN_DOUBT}"
        for recipient in unanswered:
            if not self._done.settled(recipient):
                doubted = outcomes.deferred(recipient, lost.status, text, in_doubt=True)
                self._done.outcomes[recipient] = doubted

    def _record(self, recipient: Mailbox, reply: Reply, command: str) -> None:
        """Keep the first answer that decided: after a refused MAIL, a pipelined RCPT gets 503."""
        if self._done.settled(recipient):
            return
        if not reply.positive and self._session.exposed and asks_for_tls(reply):
            self._done.unable[recipient] = outcomes.wants_tls(recipient, reply, server=self._server, command=command)
        else:
            confirms = self._conversation.client.capabilities.dsn
            self._done.outcomes[recipient] = outcomes.answered(
                recipient, reply, server=self._server, command=command, confirms=confirms
            )
