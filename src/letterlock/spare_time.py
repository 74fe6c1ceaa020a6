"""Whether a process has time for work that nobody waits for."""

import time

IDLE_SHARE = 0.5  # of one processor: with less to do, some milliseconds keep nobody waiting


class SpareTime:
    """Looks at how much CPU time the process used since it was asked the last time."""

    def __init__(self) -> None:
        self._used, self._at = time.process_time(), time.monotonic()

    def is_there(self) -> bool:
        """Whether the process idled half of the time since the last call; the first call counts from `__init__`."""
        used_before, self._used = self._used, time.process_time()
        before, self._at = self._at, time.monotonic()
        return idles(self._used - used_before, self._at - before)


def idles(used: float, passed: float) -> bool:
    """Whether `used` seconds of CPU time within `passed` seconds leave time to spare."""
    return used <= passed * IDLE_SHARE
