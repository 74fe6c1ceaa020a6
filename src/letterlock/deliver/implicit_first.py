"""Implicit TLS first: a host that announces it in signed DNS is tried there, in a race with STARTTLS.

The session on the announced port has a head start, as an address has in happy eyeballs (RFC 8305 section 5). If it is
not open by then, the usual session is set up at the same time, and the first that is open is used. So a port that is
closed, filtered or silent delays a message by the head start at most, and the host is then left alone for an hour: one
race for a host at a time, whatever number of messages wait for it. A server that wants a login there, because it is
meant for submission, is left alone for a day.

None of this is evidence. What is remembered decides only whether a port is tried, never what must hold.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from letterlock.deliver.eyeballs import HEAD_START_SECONDS, connect
from letterlock.deliver.options import DeliverOptions
from letterlock.deliver.session import NotCleared, Opened, OpenResult, Ports, open_with_fallback
from letterlock.frozen import changed
from letterlock.identity.handshake import Completed
from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import TlsDemand
from letterlock.policy.decision import Requirement
from letterlock.policy.evidence import DestinationEvidence, StartTls, TargetHost
from letterlock.policy.implicit import announced_by_srv, implicit_requirement, may_announce
from letterlock.policy.reasons import sentence
from letterlock.queue.sessions import ImplicitTry
from letterlock.queue.tasks import OutcomeKind, RecipientOutcome
from letterlock.recent import Recent

log = logging.getLogger("letterlock.deliver")
IMPLICIT_SECONDS = 5.0  # until a session there is open; STARTTLS has long been under way, or has failed
USELESS_SECONDS = 3_600.0  # chosen: an outage is over by then, and a race an hour costs nothing that can be felt
NO_RELAY_SECONDS = 86_400.0  # a server that wants a login there will want it tomorrow
MAX_USELESS = 10_000  # hosts: some hundred bytes each, and more than announce implicit TLS anywhere
Made = tuple[str, OpenResult] | None
"""The address that connected, and what came of the session with it."""
Connecting = Callable[[], Coroutine[Any, Any, Made]]
"""Sets a session up in the usual way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImplicitOffer:
    """A port of a host where TLS begins with the first byte, and what must hold there."""

    host: str
    port: int
    target: TargetHost
    requirement: Requirement

    def session(self, made: Made) -> Opened | None:
        """The session, if it is one with that port."""
        if made is None or not isinstance(made[1], Opened) or made[1].evidence.port != self.port:
            return None
        return made[1]


class UselessPorts:
    """Hosts whose announced port was of no use, until when; beyond MAX_USELESS, the oldest is forgotten."""

    def __init__(self) -> None:
        self._useless: Recent[str, bool] = Recent(seconds=NO_RELAY_SECONDS, size=MAX_USELESS)
        self.ending: set[asyncio.Task[Any]] = set()  # sessions that came too late, on their way to their end

    def has(self, host: str, now: float) -> bool:
        """Whether a host is left alone now. After the clock was set back, none is."""
        return self._useless.get(host, now) is not None

    def leave_alone(self, host: str, now: float, seconds: float) -> None:
        """Do not try a host for so many seconds from `now` (seconds since 1970), NO_RELAY_SECONDS at most."""
        self._useless.put(host, True, since=now, until=now + seconds)

    def forgive(self, host: str) -> None:
        """Try the host again."""
        self._useless.forget(host)

    def drop(self, task: asyncio.Task[Made]) -> None:
        """End what a task is doing, without waiting for it; a session that it has opened is ended too."""
        task.cancel()
        ending = asyncio.ensure_future(_end(task))
        self.ending.add(ending)
        ending.add_done_callback(self.ending.discard)


async def _end(task: asyncio.Task[Made]) -> None:
    await asyncio.wait((task,))
    made = None if task.cancelled() or task.exception() is not None else task.result()
    if made is not None and isinstance(made[1], Opened):
        await made[1].conversation.end()


