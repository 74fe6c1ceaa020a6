"""Which places are slow, and when another session with one of them pays. Data only, no clock.

Where a reply takes long, so does the set-up of a session, and a message that waits for a session in use is late by
every message before it. Nothing is gained by waiting for enough messages, as at a place that is quick
(`slow_start.py`), since a session costs little CPU compared with the seconds that it saves. So another one is worth it
as soon as the wait for one that is open would take half as long as its set-up. That a place is slow is known from
the answer to EHLO (`slow_watch.py`), and from then on how long both take, from deliveries.
"""

from collections import OrderedDict
from dataclasses import dataclass

from letterlock.queue.tasks import Attempt
from letterlock.schedule.slow_watch import SLOW_REPLY_SECONDS

SLOW_SETUP_SECONDS = 5 * SLOW_REPLY_SECONDS  # the greeting, and the answers to EHLO, STARTTLS, ClientHello and EHLO
WORTH_OF_SETUP = (
    1 / 2
)  # by tests/schedule/trace.py: with a third there are a tenth more sessions, and no mail is sooner
REPLIES_AFTER_EHLO = 3  # to STARTTLS, the handshake and the second EHLO
REPLIES_TO_A_MESSAGE = 1  # where messages wait, the next envelope goes out behind a content (RFC 2920 section 3.1)
RISE = 0.25  # of the difference: one long message, or a moment in which this machine was busy, makes no place slow
MAX_REMEMBERED = 10_000  # places; each takes some hundred bytes


@dataclass(slots=True)
class Pace:
    """In seconds: `setup` from the connection to the first MAIL FROM, `message` from there to the last reply."""

    setup: float
    message: float


class Paces:
    """Paces by place; only of places that are slow (`slow`), so that for the others nothing is to be done."""

    def __init__(self) -> None:
        self.slow: OrderedDict[str, Pace] = OrderedDict()

    def saw(self, place: str, made: Attempt) -> None:
        """A delivery went well. What took less time counts at once, what took more only by a part."""
        if (pace := self.slow.get(place)) is None:
            return
        began, ready = made.connected_at, made.ready_at
        if began is None or ready is None or not made.started_at <= ready <= made.ended_at:
            return  # there was no session, or the clock was set back
        pace.message = _learned(pace.message, made.ended_at - ready)
        if began >= made.started_at:  # else the session had served others
            pace.setup = _learned(pace.setup, ready - began)
            if pace.setup < SLOW_SETUP_SECONDS:
                del self.slow[place]

    def answers_slowly(self, place: str, elapsed: float, reply: float) -> None:
        """EHLO was answered late: `elapsed` seconds after the connection, `reply` seconds after the greeting.

        Where nothing is known yet, it is taken to go on like this. The greeting shows less: many servers delay it on
        purpose.
        """
        if place not in self.slow:
            self.slow[place] = Pace(elapsed + REPLIES_AFTER_EHLO * reply, REPLIES_TO_A_MESSAGE * reply)
            if len(self.slow) > MAX_REMEMBERED:
                self.slow.popitem(last=False)

    def another_pays(self, place: str, sessions: int, waiting: int) -> bool:
        """Whether one more session pays beside `sessions`, where a number of `waiting` messages have none."""
        pace = self.slow.get(place)
        return pace is not None and waiting * pace.message > WORTH_OF_SETUP * pace.setup * sessions

    def forget(self, place: str) -> None:
        """A delivery failed: what was seen before says nothing now."""
        self.slow.pop(place, None)


def _learned(known: float, seen: float) -> float:
    return seen if seen < known else known + RISE * (seen - known)
