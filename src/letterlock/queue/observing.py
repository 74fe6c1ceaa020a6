"""The port for attempts, messages and lookups: observers see them, and cannot make them fail.

The log, statistics and reports are projections of what observers are shown.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from letterlock.frozen import frozen_dataclass
from letterlock.identity.handshake import Completed
from letterlock.mail.envelope import Envelope
from letterlock.mailauth.mail_verdict import AuthenticatedMail
from letterlock.policy.evidence import DestinationEvidence
from letterlock.queue.tasks import Attempt, DeliveryTask, Settlement

LOSS_REPORT_SECONDS = 60.0  # between two complaints about failing observers: a broken one fails for each message


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """How an accepted message came in. `client` is `name[address]`; `hello` is what the client called itself.

    `message_id` is the Message-ID field's value, if the header has one; `user` who authenticated, if anybody did, and
    `mechanism` how. `local_uid` is set when a local user left the message in the drop directory, `about` when this
    server wrote it: the id of the message that it notifies of.
    """

    client: str
    protocol: str
    hello: str | None = None
    handshake: Completed | None = None
    message_id: str | None = None
    user: str | None = None
    mechanism: str | None = None
    local_uid: int | None = None
    about: str | None = None


class Observer(Protocol):
    """Is shown what happened, in the event loop, soon after it happened, and in its order.

    An observer works in memory, within microseconds, and keeps no more than it has bounds for: one that writes to a
    disk or a peer puts what it needs into a queue of its own. Whatever it raises is a loss of its own.
    """

    def attempted(self, task: DeliveryTask, attempt: Attempt) -> None:
        """An attempt is over, and is about to be settled; or it was never made, and has no sessions."""

    def failed(self, task: DeliveryTask, attempt: Attempt, settlement: Settlement) -> None:
        """Recipients have failed for good, some of them because they were deferred for too long; it is on disk."""

    def received(self, envelope: Envelope, arrival: Arrival) -> None:
        """A message is on disk."""

    def looked_up(self, evidence: DestinationEvidence) -> None:
        """A destination was looked up anew."""

    def authenticated(self, mail: AuthenticatedMail) -> None:
        """A message from elsewhere was judged, and is about to be accepted, or was refused."""


class Watcher:
    """An observer that looks at nothing: what others override."""

    def attempted(self, task: DeliveryTask, attempt: Attempt) -> None:
        """Look away."""

    def failed(self, task: DeliveryTask, attempt: Attempt, settlement: Settlement) -> None:
        """Look away."""

    def received(self, envelope: Envelope, arrival: Arrival) -> None:
        """Look away."""

    def looked_up(self, evidence: DestinationEvidence) -> None:
        """Look away."""

    def authenticated(self, mail: AuthenticatedMail) -> None:
        """Look away."""


def _unreported(_error: Exception, _lost: int) -> None:
    """The default: losses are not reported."""


def _looking_at(what: str, observers: Sequence[Observer]) -> tuple[Observer, ...]:
    """Those that do not look away from something that happens for each message or destination."""
    return tuple(each for each in observers if getattr(type(each), what, None) is not getattr(Watcher, what))


Later = Callable[[Callable[[Any, Any], None], object, object], None]


def at_once(show: Callable[[Any, Any], None], first: object, second: object) -> None:
    """The default: nothing waits."""
    show(first, second)


class Observers:
    """All observers as one that never raises: what one of them fails to take is counted, and lost to it alone.

    `report` is called with the exception and the number of losses since it was called last: at the first one, and then
    no sooner than LOSS_REPORT_SECONDS later. `later` calls a function with two arguments soon, and in the order that it
    was asked to: who is given one shows many events at once.
    """

    def __init__(
        self,
        observers: Sequence[Observer] = (),
        *,
        monotonic: Callable[[], float] = lambda: 0.0,
        report: Callable[[Exception, int], None] = _unreported,
        later: Later = at_once,
    ) -> None:
        self._observers = tuple(observers)
        self._of_attempts = _looking_at("attempted", observers)
        self._of_messages = _looking_at("received", observers)
        self._of_lookups = _looking_at("looked_up", observers)
        self._monotonic = monotonic
        self._report = report
        self._later = later
        self._report_from: float | None = None
        self._unreported = 0
        self.lost = 0

    def add(self, observer: Observer) -> None:
        """Show everything to one more from now on: the lab looks on in a server that runs already."""
        self._observers = (*self._observers, observer)
        self._of_attempts = _looking_at("attempted", self._observers)
        self._of_messages = _looking_at("received", self._observers)
        self._of_lookups = _looking_at("looked_up", self._observers)

    def __bool__(self) -> bool:
        """Whether there are observers: without any, nothing is prepared for them."""
        return bool(self._observers)

    def attempted(self, task: DeliveryTask, attempt: Attempt) -> None:
        """Show an attempt."""
        self._later(self._show_attempt, task, attempt)

    def received(self, envelope: Envelope, arrival: Arrival) -> None:
        """Show a message."""
        self._later(self._show_message, envelope, arrival)

    def failed(self, task: DeliveryTask, attempt: Attempt, settlement: Settlement) -> None:
        """Show recipients that have failed for good."""
        self._show(lambda observer: observer.failed(task, attempt, settlement))

    def looked_up(self, evidence: DestinationEvidence) -> None:
        """Show a lookup."""
        if self._of_lookups:
            self._show(lambda observer: observer.looked_up(evidence))

    def authenticated(self, mail: AuthenticatedMail) -> None:
        """Show the verdict on a message."""
        self._show(lambda observer: observer.authenticated(mail))

    def _show_attempt(self, task: DeliveryTask, attempt: Attempt) -> None:
        for (
            observer
        ) in self._of_attempts:  # not by _show_all, which costs two more calls: this is done for each message
            try:
                observer.attempted(task, attempt)
            except Exception as error:  # noqa: BLE001  # as in _show_all
                self._count_loss(error)

    def _show_message(self, envelope: Envelope, arrival: Arrival) -> None:
        for observer in self._of_messages:  # as above
            try:
                observer.received(envelope, arrival)
            except Exception as error:  # noqa: BLE001  # as in _show_all
                self._count_loss(error)

    def _show(self, what: Callable[[Observer], None]) -> None:
        self._later(self._show_all, what, None)

    def _show_all(self, what: Callable[[Observer], None], _nothing: None) -> None:
        for observer in self._observers:
            try:
                what(observer)
            except Exception as error:  # noqa: BLE001  # whatever it is: it is this observer's loss, and is counted
                self._count_loss(error)

    def _count_loss(self, error: Exception) -> None:
        self.lost += 1
        self._unreported += 1
        now = self._monotonic()
        if self._report_from is None or now >= self._report_from:
            self._report_from = now + LOSS_REPORT_SECONDS
            lost, self._unreported = self._unreported, 0
            self._report(error, lost)


NOBODY = Observers()
