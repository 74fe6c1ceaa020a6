"""Several processes that share one server's work: a supervisor, and workers that it restarts.

All workers accept from the same listening sockets, bound by the supervisor, which keeps them: no connection is lost
when a worker ends, and each gets about as many as the others (`receive/accept_turns.py`). Each has a queue of its own,
so that no two processes write one file; what a worker accepted is delivered by it, before its restart or after. The
queue of the first is the configured directory itself. When there are fewer workers than before, the first takes over
what the others left; so does a server without workers (`store/adoption.py`).

The supervisor is forked from before there is any thread or event loop, and does nothing but wait. A worker whose
supervisor is gone (killed, say) ends by itself, in order. One that has not moved for STILL_SECONDS is killed and
started again. As process 1 of a container there is a supervisor for a single worker too: somebody has to wait for the
children that others left behind.
"""

import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from letterlock.app.binding import bind, bind_metrics
from letterlock.app.directories import take_directory
from letterlock.app.doors import NO_SOCKETS, DoorSockets, bind_doors
from letterlock.app.measuring import MetricsPlace
from letterlock.app.reloading import RELOAD_FAILED, SERVING, log_mistakes
from letterlock.app.server import STOP_GRACE_SECONDS
from letterlock.app.service_manager import notify, notify_ready, notify_reloading, notify_stopping, watched
from letterlock.app.shared_pages import share_pages
from letterlock.config import BadConfig, Options
from letterlock.config.reload_effects import reloaded
from letterlock.metrics.catalogue import LAYOUT
from letterlock.metrics.numbers import Board
from letterlock.queue.folders import WORKER
from letterlock.receive.accept_turns import AcceptTurns, SessionBoard
from letterlock.shares import share

log = logging.getLogger("letterlock.workers")
FIRST_PAUSE_SECONDS = 0.2  # chosen: one crash costs hardly any time; the pause doubles with each
MAX_PAUSE_SECONDS = 60.0  # chosen: a worker that always crashes costs little, and works soon after the cause is gone
LONG_LIFE_SECONDS = 60.0  # chosen: after that, a crash is not one of a series, and the pause starts over
STILL_SECONDS = 60.0  # without a sign of life, which comes every second: no decision takes so long
# A worker's two graces, for sessions and for deliveries, and some time to write.
STOP_SECONDS = 2 * STOP_GRACE_SECONDS + 10
_SIGNALS = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
RELOADED = 128  # added to a worker's number (below 64) in its sign that it has read the configuration again
RELOAD_SECONDS = 30.0  # chosen: then the reload is reported as over, even if a worker has not confirmed it


@dataclass(slots=True)
class Worker:
    """One worker, as the supervisor sees it and as it sees itself.

    `supervisor_gone` can be read from when the supervisor has ended; `alive` is written to as a sign that work goes on.
    `moved_at` is when that was last (monotonic seconds), None before the first time since its start.
    """

    number: int
    options: Options  # of the whole server
    directory: Path
    sockets: Sequence[socket.socket]
    supervisor_gone: int
    alive: int
    pid: int = 0
    moved_at: float | None = None
    was_ready: bool = False
    began_at: float = 0.0
    pause: float = FIRST_PAUSE_SECONDS
    due_at: float = field(default=0.0)
    doors: DoorSockets = NO_SOCKETS
    place: MetricsPlace = field(default_factory=MetricsPlace)
    sessions: SessionBoard | None = None

    @property
    def turns(self) -> AcceptTurns | None:
        """How this worker accepts beside others; None when it is the only one. Asked for in its own process."""
        return None if self.sessions is None or self.sessions.workers == 1 else AcceptTurns(self.sessions, self.number)

    def share_of(self, options: Options) -> Options:
        """This worker's part of the whole server's options, with a queue of its own."""
        return replace(share(options, options.workers, self.number), queue_directory=self.directory)

    def tell_reloaded(self) -> None:
        """Signal to the supervisor that the configuration was read again."""
        with suppress(BlockingIOError):  # as below
            os.write(self.alive, bytes([RELOADED + self.number]))

    def tell_alive(self) -> None:
        """Signal to the supervisor that work has begun, and then that it goes on."""
        with suppress(BlockingIOError):  # it has not read for hours, or is gone
            os.write(self.alive, bytes([self.number]))


