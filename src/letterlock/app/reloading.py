"""Reading the configuration again while the server runs (SIGHUP, `letterlock reload`): all of it, or nothing.

One process takes what it can at once. With workers, the supervisor reads the file first; only if it has no mistakes the
workers read it too. No session ends and no connection is lost: sessions and deliveries in hand go on as they began.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from letterlock.app.logs import flush_log
from letterlock.app.service_manager import notify_ready, notify_reloading
from letterlock.config import BadConfig, Options, load, require_sources
from letterlock.config.reload_effects import reloaded, waiting_for_restart

log = logging.getLogger("letterlock.reload")
SERVING = "receiving and delivering mail"
RELOAD_FAILED = "receiving and delivering mail; the configuration has mistakes, and the former one is in use"
ANSWER_SECONDS = 20.0  # for supervisor and worker together: reading takes a tenth of a second, on a busy machine two


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a reload. `mistakes` is the report for the operator; nothing was changed then."""

    mistakes: str | None = None
    restart: tuple[str, ...] = ()

    def values(self) -> dict[str, object]:
        """As the command line gets it."""
        return {"mistakes": self.mistakes, "restart": list(self.restart)}


@dataclass(slots=True)
class Reloading:
    """Reads the configuration of one running process again.

    `path` is its file, None where the built-in defaults hold. `running` are the options of the whole server, `apply` is
    called with those that hold from now on. `ask_supervisor` makes the supervisor reload, which then makes this process
    do so; None where there is no supervisor.
    """

    path: Path | None
    running: Options
    apply: Callable[[Options], None]
    ask_supervisor: Callable[[], None] | None = None
    loaded_at: float = field(default_factory=time.time)
    outcome: Outcome = Outcome()
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)
    _reloads: asyncio.Condition = field(default_factory=asyncio.Condition)
    _count: int = 0

    async def reload(self) -> Outcome:
        """Read the file, and follow it if it has no mistakes."""
        async with self._one:
            try:
                read = await asyncio.to_thread(read_again, self.path)
            except BadConfig as error:
                self.outcome = Outcome(mistakes=_unchanged(error))
                log_mistakes(error)
            else:
                self.outcome = Outcome(restart=waiting_for_restart(self.running, read))
                self.running = reloaded(self.running, read)
                self.apply(self.running)
                self.loaded_at = time.time()
                log_reloaded(read, self.outcome.restart)
            flush_log()  # before those who asked are answered: they look there next
            async with self._reloads:
                self._count += 1
                self._reloads.notify_all()
            return self.outcome

    async def request(self) -> Outcome:
        """Reload the whole server at an operator's word."""
        if self.ask_supervisor is None:
            return await announced(self.reload)
        try:
            await asyncio.to_thread(read_again, self.path)  # the supervisor cannot report mistakes to a command
        except BadConfig as error:
            log_mistakes(error)
            self.outcome = Outcome(mistakes=_unchanged(error))
            return self.outcome
        before = self._count
        self.ask_supervisor()
        try:
            async with asyncio.timeout(ANSWER_SECONDS), self._reloads:
                await self._reloads.wait_for(lambda: self._count > before)
        except TimeoutError:
            return Outcome(mistakes=f"not reloaded within {ANSWER_SECONDS:.0f} seconds: the log says why")
        return self.outcome


async def announced(reload: Callable[[], Awaitable[Outcome]]) -> Outcome:
    """Reload, and notify the service manager when it begins and when it is over."""
    notify_reloading()
    status = RELOAD_FAILED
    try:
        outcome = await reload()
        status = SERVING if outcome.mistakes is None else RELOAD_FAILED
        return outcome
    finally:
        notify_ready(status)


def read_again(path: Path | None) -> Options:
    """The configuration as it is now, with all the files that it names. Raises BadConfig."""
    options = load(path)
    require_sources(options.source, options.sources)
    return options


def log_reloaded(read: Options, restart: tuple[str, ...]) -> None:
    """Log what has taken effect, and what has not yet."""
    log.info("reloaded %s", read.source)
    for path in restart:
        log.warning("%s has changed in %s, which takes effect only after a restart", path, read.source)


def log_mistakes(error: BadConfig) -> None:
    """One line for each mistake."""
    for mistake in error.mistakes:
        place = f"{error.source}:{mistake.line}" if mistake.line else error.source
        hint = f" (hint: {mistake.hint})" if mistake.hint else ""
        log.error("%s: %s %s%s", place, mistake.key, mistake.message, hint)
    log.error("not reloaded: the server goes on with what it has")


def _unchanged(error: BadConfig) -> str:
    """The report, for a server that goes on."""
    return error.report("Nothing was changed.")
