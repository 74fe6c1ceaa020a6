"""One attempt at a task, some of whose recipients have a mailbox or a command of their own on this machine."""

from collections.abc import Collection, Coroutine, Mapping, Sequence
from dataclasses import replace

from letterlock.deliver import outcomes
from letterlock.deliver.attempt import attempt
from letterlock.deliver.following import Invite
from letterlock.deliver.local.delivery import deliver_locally
from letterlock.deliver.options import DeliverOptions
from letterlock.deliver.pool import SessionPool
from letterlock.deliver.session import Ports
from letterlock.mail.addresses import Mailbox
from letterlock.mail.checked_content import Body, ContentLost
from letterlock.queue.tasks import Attempt, DeliveryTask, RecipientOutcome
from letterlock.routing.address_routes import AliasDeliveries, AliasDelivery
from letterlock.routing.local_targets import FinalHop


def attempt_whole(
    task: DeliveryTask,
    body: Body,
    *,
    ports: Ports,
    options: DeliverOptions,
    pool: SessionPool | None = None,
    invite: Invite | None = None,
) -> Coroutine[None, None, Attempt]:
    """As `attempt`, for all recipients, those with a route of their own included.

    `invite`: see `attempt`; nobody is invited where some recipients have a route of their own, for these come after.
    The others come first: when they have to wait for a busy host, nothing was delivered yet. Raises HostBusy,
    ContentLost, both only when nothing was delivered.
    """
    if options.addresses or options.aliases is not None:
        return _attempt_apart(task, body, ports, options, pool)
    return attempt(task, body, ports=ports, options=options, pool=pool, invite=invite)


async def _attempt_apart(
    task: DeliveryTask, body: Body, ports: Ports, options: DeliverOptions, pool: SessionPool | None
) -> Attempt:
    apart = options.addresses.apart(task.recipients) if options.addresses else {}
    own = {recipient for recipients in apart.values() for recipient in recipients}
    aliases = {} if options.aliases is None else await _of_tables(options.aliases, task.recipients, own)
    if not (own or aliases):
        return await attempt(task, body, ports=ports, options=options, pool=pool)
    own |= aliases.keys()
    made: list[Attempt] = []
    if others := tuple(each for each in task.recipients if each not in own):
        made.append(await attempt(replace(task, recipients=others), body, ports=ports, options=options, pool=pool))
    for route, recipients in apart.items():
        if route.final is not None:
            part = replace(task, recipients=recipients)
            made.append(await _locally(part, body, route.final, ports, options, pool, is_first=not made))
    for place, recipients in _together_at(aliases).items():
        part = replace(task, recipients=recipients)
        made.append(await _locally(part, body, place, ports, options, pool, is_first=not made))
    for recipient, found in aliases.items():
        if found.place is None or found.alias != recipient:
            made.append(await _for_alias(task, recipient, found, body, ports, options, is_first=not made))
    return _together(task.recipients, made)


async def _of_tables(
    places: AliasDeliveries, recipients: Sequence[Mailbox], own: Collection[Mailbox]
) -> dict[Mailbox, AliasDelivery]:
    """The recipients whose mail ends where tables say; those with a route of their `own` are not looked up."""
    looked = [(each, await places.find(each)) for each in recipients if each not in own]
    return {recipient: found for recipient, found in looked if found is not None}


def _together_at(found: Mapping[Mailbox, AliasDelivery]) -> dict[FinalHop, tuple[Mailbox, ...]]:
    """The recipients that keep their names, by where their mail ends."""
    made: dict[FinalHop, tuple[Mailbox, ...]] = {}
    for recipient, each in found.items():
        if each.place is not None and each.alias == recipient:
            made[each.place] = (*made.get(each.place, ()), recipient)
    return made


async def _for_alias(
    task: DeliveryTask,
    recipient: Mailbox,
    found: AliasDelivery,
    body: Body,
    ports: Ports,
    options: DeliverOptions,
    *,
    is_first: bool,
) -> Attempt:
    """Deliver to what an alias leads to, as mail for the alias."""
    if found.place is None:
        outcome = (outcomes.failed if found.status[0] == "5" else outcomes.deferred)(recipient, found.status, found.why)
        return _not_tried(task, str(found.alias), (outcome,), ports)
    part = replace(task, recipients=(found.alias,))
    made = await _locally(part, body, found.place, ports, options, None, is_first=is_first)
    return replace(made, outcomes=tuple(replace(each, recipient=recipient) for each in made.outcomes))


async def _locally(
    task: DeliveryTask,
    body: Body,
    final: FinalHop,
    ports: Ports,
    options: DeliverOptions,
    pool: SessionPool | None,
    *,
    is_first: bool,
) -> Attempt:
    try:
        return await deliver_locally(task, body, final, ports=ports, options=options, pool=pool)
    except ContentLost as lost:
        if is_first:
            raise
        waiting = tuple(outcomes.deferred(each, "4.3.0", f"{final}: {lost}") for each in task.recipients)
        return _not_tried(task, str(final), waiting, ports)


def _not_tried(task: DeliveryTask, host: str, made: tuple[RecipientOutcome, ...], ports: Ports) -> Attempt:
    now = ports.clock.now()
    return Attempt(
        message_id=task.envelope.id,
        next_hop=task.lease.next_hop,
        started_at=now,
        ended_at=now,
        outcomes=made,
        host=host,
    )


def _together(recipients: Sequence[Mailbox], made: Sequence[Attempt]) -> Attempt:
    """One attempt of several: what is known of sessions is that of the first, which went the farthest away."""
    first, *others = made
    found: dict[Mailbox, RecipientOutcome] = {each.recipient: each for each in first.outcomes}
    for part in others:  # the log names the first one's host for all
        found |= {each.recipient: replace(each, text=f"{part.host}: {each.text}") for each in part.outcomes}
    return replace(
        first,
        ended_at=max(part.ended_at for part in made),
        outcomes=tuple(found[each] for each in recipients),
        reasons=(*first.reasons, *(reason for part in others for reason in part.reasons)),
    )