class ImplicitFirst:
    """The tries of one attempt. `came_to` is what the last one came to."""

    def __init__(self, ports: Ports, options: DeliverOptions, useless: UselessPorts) -> None:
        self.came_to: ImplicitTry | None = None
        self._ports = ports
        self._port = options.implicit_port
        self._useless = useless

    async def offer(
        self, evidence: DestinationEvidence, target: TargetHost, usual: Requirement, demand: TlsDemand
    ) -> ImplicitOffer | None:
        """Where a host announces implicit TLS; None where it does not, where it is left alone, and where the operator
        has named the port or the protocol."""
        host, named = target.host, evidence.relay is not None and evidence.relay.port is not None
        if named or evidence.lmtp or not may_announce(target) or self._useless.has(host.name, self._ports.clock.now()):
            return None
        port = self._port
        there = await self._ports.discoverer.host(host, port)
        found = self._ports.decision_cache.required(evidence, there, demand)
        required = implicit_requirement(usual, found, by_srv=announced_by_srv(evidence, host.name, port))
        if required is None:
            return None
        return ImplicitOffer(host=host.name, port=port, target=there, requirement=required)

    async def race(
        self,
        offer: ImplicitOffer,
        addresses: Sequence[str],
        options: DeliverOptions,
        usual: Connecting,
    ) -> Made:
        """The session there if it is open first, else what the usual way comes to. Raises what the usual way does."""
        # Others leave the host alone meanwhile, and for an hour unless it opens.
        self._useless.leave_alone(offer.host, self._ports.clock.now(), USELESS_SECONDS)
        there = asyncio.ensure_future(self._open(offer, addresses, options))
        losers = [there]
        try:
            await asyncio.wait((there,), timeout=HEAD_START_SECONDS)
            if not _is_open(there):
                losers.append(other := asyncio.ensure_future(usual()))
                await _until_one_is_open(there, other)
            self.came_to = self._outcome(offer, there)
            if _is_open(there):
                self._useless.forgive(offer.host)
            winner = losers.pop(0 if _is_open(there) else 1)
            return await winner
        finally:
            for task in losers:
                self._useless.drop(task)

    def taken(self, outcomes: Mapping[Mailbox, RecipientOutcome], host: str) -> Mapping[Mailbox, RecipientOutcome]:
        """The outcomes on an announced port that count: refusals can mean that the server there wants a login."""
        if not any(map(_may_want_login, outcomes.values())):
            return outcomes
        self.came_to = ImplicitTry.NO_RELAY
        self._useless.leave_alone(host, self._ports.clock.now(), NO_RELAY_SECONDS)
        log.info("%s: with implicit TLS it takes no mail without a login; STARTTLS is used for a day", host)
        return {recipient: each for recipient, each in outcomes.items() if not _may_want_login(each)}

    def keeps(self, session: Opened) -> bool:
        """Whether a session is worth keeping: not where it was just refused for want of a login."""
        return session.evidence.starttls is not StartTls.IMPLICIT or self.came_to is not ImplicitTry.NO_RELAY

    async def _open(self, offer: ImplicitOffer, addresses: Sequence[str], options: DeliverOptions) -> Made:
        options = changed(options, port=offer.port)
        try:
            async with asyncio.timeout(IMPLICIT_SECONDS):
                race = await connect(addresses, offer.port, self._ports.dialer, limit_seconds=IMPLICIT_SECONDS)
                if race.address is None:
                    return None
                result = await open_with_fallback(
                    race.address,
                    offer.requirement,
                    ports=self._ports,
                    options=options,
                    implicit=True,
                    stream=race.stream,
                )
        except TimeoutError:  # too late: STARTTLS has won, or has failed too
            return None
        return race.address, result

    def _outcome(self, offer: ImplicitOffer, there: asyncio.Task[Made]) -> ImplicitTry:
        if not there.done():
            return ImplicitTry.LATE
        if (bug := there.exception()) is not None:
            log.error("%s: internal error with implicit TLS at port %d", offer.host, offer.port, exc_info=bug)
            return ImplicitTry.UNREACHABLE
        match there.result():
            case (_, Opened()):
                return ImplicitTry.OPENED
            case (_, NotCleared(verdict=verdict, evidence=evidence)) if isinstance(evidence.handshake, Completed):
                why = "; ".join(sentence(reason) for reason in verdict.reasons)
                log.warning("%s: implicit TLS at port %d does not hold: %s", offer.host, offer.port, why)
                return ImplicitTry.NOT_CLEARED
            case (_, NotCleared()):
                return ImplicitTry.NO_TLS
        return ImplicitTry.UNREACHABLE


async def _until_one_is_open(there: asyncio.Task[Made], other: asyncio.Task[Made]) -> None:
    """Until a session is open, or there is none to be hoped for."""
    pending: set[asyncio.Task[Made]] = {there, other}
    while pending and not (_is_open(there) or _is_open(other)):
        _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        if other.done() and other.exception() is not None:
            return


def _is_open(task: asyncio.Task[Made]) -> bool:
    if not task.done() or task.exception() is not None:
        return False
    made = task.result()
    return made is not None and isinstance(made[1], Opened)


def _may_want_login(outcome: RecipientOutcome) -> bool:
    """Whether a refusal on a port that may be meant for submission can be for want of a login.

    That is 530 (RFC 4954 section 6), any status of the subject "security or policy" (RFC 3463 section 3.8), and what
    has no status of its own. Everything else is the server's answer.
    """
    if outcome.kind is OutcomeKind.DELIVERED or outcome.remote_reply is None:
        return False
    return outcome.remote_reply.startswith("530") or outcome.status[1:3] == ".7" or outcome.status[1:] == ".0.0"