def supervise(options: Options, work: Callable[[Worker], int], read: Callable[[], Options] | None = None) -> int:
    """Run `options.workers` workers until SIGTERM or SIGINT; the exit status. Raises StartFailed.

    `read` reads the configuration again, at SIGHUP.
    """
    sockets = _bind_for_all(options)
    doors = _bind_doors_for_all(options)
    with bind_metrics(options) as listening:
        return _supervise(options, work, read, sockets, doors, listening)


def _supervise(
    options: Options,
    work: Callable[[Worker], int],
    read: Callable[[], Options] | None,
    sockets: list[list[socket.socket]],
    doors: list[DoorSockets],
    listening: socket.socket | None,
) -> int:
    directories = [options.queue_directory, *(_directory(options, number) for number in range(1, options.workers))]
    take_directory(options)
    for directory in directories[1:]:
        directory.mkdir(mode=0o700, exist_ok=True)
    gone, alive = os.pipe()
    signs, tell = os.pipe()
    os.set_blocking(tell, False)
    board, sessions = Board(LAYOUT.size, options.workers), SessionBoard(options.workers)
    workers = [
        Worker(
            number,
            options,
            directory,
            sockets[number],
            gone,
            tell,
            doors=doors[number],
            place=MetricsPlace(board, number, listening),
            sessions=sessions,
        )
        for number, directory in enumerate(directories)
    ]
    share_pages(options)
    return _Supervisor(workers, work, alive=alive, signs=signs, read=read).run()


