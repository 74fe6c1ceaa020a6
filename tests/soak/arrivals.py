"""What arrived, and for what came twice: why the server could not know that it had come (RFC 5321 section 4.5.3.2.6).

Only then may a message come again: between the receiver's 250 and the note of it on the sender's disk lies a moment
in which the sender can die, or its disk refuse the note; and a receiver that breaks off after the final dot has not
told whether it has the message.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

NOTE_SECONDS = 2.0  # that the note of a delivery may take, on a machine that is busy with all this
DISK_SECONDS = 3.0  # after a disk has failed, until the last note has been tried again
END_SECONDS = 0.5  # between the death of a process and the end of its connections, as this process sees it
LEASE_SECONDS = 15.0  # that a delivery may have been going on when the clock jumps


class Doubt(StrEnum):
    """Why a message may come again."""

    KILLED = "killed between the 250 and the note of it"
    BROKEN_OFF = "the receiver broke off after the final dot"
    DISK = "the disk refused the note of it"
    CLOCK = "the clock jumped over the end of the lease"


@dataclass
class Visit:
    """One session of a client with the sink. Times are monotonic seconds."""

    ended_at: float | None = None
    polite: bool = False  # it said QUIT
    deaf: tuple[float, float] | None = None  # the last span in which the sink stalled, and could not see it go


@dataclass(slots=True)
class Arrival:
    """A message that the sink has kept; `answered`: and said so with 250, with nothing out of step in the same group.

    `begun`: when the transaction was; one that stalled may be over after one that began later.
    """

    number: str
    begun: float
    at: float
    visit: Visit
    answered: bool


@dataclass
class Disasters:
    """What happened to the server, and when: kills, jumps of the clock, and spans in which the disk failed."""

    kills: list[float] = field(default_factory=list)
    jumps: list[float] = field(default_factory=list)
    disk: list[tuple[float, float]] = field(default_factory=list)

    def explain(self, arrival: Arrival) -> tuple[Doubt, float] | None:
        """Why a message came again after this arrival, and how long after it that began; None: there is no reason."""
        if not arrival.answered:
            return Doubt.BROKEN_OFF, 0.0
        for killed in self.kills:
            gap = killed - arrival.at
            if -END_SECONDS / 5 <= gap <= NOTE_SECONDS and _ended_by(arrival.visit, killed):
                return Doubt.KILLED, max(0.0, gap)
        for began, ended in self.disk:
            if began - NOTE_SECONDS <= arrival.at <= ended + DISK_SECONDS:
                return Doubt.DISK, max(0.0, began - arrival.at)
        for jumped in self.jumps:
            if -2 * NOTE_SECONDS <= arrival.at - jumped <= LEASE_SECONDS:
                return Doubt.CLOCK, max(0.0, jumped - arrival.at)
        return None

    def disk_failed_at(self, moment: float) -> bool:
        """Whether the disk failed then, or shortly before."""
        return any(began <= moment <= ended + DISK_SECONDS for began, ended in self.disk)


def _ended_by(visit: Visit, killed: float) -> bool:
    """Whether the client of a session was the one that was killed: it did not say goodbye, or was done before."""
    if visit.ended_at is None:
        return False
    if visit.polite:
        return visit.ended_at <= killed
    stalled = visit.deaf is not None and visit.ended_at - visit.deaf[1] < END_SECONDS
    since = visit.deaf[0] if visit.deaf is not None and stalled else visit.ended_at
    return since - END_SECONDS < killed < visit.ended_at + END_SECONDS


@dataclass
class Duplicates:
    """What came again, by reason; `gaps`: seconds from a 250 to the kill; `unexplained` has no reason."""

    reasons: Counter[Doubt] = field(default_factory=Counter)
    gaps: list[float] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)


def explain_all(arrivals: Iterable[Arrival], disasters: Disasters) -> Duplicates:
    """Every arrival but a message's last one needs a reason."""
    found, by_number = Duplicates(), defaultdict[str, list[Arrival]](list)
    for arrival in arrivals:
        by_number[arrival.number].append(arrival)
    for number, several in by_number.items():
        in_order = sorted(several, key=lambda each: each.begun)
        for arrival in in_order[:-1]:
            why = disasters.explain(arrival)
            if why is None:
                found.unexplained.append(f"{number} came again for no reason after {arrival}, of {in_order}")
                continue
            found.reasons[why[0]] += 1
            if why[0] is Doubt.KILLED:
                found.gaps.append(why[1])
    return found
