"""Counts sessions and messages for reports: an observer that works in memory, and writes down what it counted.

Every FLUSH_SECONDS, and before it ends, what was counted goes into the database that all workers share. A worker that
is killed loses what it counted since; a database that cannot be written delays it, and when memory for it runs out,
what comes then is lost and counted.
"""

import asyncio
import logging
import os
import socket
import stat
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import Envelope
from letterlock.mailauth.dmarc.writing import Observation
from letterlock.mailauth.mail_verdict import AuthenticatedMail
from letterlock.ports import Clock
from letterlock.queue.observing import Arrival, Watcher
from letterlock.queue.store import StoreFailed
from letterlock.queue.tasks import Attempt, DeliveryTask
from letterlock.report.session_results import SessionResults, unknown_address
from letterlock.state.report_store import ReportStore
from letterlock.tlsrpt.datagram import (
    MAX_DATAGRAM_OCTETS,
    InvalidDatagram,
    SessionResult,
    compose_datagram,
    parse_datagram,
)
from letterlock.tlsrpt.tally import DAY_SECONDS, TlsTally

log = logging.getLogger("letterlock.reports")
FLUSH_SECONDS = 60.0  # chosen: what a killed worker loses, against a commit for each
MAX_WAITING = 10_000  # results that wait to be handed on: as much as a busy server makes while DNS is slow
MAX_MESSAGES = 50_000  # rows of messages between two flushes, some 50 MB
MAX_PENDING = 1_000  # judged messages whose recipients are not known yet: they are accepted within a moment
MAX_AT_ONCE = 200  # datagrams that are read in one go, some 5 ms: other work waits meanwhile
RECEIVE_BUFFER_OCTETS = 4 << 20  # asked for: some 2,000 results wait in it while this process is busy
EVERYBODY = 0o666  # of the socket: its directory says who may enter, as for Postfix' own


