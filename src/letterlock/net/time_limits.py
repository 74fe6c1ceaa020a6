"""Time limits for a task that waits again and again: what `asyncio.timeout` does, with one timer for all the waits."""

import asyncio
import math
from types import TracebackType

LOOK_SECONDS = 60.0  # chosen: most sessions are over by then, and have had one timer


class Limit:
    """`with limit.until(when): await ...` raises TimeoutError when the event loop's time passes `when`.

    The timer is left running between two waits, and looks when it fires whether anything is overdue: setting a limit
    costs an assignment. It fires after LOOK_SECONDS at the latest, so that a sooner limit hardly ever needs another
    one. One wait at a time; each may be another task's.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._when = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._fires_at = math.inf  # when there is a timer
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._expired = False

    def until(self, when: float) -> "Limit":
        """Set the limit of the wait that follows (event loop's time)."""
        self._when = when
        return self

    def move(self, when: float) -> None:
        """Change the limit of the wait that goes on, if one does."""
        if self._task is not None and not self._expired:
            self._when = when
            if when < self._fires_at:
                self._arm()

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._fires_at = None, math.inf

    def __enter__(self) -> None:
        self._task = asyncio.current_task(self._loop)
        if self._task is None:
            raise RuntimeError("a limit is for a task")
        self._cancelling = self._task.cancelling()
        self._expired = False
        if self._when < self._fires_at:
            self._arm()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        self._when = math.inf
        if (
            self._expired
            and task is not None
            and task.uncancel() <= self._cancelling
            and kind is asyncio.CancelledError
        ):
            raise TimeoutError from error

    def _arm(self) -> None:
        """Have the timer fire when the limit that is set now is over, or sooner, where no sooner timer does."""
        if self._timer is not None:
            self._timer.cancel()
        self._fires_at = min(self._when, self._loop.time() + LOOK_SECONDS)
        self._timer = self._loop.call_at(self._fires_at, self._fire)

    def _fire(self) -> None:
        self._timer, self._fires_at = None, math.inf
        if self._task is None:
            return
        if self._loop.time() < self._when:
            if self._when < math.inf:
                self._arm()
            return
        self._expired = True
        self._task.cancel()
