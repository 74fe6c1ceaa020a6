"""Messages that have no row yet: what is known of them, how an operator sees them, what orders do to them."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from letterlock.mail.addresses import Mailbox
from letterlock.mail.checked_content import Body, in_one_piece
from letterlock.mail.envelope import Envelope
from letterlock.mail.wishes import Event, write_notify
from letterlock.queue.age import NEW, Age
from letterlock.queue.copies import AT_ONCE, MessageCopy, RecipientCopy, TaskCopy
from letterlock.queue.journal import last_attempts
from letterlock.queue.orders import (
    AGES,
    OLDER,
    REMOVED_STATUS,
    Order,
    OrderKind,
    RecipientState,
    Tally,
    TallyBy,
    age_group,
    state_of,
)
from letterlock.queue.tasks import LastAttempt, OutcomeKind, QueuedMessage, QueuedRecipient, RecipientOutcome


@dataclass(slots=True)
class KeptTask:
    """A message's part for one next hop. `state`: waiting, held or quarantined."""

    due_at: float
    attempts: int = 0
    token: str | None = None
    state: str = RecipientState.WAITING.value
    held_at: float | None = None
    held_because: str | None = None
    age: Age = NEW


@dataclass(slots=True)
class Kept:
    """A message, and all that is known of it."""

    envelope: Envelope
    body: Body
    tasks: dict[str, KeptTask]
    states: dict[Mailbox, str]
    last: dict[Mailbox, RecipientOutcome] = field(default_factory=dict)
    untold: dict[Mailbox, RecipientOutcome] = field(default_factory=dict)
    owed: dict[Mailbox, RecipientOutcome] = field(default_factory=dict)
    warned: set[Mailbox] = field(default_factory=set)
    journal: list[dict[str, object]] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        """Whether nothing of it is left to do."""
        return not (self.tasks or self.untold or self.owed)

    def copied(self) -> MessageCopy:
        """The message by value."""
        return MessageCopy(
            envelope=self.envelope,
            recipients=tuple(self._recipient_copy(each) for each in self.envelope.recipients),
            tasks=tuple(_task_copy(next_hop, task) for next_hop, task in self.tasks.items()),
            journal=tuple(self.journal),
            content=in_one_piece(self.body),
        )

    def _recipient_copy(self, mailbox: Mailbox) -> RecipientCopy:
        last, state = self.last.get(mailbox), self.states[mailbox]
        wants_none = not self.envelope.wishes.of(mailbox).wants(Event.FAILURE)
        told = wants_none or (state == "failed" and mailbox not in self.untold)
        return RecipientCopy(
            mailbox=mailbox,
            state=state,
            status=last.status if last else None,
            text=last.text if last else None,
            reply=last.remote_reply if last else None,
            failure_notice="done" if told else "due",
            delay_noticed=mailbox in self.warned or not self.envelope.wishes.of(mailbox).wants(Event.DELAY),
            owed=mailbox in self.owed,
        )

    def last_attempts(self, next_hops: frozenset[str]) -> tuple[LastAttempt, ...]:
        """The last attempt at each of these next hops."""
        return last_attempts(reversed(self.journal), next_hops)

    def seen(self) -> QueuedMessage:
        """The message as an operator sees it."""
        envelope, wishes = self.envelope, self.envelope.wishes
        recipients = tuple(self._seen(mailbox) for mailbox in envelope.recipients)
        waiting = frozenset(each.next_hop for each in recipients if each.state != "delivered")
        return QueuedMessage(
            id=envelope.id,
            sender=str(envelope.reverse_path or ""),
            size=envelope.size,
            accepted_at=envelope.accepted_at,
            expires_at=envelope.expires_at,
            client=envelope.client,
            body_type=envelope.body_type.value,
            tls_demand=envelope.tls_demand.value,
            ret=wishes.ret,
            envid=wishes.envid,
            recipients=recipients,
            last_attempts=self.last_attempts(waiting),
        )

    def _seen(self, mailbox: Mailbox) -> QueuedRecipient:
        task, last, state = self.tasks.get(mailbox.domain), self.last.get(mailbox), self.states[mailbox]
        wishes = self.envelope.wishes.of(mailbox)
        if state == "queued" and task is not None:
            state = task.state if task.state != RecipientState.WAITING else "leased" if task.token else state
        return QueuedRecipient(
            recipient=str(mailbox),
            next_hop=mailbox.domain,
            state=state,
            attempts=task.attempts if task else 0,
            next_attempt_at=task.due_at if task and state == "queued" else None,
            last_status=last.status if last else None,
            last_text=last.text if last else None,
            held_at=task.held_at if task else None,
            held_because=task.held_because if task else None,
            notify=None if wishes.notify is None else write_notify(wishes.notify),
            told=not wishes.wants(Event.FAILURE) or (state == "failed" and mailbox not in self.untold),
            warned=mailbox in self.warned,
            owed=mailbox in self.owed,
        )


def _task_copy(next_hop: str, task: KeptTask) -> TaskCopy:
    return TaskCopy(
        next_hop=next_hop,
        due_at=AT_ONCE if task.token else task.due_at,
        attempts=task.attempts,
        state=task.state,
        held_at=task.held_at,
        held_because=task.held_because,
        age=task.age,
    )


