"""The machine's clock."""

import time


class SystemClock:
    """The machine's time, as ports.Clock.

    `now` and `monotonic` are the system's functions themselves: the clock is read some fifteen times per message.
    """

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)
