"""Final delivery to an LMTP server on this machine, through a UNIX socket or the loopback (RFC 2033).

The session is in clear and nobody is asked for TLS: the message never leaves the machine. Everything else is as with
SMTP: sessions are kept for the next message, the transactions are the same (`transaction`), and each recipient has an
outcome of their own. An LMTP server on another host is no matter of this file: it is a relay host, under the policy.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from letterlock.deliver import outcomes
from letterlock.deliver.options import DeliverOptions
from letterlock.deliver.pool import PoolKey, SessionPool
from letterlock.deliver.reply_hints import NO_HINTS, ReplyHints
from letterlock.deliver.session import NotCleared, Opened, Ports, Unreachable, open_session
from letterlock.deliver.transaction import Transacted, transact
from letterlock.deliver.unforeseen import unforeseen
from letterlock.mail.addresses import Mailbox
from letterlock.mail.checked_content import Body, ContentLost
from letterlock.mail.envelope import Envelope, TlsDemand
from letterlock.net.local_sockets import LocalDialer
from letterlock.policy.decision import Encryption, Requirement
from letterlock.policy.reasons import Reason, sentence
from letterlock.queue.tasks import RecipientOutcome
from letterlock.routing.local_targets import LmtpLoopback, LmtpSocket

log = logging.getLogger("letterlock.deliver")

IN_CLEAR = Requirement(encryption=Encryption.NONE, authentication=None, sni=None, fallback=None, reasons=())


@dataclass(slots=True, kw_only=True)
class Handed:
    """What became of the recipients, and when the session was there (seconds since 1970; None: there was none).

    `reasons`: what nobody foresaw.
    """

    outcomes: dict[Mailbox, RecipientOutcome] = field(default_factory=dict)
    connected_at: float | None = None
    ready_at: float | None = None
    reasons: tuple[Reason, ...] = ()


async def deliver_by_lmtp(
    target: LmtpSocket | LmtpLoopback,
    envelope: Envelope,
    recipients: Sequence[Mailbox],
    body: Body,
    *,
    ports: Ports,
    options: DeliverOptions,
    pool: SessionPool | None = None,
) -> Handed:
    """Hand a message to the server, over a session that `pool` kept or a new one. Raises ContentLost alone."""
    return await _Delivery(target, envelope, recipients, body, ports, options, pool).run()


class _Delivery:
    def __init__(
        self,
        target: LmtpSocket | LmtpLoopback,
        envelope: Envelope,
        recipients: Sequence[Mailbox],
        body: Body,
        ports: Ports,
        options: DeliverOptions,
        pool: SessionPool | None,
    ) -> None:
        self._server = str(target)
        # REQUIRETLS is about the ways between servers; this is the end of the last one (RFC 8689 section 1).
        self._envelope = replace(envelope, tls_demand=TlsDemand.NONE)
        self._recipients = recipients
        self._body = body
        self._ports, self._options = _way(target, ports, options)
        self._address = target.path if isinstance(target, LmtpSocket) else target.address
        self._pool = pool
        self._handed = Handed()

    async def run(self) -> Handed:
        try:
            await self._hand_over()
        except ContentLost:
            raise
        except Exception:
            log.exception("%s: internal error at %s; the message stays queued", self._envelope.id, self._server)
            self._broke()
        return self._handed

    async def _hand_over(self) -> None:
        while (kept := self._kept_session()) is not None:
            if await self._transact(kept):
                return
        if not await self._begin_anew():
            await self._begin_anew()

    def _broke(self) -> None:
        reason, code, _ = unforeseen(self._server)
        self._handed.reasons = (reason,)
        self._defer(code, sentence(reason))

    async def _begin_anew(self) -> bool:
        """One new session; False when the server broke on an extension that it offers."""
        if self._pool is not None:
            broken = self._pool.broken_offers.at(self._server, self._options.port, self._ports.clock.now())
            self._options = replace(self._options, ignore_ehlo=self._options.ignore_ehlo | broken)
        match await open_session(self._address, IN_CLEAR, ports=self._ports, options=self._options, lmtp=True):
            case Opened() as session:
                return await self._transact(replace(session, local=True))
            case NotCleared(verdict=verdict, connected_at=connected_at):
                self._handed.connected_at = connected_at
                self._defer("4.7.0", "; ".join(sentence(reason) for reason in verdict.reasons))
            case Unreachable(status=status, text=text, connected_at=connected_at, hints=hints):
                self._handed.connected_at = connected_at
                self._defer(status, text, hints)
        return True

    @property
    def _place(self) -> PoolKey:
        return PoolKey(self._server, self._address, self._options.port)

    def _kept_session(self) -> Opened | None:
        if self._pool is None:
            return None
        ignored = self._options.ignore_ehlo
        return self._pool.take(self._place, IN_CLEAR, ignored=ignored)

    async def _transact(self, session: Opened) -> bool:
        """Whether it is over; False when another session may do better: this one was kept and had ended meanwhile, or
        the server broke on an extension that it offers.
        """
        self._handed.connected_at, self._handed.ready_at = session.connected_at, self._ports.clock.now()
        kept = False
        try:
            pending = [one for one in self._recipients if one not in self._handed.outcomes]
            done = await transact(session, self._envelope, pending, self._body, server=self._server)
            over = self._learn(done, session)  # first of all, so that nothing can undo it
            if self._pool is not None and done.lost is None:
                kept = True
                await self._pool.put(self._place, session)
        finally:
            if not kept:
                await session.conversation.end()
        return over

    def _learn(self, done: Transacted, session: Opened) -> bool:
        """What the transactions came to; the same answer as `_transact`."""
        if session.reused and done.lost is not None and not done.outcomes:
            return False
        again = bool(done.broke_on - self._options.ignore_ehlo)
        if again:
            self._distrust(done.broke_on)
        self._keep(done, again=again)
        return not again

    def _distrust(self, keywords: frozenset[str]) -> None:
        self._options = replace(self._options, ignore_ehlo=self._options.ignore_ehlo | keywords)
        if self._pool is not None:
            self._pool.broken_offers.remember(self._server, self._options.port, keywords, self._ports.clock.now())

    def _keep(self, done: Transacted, *, again: bool) -> None:
        self._handed.outcomes |= done.outcomes | done.unable
        if again:
            return
        if done.broken:
            self._broke()
        elif done.lost is not None:
            self._defer(done.lost.status, done.lost.text, done.lost.hints)

    def _defer(self, status: str, text: str, hints: ReplyHints = NO_HINTS) -> None:
        """Recipients without an outcome are tried again."""
        for recipient in self._recipients:
            outcome = outcomes.deferred(recipient, status, f"{self._server}: {text}", hints=hints)
            self._handed.outcomes.setdefault(recipient, outcome)


def _way(target: LmtpSocket | LmtpLoopback, ports: Ports, options: DeliverOptions) -> tuple[Ports, DeliverOptions]:
    if isinstance(target, LmtpSocket):
        return replace(ports, dialer=LocalDialer()), options
    return ports, replace(options, port=target.port)
