"""One inbound connection: moves octets between a stream and the sans-IO server, and answers its decisions."""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from letterlock.mail.addresses import Mailbox
from letterlock.mail.checked_content import SPOOLED_OCTETS, Body, ContentLost, LargeContent, head_of
from letterlock.mail.envelope import Envelope
from letterlock.mail.message_ids import message_id_of
from letterlock.mail.replies import Reply
from letterlock.net.time_limits import Limit
from letterlock.net.tls import TlsStream, accept_tls
from letterlock.ports import Clock, Stream
from letterlock.queue.observing import NOBODY, Arrival, Observers
from letterlock.queue.store import AcceptStore, Spool, StoreFailed
from letterlock.queue.tasks import Lease
from letterlock.receive.auth import Authenticator
from letterlock.receive.limits import COPIES, NO_MEMORY, STORE_FAILED, MemoryBudget, store_reply
from letterlock.receive.options import ReceiveOptions
from letterlock.receive.patience import Patience
from letterlock.receive.pipeline import Answer, Draft, Facts, Pipeline
from letterlock.receive.profiles import SUBMITS, Profile
from letterlock.receive.receipt_log import SessionJournal
from letterlock.receive.session_counts import SessionCounts
from letterlock.receive.session_login import SessionLogin
from letterlock.receive.spooling import Spooling
from letterlock.smtp.server import SmtpServer
from letterlock.smtp.server_events import (
    MAX_COMMAND_OCTETS,
    AuthAnswered,
    AuthOffered,
    End,
    Ended,
    Event,
    MessageReceived,
    RecipientOffered,
    Refused,
    SenderOffered,
    ServerLimits,
    StartTlsRequested,
)
from letterlock.smtp.server_session import RECEIVING

READ_OCTETS = 1 << 14  # of commands: many more than a client pipelines
CONTENT_OCTETS = 1 << 18  # of a message at once: few wake-ups for a large one, and no more than a cache holds
MAX_AUTH_LINE_OCTETS = 12_288  # RFC 4954 section 4
FAREWELL_SECONDS = 2.0  # how long a last reply may take to be written

TIMED_OUT = Reply(421, ("4.4.2 Time-out; closing",))
SHUTTING_DOWN = Reply(421, ("4.3.2 Shutting down; try again later",))


class Handover(Protocol):
    """Who delivers what was accepted."""

    def prepare(self, envelope: Envelope, /) -> Sequence[Lease]:
        """Leases for the next hops of a message that is about to be accepted and could be tried at once."""

    def take(self, envelope: Envelope, body: Body, leases: Sequence[Lease], /) -> None:
        """A message is on disk under these leases, and due in the queue where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What all sessions share."""

    options: ReceiveOptions
    store: AcceptStore
    clock: Clock
    new_id: Callable[[], str]
    handover: Handover
    memory: MemoryBudget
    authenticator: Authenticator | None
    observers: Observers = NOBODY
    counts: SessionCounts = field(default_factory=SessionCounts)


@dataclass(frozen=True, slots=True)
class Service:
    """What the sessions of one listener share: its profile, and the steps that were made from it."""

    profile: Profile
    pipeline: Pipeline


