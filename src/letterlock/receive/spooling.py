"""Takes the body of a large message to the disk while it arrives, so that a session holds little of it in memory."""

from dataclasses import replace

from letterlock.mail.checked_content import SPOOLED_OCTETS, Body, LargeContent, Tail
from letterlock.queue.store import AcceptStore, Spool, StoreFailed
from letterlock.smtp.arriving import ArrivingContent


class Spooling:
    """What one session has on the disk of a message that is not accepted yet: of one message at a time.

    `declared_octets`: the SIZE of MAIL. One that is said to be large is written from the beginning (RFC 1870).
    """

    def __init__(self, store: AcceptStore) -> None:
        self._store = store
        self._arriving: ArrivingContent | None = None
        self._spool: Spool | None = None
        self.declared_octets = 0

    def is_due(self, arriving: ArrivingContent | None) -> bool:
        """Whether it holds so much in memory that it should be written; once it is begun, whatever it holds."""
        if arriving is None or arriving.head is None:
            return False
        begun = arriving is self._arriving or self.declared_octets > SPOOLED_OCTETS
        return arriving.held_octets > (len(arriving.head) if begun else SPOOLED_OCTETS)

    async def write(self, arriving: ArrivingContent) -> None:
        """Write what has come of a message but for its header section. Raises StoreFailed."""
        await self._spool_for(arriving).write(arriving.hand_over())

    async def finish(self, arriving: ArrivingContent | None, content: LargeContent) -> LargeContent:
        """The content, with all but its header section on the disk if it is large enough. Raises StoreFailed."""
        if arriving is None or (arriving is not self._arriving and content.octets <= SPOOLED_OCTETS):
            return content
        head, *rest = content.pieces
        tail: Tail = await self._spool_for(arriving).finish(rest)
        if len(head) + tail.octets != content.octets:  # cannot be; and nothing else would notice before the receiver
            raise StoreFailed(f"a message has {content.octets} bytes, and {len(head) + tail.octets} are on the disk")
        return replace(content, pieces=(head,), tail=tail)

    def _spool_for(self, arriving: ArrivingContent) -> Spool:
        if self._spool is None or arriving is not self._arriving:
            self.discard()
            self._arriving, self._spool = arriving, self._store.spool()
        return self._spool

    def forget_all_but(self, arriving: ArrivingContent | None) -> None:
        """Only this message is still arriving: another one was given up by the client, or refused."""
        if arriving is not self._arriving:
            self.discard()

    def hand_over(self, body: Body) -> Spool | None:
        """Its file is about to be the store's; the caller discards it if the store does not take the message."""
        if not isinstance(body, LargeContent) or body.tail is None:
            self.discard()  # a step has put another body in the place of that one
        spool, self._spool, self._arriving = self._spool, None, None
        return spool

    def discard(self) -> None:
        """Nothing of it is wanted."""
        if self._spool is not None:
            self._spool.discard()
        self._spool = self._arriving = None
