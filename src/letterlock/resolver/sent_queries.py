"""The queries under way in one event loop, each shared by all lookups that need its reply at once.

No task waits for a query that goes as nearly all do: a datagram out, a good reply in.
"""

import asyncio
import secrets
import struct
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from letterlock.resolver.answer import FailureKind, NoUpstream, Question
from letterlock.resolver.dns_message import DNSReply, Fault, query_wire, read_reply, truncated
from letterlock.resolver.fair_slots import FairSlots, Holder, domain_of
from letterlock.resolver.lookup_counts import LookupCounts
from letterlock.resolver.work_slice import WorkSlice

_MESSAGE_IDS = struct.Struct("!128H")  # chosen: one system call for 128 queries, of one event loop, so of one process
Transport = Callable[[bytes, bool], Awaitable[bytes]]


class BegunQuery(Protocol):
    """A query that was sent once."""

    def close(self) -> None:
        """Nobody waits for it any more."""

    async def go_on(self) -> bytes:
        """Ask again, and others, until a reply comes. Raises OSError."""


Begin = Callable[[bytes, Callable[[bytes | None], None]], BegunQuery | None]
"""Send a query once, and call the function later with its good reply, or with None: then `go_on`.

None: that cannot be done now, and the query is to be sent in the general way.
"""


def report(what: str, error: BaseException) -> None:
    """Give the event loop an exception that nobody waits for."""
    asyncio.get_running_loop().call_exception_handler({"message": f"{what} failed", "exception": error})


class Queries:
    """The queries of a resolver in one event loop.

    `begin` is an attribute that a transport may have, for queries that go as nearly all do.
    """

    def __init__(self, transport: Transport, slots: FairSlots, turn: WorkSlice, counts: LookupCounts) -> None:
        self.transport = transport
        self.begin: Begin | None = getattr(transport, "begin", None)
        self.slots = slots
        self.turn = turn
        self.counts = counts
        self.under_way: dict[Question, SentQuery] = {}
        self._message_ids: list[int] = []

    def message_id(self) -> int:
        """A number that nobody can guess (RFC 5452 section 9.2); the kernel is asked for many at once."""
        if not self._message_ids:
            self._message_ids.extend(_MESSAGE_IDS.unpack(secrets.token_bytes(_MESSAGE_IDS.size)))
        return self._message_ids.pop()

    def sent(self, question: Question) -> "SentQuery":
        """One query for all that need it at once."""
        query = self.under_way.get(question)
        if query is None:
            query = self.under_way[question] = SentQuery(question, self)
            self.slots.take(query)
        return query

    async def ask(self, question: Question) -> DNSReply | Fault:
        """The reply to a question, for one who is no lookup."""
        query = self.sent(question)
        if query.reply is None and query.error is None:
            came: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            query.when_done(lambda: None if came.done() else came.set_result(None))
            await came
        return query.outcome()


class SentQuery(Holder):
    """One query: first its slot, then the first try, a task if that was not enough, and in the end what it gave."""

    __slots__ = ("_first", "_message_id", "_queries", "_task", "_waiting", "_wire", "error", "question", "reply")

    def __init__(self, question: Question, queries: Queries) -> None:
        super().__init__(domain_of(question.name))
        self.question = question
        self.reply: DNSReply | Fault | None = None
        self.error: BaseException | None = None  # what nobody foresaw
        self._queries = queries
        self._waiting: list[Callable[[], None]] = []
        self._message_id = 0
        self._wire = b""
        self._first: BegunQuery | None = None
        self._task: asyncio.Task[None] | None = None

    def when_done(self, function: Callable[[], None]) -> None:
        """Call a function when there is an outcome: later, for there is none yet."""
        self._waiting.append(function)

    def outcome(self) -> DNSReply | Fault:
        """What it gave. Raises what nobody foresaw; RuntimeError before there is an outcome."""
        if self.error is not None:
            raise self.error
        if self.reply is None:
            raise RuntimeError(f"{self.question} has no reply yet")
        return self.reply

    def begin(self) -> None:
        """Send it: a slot is there."""
        queries = self._queries
        try:
            message_id = self._message_id = queries.message_id()
            wire = self._wire = query_wire(self.question, message_id)
            if queries.begin is not None:
                self._first = queries.begin(wire, self._tried)
        except Exception as error:  # noqa: BLE001  # it is raised where the reply is waited for
            self._end(error=error)
            return
        if self._first is None:
            self._go_on(self._ask_in_general)

    def give_way(self, why: str) -> None:
        """End without a reply."""
        if self._first is not None:
            self._first.close()
        if self._task is not None:
            self._task.cancel()
        self._queries.counts.gave_way += 1
        self._end(Fault(FailureKind.TIMEOUT, why, 22))

    def _tried(self, reply: bytes | None) -> None:
        if reply is None and self._first is not None:
            self._go_on(self._ask_in_general)
        elif reply is not None and truncated(reply):
            self._go_on(self._ask_whole)
        elif reply is not None:
            self._queries.turn.call(partial(self._read, reply))

    async def _ask_in_general(self) -> bytes:
        """The reply of a transport that has nothing quicker, or of one that asks others too."""
        reply = await (self._first.go_on() if self._first is not None else self._queries.transport(self._wire, False))
        return await self._ask_whole() if truncated(reply) else reply

    async def _ask_whole(self) -> bytes:
        return await self._queries.transport(self._wire, True)

    def _go_on(self, ask: Callable[[], Awaitable[bytes]]) -> None:
        self._task = asyncio.get_running_loop().create_task(self._ask(ask))

    async def _ask(self, ask: Callable[[], Awaitable[bytes]]) -> None:
        try:
            reply = await ask()
        except NoUpstream as error:
            self._end(Fault(FailureKind.NO_UPSTREAM, str(error), 23))
        except TimeoutError as error:
            self._end(Fault(FailureKind.TIMEOUT, str(error) or "no reply in time", 22))
        except OSError as error:
            detail = f"no upstream can be reached: {error.strerror or error}"
            self._end(Fault(FailureKind.NO_UPSTREAM, detail, 23))
        except Exception as error:  # noqa: BLE001  # as above
            self._end(error=error)
        else:
            self._queries.turn.call(partial(self._read, reply))

    def _read(self, reply: bytes) -> None:
        if self.over:
            return
        try:
            read = read_reply(reply, self.question, self._message_id)
        except Exception as error:  # noqa: BLE001  # as above
            self._end(error=error)
        else:
            self._end(read)

    def _end(self, reply: DNSReply | Fault | None = None, *, error: BaseException | None = None) -> None:
        """Give back the slot, and the outcome to all who wait for it."""
        if self.over:
            return
        self.reply, self.error = reply, error
        self._first = None  # which knows this query: a ring would be left to the collector, with the whole reply
        self._queries.slots.end(self)
        del self._queries.under_way[self.question]
        waiting, self._waiting = self._waiting, []
        if error is not None and not waiting:
            report(f"the query for {self.question}", error)
        for function in waiting:
            function()
