"""A message whose envelope follows another one's content in the same group (RFC 2920 section 3.1).

That saves a round trip per message where messages wait for a session. The one whose content is on its way leads: when
its reply has come and settled it, the session is the follower's, whose attempt goes on from there. If the leader ends
in any other way the session ends with it, and the follower was never tried: no octet of its content was sent.
"""

import math
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from letterlock.deliver.decision_cache import DeliveryPath
from letterlock.deliver.options import DeliverOptions
from letterlock.deliver.pool import PoolKey, SessionPool
from letterlock.deliver.session import Opened, Ports
from letterlock.deliver.transaction import MessageInSession, begin_behind
from letterlock.mail.checked_content import Body
from letterlock.policy.decision import Requirement
from letterlock.policy.evidence import Route
from letterlock.queue.tasks import Attempt, DeliveryTask
from letterlock.routing.routes import NextHop
from letterlock.smtp.client_steps import ClientState


@dataclass(frozen=True, slots=True)
class Leader:
    """The session in which a content is on its way, where it leads, and by which options."""

    session: Opened
    server: PoolKey
    options: DeliverOptions


@dataclass(frozen=True, slots=True)
class Begun:
    """An envelope that went out before its attempt could go on: the way that it goes, its session, and the rest."""

    way: DeliveryPath
    server: PoolKey
    session: Opened
    sending: MessageInSession


def begin(
    leader: Leader, way: DeliveryPath, task: DeliveryTask, body: Body, *, pool: SessionPool, options: DeliverOptions
) -> Begun | None:
    """Send a task's envelope behind the leader's content; None where the way leads elsewhere, the session is not
    cleared for this message, or not everybody can have it there: then nothing was done."""
    server = leader.server
    if options is not leader.options and server != PoolKey.of(way.host, way.address, way.port, options):
        return None  # the options are the same objects for most messages
    if way.address != server.address or way.host != server.host or way.port != server.port:
        return None
    session = pool.shared(leader.session, server, way.requirement, ignored=options.ignore_ehlo)
    if session is None:
        return None
    name = f"{way.host}[{way.address}]"
    sending = begin_behind(session, task.envelope, task.recipients, body, server=name)
    return None if sending is None else Begun(way, server, session, sending)


class Follower:
    """A task whose envelope is on its way in a session."""

    def __init__(self, task: DeliveryTask, session: Opened, run: Callable[[], Coroutine[None, None, Attempt]]) -> None:
        """`run` is the attempt, which ends the session or passes it on."""
        self.task = task
        self.owns_session = False  # the leader has passed it on, and the attempt has not begun
        self._session = session
        self._run = run
        self._wanted = True

    def take_over(self) -> bool:
        """The leader is done with the session: whether it is this one's now."""
        self.owns_session = self._wanted and self._session.conversation.client.state is not ClientState.CLOSED
        return self.owns_session

    def go_on(self) -> Coroutine[None, None, Attempt]:
        """The attempt, once the session is its own."""
        self.owns_session = False
        return self._run()

    def let_go(self) -> None:
        """It does not go on in this session, which then ends."""
        self._wanted = False
        if self.owns_session:
            self.owns_session = False
            self._session.conversation.abandon()


class Invite(Protocol):
    """Has the message that waits behind another one follow it."""

    def expect(self) -> None:
        """An envelope goes out: when its content does, somebody may follow."""

    def somebody_waits(self) -> bool:
        """Whether there is a message that may follow."""

    def invite(self, leader: Leader) -> Follower | None:
        """Have the next message follow, if there is one that may."""


class Ahead(NamedTuple):
    """The ways that a message would go, one for each address, and how long the evidence for them holds (since 1970)."""

    ways: tuple[DeliveryPath, ...] = ()
    ends_at: float = math.inf


async def look_ahead(task: DeliveryTask, *, ports: Ports, options: DeliverOptions) -> Ahead:
    """The ways that an attempt at a task would go if it began now; none where there are several hosts, of which chance
    is to choose (RFC 5321 section 5.1), or where it is not SMTP alone that decides.

    A message that waits at a slow host may follow by these, as an attempt goes by what was found when it began.
    """
    sender = task.envelope.reverse_path
    next_hop = NextHop(task.lease.next_hop, options.port)
    evidence = await ports.discoverer.destination(next_hop, None if sender is None else sender.domain)
    if evidence.final is not None or evidence.lmtp or options.implicit_tls:
        return Ahead()
    routed = ports.decision_cache.route(evidence, ports.shuffle, options.hostname)
    if not isinstance(routed, Route) or len(routed.hosts) != 1:
        return Ahead()
    port = evidence.next_hop.port
    target = await ports.discoverer.host(routed.hosts[0], port)
    required = ports.decision_cache.required(evidence, target, task.envelope.tls_demand)
    if not isinstance(required, Requirement):
        return Ahead()
    relayed = ports.decision_cache.relayed(evidence)
    ways = tuple(
        DeliveryPath(
            host=routed.hosts[0].name,
            address=address,
            port=port,
            requirement=required,
            relayed=relayed,
            lmtp=False,
            by_route=evidence.implicit_tls,
        )
        for address in target.addresses
        if options.source.reaches(address)
    )
    return Ahead(ways, min(evidence.ends_at, target.ends_at))
