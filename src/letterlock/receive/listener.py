"""Listening: accepts connections, rejects those beyond the limits, and shuts down in order."""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from letterlock.accounts.guessing import GuessLimiter
from letterlock.mail.checked_content import SPOOLED_OCTETS, Body
from letterlock.mail.envelope import Envelope
from letterlock.mail.printable import printable
from letterlock.mail.replies import Reply
from letterlock.net.proxy_header import BadProxyHeader, Introduced, read_proxy_header
from letterlock.net.streams import TcpStream
from letterlock.ports import Clock, Rates, Resolver
from letterlock.queue.observing import NOBODY, Observers
from letterlock.queue.store import AcceptStore
from letterlock.queue.tasks import Lease
from letterlock.receive.accept_turns import AcceptTurns
from letterlock.receive.auth import Authenticator
from letterlock.receive.authenticate_mail import JudgeMail
from letterlock.receive.limits import COPIES, Admission, MemoryBudget
from letterlock.receive.options import ReceiveOptions
from letterlock.receive.pipeline import Pipeline
from letterlock.receive.profiles import Profile
from letterlock.receive.receipt_log import SessionJournal
from letterlock.receive.relay import Network, is_within
from letterlock.receive.session import CONTENT_OCTETS, FAREWELL_SECONDS, Handover, Service, Services, Session
from letterlock.receive.session_counts import SessionCounts
from letterlock.receive.steps import Surroundings, steps_of
from letterlock.smtp.arriving import MAX_HEADER_OCTETS
from letterlock.state.rate_file import RateFile

ACCEPT_PAUSE_SECONDS = 0.2  # after a failed accept: when descriptors have run out, trying again at once only burns time
INTRODUCTION_SECONDS = 5.0  # a proxy sends its header at once: it may be lost once and sent again
log = logging.getLogger("letterlock.receive")


class _Nobody:
    """Nobody delivers: what is accepted waits in the queue."""

    def prepare(self, _envelope: Envelope, /) -> Sequence[Lease]:
        return ()

    def take(self, _envelope: Envelope, _body: Body, _leases: Sequence[Lease], /) -> None:
        pass


_NOBODY = _Nobody()


def _always(_octets: int) -> bool:
    """The store itself says when it is full."""
    return True