class _Supervisor:
    def __init__(
        self,
        workers: list[Worker],
        work: Callable[[Worker], int],
        *,
        alive: int,
        signs: int,
        read: Callable[[], Options] | None = None,
    ) -> None:
        self._read = read
        self._reloading: set[int] = set()  # the workers that have not yet read the configuration again
        self._reload_began = 0.0
        self._workers = workers
        self._work = work
        self._alive = alive
        self._signs = signs
        os.set_blocking(signs, False)
        self._all_ready = False
        self._watched = watched()
        self._stopping_at: float | None = None
        self._status = 0

    def run(self) -> int:
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        for worker in self._workers:
            self._start(worker)
        while any(worker.pid for worker in self._workers) or self._stopping_at is None:
            self._wait()
            self._bury()
            was_reloading = bool(self._reloading)
            self._look_for_signs()
            if was_reloading:
                self._end_reload()
            self._restart_due()
            self._kill_overdue()
            self._kill_still()
            if self._watched:
                notify("WATCHDOG=1")
        return self._status

    def _wait(self) -> None:
        """Wait for a signal, at most half a second: workers report readiness without one."""
        number = signal.sigtimedwait(_SIGNALS, 0.5)
        if number is not None and number.si_signo in (signal.SIGTERM, signal.SIGINT):
            self._stop()
        if number is not None and number.si_signo == signal.SIGHUP:
            self._reload()

    def _reload(self) -> None:
        """Read the configuration; only if it has no mistakes, let the workers read it too."""
        if self._read is None or self._stopping_at is not None:
            return
        notify_reloading()
        try:
            read = self._read()
        except BadConfig as error:
            log_mistakes(error)
            self._workers[0].place.board.reload_failed = True
            notify_ready(RELOAD_FAILED)
            return
        self._workers[0].place.board.reload_failed = False
        whole = reloaded(self._workers[0].options, read)
        self._reload_began = time.monotonic()
        for worker in self._workers:
            worker.options = whole  # for its next start, too
            if worker.pid:
                self._reloading.add(worker.number)
                os.kill(worker.pid, signal.SIGHUP)

    def _end_reload(self) -> None:
        """Notify the service manager once all workers have read the configuration, or RELOAD_SECONDS have passed."""
        alive = {worker.number for worker in self._workers if worker.pid}
        self._reloading &= alive
        if self._reloading and time.monotonic() - self._reload_began > RELOAD_SECONDS:
            log.error("workers that have not reloaded the configuration: %s", sorted(self._reloading))
            self._reloading.clear()
        if not self._reloading:
            notify_ready(SERVING)

    def _start(self, worker: Worker) -> None:
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            status = 70  # EX_SOFTWARE, if what follows raises
            try:
                os.close(self._alive)
                os.close(self._signs)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS - {signal.SIGHUP})  # it waits for a handler
                status = self._work(worker)
            finally:
                logging.shutdown()
                os._exit(status)  # never back into the supervisor's loop
        worker.pid, worker.began_at, worker.moved_at = pid, time.monotonic(), None

    def _bury(self) -> None:
        """Take note of the workers that have ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:  # no child is left
                return
            if pid == 0:
                return
            worker = next((each for each in self._workers if each.pid == pid), None)
            if worker is None:  # process 1 inherits the children of others
                continue
            worker.pid = 0
            if self._stopping_at is not None:
                continue
            how = _how(status)
            if not self._all_ready and os.WIFEXITED(status) and os.WEXITSTATUS(status) == 1:
                log.error("worker %d could not start: stopping", worker.number)
                self._status = 1
                self._stop()
                continue
            if time.monotonic() - worker.began_at > LONG_LIFE_SECONDS:
                worker.pause = FIRST_PAUSE_SECONDS
            worker.due_at = time.monotonic() + worker.pause
            log.error("worker %d ended by itself (%s): started again in %.1f s", worker.number, how, worker.pause)
            worker.pause = min(MAX_PAUSE_SECONDS, worker.pause * 2)

    def _restart_due(self) -> None:
        if self._stopping_at is None:
            for worker in self._workers:
                if not worker.pid and time.monotonic() >= worker.due_at:
                    self._start(worker)

    def _look_for_signs(self) -> None:
        """Take note of the workers that have begun, or go on."""
        with suppress(BlockingIOError):  # no sign has come
            now = time.monotonic()
            for number in os.read(self._signs, 4096):  # one octet a sign: all that have come
                if number >= RELOADED:
                    self._reloading.discard(number - RELOADED)
                    continue
                self._workers[number].moved_at = now
                self._workers[number].was_ready = True
        if not self._all_ready and all(worker.was_ready for worker in self._workers):
            self._all_ready = True
            count = len(self._workers)
            log.info("%s ready", "the worker is" if count == 1 else f"{count} workers are")
            notify_ready(SERVING)

    def _kill_still(self) -> None:
        """End workers that do not move any more; they are started again like any that ended by itself."""
        for worker in self._workers if self._stopping_at is None else ():
            moved_at, now = worker.moved_at, time.monotonic()
            if worker.pid and moved_at is not None and now - moved_at > STILL_SECONDS:
                log.error("worker %d has not moved for %.0f seconds: killed", worker.number, now - moved_at)
                worker.moved_at = None
                os.kill(worker.pid, signal.SIGKILL)

    def _stop(self) -> None:
        if self._stopping_at is None:
            self._stopping_at = time.monotonic()
            notify_stopping()
        for worker in self._workers:
            if worker.pid:
                os.kill(worker.pid, signal.SIGTERM)

    def _kill_overdue(self) -> None:
        if self._stopping_at is not None and time.monotonic() - self._stopping_at > STOP_SECONDS:
            for worker in self._workers:
                if worker.pid:
                    log.error("worker %d does not end: killed", worker.number)
                    os.kill(worker.pid, signal.SIGKILL)


def _how(status: int) -> str:
    return f"exit status {os.WEXITSTATUS(status)}" if os.WIFEXITED(status) else f"signal {os.WTERMSIG(status)}"


def _directory(options: Options, number: int) -> Path:
    return options.queue_directory / f"{WORKER}{number}"


def _bind_for_all(options: Options) -> list[list[socket.socket]]:
    """One set of descriptors for each worker, all of the same sockets."""
    first = bind(options.listen, shared=options.workers > 1)
    return [first, *([bound.dup() for bound in first] for _ in range(options.workers - 1))]


def _bind_doors_for_all(options: Options) -> list[DoorSockets]:
    """The sockets of the doors for each worker."""
    shared = options.workers > 1
    first = bind_doors(options, shared=shared)
    return [first, *(bind_doors(options, shared=True, first=first) for _ in range(options.workers - 1))]
