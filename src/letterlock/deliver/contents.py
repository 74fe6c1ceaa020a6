"""The contents of messages that deliveries have in memory, within a bound.

A message has its content here once, however many next hops it goes to at the same time. Each delivery counts as much
again: what is being sent is copied, with its line of dots and its encryption. A large content is on the disk, and read
piece by piece as it is sent: it counts as TAIL_OCTETS. Where there is no room, a delivery waits
without anything in hand; but one delivery may always go on, however large its message is. A delivery that waits for a
busy host keeps its content only while most of the memory is free.
"""

from dataclasses import dataclass, field

from letterlock.deliver.handshake_slots import Busy
from letterlock.mail.checked_content import SPOOLED_OCTETS, Body, LargeContent

RESTING_SHARE = 4  # chosen: a quarter of the memory; what waits may not keep others from being sent
TAIL_OCTETS = 1 << 20  # that a content on the disk takes: its header, and the two pieces that are sent and checked
MEMORY = "memory"  # what tasks wait for when there is no room for their contents: no name of a host, which has a dot


@dataclass(slots=True)
class _Held:
    octets: int
    body: Body | None
    tokens: set[str] = field(default_factory=set)


class Contents:
    """Contents by message, held for leases by their tokens; at most `max_octets` together. Data only."""

    def __init__(self, max_octets: int) -> None:
        self.refusals = 0  # how often there was no room for a delivery, for monitoring
        self._max_octets = max_octets
        self._octets = 0
        self._held: dict[str, _Held] = {}
        self._sending: dict[str, int] = {}  # by token: the octets of its copy
        self._messages: dict[str, str] = {}  # by token

    def has_room(self, octets: int) -> bool:
        """Whether a message of that size may come in, and be sent."""
        return self._octets + 2 * _held(octets) <= self._max_octets

    def keep(self, token: str, message_id: str, body: Body) -> None:
        """Hold the content of a message that was just accepted, for a lease."""
        self._hold(token, message_id, _held(len(body))).body = body

    def begin(self, token: str, message_id: str, octets: int) -> None:
        """Make room for a delivery. Raises Busy when there is none now."""
        octets = _held(octets)
        wanted = octets if message_id in self._held else 2 * octets
        if self._sending and self._octets + wanted > self._max_octets:
            self.refusals += 1
            raise Busy(MEMORY, "the contents of other messages take all the memory that memory_octets allows")
        if token not in self._messages:  # else its content came with it
            self._hold(token, message_id, octets)
        self._sending[token] = octets
        self._octets += octets

    def body(self, message_id: str) -> Body | None:
        """The content of a message, if it is in memory."""
        held = self._held.get(message_id)
        return held.body if held is not None else None

    def read(self, message_id: str, body: Body) -> None:
        """The content of a message for which a delivery has begun was read from the store."""
        if (held := self._held.get(message_id)) is not None:
            held.body = body
            if not isinstance(body, LargeContent) and len(body) > held.octets:  # an older version stored it whole
                self._octets += len(body) - held.octets
                held.octets = len(body)

    def rest(self, token: str) -> None:
        """A lease waits for something else: nothing is sent, and the content stays while there is much room.

        Together, what rests takes no more than a quarter of the memory and one content.
        """
        self._octets -= self._sending.pop(token, 0)
        if self._octets > self._max_octets // RESTING_SHARE:
            self.end(token)

    def end(self, token: str) -> None:
        """A lease needs the content no more."""
        self._octets -= self._sending.pop(token, 0)
        message_id = self._messages.pop(token, None)
        if message_id is None:
            return
        held = self._held[message_id]
        held.tokens.discard(token)
        if not held.tokens:
            del self._held[message_id]
            self._octets -= held.octets

    def _hold(self, token: str, message_id: str, octets: int) -> _Held:
        held = self._held.get(message_id)
        if held is None:
            held = self._held[message_id] = _Held(octets, None)
            self._octets += octets
        held.tokens.add(token)
        self._messages[token] = message_id
        return held


def _held(octets: int) -> int:
    """What a content of that size takes in memory."""
    return octets if octets <= SPOOLED_OCTETS else TAIL_OCTETS
