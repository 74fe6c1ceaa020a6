"""Which places are slow, and when another session with one of them pays. Data only, no clock.

Where a reply takes long, so does the set-up of a session, and a message that waits for a session in use is late by
every message before it. Nothing is gained by waiting for enough messages, as at a place that is quick
(`slow_start.py`), since a session costs little CPU compared with the seconds that it saves. So another one is worth it
as soon as the wait for one that is open would take a third as long as its set-up. How long both take is known from
deliveries, and before the first one has ended, from the answer to its EHLO.
"""

from collections import OrderedDict
from dataclasses import dataclass

from letterlock.queue.tasks import Attempt

SLOW_SETUP_SECONDS = 1.0  # chosen: over long lines, and when this machine is busy, it takes less
WORTH_OF_SETUP = 1 / 3  # by tests/schedule/trace.py: with a half the last mail is 0.2 s later, a quarter gains nothing
SLOW_REPLY_SECONDS = SLOW_SETUP_SECONDS / 5  # five are the greeting and those to EHLO, STARTTLS, ClientHello and EHLO
REPLIES_AFTER_EHLO = 3  # to STARTTLS, the handshake and the second EHLO
REPLIES_TO_A_MESSAGE = 2  # RFC 2920: to MAIL, RCPT and DATA together, and to the content
RISE = 0.25  # of the difference: one long message, or a moment in which this machine was busy, makes no place slow
MAX_REMEMBERED = 10_000  # places; each takes some hundred bytes


@dataclass(slots=True)
class Pace:
    """In seconds: `setup` from the connection to the first MAIL FROM, `message` from there to the last reply."""

    setup: float
    message: float


class Paces:
    """Paces by place, as sessions in the making and deliveries that went well showed them.

    Only of places that are slow (`slow`).
    """

    def __init__(self) -> None:
        self.slow: OrderedDict[str, Pace] = OrderedDict()

    def saw(self, place: str, made: Attempt) -> None:
        """A delivery went well. What took less time counts at once, what took more only by a part."""
        began, ready = made.connected_at, made.ready_at
        if began is None or ready is None or not made.started_at <= ready <= made.ended_at:
            return  # there was no session, or the clock was set back
        setup = ready - began if began >= made.started_at else None  # None: the session had served others
        pace = self.slow.get(place)
        if pace is None:
            if setup is not None and setup >= SLOW_SETUP_SECONDS:
                self._remember(place, Pace(setup, made.ended_at - ready))
            return
        pace.message = _learned(pace.message, made.ended_at - ready)
        if setup is not None:
            pace.setup = _learned(pace.setup, setup)
            if pace.setup < SLOW_SETUP_SECONDS:
                del self.slow[place]

    def answered(self, place: str, elapsed: float, reply: float) -> bool:
        """A session in the making had its EHLO answered `elapsed` seconds after the connection, `reply` after EHLO.

        Whether this shows for the first time that the place is slow; it is then taken to go on like this. The greeting
        shows less: many servers delay it on purpose.
        """
        slow = reply >= SLOW_REPLY_SECONDS and place not in self.slow
        if slow:
            self._remember(place, Pace(elapsed + REPLIES_AFTER_EHLO * reply, REPLIES_TO_A_MESSAGE * reply))
        return slow

    def another_pays(self, place: str, sessions: int, waiting: int) -> bool:
        """Whether one more session pays beside `sessions`, where a number of `waiting` messages have none."""
        pace = self.slow.get(place)
        return pace is not None and waiting * pace.message > WORTH_OF_SETUP * pace.setup * sessions

    def forget(self, place: str) -> None:
        """A delivery failed: what was seen before says nothing now."""
        self.slow.pop(place, None)

    def _remember(self, place: str, pace: Pace) -> None:
        self.slow[place] = pace
        if len(self.slow) > MAX_REMEMBERED:
            self.slow.popitem(last=False)


def _learned(known: float, seen: float) -> float:
    return seen if seen < known else known + RISE * (seen - known)
