"""The pipeline: the steps that a listener runs for each sender, recipient and message.

A step is any object with one or more of three methods:

- `sender(facts, offer)` decides on MAIL,
- `recipient(facts, offer)` decides on RCPT,
- `message(facts, draft)` decides on a whole message, and may change the draft.

A step that keeps something of a session, in `Facts.kept`, lets go of it in `ended(facts)`, when the session ends.

Each of the three returns the reply that refuses (4yz or 5yz; 421 also ends the session), or None to go on. The first
refusal ends the stage. A method that has to wait, for DNS or another program, is `async`; the others are plain
functions and run without leaving the read that brought the command.

`Pipeline` sorts the steps into three stages when the listener starts. A step that is off is not in the list, so it
costs nothing for a session or a message.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from inspect import iscoroutinefunction
from typing import Generic, Protocol, TypeVar, runtime_checkable

from letterlock.identity.handshake import Completed
from letterlock.mail.addresses import Mailbox
from letterlock.mail.checked_content import CheckedContent, LargeContent
from letterlock.mail.envelope import BodyType, Envelope, TlsDemand
from letterlock.mail.replies import Reply
from letterlock.mail.wishes import Wishes
from letterlock.mailauth.mail_verdict import MailVerdict
from letterlock.mailauth.message import Message, split
from letterlock.smtp.server_events import MessageReceived, RecipientOffered, SenderOffered

Answer = Reply | None
_Subject = TypeVar("_Subject")


@dataclass(slots=True, kw_only=True)
class Facts:
    """What is known of a session. It is the session's own and kept up to date by it; steps only read it.

    `client` is an IP address, `client_label` the same as `name[address]` for the log. `met_at` is the address of ours
    that the client came to. `user` is who logged in. `hello` is what the client called itself: a claim. `protocol` is
    the keyword of RFC 3848. `recipients` are those accepted so far, when a recipient is decided on. `mechanism` is the
    SASL mechanism of the user's login. `kept` is what steps keep of this session, each under itself. `local_uid` is set
    for a message that a local user left in the drop directory: then there is no connection.
    """

    client: str
    client_label: str
    met_at: str | None = None
    may_relay: bool = False
    tls: Completed | None = None
    user: str | None = None
    hello: str = "unknown"
    protocol: str = "SMTP"
    recipients: Collection[Mailbox] = ()
    local_uid: int | None = None
    mechanism: str | None = None
    kept: dict[object, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Copy:
    """The same message for other recipients, under another reverse-path; `fields` go above those of the draft."""

    reverse_path: Mailbox | None
    recipients: tuple[Mailbox, ...]
    wishes: Wishes
    fields: bytes = b""


@dataclass(slots=True, kw_only=True)
class Draft:
    """A message on its way to the queue. Message steps may change every attribute but `id` and `received_at`.

    `fields` are header fields, each with its CRLF, that go above the content; `add_field` puts one on top of them.
    `verdict` is what mail authentication found, once it was checked. `quarantined` says why the message waits for an
    operator instead of being delivered.
    `copies` are queued beside it, each under an id of its own; `own_fields` go above the fields, and into no copy.
    Without recipients the message is accepted and thrown away; `discarded_by` is the filter that decided so, None where
    its aliases did.
    `content` is all of a message, or, where there is `rest`, its header section: of a message of more than
    PIECE_OCTETS. Signatures cover the rest too: `parsed` gives all of it.
    """

    id: str
    received_at: float  # seconds since 1970 (UTC)
    reverse_path: Mailbox | None
    recipients: tuple[Mailbox, ...]
    body_type: BodyType
    tls_demand: TlsDemand
    wishes: Wishes
    smtputf8: bool
    content: CheckedContent
    fields: bytes = b""
    verdict: MailVerdict | None = None
    quarantined: str | None = None
    discarded_by: str | None = None
    own_fields: bytes = b""
    copies: tuple[Copy, ...] = ()
    rest: LargeContent | None = None

    @classmethod
    def of(cls, message: MessageReceived, message_id: str, now: float) -> "Draft":
        """The draft of a message, whose content it takes over.

        Bytes above 127 make it 8BITMIME, whatever the client declared.
        """
        whole = message.take_content()
        large = whole if isinstance(whole, LargeContent) else None
        return cls(
            id=message_id,
            received_at=now,
            reverse_path=message.reverse_path,
            recipients=message.recipients,
            body_type=message.body_type if whole.isascii() else BodyType.EIGHT_BIT_MIME,
            tls_demand=TlsDemand.REQUIRETLS if message.requiretls else TlsDemand.NONE,
            wishes=message.wishes,
            smtputf8=message.smtputf8,
            content=whole if not isinstance(whole, LargeContent) else CheckedContent(whole.head),
            rest=large,
        )

    def add_field(self, field: bytes) -> None:
        """Put a header field, with its CRLF, on top of the message."""
        self.fields = field + self.fields

    @property
    def octets(self) -> int:
        """How large the message is, without what steps added."""
        return len(self.content) if self.rest is None else len(self.rest)

    def parsed(self, *, added: bool = False) -> Message:
        """The message by its fields and body, with the fields that steps `added` on top. Raises OversizedHeader.

        The body of a large message is read from the disk: not in the event loop. Reading it raises ContentLost, which
        ends the reception with 451.
        """
        message = split(self.content, self.fields if added else b"")
        return message if self.rest is None else replace(message, rest=self.rest.rest)

    async def body_blocks(self, at: int) -> AsyncIterator[bytes]:
        """The message from a place in `content` on, block by block. Raises ContentLost."""
        if at < len(self.content):
            yield self.content[at:]
        if self.rest is not None:
            blocks = self.rest.rest()
            while block := await asyncio.to_thread(next, blocks, b""):
                yield block

    def finish(self, client: str, lifetime_seconds: float) -> tuple[Envelope, CheckedContent | LargeContent]:
        """The envelope and the body to store. The draft gives its content away: a large one is not held twice."""
        content, self.content = self.content, CheckedContent()
        if self.own_fields:
            self.fields = self.own_fields + self.fields
        if self.rest is not None:
            body: CheckedContent | LargeContent = self.rest.with_head(self.fields + content)
        else:
            body = content.below(self.fields) if self.fields else content
        envelope = Envelope(
            id=self.id,
            reverse_path=self.reverse_path,
            recipients=self.recipients,
            size=len(body),
            accepted_at=self.received_at,
            expires_at=self.received_at + lifetime_seconds,
            body_type=self.body_type,
            tls_demand=self.tls_demand,
            client=client,
            wishes=self.wishes,
            smtputf8=self.smtputf8,
        )
        return envelope, body

    def copied(
        self, copy: Copy, message_id: str, client: str, lifetime_seconds: float
    ) -> tuple[Envelope, CheckedContent | LargeContent]:
        """The envelope and the body of one of the copies; before `finish`."""
        draft = replace(
            self,
            id=message_id,
            reverse_path=copy.reverse_path,
            recipients=copy.recipients,
            wishes=copy.wishes,
            own_fields=copy.fields,
            copies=(),
        )
        return draft.finish(client, lifetime_seconds)


@runtime_checkable
class SenderStep(Protocol):
    """A step that decides on senders."""

    def sender(self, facts: Facts, offer: SenderOffered, /) -> Answer | Awaitable[Answer]:
        """The reply that refuses MAIL, or None."""


@runtime_checkable
class RecipientStep(Protocol):
    """A step that decides on recipients."""

    def recipient(self, facts: Facts, offer: RecipientOffered, /) -> Answer | Awaitable[Answer]:
        """The reply that refuses RCPT, or None."""


@runtime_checkable
class MessageStep(Protocol):
    """A step that decides on messages, or changes them."""

    def message(self, facts: Facts, draft: Draft, /) -> Answer | Awaitable[Answer]:
        """The reply that refuses the message, or None."""


@runtime_checkable
class EndedStep(Protocol):
    """A step that keeps something of a session."""

    def ended(self, facts: Facts, /) -> None:
        """Let go of it. Raises nothing."""


Step = SenderStep | RecipientStep | MessageStep


class Stage(Generic[_Subject]):
    """The checks of one kind, in order. `waits`: at least one is async, so only `run_waiting` will do."""

    __slots__ = ("_checks", "waits")

    def __init__(self, checks: Iterable[Callable[[Facts, _Subject], Answer | Awaitable[Answer]]]) -> None:
        self._checks = tuple(checks)
        self.waits = any(map(iscoroutinefunction, self._checks))

    def run(self, facts: Facts, subject: _Subject) -> Answer:
        """The first refusal of checks that are not async, or None."""
        for check in self._checks:
            answer = check(facts, subject)
            if answer is not None:
                return _at_once(answer)
        return None

    async def run_waiting(self, facts: Facts, subject: _Subject) -> Answer:
        """The first refusal, or None."""
        for check in self._checks:
            answer = check(facts, subject)
            if answer is not None and not isinstance(answer, Reply):
                answer = await answer
            if answer is not None:
                return answer
        return None


def _at_once(answer: Reply | Awaitable[Answer]) -> Reply:
    if isinstance(answer, Reply):
        return answer
    raise TypeError("a check that is not `async def` returned an awaitable")


class Pipeline:
    """The three stages of a listener."""

    __slots__ = ("ended", "message", "recipient", "sender")

    def __init__(self, steps: Iterable[Step] = ()) -> None:
        steps = tuple(steps)
        self.sender: Stage[SenderOffered] = Stage(each.sender for each in steps if isinstance(each, SenderStep))
        self.recipient: Stage[RecipientOffered] = Stage(
            each.recipient for each in steps if isinstance(each, RecipientStep)
        )
        self.message: Stage[Draft] = Stage(each.message for each in steps if isinstance(each, MessageStep))
        self.ended = tuple(each.ended for each in steps if isinstance(each, EndedStep))