def _memory(options: ReceiveOptions) -> int:
    """One message always fits, with every line dot-stuffed and with what was read behind it.

    Of a large one that is its header section and what is not on the disk yet.
    """
    # 4/3: lines of a dot alone, each with another dot in front
    largest = COPIES * (min(options.max_message_octets * 4 // 3, MAX_HEADER_OCTETS + SPOOLED_OCTETS) + CONTENT_OCTETS)
    return max(options.max_inflight_octets, largest)


class Listener:
    """The receiving service, on the sockets of all listeners. `handover` gets what is on disk.

    `has_room`: whether the disk has room for a message of so many octets. `observers` are shown what was accepted.
    `judge` authenticates mail from elsewhere; without it, nobody does. `rates` gives the counters of all workers, and
    `resolver` asks DNS lists about clients.
    """

    def __init__(
        self,
        options: ReceiveOptions,
        *,
        store: AcceptStore,
        clock: Clock,
        new_id: Callable[[], str],
        handover: Handover = _NOBODY,
        has_room: Callable[[int], bool] = _always,
        observers: Observers = NOBODY,
        judge: JudgeMail | None = None,
        rates: Callable[[], Rates] | None = None,
        resolver: Resolver | None = None,
    ) -> None:
        self._judge, self._rates, self._resolver = judge, rates, resolver
        self._limiter: GuessLimiter | None = None
        memory = MemoryBudget(_memory(options))
        self._services = Services(
            options=options,
            store=store,
            clock=clock,
            new_id=new_id,
            handover=handover,
            memory=memory,
            authenticator=self._authenticator(options, clock),
            observers=observers,
        )
        self._has_room = has_room
        self._admission = Admission(
            max_connections=options.max_connections, max_per_client=options.max_connections_per_client
        )
        self._started: list[Service] = []
        self._turns: AcceptTurns | None = None
        self._accepting: list[asyncio.Task[None]] = []
        self._introducing: set[asyncio.Task[None]] = set()
        self._sessions: dict[asyncio.Task[None], Session] = {}

    @property
    def counts(self) -> SessionCounts:
        """What became of sessions so far."""
        return self._services.counts

    @property
    def connections(self) -> int:
        """How many sessions there are now."""
        return len(self._sessions)

    def reload(self, options: ReceiveOptions, profiles: Sequence[Profile]) -> None:
        """Meet new connections by other options and profiles, in the order of the starts; sessions go on as they began.

        Their steps are those of their beginning, too.
        """
        authenticator = self._authenticator(options, self._services.clock)
        self._services = replace(self._services, options=options, authenticator=authenticator)
        self._services.memory.reload(_memory(options))
        self._admission.reload(
            max_connections=options.max_connections, max_per_client=options.max_connections_per_client
        )
        self._started = [self._service(profile) for profile in profiles]

    def _authenticator(self, options: ReceiveOptions, clock: Clock) -> Authenticator | None:
        """Who checks logins; failures that were counted so far still count after a reload."""
        if options.accounts is None:  # nobody can log in
            return None
        if self._limiter is None:
            self._limiter = GuessLimiter(RateFile(None, "") if self._rates is None else self._rates())
        return Authenticator(options.accounts, clock, self._limiter)

    def _service(self, profile: Profile) -> Service:
        services = self._services
        around = Surroundings(
            memory=services.memory,
            has_room_on_disk=self._has_room,
            clock=services.clock,
            judge=self._judge,
            observers=services.observers,
            rates=self._rates,
            resolver=self._resolver,
            filters=services.counts.filters,
        )
        steps = steps_of(profile, services.options, around)
        return Service(profile, Pipeline(steps))

    def take_turns(self, turns: AcceptTurns) -> None:
        """Share the sockets of all starts from now on with other workers."""
        self._turns = turns

    async def start(self, sockets: Sequence[socket.socket], profile: Profile) -> None:
        """Accept on bound, listening sockets until `stop`, as the profile says. They stay the caller's to close."""
        number = len(self._started)
        self._started.append(self._service(profile))
        for listening in sockets:
            listening.setblocking(False)
            self._accepting.append(asyncio.create_task(self._accept_from(listening, number)))

    async def stop(self, grace_seconds: float) -> None:
        """Accept no more connections, let open mail transactions end within the grace, then drop what is left."""
        for task in (*self._accepting, *self._introducing):
            task.cancel()
        await asyncio.gather(*self._accepting, *self._introducing, return_exceptions=True)
        self._accepting.clear()
        deadline = asyncio.get_running_loop().time() + grace_seconds
        for session in self._sessions.values():
            session.stop(deadline)
        left = list(self._sessions)
        if left:
            _, left_over = await asyncio.wait(left, timeout=grace_seconds + FAREWELL_SECONDS)
            for task in left_over:
                task.cancel()
            await asyncio.gather(*left_over, return_exceptions=True)
        if self._services.authenticator is not None:
            self._services.authenticator.accounts.close()
        for database in self._services.options.databases:
            database.close()

    async def _accept_from(self, listening: socket.socket, number: int) -> None:
        """`number`: whose sockets they are, in the order of the starts."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                if self._turns is not None:
                    connection = await self._turns.accept(listening)
                else:
                    connection, _ = await loop.sock_accept(listening)
            except OSError as error:
                log.warning("cannot accept a connection: %s", error)
                await asyncio.sleep(ACCEPT_PAUSE_SECONDS)
            else:
                self._guarded(connection, partial(self._welcome, connection, self._started[number]))

    def _guarded(self, connection: socket.socket, step: Callable[[], None]) -> None:
        """Take a step with a new connection; an internal error in that must not keep all others out."""
        try:
            step()
        except Exception:
            log.exception("internal error: a connection was closed before its session began")
            connection.close()

    def _welcome(self, connection: socket.socket, service: Service) -> None:
        proxies = service.profile.proxies
        if proxies and self._came_by_proxy(connection, proxies):
            task = asyncio.create_task(self._hear_proxy(connection, service))
            self._introducing.add(task)
            task.add_done_callback(self._introducing.discard)
            return
        self._begin(connection, service, Introduced())

    def _came_by_proxy(self, connection: socket.socket, proxies: Sequence[Network]) -> bool:
        try:
            return is_within(connection.getpeername()[0].partition("%")[0], proxies)
        except OSError:  # the client has gone already; the next read finds out
            return False

    async def _hear_proxy(self, connection: socket.socket, service: Service) -> None:
        """Begin the session of the client that a proxy introduces."""
        if len(self._introducing) > self._services.options.max_connections:
            log.warning("a connection from a proxy was closed: too many of them have sent no header yet")
            connection.close()
            return
        try:
            connection.setblocking(False)
            async with asyncio.timeout(INTRODUCTION_SECONDS):
                introduced = await read_proxy_header(connection)
        except (BadProxyHeader, OSError) as error:
            why = "no header in time" if isinstance(error, TimeoutError) else printable(str(error))
            log.warning("a connection from a proxy was closed: %s", why)
            connection.close()
            return
        except asyncio.CancelledError:
            connection.close()
            raise
        self._guarded(connection, partial(self._begin, connection, service, introduced))

    def _begin(self, connection: socket.socket, service: Service, introduced: Introduced) -> None:
        try:
            stream = TcpStream(connection, introduced.source)
            met_at = introduced.destination or connection.getsockname()[0]
        except OSError:  # gone before we looked
            connection.close()
            return
        reply = self._admission.admit(stream.peer)
        if reply is not None:
            _turn_away(connection, stream, reply, self._services.counts)
            return
        try:
            session = Session(stream, self._services, service, met_at=met_at)
        except Exception:
            self._admission.leave(stream.peer)
            raise
        task = asyncio.create_task(session.run())
        self._sessions[task] = session
        self._tell_open()
        task.add_done_callback(lambda task: self._see_off(task, stream.peer))

    def _tell_open(self) -> None:
        if self._turns is not None:
            self._turns.has_open(len(self._sessions))

    def _see_off(self, task: asyncio.Task[None], peer: str) -> None:
        del self._sessions[task]
        self._tell_open()
        self._admission.leave(peer)
        if not task.cancelled() and (bug := task.exception()) is not None:
            log.error("internal error: a session with %s failed", peer, exc_info=bug)


def _turn_away(connection: socket.socket, stream: TcpStream, reply: Reply, counts: SessionCounts) -> None:
    """Send the reply if that needs no waiting, and close: a client that there is no room for must not hold a task."""
    SessionJournal(stream.peer, counts).rejected("CONNECT", reply)
    with suppress(OSError):  # it has gone already
        connection.send(f"{reply}\r\n".encode("ascii"))
        connection.shutdown(socket.SHUT_WR)
    stream.abort()
