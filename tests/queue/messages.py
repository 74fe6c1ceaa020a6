"""Messages, tasks and attempts to try things with."""

from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import Envelope
from letterlock.queue.tasks import Attempt, DeliveryTask, Lease, OutcomeKind, RecipientOutcome

ANN = Mailbox("ann", "one.test")
BEN = Mailbox("ben", "one.test")
CAT = Mailbox("cat", "two.test")
SENDER = Mailbox("sender", "from.test")
BODY = b"Subject: hello\r\n\r\nhello\r\n"


def envelope(
    message_id: str = "M1", *recipients: Mailbox, sender: Mailbox | None = SENDER, expires_at: float = 1000.0
) -> Envelope:
    """An envelope that was accepted at time 0."""
    return Envelope(
        id=message_id,
        reverse_path=sender,
        recipients=recipients or (ANN,),
        size=len(BODY),
        accepted_at=0.0,
        expires_at=expires_at,
        client="client.test[127.0.0.1]",
    )


def outcome(recipient: Mailbox, kind: OutcomeKind, text: str = "as the test says") -> RecipientOutcome:
    """What became of a recipient."""
    status = {OutcomeKind.DELIVERED: "2.0.0", OutcomeKind.DEFERRED: "4.2.0", OutcomeKind.FAILED: "5.1.1"}[kind]
    return RecipientOutcome(recipient=recipient, kind=kind, status=status, text=text)


def attempt(task: DeliveryTask, *outcomes: RecipientOutcome, at: float = 10.0) -> Attempt:
    """An attempt that took a second."""
    return Attempt(
        message_id=task.lease.message_id,
        next_hop=task.lease.next_hop,
        started_at=at - 1,
        ended_at=at,
        outcomes=outcomes,
        host="mx.one.test",
    )


def task(*recipients: Mailbox, attempts: int = 0, expires_at: float = 1000.0) -> DeliveryTask:
    """A leased task."""
    return DeliveryTask(
        lease=Lease("t", "M1", "one.test", 100.0),
        envelope=envelope("M1", *recipients, expires_at=expires_at),
        recipients=recipients,
        attempts=attempts,
    )
