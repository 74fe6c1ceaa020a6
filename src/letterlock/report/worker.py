"""The reporter: notifies senders of mail that failed or waits."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from letterlock.dkim import Signer, signed
from letterlock.dsn import compose
from letterlock.events import LogEvent
from letterlock.mail.addresses import Mailbox
from letterlock.mail.checked_content import Body, LargeContent, has_utf8_header, head_of
from letterlock.mail.envelope import BodyType, Envelope, TlsDemand
from letterlock.mail.message_ids import message_id_of
from letterlock.mail.wishes import Ret
from letterlock.ports import Clock
from letterlock.queue.observing import NOBODY, Arrival, Observers
from letterlock.queue.store import NoticeStore, StoreFailed
from letterlock.queue.tasks import Notice, NoticeKind
from letterlock.recipients.directory import TableFailed
from letterlock.recipients.site import LocalSite
from letterlock.report.notices import report_on
from letterlock.routing.rules import Rules

log = logging.getLogger("letterlock.report")
_WHAT = {NoticeKind.FAILED: "non-delivery", NoticeKind.DELAYED: "delay", NoticeKind.RELAYED: "relay"}
BATCH = 50  # chosen: notifications of one transaction, so that each is short
MAX_STUCK = 1_000  # chosen: notices that cannot be sent and do not keep others waiting, some 100 KB
PAUSE_SECONDS = 30.0  # chosen: after a failure of the store, and as a guard against a lost wake-up


class Reporter:
    """Sends notifications until it is stopped: `run()` in a task, `wake()` when something failed, `stop()` once.

    `site` knows where aliases lead. The text of a message goes back only where `rules` demand as much of that way as
    they did of the message's own.
    After `delay_notice_seconds` senders are notified once of waiting mail; 0: never. `wake_deliverer` is called when a
    notification was accepted, so that somebody delivers it. `signer` signs them, by the keys of this server's domain.
    """

    def __init__(
        self,
        store: NoticeStore,
        *,
        clock: Clock,
        hostname: str,
        new_id: Callable[[], str],
        lifetime_seconds: float,
        delay_notice_seconds: float,
        wake_deliverer: Callable[[], None],
        rules: Rules,
        site: LocalSite | None = None,
        observers: Observers = NOBODY,
        signer: Signer | None = None,
    ) -> None:
        self._site = site
        self._observers = observers
        self._signer = signer
        self._store = store
        self._clock = clock
        self._hostname = hostname
        self._new_id = new_id
        self._lifetime_seconds = lifetime_seconds
        self._delay_notice_seconds = delay_notice_seconds
        self._wake_deliverer = wake_deliverer
        self._rules = rules
        self._stuck: dict[tuple[str, NoticeKind], float] = {}  # that could not be sent, until when (monotonic)
        self._woken = asyncio.Event()
        self._stopping = False

    def reload(
        self,
        rules: Rules,
        *,
        lifetime_seconds: float,
        delay_notice_seconds: float,
        site: LocalSite | None = None,
        signer: Signer | None = None,
    ) -> None:
        """Report by other rules, times and keys from now on."""
        self._rules, self._site, self._signer = rules, site, signer
        self._lifetime_seconds, self._delay_notice_seconds = lifetime_seconds, delay_notice_seconds

    def wake(self) -> None:
        """Look now: something may have failed for good."""
        self._woken.set()

    async def run(self) -> None:
        """Report until `stop` is called."""
        while not self._stopping:
            self._woken.clear()
            if not await self.report_due():
                with suppress(TimeoutError):  # the usual case: nothing wakes it
                    async with asyncio.timeout(PAUSE_SECONDS):
                        await self._woken.wait()

    def stop(self) -> None:
        """Begin nothing new; what is in hand is one transaction, and finishes."""
        self._stopping = True
        self.wake()

    async def report_due(self) -> bool:
        """Tell the senders of one batch of failures and delays; whether there may be more to do at once."""
        try:
            limit = BATCH + len(self._stuck)  # those that are stuck may come first
            notices = [*await self._store.due_notices(limit=limit)]
            if self._delay_notice_seconds:
                before = self._clock.now() - self._delay_notice_seconds
                notices += await self._store.due_delays(before, limit=limit)
            return await self._tell_all(notices)
        except StoreFailed as error:
            log.warning("notifications cannot be sent yet: %s", error)
            return False  # waits for PAUSE_SECONDS, or until somebody wakes it

    async def _tell_all(self, notices: Sequence[Notice]) -> bool:
        """Whether any sender was notified; the others' turn comes again after PAUSE_SECONDS. Raises StoreFailed."""
        stuck: dict[tuple[str, NoticeKind], float] = {}
        now, told = self._clock.monotonic(), False
        for notice in notices:
            key = notice.envelope.id, notice.kind
            until = self._stuck.get(key)
            if until is not None and until > now:
                stuck[key] = until
            elif await self._tell(notice):
                told = True
            elif len(stuck) < MAX_STUCK:
                stuck[key] = now + PAUSE_SECONDS
        self._stuck = stuck
        return told

    async def _tell(self, notice: Notice) -> bool:
        """Whether a sender was notified. A bug in composing a notification costs its details and delays no other."""
        message_id = notice.envelope.id
        for told, what in (
            (notice, "the notification"),
            (_without_words(notice), "the notification without its words"),
        ):
            try:
                await self._report(told, original=None if told is notice else b"")
            except StoreFailed:
                raise
            except TableFailed as error:
                log.warning("%s: its sender cannot be notified yet: %s", message_id, error)
                return False
            except Exception:
                log.exception("%s: internal error in %s to the sender", message_id, what)
            else:
                return True
        return False

    async def _report(self, notice: Notice, original: bytes | None) -> None:
        now, about = self._clock.now(), notice.envelope
        if about.reverse_path is None:  # RFC 5321 section 4.5.5: nobody is notified that a notification failed
            failed = ", ".join(str(outcome.recipient) for outcome in notice.outcomes)
            log.warning("%s: a notification could not be delivered to %s: dropped", about.id, failed)
            await self._notified(notice, None, now)
            return
        dsn_id = self._new_id()
        body = await self._original(about.id) if original is None else original
        report = report_on(notice, about.reverse_path, now=now)
        domains = dict.fromkeys(recipient.domain for recipient in about.recipients)
        small = not isinstance(body, LargeContent)  # a larger one than a notification returns, whatever RET says
        full = small and _returns_all(about) and self._rules.guard_the_way_back(about.reverse_path.domain, domains)
        content = compose(report, head_of(body), hostname=self._hostname, message_id=dsn_id, now=now, full=full)
        content = await signed(self._signer, content, now)
        envelope = Envelope(
            id=dsn_id,
            reverse_path=None,
            recipients=await self._to(about.reverse_path, now),
            size=len(content),
            accepted_at=now,
            expires_at=now + self._lifetime_seconds,
            tls_demand=_demand_of_notification(about),
            body_type=BodyType.SEVEN_BIT if content.isascii() else BodyType.EIGHT_BIT_MIME,
            smtputf8=has_utf8_header(content),
        )
        if await self._notified(notice, (envelope, content), now):
            form = "%(id)s: sender %(what)s notification: %(by)s"
            log.info(LogEvent("notified", form, id=about.id, what=_WHAT[notice.kind], by=dsn_id))
            if self._observers:
                own_id = message_id_of(content)
                arrival = Arrival(client="local", protocol="local", message_id=own_id, about=about.id)
                self._observers.received(envelope, arrival)
            self._wake_deliverer()

    async def _notified(self, notice: Notice, dsn: tuple[Envelope, bytes] | None, now: float) -> bool:
        """Whether it was written; else the message is gone, and with it whatever was to be said."""
        try:
            await self._store.notified(notice, dsn, now=now)
        except KeyError:
            log.info("%s: removed before its sender was notified: no notification is sent", notice.envelope.id)
            return False
        return True

    async def _to(self, sender: Mailbox, now: float) -> tuple[Mailbox, ...]:
        """Where mail for a sender goes: one of ours may be an alias, or stand for a sender whose mail we forwarded.

        An alias that leads to nobody stays, so that the notification fails where it can be seen. Raises TableFailed.
        """
        found = () if self._site is None else await self._site.addresses(sender, now)
        return found or (sender,)

    async def _original(self, message_id: str) -> Body:
        """The content; nothing when it is damaged (its sender is notified all the same) or the message gone."""
        try:
            return await self._store.body(message_id)
        except KeyError:  # it has left the queue meanwhile
            return b""


def _returns_all(about: Envelope) -> bool:
    """RET=FULL is obeyed, but not for what was sent with REQUIRETLS (RFC 8689 section 5)."""
    return about.wishes.ret is Ret.FULL and about.tls_demand is not TlsDemand.REQUIRETLS


def _demand_of_notification(about: Envelope) -> TlsDemand:
    """REQUIRETLS goes on to what tells of the message, whose header it has (RFC 8689 section 5); nothing else does."""
    return TlsDemand.REQUIRETLS if about.tls_demand is TlsDemand.REQUIRETLS else TlsDemand.NONE


def _without_words(notice: Notice) -> Notice:
    """The same without anything that others wrote, for when those words cannot be put into a message."""
    text = "it could not be delivered; the operator of the server can find out why"
    outcomes = tuple(replace(outcome, text=text, remote_reply=None) for outcome in notice.outcomes)
    return replace(notice, outcomes=outcomes, last_attempts=())