class Session:
    """One connection, from greeting to close. The stream becomes the session's own."""

    def __init__(self, stream: Stream, services: Services, service: Service, *, met_at: str | None = None) -> None:
        """`met_at`: the address of ours that the client came to."""
        profile = service.profile
        options = services.options
        limits = ServerLimits(
            max_message_octets=options.max_message_octets,
            max_text_line_octets=options.max_text_line_octets,
            max_recipients=options.max_recipients,
            max_command_octets=MAX_AUTH_LINE_OCTETS if profile.role in SUBMITS else MAX_COMMAND_OCTETS,
            max_bad_commands=options.max_bad_commands,
            max_idle_commands=options.max_idle_commands,
            accept_nul=options.accept_nul,
        )
        self._stream = stream
        self._services = services
        self._options = options
        self._smtp = SmtpServer(
            options.hostname,
            limits,
            starttls=profile.tls is not None and not profile.implicit_tls,
            secure=profile.implicit_tls,
            postmaster=options.postmaster,
        )
        self._profile = profile
        self._pipeline = service.pipeline
        self._journal = SessionJournal(stream.peer, services.counts)
        self._facts = Facts(
            client=stream.peer,
            client_label=self._journal.client,
            met_at=met_at,
            may_relay=profile.may_relay(stream.peer, met_at=met_at),
        )
        self._login: SessionLogin | None = None
        if services.authenticator is not None and profile.role in SUBMITS:
            self._login = SessionLogin(services.authenticator, self._smtp, self._facts, self._journal, services.counts)
        self._held_octets = 0
        self._spooling = Spooling(services.store)
        self._pressed = False  # there is no memory for what came last: what can goes to the disk now
        self._patience = Patience(options)
        self._loop = asyncio.get_running_loop()
        self._limit = Limit()
        self._reading = False
        self._due: Event | None = None  # what has to be waited for
        self._stop_at = math.inf

    async def run(self) -> None:
        """Serve the client until either side ends it. Raises nothing that a client can cause."""
        self._journal.connected()
        try:
            if not self._profile.implicit_tls or await self._shake_hands():
                if self._profile.implicit_tls:
                    await self._offer_auth()
                await self._converse()
            await self._stream.close()
        except OSError:
            self._journal.lost(self._smtp.last_step)
        finally:
            self._limit.close()
            self._stream.abort()
            if self._login is not None:
                self._login.abandon()
            self._hold(0)
            for ended in self._pipeline.ended:
                ended(self._facts)
            self._spooling.discard()
            self._journal.disconnected(self._smtp.commands)

    def stop(self, at: float) -> None:
        """Take no new message; a mail transaction that is open may go on until `at` (event loop's time)."""
        self._stop_at = at
        if self._reading:
            self._limit.move(self._deadline())

    # --- octets ------------------------------------------------------------------------------------------------------

    async def _converse(self) -> None:
        self._smtp.greet()
        try:
            while not isinstance(event := self._due or self._advance(), Ended):
                self._due = None
                if event is None:
                    await self._exchange()
                elif not await self._deal_with(event):
                    return
        except TimeoutError:
            self._end_in_time()
        else:
            if event.why is End.LOST:
                self._journal.lost(self._smtp.last_step)
        async with asyncio.timeout(FAREWELL_SECONDS):
            await self._stream.write(self._smtp.take_output())

    def _advance(self) -> Event | None:
        """Deal with what happened, up to what has to be waited for: that event, or None when more must be read."""
        smtp = self._smtp
        while True:
            if self._stop_at < math.inf and not smtp.in_transaction:
                smtp.end(SHUTTING_DOWN)
            event = smtp.next_event()
            if event is None:
                return None
            if isinstance(event, RecipientOffered):
                if self._pipeline.recipient.waits:
                    return event
                self._settle_recipient(event, self._pipeline.recipient.run(self._facts, event))
            elif isinstance(event, SenderOffered):
                facts = self._facts
                facts.hello, facts.protocol = smtp.hello or "unknown", smtp.protocol
                facts.recipients = smtp.recipients  # none so far, and then those of this mail transaction
                if self._pipeline.sender.waits:
                    return event
                self._settle_sender(event, self._pipeline.sender.run(facts, event))
            elif isinstance(event, Refused):
                self._reject(event.what, event.reply, event.reverse_path)
            else:
                return event

    def _end_in_time(self) -> None:
        if self._stop_at < math.inf:
            self._smtp.end(SHUTTING_DOWN)
        else:
            self._journal.timed_out(self._smtp.last_step)
            self._smtp.end(TIMED_OUT)

    async def _exchange(self) -> None:
        """Write the pending replies, and read from the client until something has to be waited for."""
        receiving = self._smtp.receiving
        if receiving:
            await self._spool()
            await self._write()
        self._before_reading()
        with self._limit.until(self._deadline()):
            self._reading = True
            if receiving:
                self._hear(await self._stream.read(CONTENT_OCTETS))
            else:
                await self._stream.converse(self._smtp.take_output(), self._turn, READ_OCTETS)
        self._reading = False

    def _turn(self, data: bytes) -> bytes | None:
        """Answer at once what one read brought; None when that cannot be, or when much content is coming."""
        self._hear(data)
        self._due = event = self._advance()
        if event is not None:
            return None
        smtp = self._smtp
        much = len(data) == READ_OCTETS or self._held_octets > SPOOLED_OCTETS or self._pressed
        if much and smtp.state in RECEIVING:
            return None
        self._before_reading()
        self._limit.move(self._patience.deadline if self._stop_at == math.inf else self._deadline())
        return smtp.take_output()

    def _before_reading(self) -> None:
        if self._held_octets and not self._smtp.in_transaction:
            self._hold(0)  # what RSET or EHLO forgot
            self._spooling.discard()
        self._patience.look_at(self._smtp)

    def _hear(self, data: bytes) -> None:
        smtp = self._smtp
        smtp.feed(data)
        if smtp.state in RECEIVING and not self._hold(smtp.held_octets):
            if smtp.arriving is not None and not self._pressed:
                self._pressed = True
            else:
                self._give_up(NO_MEMORY)

    def _give_up(self, reply: Reply) -> None:
        """Keep nothing of the message that is arriving."""
        self._smtp.discard_content(reply)
        self._spooling.discard()
        self._hold(self._smtp.held_octets)

    async def _spool(self) -> None:
        """Take to the disk what a large message should not hold in memory."""
        arriving = self._smtp.arriving
        self._spooling.forget_all_but(arriving)
        if arriving is not None and (self._pressed or self._spooling.is_due(arriving)):
            try:
                await self._spooling.write(arriving)
            except StoreFailed as error:
                self._give_up(store_reply(error))
            if not self._hold(self._smtp.held_octets):
                self._give_up(NO_MEMORY)
        self._pressed = False

    async def _write(self) -> None:
        output = self._smtp.take_output()
        if output:
            with self._limit.until(self._loop.time() + self._options.command_timeout_seconds):
                await self._stream.write(output)

    def _deadline(self) -> float:
        """Until when a read may take. Outside a mail transaction a session that is to stop waits for nothing."""
        if self._stop_at == math.inf:
            return self._patience.deadline
        if not self._smtp.in_transaction:
            return self._loop.time()
        return min(self._patience.deadline, self._stop_at)

    def _hold(self, octets: int) -> bool:
        if not self._services.memory.change(COPIES * self._held_octets, COPIES * octets):
            return False
        self._held_octets = octets
        return True

    # --- decisions ---------------------------------------------------------------------------------------------------

    async def _deal_with(self, event: Event) -> bool:
        """Do what has to be waited for; False when the connection is of no more use."""
        match event:
            case SenderOffered():
                self._settle_sender(event, await self._pipeline.sender.run_waiting(self._facts, event))
            case RecipientOffered():
                self._settle_recipient(event, await self._pipeline.recipient.run_waiting(self._facts, event))
            case MessageReceived():
                await self._take(event)
            case AuthOffered(mechanism, response) if self._login is not None:
                await self._login.begin(mechanism, response, self._binding())
            case AuthAnswered(response) if self._login is not None:
                await self._login.go_on(response)
            case StartTlsRequested():
                return await self._start_tls()
        return True

    def _settle_sender(self, offer: SenderOffered, refusal: Answer) -> None:
        if refusal is None:
            self._spooling.declared_octets = offer.size or 0
            self._smtp.accept()
            return
        self._reject("MAIL", refusal, offer.reverse_path)
        self._smtp.refuse(refusal)

    def _settle_recipient(self, offer: RecipientOffered, refusal: Answer) -> None:
        if refusal is None and self._hold(self._held_octets + offer.octets):
            self._smtp.accept()
            return
        self._reject("RCPT", refusal or NO_MEMORY, offer.reverse_path, offer.recipient)
        self._smtp.refuse(refusal or NO_MEMORY)

    def _reject(self, what: str, reply: Reply, reverse_path: Mailbox | None, recipient: Mailbox | None = None) -> None:
        self._journal.rejected(
            what,
            reply,
            reverse_path=reverse_path,
            recipient=recipient,
            protocol=self._smtp.protocol,
            hello=self._smtp.hello,
        )

    async def _take(self, message: MessageReceived) -> None:
        """Run the message steps; then put the message on disk, unless one refused it."""
        if isinstance(message.content, LargeContent):
            try:
                message.content = await self._spooling.finish(self._smtp.arriving, message.content)
            except StoreFailed as error:
                self._refuse_message(store_reply(error), message)
                return
        draft = Draft.of(message, self._services.new_id(), self._services.clock.now())
        stage = self._pipeline.message
        try:
            refusal = await stage.run_waiting(self._facts, draft) if stage.waits else stage.run(self._facts, draft)
        except ContentLost as lost:  # the disk gave back something else than it was given
            self._journal.not_queued(draft.id, str(lost))
            refusal = STORE_FAILED
        if refusal is None:
            await self._dispose_of(draft)
            self._hold(0)
        else:
            self._refuse_message(refusal, message)

    def _refuse_message(self, refusal: Reply, message: MessageReceived) -> None:
        self._spooling.discard()
        self._reject("END-OF-MESSAGE", refusal, message.reverse_path)
        self._smtp.refuse(refusal)
        self._hold(0)

    async def _dispose_of(self, draft: Draft) -> None:
        """Put an accepted message on disk, with its copies; or nowhere, where nobody is to have it."""
        if not draft.recipients:
            self._spooling.discard()
            self._journal.discarded(draft.id, draft.discarded_by)
            self._smtp.accept(f"discarded as {draft.id}")
        elif not draft.copies or await self._keep_copies(draft):
            await self._keep(*draft.finish(self._facts.client_label, self._options.expire_seconds), draft.quarantined)

    async def _keep_copies(self, draft: Draft) -> bool:
        """Put the copies on disk, before the message itself; False: one failed, and the client was put off.

        It sends all again then, and who was served already gets the message twice: rather that than not at all.
        """
        client, lifetime = self._facts.client_label, self._options.expire_seconds
        for copy in draft.copies:
            envelope, whole = draft.copied(copy, self._services.new_id(), client, lifetime)
            try:
                body = await self._services.store.share(whole)
            except StoreFailed as error:
                self._refuse_for_the_store(envelope, error, None)
                return False
            if not await self._keep(envelope, body, draft.quarantined, is_copy=True):
                return False
        return True

    async def _keep(self, envelope: Envelope, body: Body, quarantined: str | None, *, is_copy: bool = False) -> bool:
        """Put a message on disk, and only then say 250 (RFC 5321 section 4.2.5); False: the client was put off.

        `quarantined`: why it waits for an operator to look at it, and nobody delivers it before they release it.
        """
        # If this is cancelled, the message may be accepted all the same: its file is the store's from here on.
        spool = None if is_copy else self._spooling.hand_over(body)
        leases = self._services.handover.prepare(envelope) if quarantined is None else ()
        try:
            await self._services.store.accept(
                envelope, body, next_attempt_at=envelope.accepted_at, leases=leases, quarantined=quarantined
            )
        except StoreFailed as error:
            self._refuse_for_the_store(envelope, error, spool)
            return False
        if not is_copy:  # the client hears of the message, and not of its copies
            self._smtp.accept(f"queued as {envelope.id}")
            self._journal.queued()
        self._show_observers(envelope, body)
        if quarantined is None:
            self._services.handover.take(envelope, body, leases)
        return True

    def _refuse_for_the_store(self, envelope: Envelope, error: StoreFailed, spool: Spool | None) -> None:
        if spool is not None:
            spool.discard()
        self._spooling.discard()
        self._journal.not_queued(envelope.id, str(error))
        refusal = store_reply(error)
        self._services.counts.rejected("END-OF-MESSAGE", refusal)
        self._smtp.refuse(refusal)

    def _show_observers(self, envelope: Envelope, body: Body) -> None:
        if observers := self._services.observers:
            facts = self._facts
            arrival = Arrival(
                client=facts.client_label,
                protocol=facts.protocol,
                hello=facts.hello,
                handshake=facts.tls,
                message_id=message_id_of(head_of(body)),
                user=self._journal.user,
                mechanism=self._journal.mechanism,
            )
            observers.received(envelope, arrival)

    async def _start_tls(self) -> bool:
        """Answer STARTTLS; False when the connection is of no more use."""
        await self._write()
        if not await self._shake_hands():
            return False
        self._smtp.tls_established()
        await self._offer_auth()
        return True

    async def _offer_auth(self) -> None:
        """Inside TLS, on listeners where users log in."""
        if self._login is not None:
            await self._login.offer(self._binding())

    def _binding(self) -> bytes | None:
        """What channel binding ties a login to (RFC 9266)."""
        return self._stream.exporter_binding() if isinstance(self._stream, TlsStream) else None

    async def _shake_hands(self) -> bool:
        """Do the TLS handshake; False, with the connection dropped, when it fails."""
        if self._profile.tls is None:
            raise AssertionError("TLS was not offered")
        try:
            async with asyncio.timeout(self._options.tls_timeout_seconds):
                self._stream, self._facts.tls = await accept_tls(
                    self._stream, self._profile.tls, self._profile.tls_by_name
                )
        except OSError as error:
            self._journal.tls_failed(str(error) or "time-out")
            return False
        self._journal.secured(self._facts.tls)
        return True