def restored(copy: MessageCopy) -> Kept:
    """What is known of a message that was copied."""
    tasks = {
        each.next_hop: KeptTask(each.due_at, each.attempts, None, each.state, each.held_at, each.held_because, each.age)
        for each in copy.tasks
    }
    states = {each.mailbox: each.state for each in copy.recipients}
    kept = Kept(copy.envelope, copy.content, tasks, states, journal=[dict(each) for each in copy.journal])
    for each in copy.recipients:
        outcome = _last_outcome(each)
        if outcome is not None:
            kept.last[each.mailbox] = outcome
            kept.untold |= {each.mailbox: outcome} if each.state == "failed" and each.failure_notice == "due" else {}
            kept.owed |= {each.mailbox: outcome} if each.owed else {}
        kept.warned |= {each.mailbox} if each.delay_noticed else set()
    return kept


def _last_outcome(copy: RecipientCopy) -> RecipientOutcome | None:
    if copy.status is None:
        return None
    kind = {"queued": OutcomeKind.DEFERRED, "delivered": OutcomeKind.DELIVERED, "failed": OutcomeKind.FAILED}
    return RecipientOutcome(
        recipient=copy.mailbox,
        kind=kind[copy.state],
        status=copy.status,
        text=copy.text or "",
        remote_reply=copy.reply,
    )


def obey(kept: Kept, order: Order) -> bool:
    """Do what the operator orders; whether that changed anything."""
    tasks = [each for hop, each in kept.tasks.items() if order.next_hop in (None, hop)]
    if order.kind in (OrderKind.REMOVE, OrderKind.RETURN):
        return _remove(kept, order)
    meant = [task for task in tasks if _MEANT[order.kind](task, order)]
    for task in meant:
        if order.kind in (OrderKind.HOLD, OrderKind.QUARANTINE):
            state = RecipientState.HELD if order.kind is OrderKind.HOLD else RecipientState.QUARANTINED
            task.state, task.held_at, task.held_because = state.value, order.at, order.reason
            continue
        task.state, task.held_at, task.held_because = RecipientState.WAITING.value, None, None
        if task.token is None:
            task.due_at = order.at
    if meant and order.kind is not OrderKind.RETRY:
        kept.journal.append(order.record)
    return bool(meant)


_MEANT: dict[OrderKind, Callable[[KeptTask, Order], bool]] = {
    OrderKind.RETRY: lambda task, _: task.state == RecipientState.WAITING and task.token is None,
    OrderKind.HOLD: lambda task, _: task.state == RecipientState.WAITING,
    OrderKind.QUARANTINE: lambda task, _: task.state != RecipientState.QUARANTINED,
    OrderKind.RELEASE: lambda task, order: task.state != RecipientState.WAITING and order.only in (None, task.state),
}


def _remove(kept: Kept, order: Order) -> bool:
    silent = order.kind is OrderKind.REMOVE
    hops = [hop for hop, task in kept.tasks.items() if order.next_hop in (None, hop) and (silent or task.token is None)]
    removed = [each for each, state in kept.states.items() if state == "queued" and each.domain in hops]
    for mailbox in removed:
        outcome = RecipientOutcome(
            recipient=mailbox, kind=OutcomeKind.FAILED, status=REMOVED_STATUS, text=order.removal
        )
        kept.states[mailbox], kept.last[mailbox] = "failed", outcome
        if not silent and kept.envelope.wishes.of(mailbox).wants(Event.FAILURE):
            kept.untold[mailbox] = outcome
    for hop in hops:
        del kept.tasks[hop]
    return bool(removed)


def tally(all_kept: Iterable[Kept], by: TallyBy, now: float) -> tuple[Tally, ...]:
    """Counts of tasks, in order of their keys."""
    found: dict[str, Tally] = defaultdict(lambda: Tally(key=""))
    for kept in all_kept:
        message = kept.seen()
        for key, counted in _tallies(message, by, now):
            found[key] = Tally(key=key).add(found[key]).add(counted)
    return tuple(found[key] for key in sorted(found))


def _tallies(message: QueuedMessage, by: TallyBy, now: float) -> Iterator[tuple[str, Tally]]:
    """One for each next hop that is still to be served."""
    open_states = set(RecipientState) - {RecipientState.DELIVERED, RecipientState.FAILED}
    parts = {each.next_hop: each for each in reversed(message.recipients) if state_of(each) in open_states}
    group = age_group(now - message.accepted_at)
    ages = tuple(int(place == group) for place in range(len(AGES) + 1))
    for each in parts.values():
        yield (
            _key(message, each, by, group),
            Tally(
                key="",
                **{state_of(each).value: 1},
                octets=message.size,
                oldest_at=message.accepted_at,
                ages=ages,
            ),
        )


def _key(message: QueuedMessage, part: QueuedRecipient, by: TallyBy, group: int) -> str:
    match by:
        case TallyBy.DOMAIN:
            return part.next_hop
        case TallyBy.SENDER:
            return message.sender or "<>"
        case TallyBy.AGE:
            return [*(name for name, _ in AGES), OLDER][group]
        case TallyBy.REASON if part.held_because:
            return f"{part.state}: {part.held_because}"
        case TallyBy.REASON:
            last = (each.refusal for each in message.last_attempts if each.next_hop == part.next_hop)
            if code := next(last, None):
                return code
            return f"{part.last_status} {part.last_text}" if part.last_text else "not tried yet"
