"""Sessions that are kept for the next message to the same server.

What a session proved is kept with it, and judged again for each message that would use it (`policy.judge`): a session
that was good enough for one message says nothing about the next one's demands. Only under the very same requirement a
verdict stands for five seconds. Kept are sessions inside TLS, those within this machine, and those in clear with
servers that offer no STARTTLS; a session in clear for any other reason is not, for a new one might do better. An idle
session is ended with QUIT. One that the server ended meanwhile, or in which it said something unasked, is not used; and
if it fails before it took anything of a message, the message goes to a new one and nothing is lost.
"""

import asyncio
from dataclasses import dataclass
from typing import NamedTuple, Self

from letterlock.deliver.broken_offers import BrokenGroups, BrokenOffers
from letterlock.deliver.handshake_slots import HandshakeSlots
from letterlock.deliver.implicit_first import UselessPorts
from letterlock.deliver.options import DeliverOptions
from letterlock.deliver.session import Opened
from letterlock.frozen import changed
from letterlock.net.tls import TlsStream
from letterlock.policy.decision import Cleared, Requirement
from letterlock.policy.evidence import StartTls
from letterlock.policy.judge import judge, judge_extensions
from letterlock.ports import Clock
from letterlock.recent import EVIDENCE_SECONDS
from letterlock.smtp.client_steps import ClientState

SPARING_SECONDS = 0.5  # chosen: most sessions that are used again are used sooner, and keep their buffers
PLENTY = 100  # idle sessions of a worker, chosen: at some 40 KB each no more than 4 MB
# Of `idle_seconds`, for a session that carried one message while there are plenty: 2 of 5 seconds, the time of Postfix
# (smtp_connection_cache_time_limit). Most hosts of a thousand get their next message later than that in either case.
USED_ONCE_SHARE = 0.4


class PoolKey(NamedTuple):
    """Where a session leads: `source` is the address that it was dialled from, `login` the user who has logged in."""

    host: str
    address: str
    port: int
    source: str | None = None
    login: str | None = None

    @classmethod
    def of(cls, host: str, address: str, port: int, options: DeliverOptions) -> Self:
        """Where mail goes by these options."""
        user = None if options.login is None else options.login.user
        return cls(host, address, port, options.source.towards(address), user)


@dataclass(slots=True, eq=False)
class _Kept:
    server: PoolKey
    session: Opened
    since: float  # event loop's time
    until: float


