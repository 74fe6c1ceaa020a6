"""Notices when the wall clock was set back: moments that the queue waits for are far ahead then."""

from letterlock.ports import Clock

SET_BACK_SECONDS = 5.0  # less is what a clock that is kept right does; so much later is still in time


class ClockWatch:
    """Compares the wall clock with the monotonic one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead = clock.now() - clock.monotonic()

    def set_back(self) -> float:
        """By how many seconds the wall clock was set back since the last time; 0.0: not, or by little."""
        before, self._ahead = self._ahead, self._clock.now() - self._clock.monotonic()
        return before - self._ahead if before - self._ahead > SET_BACK_SECONDS else 0.0
