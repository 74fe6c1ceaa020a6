"""The mail transactions of one message in a cleared session (RFC 5321 section 3.3).

`transact` takes the `Cleared`, not because it needs to read it, but because nobody can send MAIL FROM without having
one.

A small message to a server with PIPELINING and CHUNKING goes out together with its envelope, which saves a round trip;
of a large one no octet does before a recipient was accepted.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from letterlock.deliver import outcomes
from letterlock.deliver.advice import too_many_recipients
from letterlock.deliver.conversation import BLOCK_OCTETS, Conversation, SessionLost
from letterlock.dsn import in_seven_bits
from letterlock.mail.addresses import Mailbox
from letterlock.mail.content import has_utf8_header
from letterlock.mail.envelope import Envelope, TlsDemand
from letterlock.mail.replies import Reply
from letterlock.policy.decision import Cleared
from letterlock.queue.tasks import RecipientOutcome
from letterlock.smtp.client import MAX_RECIPIENTS
from letterlock.smtp.client_content import BareLineEnd, WireContent, wire_content
from letterlock.smtp.client_events import (
    EnvelopeAnswered,
    Event,
    MessageAnswered,
    RecipientAnswered,
    SenderAnswered,
)

_NOT_UNDERSTOOD = frozenset({500, 502, 503, 504})
MAX_EARLY_OCTETS = 1 << 16
IN_DOUBT = "the message was sent, but no answer came back; it may have been delivered, and is tried again"


@dataclass(slots=True)
class Transacted:
    """What a session led to. Recipients without an outcome may be tried elsewhere; `lost` is what ended the session.

    `unable`: who could not have the message at this server, and has failed if no other host does better. `shun_chunks`:
    the server offers CHUNKING, and does better without.
    """

    outcomes: dict[Mailbox, RecipientOutcome] = field(default_factory=dict)
    unable: dict[Mailbox, RecipientOutcome] = field(default_factory=dict)
    lost: SessionLost | None = None
    shun_chunks: bool = False


async def transact(
    cleared: Cleared,
    conversation: Conversation,
    envelope: Envelope,
    recipients: Sequence[Mailbox],
    body: bytes,
    *,
    server: str,
) -> Transacted:
    """Send a message to recipients, in as many transactions as it takes. Never raises for the peer.

    `cleared` is the proof that this session may have the message; `server` its name and address, for people.
    """
    if not isinstance(cleared, Cleared):
        raise TypeError("a message goes nowhere without a Cleared")
    done = Transacted()
    transaction = _Transaction(conversation, envelope, body, server, done)
    try:
        await transaction.serve(recipients)
    except SessionLost as lost:
        done.lost = lost
    return done


class _Transaction:
    def __init__(
        self, conversation: Conversation, envelope: Envelope, body: bytes, server: str, done: Transacted
    ) -> None:
        self._conversation = conversation
        offered = conversation.client.capabilities
        if envelope.reverse_path is None and not (offered.eight_bit_mime or body.isascii()):
            body = in_seven_bits(body) or body
        self._envelope = envelope
        self._body = body
        self._server = server
        self._done = done
        self._eight_bit = not body.isascii()
        self._utf8_header = envelope.smtputf8 and has_utf8_header(body)
        try:
            self._ready: WireContent | None = wire_content(body)
        except BareLineEnd:
            self._ready = None  # said of every recipient

    async def serve(self, recipients: Sequence[Mailbox]) -> None:
        self._set_the_impossible_aside(recipients)
        waiting = [one for one in recipients if one not in self._done.outcomes and one not in self._done.unable]
        while waiting:
            group, rest = waiting[:MAX_RECIPIENTS], waiting[MAX_RECIPIENTS:]
            again = await self._send(group)
            waiting = again + rest

    def _set_the_impossible_aside(self, recipients: Sequence[Mailbox]) -> None:
        why = self._unsendable()
        offered = self._conversation.client.capabilities.smtputf8
        for recipient in recipients:
            if self._ready is None:
                text = "the message has a bare CR or LF, which servers read in different ways"
                self._done.outcomes[recipient] = outcomes.failed(recipient, "5.6.0", text)
            elif why is not None:
                self._done.unable[recipient] = outcomes.failed(recipient, *why)
            elif not offered and self._needs_smtputf8(recipient):
                what = "the header has" if self._utf8_header else "an address has"
                text = f"{what} characters beyond ASCII, and {self._server} does not take SMTPUTF8"
                self._done.unable[recipient] = outcomes.failed(recipient, "5.6.7", text)

    def _needs_smtputf8(self, *recipients: Mailbox) -> bool:
        """Whether these can have the message only with SMTPUTF8 (RFC 6531 section 3.2)."""
        paths = (self._envelope.reverse_path, *recipients)
        return self._utf8_header or any(path is not None and path.needs_smtputf8 for path in paths)

    def _unsendable(self) -> tuple[str, str] | None:
        """Why this server cannot have the message, whatever it would answer: status and text."""
        offered = self._conversation.client.capabilities
        if self._eight_bit and not offered.eight_bit_mime:
            return "5.6.3", f"the message has 8-bit content, and {self._server} takes 7-bit content only"
        if offered.size and len(self._body) > offered.size:
            return "5.3.4", f"the message has {len(self._body)} octets; {self._server} takes {offered.size} at most"
        return None

    def _early(self) -> WireContent | None:
        """The content, if it may go out with the envelope."""
        small = len(self._body) <= MAX_EARLY_OCTETS
        return self._ready if small and self._conversation.client.may_send_early else None

    async def _send(self, group: list[Mailbox]) -> list[Mailbox]:
        """One transaction; gives the recipients that the server wants in another one (RFC 5321 section 4.5.3.1.10)."""
        reverse_path, size, eight_bit = self._envelope.reverse_path, len(self._body), self._eight_bit
        client, early = self._conversation.client, self._early()
        requiretls, wishes = self._envelope.tls_demand is TlsDemand.REQUIRETLS, self._envelope.wishes
        self._conversation.command(
            lambda: client.begin(
                reverse_path,
                group,
                size=size,
                eight_bit=eight_bit,
                requiretls=requiretls,
                wishes=wishes,
                smtputf8=self._needs_smtputf8(*group),
                early=early,
            )
        )
        over, too_many = await self._envelope_answers(group)
        if over.accepted:
            await self._message(over.accepted)
            return [one for one in too_many if one not in self._done.outcomes]
        if over.reply is not None and over.reply.code == 421:
            raise SessionLost("4.3.2", f"the server is closing: {over.reply}", over.reply)
        for recipient, reply in too_many.items():
            self._record(recipient, reply, "RCPT TO")
        if over.reply is not None:
            for recipient in group:
                self._record(recipient, over.reply, "DATA")
        return []

    async def _envelope_answers(self, group: list[Mailbox]) -> tuple[EnvelopeAnswered, dict[Mailbox, Reply]]:
        """Record who was refused. 421 refuses nobody: the session ends, and another host may do better."""
        too_many: dict[Mailbox, Reply] = {}
        while True:
            match await self._envelope_event([one for one in group if one not in too_many]):
                case SenderAnswered(reply) | RecipientAnswered(_, reply) if reply.code == 421:
                    raise SessionLost("4.3.2", f"the server is closing: {reply}", reply)
                case SenderAnswered(reply) if not reply.positive:
                    for recipient in group:
                        self._record(recipient, reply, "MAIL FROM")
                case RecipientAnswered(recipient, reply) if too_many_recipients(reply):
                    too_many[recipient] = reply
                case RecipientAnswered(recipient, reply) if not reply.positive:
                    self._record(recipient, reply, "RCPT TO")
                case EnvelopeAnswered() as over:
                    return over, too_many

    async def _envelope_event(self, hopeful: Sequence[Mailbox]) -> Event:
        """The next answer to the envelope. Where the message went with it and no answer comes, nobody knows."""
        try:
            return await self._conversation.next_event()
        except SessionLost as lost:
            if self._conversation.client.sent_early and not lost.said:
                self._doubt([one for one in hopeful if one not in self._done.outcomes], lost)
                self._done.shun_chunks = True  # else another host would never be tried
            raise

    async def _message(self, accepted: Sequence[Mailbox]) -> None:
        """The content, for those whom RCPT accepted. In doubt from the block with the final dot until the answer."""
        conversation = self._conversation
        if not conversation.client.sent_early:
            conversation.command(lambda: conversation.client.send_message(self._ready or self._body))
        output = conversation.client.take_output()
        last = max(0, len(output) - BLOCK_OCTETS)
        in_doubt = conversation.client.sent_early
        unanswered = deque(accepted)
        try:
            for start in range(0, last, BLOCK_OCTETS):
                await conversation.write(output[start : min(start + BLOCK_OCTETS, last)])
            in_doubt = True
            await conversation.write(output[last:])
            while unanswered:
                reply = (await conversation.expect(MessageAnswered)).reply
                if len(unanswered) == len(accepted):
                    self._refuse_unknown_chunks(reply, unanswered)
                self._answered(reply, unanswered)
        except SessionLost as lost:
            while unanswered and (refusal := await self._last_words()) is not None:
                self._answered(refusal, unanswered)
            if in_doubt:
                self._doubt(unanswered, lost)
            if unanswered or self._done.shun_chunks:
                raise

    def _answered(self, reply: Reply, unanswered: deque[Mailbox]) -> None:
        """One reply to the message: for all of its recipients, in LMTP for the next one (RFC 2033 section 4.2)."""
        for _ in range(1 if self._conversation.client.lmtp else len(unanswered)):
            self._record(unanswered.popleft(), reply, "the message")

    def _refuse_unknown_chunks(self, reply: Reply, unanswered: deque[Mailbox]) -> None:
        """It offered CHUNKING and does not know BDAT: no word on the message, and what it made of the octets who knows.

        That session is over, and the recipients have no outcome. Raises SessionLost.
        """
        if self._conversation.client.chunking and reply.code in _NOT_UNDERSTOOD:
            unanswered.clear()
            self._done.shun_chunks = True
            raise SessionLost("4.5.0", f"the server offers CHUNKING and answers BDAT with {reply}")

    async def _last_words(self) -> Reply | None:
        """A refusal that the server sent before it cut us off; a 2yz without the final dot would mean nothing."""
        try:
            async with asyncio.timeout(self._conversation.timeouts.goodbye):
                event = await self._conversation.next_event()
        except (SessionLost, TimeoutError):
            return None
        return event.reply if isinstance(event, MessageAnswered) and not event.reply.positive else None

    def _doubt(self, accepted: Sequence[Mailbox], lost: SessionLost) -> None:
        text = f"{self._server}: {lost.text}: {IN_DOUBT}"
        for recipient in accepted:
            self._done.outcomes[recipient] = outcomes.deferred(recipient, lost.status, text, in_doubt=True)

    def _record(self, recipient: Mailbox, reply: Reply, command: str) -> None:
        """Keep the first answer that decided: after a refused MAIL, a pipelined RCPT gets 503."""
        confirms = self._conversation.client.capabilities.dsn
        outcome = outcomes.answered(recipient, reply, server=self._server, command=command, confirms=confirms)
        self._done.outcomes.setdefault(recipient, outcome)
