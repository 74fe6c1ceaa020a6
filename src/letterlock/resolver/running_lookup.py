"""A lookup on its way: the stepper's questions become queries, and their replies its next step.

It has no task: it goes on where its last reply comes in, or in its part of the slice of work.
"""

import asyncio
import time
from collections.abc import Callable

from letterlock.resolver.answer import Answer, FailureKind, LookupFailure, Question
from letterlock.resolver.dns_message import DNSReply, Fault
from letterlock.resolver.fair_slots import FairSlots, Holder, domain_of
from letterlock.resolver.inquiry import Ask, Breathe, Steps
from letterlock.resolver.sent_queries import Queries, SentQuery, report

Result = Answer | LookupFailure


class RunningLookup(Holder):
    """One lookup for all who ask the same at once; it goes on when one of them gives up.

    `begin_steps` gives the stepper once there is a slot. `keep` gets the result before anybody else, or None when there
    is none that should be kept.
    """

    __slots__ = (
        "_begin_steps",
        "_begun",
        "_error",
        "_keep",
        "_missing",
        "_queries",
        "_question",
        "_replies",
        "_result",
        "_sent",
        "_slots",
        "_steps",
        "_waiting",
        "_wanted",
    )

    def __init__(
        self,
        question: Question,
        queries: Queries,
        slots: FairSlots,
        begin_steps: Callable[[], Steps[Result]],
        keep: Callable[[Result | None], None],
    ) -> None:
        super().__init__(domain_of(question.name))
        self._question = question
        self._queries = queries
        self._slots = slots
        self._begin_steps = begin_steps
        self._keep = keep
        self._begun = time.perf_counter()
        self._waiting: list[asyncio.Future[Result]] = []
        self._steps: Steps[Result] | None = None
        self._sent: dict[Question, SentQuery] = {}
        self._wanted: tuple[Question, ...] = ()
        self._missing = 0
        self._result: Result | None = None
        self._error: Exception | None = None  # what nobody foresaw
        self._replies: dict[Question, DNSReply | Fault] = {}

    def result(self) -> asyncio.Future[Result]:
        """The result, for one who waits for it and may give up."""
        waiting: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        if self._result is not None or self._error is not None:
            self._give_result()
        return waiting

    def begin(self) -> None:
        """There is a slot."""
        self._queries.turn.call(self._step)

    def give_way(self, why: str) -> None:
        """End without an answer. What it has asked goes on for others."""
        self._queries.counts.gave_way += 1
        self._end(LookupFailure(question=self._question, kind=FailureKind.TIMEOUT, detail=why, ede=22), kept=False)

    def _step(self) -> None:
        """Go on until replies are missing, or the slice of work is over."""
        if self.over:
            return
        try:
            if self._steps is None:
                self._steps = self._begin_steps()
                wanted = next(self._steps)
            else:
                for each in self._wanted:
                    self._replies[each] = self._sent[each].outcome()
                wanted = self._steps.send(self._replies)
            self._serve(self._steps, wanted)
        except StopIteration as end:
            self._end(end.value)
        except Exception as error:  # noqa: BLE001  # it is raised where the result is waited for
            self._end(error=error)

    def _serve(self, steps: Steps[Result], wanted: Ask | Breathe) -> None:
        """Do what the stepper wants. Raises StopIteration with its result, and what nobody foresaw."""
        turn = self._queries.turn
        while True:
            if isinstance(wanted, Ask):
                self._ask(wanted)
                if self._missing:
                    return None
                for each in self._wanted:
                    self._replies[each] = self._sent[each].outcome()
            elif turn.over:
                return turn.call(self._step)
            wanted = steps.send(self._replies)

    def _ask(self, wanted: Ask) -> None:
        """Have all that is wanted asked, and count the replies that are missing."""
        sent, queries, questions = self._sent, self._queries, wanted.questions
        for question in (*questions, *wanted.ahead) if wanted.ahead and queries.slots.free else questions:
            if question not in sent:
                sent[question] = queries.sent(question)
        self._wanted, self._missing = questions, 0
        for question in questions:
            query = sent[question]
            if query.reply is None and query.error is None:
                self._missing += 1
                query.when_done(self._heard)

    def _heard(self) -> None:
        self._missing -= 1
        if not self._missing:
            self._queries.turn.call(self._step)

    def _end(self, result: Result | None = None, *, error: Exception | None = None, kept: bool = True) -> None:
        """Give the result, or what nobody foresaw, to all who wait for it."""
        self._slots.end(self)
        try:
            self._keep(result if kept else None)
        except Exception as broken:  # noqa: BLE001  # as above
            error = broken
        if result is not None:
            self._queries.counts.looked_up(result, time.perf_counter() - self._begun)
        self._result, self._error = result, error
        if error is not None and not self._waiting:
            report(f"the lookup of {self._question}", error)
        self._give_result()

    def _give_result(self) -> None:
        """Give it to those who wait, once it is there: some lookups end before anybody can wait for them."""
        if self._result is None and self._error is None:
            return
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if each.done():
                continue  # who has given up
            if self._error is not None:
                each.set_exception(self._error)
            elif self._result is not None:
                each.set_result(self._result)