class SessionPool:
    """Idle sessions by server, and by the address that they were dialled from.

    At most `options.max_idle_sessions`; the one idle for longest is ended for a new one. While there are more than
    PLENTY, those that carried one message only, as most do whose host gets little mail, are ended sooner than others.
    """

    def __init__(self, clock: Clock, options: DeliverOptions) -> None:
        self.broken_offers = BrokenOffers()
        self.broken_groups = BrokenGroups()
        self.useless_ports = UselessPorts()
        self.handshake_slots = HandshakeSlots(options.max_handshakes_per_host, options.max_connections_per_host)
        self.handshake_slots.make_room = self._end_one_at
        self.displaced = 0  # sessions that were ended to keep others, for monitoring
        self._clock = clock
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._kept: dict[PoolKey, list[_Kept]] = {}  # in each list, the one idle for longest first
        self._order: dict[_Kept, None] = {}  # the one idle for longest first
        self._unspared: dict[_Kept, None] = {}  # those that still have their buffers, in the same order
        self._used_once: dict[_Kept, None] = {}  # those that carried no second message, in the same order
        self._timer: asyncio.TimerHandle | None = None
        self._sparing: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()

    def reload(self, options: DeliverOptions) -> None:
        """Keep sessions by other limits from now on; those that are kept end in their time."""
        self._options = options
        self.handshake_slots.reload(options.max_handshakes_per_host, options.max_connections_per_host)

    def take(
        self, server: PoolKey, requirement: Requirement, *, ignored: frozenset[str] = frozenset()
    ) -> Opened | None:
        """A session with this very server that holds the requirement now, if there is one; it is the caller's.

        `ignored`: EHLO keywords that it must not go by; so are those that the host has broken on.
        """
        now = self._clock.now()
        ignored |= self.broken_offers.at(server.host, server.port, now)
        for kept in reversed(self._kept.get(server, ())):
            session, client = kept.session, kept.session.conversation.client
            if not session.conversation.stream.quiet or self._too_old(session, now):
                self._end(kept)
            elif client.ignored >= ignored and (taken := self._cleared(session, requirement, now)) is not None:
                self._forget(kept)
                session.conversation.begin_anew(self._options.timeouts.session)
                return taken
        return None

    def shared(
        self, session: Opened, server: PoolKey, requirement: Requirement, *, ignored: frozenset[str] = frozenset()
    ) -> Opened | None:
        """A session that is in use, for the message that comes next in it; None where `take` would not give it once it
        was kept, or its server breaks on what goes behind a content."""
        now = self._clock.now()
        if self._too_old(session, now) or not self._as_good_as_any(session):
            return None
        if self.broken_groups.at(server.host, server.port, now):
            return None
        ignored |= self.broken_offers.at(server.host, server.port, now)
        if not session.conversation.client.ignored >= ignored:
            return None
        return self._cleared(session, requirement, now)

    def _cleared(self, session: Opened, requirement: Requirement, now: float) -> Opened | None:
        """The session as the requirement clears it now, if it does."""
        just_now = 0 <= now - session.judged_at < EVIDENCE_SECONDS
        if just_now and session.cleared.requirement is requirement:
            return session if session.reused else changed(session, reused=True)
        if requirement.demands_certificate and session.handshake and session.handshake.sni != requirement.sni:
            return None  # with another name, the server might have shown another certificate
        verdict = judge(requirement, session.evidence, now)
        if isinstance(verdict, Cleared):
            offered = session.conversation.client.capabilities.requiretls
            verdict = judge_extensions(verdict, session.evidence, requiretls_offered=offered)
        if not isinstance(verdict, Cleared):
            return None
        return changed(session, cleared=verdict, judged_at=now, reused=True)

    async def put(self, server: PoolKey, session: Opened) -> None:
        """Keep a session whose transactions are over, or end it."""
        if not self._worth_keeping(session):
            await session.conversation.end()
            return
        now = self._loop.time()
        kept = _Kept(server, session, now, now + self._options.idle_seconds)
        self._kept.setdefault(server, []).append(kept)
        self._order[kept] = self._unspared[kept] = None
        if not session.reused:
            self._used_once[kept] = None
        if len(self._order) > self._options.max_idle_sessions:
            self.displaced += 1
            self._end(next(iter(self._order)))
        self._thin_out(now)
        if self._timer is None:
            self._timer = self._loop.call_at(kept.until, self._end_idle)
        if self._sparing is None:
            self._sparing = self._loop.call_at(now + SPARING_SECONDS, self._spare_memory)
        self.handshake_slots.session_free(server.host, server.address, server.port)

    def _thin_out(self, now: float) -> None:
        """End those that will hardly be used again while there are more than PLENTY."""
        begun_before = now - self._options.idle_seconds * USED_ONCE_SHARE
        while len(self._order) > PLENTY and self._used_once:
            oldest = next(iter(self._used_once))
            if oldest.since > begun_before:
                return
            self._end(oldest)

    def _end_one_at(self, key: str) -> bool:
        """End the session idle for longest with a host, or with an address and port; whether there was one."""
        address, _, port = key.removeprefix("[").rpartition("]:")
        if address:
            those = [
                kept for server, kept in self._kept.items() if server.address == address and str(server.port) == port
            ]
        else:
            those = [kept for server, kept in self._kept.items() if server.host == key]
        if not those:
            return False
        kept = min((each[0] for each in those), key=lambda one: one.since)
        self.displaced += 1
        kept.session.conversation.release()
        self._end(kept)
        return True

    def _end_idle(self) -> None:
        """End those that were idle for too long; look again when the next one has been."""
        self._timer = None
        while self._order:
            oldest = next(iter(self._order))
            if oldest.until > self._loop.time():
                self._timer = self._loop.call_at(oldest.until, self._end_idle)
                return
            self._end(oldest)

    def _spare_memory(self) -> None:
        """Give back the buffers of those that have been idle for a while; look again when the next one has been."""
        self._sparing = None
        while self._unspared:
            kept = next(iter(self._unspared))
            if kept.since + SPARING_SECONDS > self._loop.time():
                self._sparing = self._loop.call_at(kept.since + SPARING_SECONDS, self._spare_memory)
                return
            del self._unspared[kept]
            stream = kept.session.conversation.stream
            if isinstance(stream, TlsStream):
                stream.spare_memory()

    async def close(self) -> None:
        """End all sessions."""
        for kept in tuple(self._order):
            self._end(kept)
        if self._timer is not None:
            self._timer.cancel()
        if self._sparing is not None:
            self._sparing.cancel()
        if ending := {*self._ending, *self.useless_ports.ending}:
            await asyncio.wait(ending)

    def _worth_keeping(self, session: Opened) -> bool:
        return session.conversation.client.state is ClientState.READY and self._as_good_as_any(session)

    def _as_good_as_any(self, session: Opened) -> bool:
        """Whether a new session would be no better, and sessions are kept at all."""
        encrypted = session.handshake is not None
        as_good_as_any = encrypted or session.local or session.evidence.starttls is StartTls.NOT_OFFERED
        return as_good_as_any and self._options.idle_seconds > 0

    def _too_old(self, session: Opened, now: float) -> bool:
        return now - session.connected_at > self._options.max_session_age_seconds

    def _end(self, kept: _Kept) -> None:
        self._forget(kept)
        task = self._loop.create_task(kept.session.conversation.end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _forget(self, kept: _Kept) -> None:
        del self._order[kept]
        self._unspared.pop(kept, None)
        self._used_once.pop(kept, None)
        same = self._kept[kept.server]
        same.remove(kept)
        if not same:
            del self._kept[kept.server]
