"""Final delivery of one task on this machine: to an LMTP server, into Maildirs, to a command, or to the reports."""

import asyncio
from collections.abc import Sequence

from letterlock.deliver.local.command_run import deliver_to_command
from letterlock.deliver.local.lmtp import Handed, deliver_by_lmtp
from letterlock.deliver.local.maildir import Letter, deliver_to_maildirs
from letterlock.deliver.options import DeliverOptions
from letterlock.deliver.pool import SessionPool
from letterlock.deliver.session import Ports
from letterlock.mail.addresses import Mailbox
from letterlock.mail.checked_content import Body, LargeContent
from letterlock.mail.unpacking import MAX_PACKED_OCTETS
from letterlock.policy.reasons import Reason
from letterlock.queue.store import StoreFailed
from letterlock.queue.tasks import Attempt, DeliveryTask, OutcomeKind, RecipientOutcome
from letterlock.routing.local_targets import CommandHop, FinalHop, Maildir, ReportBox


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
    elif isinstance(target, CommandHop):
        handed = await _to_command(task, body, target, ports, options)
    elif isinstance(target, ReportBox):
        handed = await _to_reports(task, body, ports)
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
    made = await deliver_to_maildirs(target, _letter(task, body, now, options), task.recipients)
    return Handed(outcomes={outcome.recipient: outcome for outcome in made}, connected_at=now, ready_at=now)


async def _to_command(
    task: DeliveryTask, body: Body, target: CommandHop, ports: Ports, options: DeliverOptions
) -> Handed:
    now = ports.clock.now()
    letter = _letter(task, body, now, options)
    made = await deliver_to_command(target, task.envelope, letter, task.recipients, options.private_directories)
    return Handed(outcomes={outcome.recipient: outcome for outcome in made}, connected_at=now, ready_at=now)


def _letter(task: DeliveryTask, body: Body, now: float, options: DeliverOptions) -> Letter:
    envelope = task.envelope
    return Letter(
        content=body,
        reverse_path=envelope.reverse_path,
        at=now,
        hostname=options.hostname,
        message_id=envelope.id,
    )


async def _to_reports(task: DeliveryTask, body: Body, ports: Ports) -> Handed:
    """Whatever the message is, nothing goes back: its sender is a program, or made up."""
    now = ports.clock.now()
    if ports.take_report is None:  # the route is new
        return Handed(
            outcomes={each: _deferred(each, "the server has to be restarted first") for each in task.recipients}
        )
    try:
        text = await ports.take_report(await asyncio.to_thread(_whole, body), task.envelope.id)
    except StoreFailed as error:
        made = {each: _deferred(each, f"the report cannot be kept: {error}") for each in task.recipients}
    else:
        kind = OutcomeKind.DELIVERED
        made = {
            each: RecipientOutcome(recipient=each, kind=kind, status="2.0.0", text=text) for each in task.recipients
        }
    return Handed(outcomes=made, connected_at=now, ready_at=now)


def _deferred(recipient: Mailbox, why: str) -> RecipientOutcome:
    return RecipientOutcome(recipient=recipient, kind=OutcomeKind.DEFERRED, status="4.3.0", text=why)


def _whole(body: Body) -> bytes:
    """The message, as far as a report may be large. Raises ContentLost."""
    if not isinstance(body, LargeContent):
        return body
    found = bytearray()
    for block in body.blocks():
        found += block
        if len(found) > MAX_PACKED_OCTETS:
            break  # refused by its size
    return bytes(found)
