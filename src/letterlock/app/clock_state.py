"""Whether the system keeps its clock right, by its own account (adjtimex(2))."""

import ctypes

_TIME_ERROR = 5  # of adjtimex(2): the clock is not synchronised
_TIMEX_OCTETS = 512  # more than struct timex has on any machine


def clock_is_synchronised() -> bool | None:
    """Whether the clock is synchronised; None where the system does not report it."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_OCTETS))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR
