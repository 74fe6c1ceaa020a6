"""What failed in an unforeseen way: a bug of ours, or a component that broke its contract.

It is a deferral like any other, with a reason of its own: the message has been tried, waits, is tried again, and
expires some day. The log has the traceback; nobody else is shown what an exception says, for it may hold anything.
"""

from dataclasses import replace

from letterlock.deliver import outcomes
from letterlock.policy.codes import Code
from letterlock.policy.reasons import Reason, sentence, status
from letterlock.queue.tasks import Attempt, DeliveryTask

INTERNAL_ERROR = Code.INTERNAL_ERROR
QUEUE_UNREADABLE = Code.QUEUE_UNREADABLE


def unforeseen(subject: str, code: Code = INTERNAL_ERROR) -> tuple[Reason, str, str]:
    """The reason, its enhanced status code and its text; `subject` is the host or next hop that was tried."""
    reason = Reason(code=code, subject=subject)
    return reason, status(reason), f"{subject}: {sentence(reason)}"


def deferred_whole(task: DeliveryTask, *, now: float, code: Code = INTERNAL_ERROR) -> Attempt:
    """An attempt of which nothing is known but that it failed: all recipients wait."""
    reason, status_code, text = unforeseen(task.lease.next_hop, code)
    return Attempt(
        message_id=task.lease.message_id,
        next_hop=task.lease.next_hop,
        started_at=now,
        ended_at=now,
        outcomes=tuple(outcomes.deferred(recipient, status_code, text) for recipient in task.recipients),
        reasons=(reason,),
        broken=True,
    )


def without_words(made: Attempt) -> Attempt:
    """The same outcomes without anything that others wrote, for when those words could not be written down.

    What was delivered stays delivered: the message must not come twice for what a server said of it.
    """
    reason, _, text = unforeseen(made.next_hop)
    told = tuple(replace(each, text=text, remote_reply=None) for each in made.outcomes)
    bare = replace(made, host=None, address=None, port=None, handshake=None, sessions=(), skipped=())
    return replace(bare, outcomes=told, reasons=(reason,))
