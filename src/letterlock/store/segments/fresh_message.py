"""A message in the fast lane: which of its parts are not done yet, and under which leases they are delivered."""

import asyncio
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace

from letterlock.mail.envelope import Envelope
from letterlock.queue.tasks import DeliveryTask, Lease
from letterlock.store.segments.segment_log import ContentLocation

_SEPARATOR = b"\0"


def hops_of(envelope: Envelope) -> tuple[str, ...]:
    """The next hops of a message; a part of it is named by its number here."""
    return tuple(dict.fromkeys([mailbox.domain for mailbox in envelope.recipients]))


def without(envelope: Envelope, hops: frozenset[str]) -> Envelope:
    """The envelope for those who are left."""
    if not hops:
        return envelope
    return replace(envelope, recipients=tuple(each for each in envelope.recipients if each.domain not in hops))


def done_note(message_id: str, part: int | None = None) -> bytes:
    """The word that a message, or a part of it, is done. The next hop is not in it: the envelope may be encrypted."""
    return message_id.encode() if part is None else message_id.encode() + _SEPARATOR + b"%d" % part


def read_done_note(note: bytes) -> tuple[str, int | None]:
    """The message, and which part of it; None: the whole. What is no number is no part of any message."""
    name, separator, number = note.partition(_SEPARATOR)
    part = int(number) if number.isdigit() else -1
    return name.decode("ascii", "replace"), part if separator else None


@dataclass(slots=True, eq=False)
class Fresh:
    """A message that is in a segment, and not in the store behind. `hops` are all its next hops, in their order;
    `leases`, by next hop, are those of the parts that are not done."""

    envelope: Envelope
    hops: tuple[str, ...]
    leases: dict[str, Lease]
    place: ContentLocation
    tail: str | None = None  # the file that has the rest of its content
    ending: set[str] | None = None  # next hops: the word that these parts are done is on its way
    forgetting: bool = False  # the word that all of it is done is on its way
    behind: bool = False  # the store behind has it as well
    moving: asyncio.Task[None] | None = None

    @property
    def first_end(self) -> float:
        """When the first of its leases runs out."""
        return min([lease.expires_at for lease in self.leases.values()])

    @property
    def remaining(self) -> Envelope:
        """The envelope for the parts that are not done."""
        return without(self.envelope, frozenset(self.hops) - self.leases.keys())

    def holds(self, lease: Lease, now: float) -> bool:
        """Whether this lease is still the one of its part."""
        current = self.leases.get(lease.next_hop)
        return (
            current is not None
            and current.token == lease.token
            and current.expires_at > now
            and not self.forgetting
            and not (self.ending and lease.next_hop in self.ending)
        )

    def ends(self, next_hop: str) -> bool:
        """Count a part among those that end; whether it is the last one."""
        if len(self.leases) == 1:
            return True
        if self.ending is None:
            self.ending = set()
        self.ending.add(next_hop)
        return self.leases.keys() <= self.ending

    def end_failed(self, next_hop: str) -> None:
        """The word of a part could not be written, or has been."""
        if self.ending:
            self.ending.discard(next_hop)

    def part_note(self, next_hop: str) -> bytes:
        """The word that a part is done."""
        return done_note(self.envelope.id, self.hops.index(next_hop))

    def leased_until(self, latest: float) -> None:
        """Let no lease last beyond `latest` (seconds since 1970)."""
        for hop, lease in self.leases.items():
            self.leases[hop] = replace(lease, expires_at=min(lease.expires_at, latest))

    def put_off(self, now: float, until: float) -> None:
        """Let the parts whose leases have run out wait, under leases that nobody has."""
        for _ in self.lease_again(now, until):
            pass

    def lease_again(self, now: float, expires_at: float) -> Iterator[DeliveryTask]:
        """New leases where one has run out."""
        for hop, lease in tuple(self.leases.items()):
            if lease.expires_at <= now:
                self.leases[hop] = replace(lease, token=secrets.token_hex(8), expires_at=expires_at)
                recipients = tuple(each for each in self.envelope.recipients if each.domain == hop)
                yield DeliveryTask(lease=self.leases[hop], envelope=self.envelope, recipients=recipients, attempts=0)
