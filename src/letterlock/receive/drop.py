"""Takes in what local programs left in the drop directory while the server was down or busy.

Each message is accepted once. It gets its id before anything else, as the name of its file among those that were taken;
it is accepted under that id; its file is removed, durably; and only then it may be delivered. So a kill at any point
leaves a file whose id the store knows (then the file is what is left to remove) or does not know (then the message is
accepted now). What cannot be accepted for now stays where it is, and while the store is full nobody may add to it.

Who may send: local users may, where the loopback networks may relay. Whose mail it is, the file's owner says; the
reverse-path is what the sender wrote, as over SMTP.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress

from letterlock.dkim import signed
from letterlock.dsn import Fate, Report, ToldRecipient, compose
from letterlock.mail.addresses import Mailbox
from letterlock.mail.checked_content import PIECE_OCTETS, Body, ContentLost, LargeContent, head_of
from letterlock.mail.envelope import BodyType, Envelope
from letterlock.mail.message_ids import message_id_of
from letterlock.mail.replies import Reply
from letterlock.mail.wishes import Event
from letterlock.ports import Clock
from letterlock.queue.observing import NOBODY, Arrival, Observers
from letterlock.queue.store import AcceptStore, StoreFailed, StoreFull
from letterlock.receive.batch import BadBatch, Batch, BatchReader
from letterlock.receive.drop_directory import DropDirectory, Dropped, DropUnusable, Unfit
from letterlock.receive.filter_counts import FilterCounts
from letterlock.receive.options import ReceiveOptions
from letterlock.receive.pipeline import Draft, Facts, Pipeline
from letterlock.receive.profiles import Profile
from letterlock.receive.receipt_log import discarded, printable
from letterlock.receive.relay import THIS_MACHINE
from letterlock.receive.session import Handover
from letterlock.receive.spooling import Spooling
from letterlock.receive.steps import local_recipient_steps, message_steps
from letterlock.recipients.directory import TableFailed
from letterlock.smtp.server_events import MessageReceived, RecipientOffered, ServerLimits

POLL_SECONDS = 10.0  # seldom needed while the server runs: then `sendmail` speaks to it
MAX_AT_ONCE = 100  # messages of one look
MAX_RECIPIENTS = 1000  # what `sendmail` puts into one file
UNLEASED_SECONDS = 30.0
"""When next hops are due that delivery has no room for now. It must not take them before the file is removed: a kill
between the two would send the message twice."""
log = logging.getLogger("letterlock.drop")


class DropCollector:
    """Empties a drop directory: `run` in a task until `stop`. `profile` is that by which local users may send."""

    def __init__(
        self,
        directory: DropDirectory,
        options: ReceiveOptions,
        profile: Profile,
        *,
        store: AcceptStore,
        clock: Clock,
        new_id: Callable[[], str],
        handover: Handover,
        observers: Observers = NOBODY,
        filters: FilterCounts | None = None,
    ) -> None:
        self._observers = observers
        self._filters = filters
        self._directory = directory
        self._clock = clock
        self._closed = False  # for lack of room
        self.reload(options, profile)
        self._store = store
        self._new_id = new_id
        self._handover = handover
        self._broken: set[str] = set()
        self._unfinished: set[str] = set()  # accepted, but the file cannot be removed
        self._stopping = asyncio.Event()
        self._looking = asyncio.Lock()

    def reload(self, options: ReceiveOptions, profile: Profile | None) -> None:
        """Accept by these options from now on; without a profile nothing, for local users may not send."""
        self._options = options
        self._allowed = profile is not None
        if profile is None:
            self._close()
        else:
            self._open_again()
            on_messages = message_steps(profile, options, filters=self._filters)
            self._steps = Pipeline((*local_recipient_steps(options, self._clock.now), *on_messages))
        self._limits = ServerLimits(
            max_message_octets=options.max_message_octets,
            max_text_line_octets=options.max_text_line_octets,
            accept_nul=options.accept_nul,
            max_recipients=max(MAX_RECIPIENTS, options.max_recipients),
        )
        # Dots are doubled, and before the message stand its recipients.
        self._max_octets = 2 * options.max_message_octets + (1 << 20)

    async def run(self) -> None:
        """Look now, and every POLL_SECONDS."""
        try:
            while not self._stopping.is_set():
                again = await self.collect()
                with suppress(TimeoutError):  # the usual case: nobody stops it
                    async with asyncio.timeout(0 if again else POLL_SECONDS):
                        await self._stopping.wait()
        finally:
            self._directory.close()

    def stop(self) -> None:
        """Take nothing more; what is in hand is finished."""
        self._stopping.set()

    async def collect(self) -> bool:
        """Take in what is there; whether there may be more. Never raises for the disk or the store."""
        if not self._allowed:
            return False
        try:
            async with self._looking:
                return await self._collect()
        except StoreFailed as error:
            log.warning("mail in %s cannot be accepted now: %s", self._directory.path, error)
            await self._let_in(not isinstance(error, StoreFull))
        except OSError as error:
            log.warning("drop directory %s: %s", self._directory.path, error.strerror or error)
        return False

    async def _collect(self) -> bool:
        left_over = await asyncio.to_thread(self._directory.taken, MAX_AT_ONCE + len(self._broken))
        for message_id in left_over:
            if message_id in self._unfinished or await self._store.message(message_id) is not None:
                await self._finish(message_id)
            elif message_id not in self._broken:
                await self._try_to_take_in(message_id)
        names = await asyncio.to_thread(self._directory.ready, MAX_AT_ONCE, time.time())
        for name in names:
            if self._stopping.is_set():
                return False
            message_id = self._new_id()
            if await asyncio.to_thread(self._directory.take, name, message_id):
                await self._try_to_take_in(message_id)
        await self._let_in(True)
        return len(names) == MAX_AT_ONCE

    async def _let_in(self, everybody: bool) -> None:
        if everybody is not self._directory.is_open:
            change = self._directory.open_to_all if everybody else self._directory.close_to_all
            try:
                await asyncio.to_thread(change)
            except (OSError, DropUnusable) as error:
                log.warning("drop directory %s: %s", self._directory.path, error)
        self._closed = not everybody

    def _close(self) -> None:
        """Let nobody leave mail that nobody takes in: `sendmail` then reports that it was not sent."""
        log.warning("local users may not send any more: what they left in %s waits there", self._directory.path)
        try:
            self._directory.close_to_all()
        except OSError as error:
            log.warning("drop directory %s: %s", self._directory.path, error.strerror or error)

    def _open_again(self) -> None:
        """Let everybody in where somebody else closed it: systemd does at a reload, for StateDirectoryMode=0700."""
        if not self._closed and not self._directory.is_open:
            try:
                self._directory.open_to_all()
            except (OSError, DropUnusable) as error:
                log.warning("drop directory %s: %s", self._directory.path, error)

    async def _try_to_take_in(self, message_id: str) -> None:
        """Others must not wait for one that cannot be read, or that a bug stops. Raises StoreFailed."""
        try:
            await self._take_in(message_id)
        except StoreFailed:
            raise
        except OSError as error:
            log.warning("%s: cannot be read from the drop: %s", message_id, error.strerror or error)
        except ContentLost as lost:  # the copy on the queue's disk: its file is read again
            log.warning("%s: cannot be accepted now: %s", message_id, lost)
        except Exception:
            log.exception("%s: internal error in taking it from the drop: it waits for the next start", message_id)
            self._broken.add(message_id)

    async def _take_in(self, message_id: str) -> None:
        spooling = Spooling(self._store)
        try:
            batch, uid = await self._read(message_id, spooling)
            await self._accept(message_id, uid, batch, spooling)
        except (Unfit, BadBatch) as error:
            kept = await asyncio.to_thread(self._directory.set_aside, message_id)
            where = "kept in `refused`" if kept else "removed"
            log.warning(
                "%s: a file left in %s is not a message: %s: %s", message_id, self._directory.path, error, where
            )
        finally:
            spooling.discard()

    async def _read(self, message_id: str, spooling: Spooling) -> tuple[Batch, int]:
        """What a file has, and whose it is; a large body goes to the disk meanwhile.

        Raises Unfit, BadBatch, StoreFailed, OSError.
        """
        reader = BatchReader(self._options.hostname, self._limits, self._options.postmaster)
        dropped = await asyncio.to_thread(self._directory.open, message_id, self._max_octets)
        try:
            while await asyncio.to_thread(_read_block, dropped, reader):
                if reader.arriving is not None and spooling.is_due(reader.arriving):
                    await spooling.write(reader.arriving)
        finally:
            dropped.close()
        batch = reader.end()
        if batch.message is not None and isinstance(batch.message.content, LargeContent):
            batch.message.content = await spooling.finish(reader.arriving, batch.message.content)
        return batch, dropped.uid

    async def _accept(self, message_id: str, uid: int, batch: Batch, spooling: Spooling) -> None:
        about, draft = b"", None
        if batch.message is not None:
            about = head_of(batch.message.content)
            facts = _facts(uid, batch.message.recipients)
            refusal = await self._check_recipients(batch, batch.message, facts)
            if refusal is None and batch.message.recipients:
                draft = Draft.of(batch.message, message_id, self._clock.now())
                refusal = await self._steps.message.run_waiting(facts, draft)
            if refusal is not None and refusal.transient:
                log.info("%s: waits in the drop: %s", message_id, printable(str(refusal)))
                return
            if refusal is not None:
                batch.refused += [(str(recipient), refusal) for recipient in batch.message.recipients]
                draft = None
        try:
            to = await self._whom_to_tell(batch)
        except TableFailed as error:
            log.warning(
                "%s: waits in the drop: where mail for its sender goes cannot be found out: %s", message_id, error
            )
            return
        for recipient, reply in batch.refused:
            words = message_id, uid, printable(recipient), printable(str(reply))
            log.info("%s: reject: uid=%d to=<%s>: %s", *words)
        if batch.refused:
            # First: a kill in between logs it twice rather than never.
            await self._tell_sender(message_id, batch, about, to)
        client = f"local[uid={uid}]"
        if draft is None or not draft.recipients:  # refused, or thrown away
            if draft is not None:
                log.info(discarded(message_id, client, draft.discarded_by))
            await self._finish(message_id)
            return
        await self._keep_copies(draft, client, uid)
        await self._keep(*draft.finish(client, self._options.expire_seconds), uid, spooling, draft.quarantined)

    async def _check_recipients(self, batch: Batch, message: MessageReceived, facts: Facts) -> Reply | None:
        """Take refused recipients away from the message; the reply if one cannot be decided on now."""
        stage, accepted = self._steps.recipient, list[Mailbox]()
        for recipient in message.recipients:
            reply = await stage.run_waiting(facts, RecipientOffered(message.reverse_path, recipient))
            if reply is None:
                accepted.append(recipient)
            elif reply.transient:
                return reply
            else:
                batch.refused.append((str(recipient), reply))
        message.recipients = tuple(accepted)
        return None

    async def _keep_copies(self, draft: Draft, client: str, uid: int) -> None:
        """Put copies on disk before the message whose id the file has: a kill in between sends them twice, not never.

        Raises StoreFailed.
        """
        for copy in draft.copies:
            envelope, whole = draft.copied(copy, self._new_id(), client, self._options.expire_seconds)
            body, why = await self._store.share(whole), draft.quarantined
            leases = self._handover.prepare(envelope) if why is None else ()
            await self._store.accept(
                envelope, body, next_attempt_at=envelope.accepted_at, leases=leases, quarantined=why
            )
            self._show_observers(envelope, body, uid)
            if why is None:
                self._handover.take(envelope, body, leases)

    async def _keep(
        self, envelope: Envelope, body: Body, uid: int, spooling: Spooling, quarantined: str | None
    ) -> None:
        """Put a message on disk, remove its file, and only then let it be delivered; not where it is `quarantined`.

        Raises StoreFailed.
        """
        leases = self._handover.prepare(envelope) if quarantined is None else ()
        later = envelope.accepted_at + UNLEASED_SECONDS
        spool = spooling.hand_over(body)
        try:
            await self._store.accept(envelope, body, next_attempt_at=later, leases=leases, quarantined=quarantined)
        except StoreFailed:
            if spool is not None:
                spool.discard()
            raise
        self._unfinished.add(envelope.id)
        await self._finish(envelope.id)
        self._show_observers(envelope, body, uid)
        if quarantined is None:
            self._handover.take(envelope, body, leases)

    def _show_observers(self, envelope: Envelope, body: Body, uid: int) -> None:
        if self._observers:
            arrival = Arrival(client="local", protocol="local", message_id=message_id_of(head_of(body)), local_uid=uid)
            self._observers.received(envelope, arrival)

    async def _finish(self, message_id: str) -> None:
        """Remove the file; if that fails, remember that its message was accepted."""
        try:
            await asyncio.to_thread(self._directory.finish, message_id)
        except OSError as error:
            log.warning("%s: accepted, but its file cannot be removed: %s", message_id, error.strerror or error)
        else:
            self._unfinished.discard(message_id)

    async def _whom_to_tell(self, batch: Batch) -> tuple[Mailbox, ...]:
        """Where the notification of a refusal goes: one of our senders may be an alias. Raises TableFailed."""
        sender, site = batch.reverse_path, self._options.site
        if sender is None or not batch.refused:
            return ()
        return (() if site is None else await site.addresses(sender, self._clock.now())) or (sender,)

    async def _tell_sender(self, message_id: str, batch: Batch, about: bytes, to: tuple[Mailbox, ...]) -> None:
        """A permanent refusal: the sender is no longer connected and gets a notification."""
        sender, now, dsn_id = batch.reverse_path, self._clock.now(), self._new_id()
        told = tuple(_told(recipient, reply, now) for recipient, reply in batch.refused if _is_told(batch, recipient))
        if sender is None or not told:
            return
        report = Report(sender=sender, fate=Fate.FAILED, accepted_at=now, recipients=told)
        content = compose(report, about, hostname=self._options.hostname, message_id=dsn_id, now=now)
        content = await signed(self._options.signer, content, now)
        envelope = Envelope(
            id=dsn_id,
            reverse_path=None,
            recipients=to,
            size=len(content),
            accepted_at=now,
            expires_at=now + self._options.expire_seconds,
            body_type=BodyType.SEVEN_BIT if content.isascii() else BodyType.EIGHT_BIT_MIME,
        )
        leases = self._handover.prepare(envelope)
        await self._store.accept(envelope, content, next_attempt_at=now, leases=leases)
        log.info("%s: sender non-delivery notification to <%s>", dsn_id, printable(str(sender)))
        if self._observers:
            arrival = Arrival(client="local", protocol="local", message_id=message_id_of(content), about=message_id)
            self._observers.received(envelope, arrival)
        self._handover.take(envelope, content, leases)


def _facts(uid: int, recipients: tuple[Mailbox, ...]) -> Facts:
    """As for a client on this machine."""
    return Facts(
        client=THIS_MACHINE[0],
        client_label=f"local[uid={uid}]",
        may_relay=True,
        recipients=recipients,
        local_uid=uid,
    )


def _is_told(batch: Batch, recipient: str) -> bool:
    """Whether the sender wants to be notified of a refusal (RFC 3461 section 4.1); by default, yes."""
    wishes = {} if batch.message is None else batch.message.wishes.recipients
    return all(wish.wants(Event.FAILURE) for mailbox, wish in wishes.items() if str(mailbox) == recipient)


def _told(recipient: str, reply: Reply, now: float) -> ToldRecipient:
    """A recipient whose address may be none, as it was written."""
    local_part, _, domain = recipient.rpartition("@")
    return ToldRecipient(
        recipient=Mailbox(local_part or domain, domain if local_part else "invalid"),
        status=reply.enhanced or "5.0.0",
        text=" ".join(reply.lines).partition(" ")[2],
        last_attempt_at=now,
        advice="Check the address for mistakes." if reply.enhanced and reply.enhanced.startswith("5.1.") else None,
    )


def _read_block(dropped: Dropped, reader: BatchReader) -> bool:
    """Have the next block read; False at the end. Raises Unfit, BadBatch, OSError."""
    block = dropped.read(PIECE_OCTETS)
    reader.feed(block)
    return bool(block)