class ReportCollector(Watcher):
    """Counts for reports. `take` counts results of other servers, `run` writes down what was counted."""

    def __init__(
        self,
        store: ReportStore,
        clock: Clock,
        *,
        is_report_address: Callable[[Mailbox], bool],
        hand_on: Callable[[SessionResult], None] | None = None,
        sending_address: Callable[[str], str] = unknown_address,
    ) -> None:
        """Messages to nobody but report addresses are reports, and not counted: no report is about reports."""
        self._store = store
        self._clock = clock
        self._is_report_address = is_report_address
        self._hand_on = hand_on
        self._sessions = SessionResults(sending_address)
        self._tally = TlsTally()
        self._messages: Counter[tuple[int, Observation]] = Counter()
        self._pending: dict[str, tuple[int, Observation]] = {}
        self._refused: set[str] = set()  # pending since before the last flush: nobody accepts those any more
        self._lost: Counter[str] = Counter()
        self.failing = False  # the last try to write failed

    def count_lost(self, what: str, number: int = 1) -> None:
        """Count what could not be counted."""
        self._lost[what] += number

    def attempted(self, task: DeliveryTask, attempt: Attempt) -> None:
        """Count the sessions of an attempt."""
        for result in self._sessions.of(task, attempt):
            self._tally.add(result, attempt.ended_at)
            if self._hand_on is not None:
                self._hand_on(result)

    def take(self, result: SessionResult) -> None:
        """Count a session of another server."""
        self._tally.add(result, self._clock.now())

    def authenticated(self, mail: AuthenticatedMail) -> None:
        """Count a message from elsewhere, once it is known whom it is for."""
        found = mail.observation
        if found is None:
            return
        if len(self._pending) >= MAX_PENDING:
            self._count(self._pending.pop(next(iter(self._pending))))
        self._pending[mail.id] = int(mail.received_at // DAY_SECONDS), found

    def received(self, envelope: Envelope, arrival: Arrival) -> None:  # noqa: ARG002  # the port's signature
        """A judged message was accepted: it counts unless it is a report for us."""
        found = self._pending.pop(envelope.id, None)
        if found is not None and not all(map(self._is_report_address, envelope.recipients)):
            self._count(found)

    def _count(self, found: tuple[int, Observation]) -> None:
        if found in self._messages or len(self._messages) < MAX_MESSAGES:
            self._messages[found] += 1
        else:
            self._lost["messages"] += 1

    def _count_refused(self) -> None:
        """Count messages that were judged before the last flush and are not accepted yet: they were refused."""
        for message_id in self._refused:
            if (found := self._pending.pop(message_id, None)) is not None:
                self._count(found)
        self._refused = set(self._pending)

    async def run(self) -> None:
        """Write down what was counted at intervals, until cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(FLUSH_SECONDS)
                await self.flush()
        finally:
            self._refused = set(self._pending)
            await asyncio.shield(self.flush())

    async def flush(self) -> None:
        """Write down what was counted. What cannot be written stays, and is counted on."""
        self._count_refused()
        tally, self._tally = self._tally, TlsTally()
        messages, self._messages = self._messages, Counter()
        lost, self._lost = self._lost, Counter()
        lost["sessions"] += tally.lost
        try:
            if len(tally):
                await self._store.add_tls(tally)
                tally = TlsTally()
            if messages:
                await self._store.add_dmarc(messages)
                messages = Counter()
            for what in [*lost]:
                if lost[what]:
                    await self._store.lose(int(self._clock.now() // DAY_SECONDS), what, lost[what])
                del lost[what]
        except StoreFailed as error:
            log.warning("counts for reports cannot be written yet: %s", error)
            self._keep(tally, messages, lost)
            self.failing = True
        else:
            self.failing = False

    def _keep(self, tally: TlsTally, messages: Counter[tuple[int, Observation]], lost: Counter[str]) -> None:
        for group, counts in tally:
            self._tally.merge(group, counts)
        for found, count in messages.items():
            self._messages[found] += count
        self._lost += lost


class ResultSocket:
    """Reads the datagrams of libtlsrpt from a UNIX socket, as a collector does."""

    def __init__(self, path: Path, collector: ReportCollector) -> None:
        """Raises OSError. A socket that a server left behind is replaced."""
        self._path = path
        self._collector = collector
        if path.is_socket():
            path.unlink()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_OCTETS)
            self._socket.bind(os.fspath(path))
            path.chmod(EVERYBODY)
        except OSError:
            self._socket.close()
            raise

    def open(self) -> None:
        """Read whenever something has come."""
        asyncio.get_running_loop().add_reader(self._socket, self.read)

    def read(self) -> None:
        """Read what has come. A datagram that is none is counted."""
        for _ in range(MAX_AT_ONCE):
            try:
                data = self._socket.recv(MAX_DATAGRAM_OCTETS)
            except BlockingIOError:  # all is read
                return
            except OSError as error:
                log.warning("%s: %s", self._path, error.strerror)
                return
            try:
                self._collector.take(parse_datagram(data))
            except InvalidDatagram as error:
                log.warning("%s: a datagram is dropped: %s", self._path, error)
                self._collector.count_lost("datagrams")

    def close(self) -> None:
        """Read what is left, and give the path up."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self.read()
        self._socket.close()
        with suppress(OSError):  # somebody else has removed it, or its folder
            if stat.S_ISSOCK(self._path.lstat().st_mode):
                self._path.unlink()


class Emitter:
    """Hands results on to another collector, for domains that ask for reports, as libtlsrpt does.

    `find` gives the addresses for a domain's reports.
    """

    def __init__(
        self, path: Path, find: Callable[[str], Awaitable[Sequence[str] | None]], count_lost: Callable[[str], None]
    ) -> None:
        self._path = os.fspath(path)
        self._find = find
        self._count_lost = count_lost
        self._waiting: deque[SessionResult] = deque()
        self._woken = asyncio.Event()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def hand_on(self, result: SessionResult) -> None:
        """Hand on a result later; lost when too many wait."""
        if len(self._waiting) >= MAX_WAITING:
            self._count_lost("emitted")
            return
        self._waiting.append(result)
        self._woken.set()

    async def run(self) -> None:
        """Hand on what waits, until cancelled."""
        try:
            while True:
                await self._woken.wait()
                self._woken.clear()
                while self._waiting:
                    await self._send_whatever(self._waiting.popleft())
        finally:
            self._socket.close()

    async def _send_whatever(self, result: SessionResult) -> None:
        """Send a result; a bug in that loses this one, and nothing else."""
        try:
            await self._send(result)
        except Exception:
            log.exception("internal error in handing on a result about %s", result.domain)
            self._count_lost("emitted")

    async def _send(self, result: SessionResult) -> None:
        uris = await self._find(result.domain)
        if not uris:
            return
        record = f"v=TLSRPTv1; rua={','.join(uris)}"
        try:
            self._socket.sendto(compose_datagram(SessionResult(result.domain, result.outcomes, record)), self._path)
        except OSError:  # nobody reads, or too slowly: libtlsrpt loses it too
            self._count_lost("emitted")
