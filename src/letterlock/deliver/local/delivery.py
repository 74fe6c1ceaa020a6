"""Final delivery of one task on this machine: to an LMTP server, or into Maildirs."""

from collections.abc import Sequence

from letterlock.deliver.local.lmtp import Handed, deliver_by_lmtp
from letterlock.deliver.local.maildir import Letter, deliver_to_maildirs
from letterlock.deliver.options import DeliverOptions
from letterlock.deliver.pool import SessionPool
from letterlock.deliver.session import Ports
from letterlock.mail.checked_content import Body
from letterlock.policy.reasons import Reason
from letterlock.queue.tasks import Attempt, DeliveryTask
from letterlock.routing.local_targets import FinalHop, Maildir


async def deliver_locally(
    task: DeliveryTask,
    body: Body,
    target: FinalHop,
    *,
    ports: Ports,
    options: DeliverOptions,
    pool: SessionPool | None = None,
    reasons: Sequence[Reason] = (),
) -> Attempt:
    """Deliver a task's message where mail ends. `reasons` say why it goes there, for the Attempt.

    Never raises for a server, the disk or a bug; ContentLost where the content cannot be read. The Attempt names the
    target as its host, without address and port, and says nothing of TLS: there is no network in between.
    """
    started_at = ports.clock.now()
    if isinstance(target, Maildir):
        handed = await _into_maildirs(task, body, target, ports, options)
    else:
        handed = await deliver_by_lmtp(
            target, task.envelope, task.recipients, body, ports=ports, options=options, pool=pool
        )
    return Attempt(
        message_id=task.envelope.id,
        next_hop=task.lease.next_hop,
        started_at=started_at,
        ended_at=ports.clock.now(),
        outcomes=tuple(handed.outcomes[recipient] for recipient in task.recipients),
        connected_at=handed.connected_at,
        ready_at=handed.ready_at,
        host=str(target),
        reasons=(*handed.reasons, *reasons),
    )


async def _into_maildirs(
    task: DeliveryTask, body: Body, target: Maildir, ports: Ports, options: DeliverOptions
) -> Handed:
    now = ports.clock.now()
    envelope = task.envelope
    letter = Letter(
        content=body,
        reverse_path=envelope.reverse_path,
        at=now,
        hostname=options.hostname,
        message_id=envelope.id,
    )
    made = await deliver_to_maildirs(target, letter, task.recipients)
    return Handed(outcomes={outcome.recipient: outcome for outcome in made}, connected_at=now, ready_at=now)
