"""One attempt at one task, from the first lookup to the last reply. It writes nothing: it returns an Attempt."""

import logging
from collections.abc import Awaitable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial

from letterlock.deliver.decision_cache import DeliveryPath
from letterlock.deliver.eyeballs import connect, in_order
from letterlock.deliver.findings import AttemptFindings
from letterlock.deliver.following import Begun, Follower, Invite, Leader, begin
from letterlock.deliver.handshake_slots import HandshakeSlot, HandshakeSlots, HostBusy
from letterlock.deliver.implicit_first import Connecting, ImplicitFirst, ImplicitOffer, Made, UselessPorts
from letterlock.deliver.local.delivery import deliver_locally
from letterlock.deliver.options import DeliverOptions
from letterlock.deliver.pool import PoolKey, SessionPool
from letterlock.deliver.session import NotCleared, Opened, OpenResult, Ports, Unreachable, open_with_fallback
from letterlock.deliver.transaction import MessageInSession, Transacted, transact
from letterlock.deliver.troubles import Trouble, not_from
from letterlock.frozen import changed
from letterlock.identity.handshake import Completed
from letterlock.mail.addresses import Mailbox
from letterlock.mail.checked_content import Body, ContentLost
from letterlock.policy.decision import Requirement, SkipHost, SkipKind
from letterlock.policy.evidence import DestinationEvidence, Grounds, MxHost, Route, StartTls, TargetHost
from letterlock.policy.reasons import Reason
from letterlock.ports import Stream
from letterlock.queue.sessions import HostRuledOut
from letterlock.queue.tasks import Attempt, DeliveryTask, RecipientOutcome
from letterlock.routing.local_targets import FinalHop
from letterlock.routing.routes import NextHop

log = logging.getLogger("letterlock.deliver")

_IMPLICIT = StartTls.IMPLICIT  # until Python 3.12, to look it up in its class costs more than a call
_A_BUG = "%s: internal error at %s; the message stays queued if no other host takes it"


def attempt(
    task: DeliveryTask,
    body: Body,
    *,
    ports: Ports,
    options: DeliverOptions,
    pool: SessionPool | None = None,
    invite: Invite | None = None,
) -> Coroutine[None, None, Attempt]:
    """Try to deliver a task's message to its recipients at their next hop, or where the operator's route leads.

    Hosts are tried in the order of the route, each with the addresses that were judged, until every recipient has an
    outcome; a session that `pool` kept is used before a new one. Never raises for DNS, TLS or a server; and what nobody
    foresaw is logged, and defers as any other trouble does.

    `invite`: who may follow when the content is on its way in a session that others may use.

    Raises HostBusy when nothing was delivered and as many sessions with a host are being set up, or open, as may be.
    """
    return _Try(task, body, ports, options, pool, invite).run()


def follow(
    task: DeliveryTask,
    body: Body,
    *,
    ports: Ports,
    options: DeliverOptions,
    pool: SessionPool,
    leader: Leader,
    invite: Invite,
    ahead: Sequence[DeliveryPath],
) -> Follower | None:
    """Send a task's envelope behind the leader's content, if an attempt would use that session; `ahead`: its ways."""
    return _Try(task, body, ports, options, pool, invite).follow(leader, ahead)


class _Try(AttemptFindings):
    """An attempt in progress."""

    def __init__(
        self,
        task: DeliveryTask,
        body: Body,
        ports: Ports,
        options: DeliverOptions,
        pool: SessionPool | None,
        invite: Invite | None,
    ) -> None:
        super().__init__(task, ports.clock.now())
        self._body = body
        self._ports = ports
        self._options = options
        self._pool = pool
        self._handshake_slots = (
            pool.handshake_slots
            if pool is not None
            else HandshakeSlots(options.max_handshakes_per_host, options.max_connections_per_host)
        )
        self._id = task.lease.message_id
        self._locally: Attempt | None = None  # the whole attempt, where mail ends on this machine
        self._lmtp = False  # whether LMTP is spoken there
        self._one_host = False
        self._ground: tuple[DestinationEvidence, TargetHost, Requirement] | None = None  # of the session in use
        self._sessions_left = options.max_sessions
        self._implicit: ImplicitFirst | None = None  # made when a port is announced for it
        self._by_route = False  # whether the operator's route says that TLS comes first
        sender = task.envelope.reverse_path
        sender_domain = None if sender is None else sender.domain
        self._message = task.lease.next_hop, sender_domain, task.envelope.tls_demand
        self._invite = invite
        self._follower: Follower | None = None  # of the content that is on its way
        self._begun: Begun | None = None  # where the envelope went out before the attempt could go on

    async def run(self) -> Attempt:
        next_hop = self._task.lease.next_hop
        for step in (self._go_the_same_way, self._look_and_try):
            try:
                over = await step()
            except (HostBusy, ContentLost):
                raise
            except Exception:  # a trouble of the next hop: the message is no worse off than if that one had been down
                log.exception(_A_BUG, self._id, next_hop)
                over = self._broke(next_hop)
            if over:
                break
        implicit = None if self._implicit is None else self._implicit.came_to
        return self._locally or self._whole(self._ports.clock.now(), self._options.port, implicit)

    async def _look_and_try(self) -> bool:
        evidence = await self._look()
        if evidence.final is not None:
            self._locally = await self._end_at(evidence.final, self._ports.decision_cache.relayed(evidence))
            return True
        await self._try_destination(evidence)
        held_by_sts = SkipKind.MTA_STS in self._held_by
        if held_by_sts and self._pending() and await self._ports.discoverer.reconsider(evidence):
            self._forget()
            self._ports.decision_cache.forget_ways()
            await self._try_destination(await self._look())
        return True

    def follow(self, leader: Leader, ahead: Sequence[DeliveryPath]) -> Follower | None:
        """Send the envelope behind the leader's content, if this message would go the same way now."""
        way = self._ports.decision_cache.way(self._message, self._seen.started_at)
        for each in ahead if way is None else (way,):
            if self._pool is not None and each.address == leader.server.address:
                self._begun = begin(leader, each, self._task, self._body, pool=self._pool, options=self._options)
        return None if self._begun is None else Follower(self._task, self._begun.session, self.run)

    async def _go_the_same_way(self) -> bool:
        """Send as a message like this went a moment ago, or go on where its envelope is; whether it is over."""
        begun, self._begun = self._begun, None
        way = self._ports.decision_cache.way(self._message, self._seen.started_at) if begun is None else begun.way
        if way is None or self._pool is None:  # nothing like it went there lately
            return False
        usual_port = self._options.port
        self._take_port(way.port)
        try:
            server = begun.server if begun else PoolKey.of(way.host, way.address, way.port, self._options)
            kept = self._continued(begun) if begun else self._kept_session(server, way.requirement)
            if kept is None:
                return False
            self._relayed, self._lmtp, self._by_route = way.relayed, way.lmtp, way.by_route
            self._seen.reused(server, kept, self._seen.started_at)
            return bool(await self._transact(kept, server, begun.sending if begun else None))
        finally:
            if usual_port != self._options.port and self._pending():
                self._take_port(usual_port)

    def _continued(self, begun: Begun) -> Opened:
        """The session, which is this message's alone from now on."""
        self._seen.started_at = self._ports.clock.now()
        begun.session.conversation.begin_anew(self._options.timeouts.session)
        return begun.session

    def _remember_way(self, server: PoolKey) -> None:
        """The next message like this may go as this one did, as long as nobody would look again at the evidence.

        Not where there are several hosts: chance is to spread messages over those (RFC 5321 section 5.1).
        """
        if self._ground is None or not self._one_host:
            return
        evidence, target, requirement = self._ground
        way = DeliveryPath(
            host=server.host,
            address=server.address,
            port=server.port,
            requirement=requirement,
            relayed=self._relayed,
            lmtp=self._lmtp,
            by_route=self._by_route,
        )
        ends_at = min(evidence.ends_at, target.ends_at)
        self._ports.decision_cache.went(self._message, way, since=min(evidence.at, target.at), until=ends_at)

    def _look(self) -> Coroutine[None, None, DestinationEvidence]:
        next_hop, sender_domain, _ = self._message
        return self._ports.discoverer.destination(NextHop(next_hop, self._options.port), sender_domain)

    async def _end_at(self, final: FinalHop, reasons: Sequence[Reason]) -> Attempt:
        return await deliver_locally(
            self._task,
            self._body,
            final,
            ports=self._ports,
            options=self._options,
            pool=self._pool,
            reasons=reasons,
        )

    async def _try_destination(self, evidence: DestinationEvidence) -> None:
        self._take_port(evidence.next_hop.port)
        self._lmtp, self._by_route = evidence.lmtp, evidence.implicit_tls
        self._relayed = self._ports.decision_cache.relayed(evidence)
        routed = self._ports.decision_cache.route(evidence, self._ports.shuffle, self._options.hostname)
        if isinstance(routed, Route):
            self._one_host = len(routed.hosts) == 1
            for host in routed.hosts[: self._options.max_hosts]:
                try:
                    over = await self._try_host(evidence, host)
                except (HostBusy, ContentLost):
                    raise
                except Exception:  # a trouble of the host, in the same way
                    log.exception(_A_BUG, self._id, host.name)
                    over = self._broke(host.name)
                if over:
                    break
            else:
                self._give_up(evidence, routed)
        else:
            self._seen.ruled_out.append(HostRuledOut(evidence.next_hop.domain, routed, Grounds(destination=evidence)))
            self._held(evidence.next_hop.domain, routed)

    def _take_port(self, port: int) -> None:
        if port != self._options.port:
            self._options = changed(self._options, port=port)

    async def _try_host(self, evidence: DestinationEvidence, host: MxHost) -> bool:
        """Try one host; whether the attempt is over."""
        target = await self._ports.discoverer.host(host, self._options.port)
        required = self._ports.decision_cache.required(evidence, target, self._task.envelope.tls_demand)
        if isinstance(required, SkipHost):
            self._skipped.append(required)
        if not isinstance(required, Requirement):
            grounds = Grounds(destination=evidence, host=target)
            self._seen.ruled_out.append(HostRuledOut(host.name, required, grounds))
            return self._held(host.name, required)
        self._ground = evidence, target, required
        self._signs = required.signs
        addresses = in_order([*filter(self._options.source.reaches, target.addresses)])[: self._options.max_addresses]
        if target.addresses and not addresses:
            self._troubles.append(not_from(self._options.source, host.name, target.addresses))
        offer = None
        if self._options.implicit_tls and not self._by_route:
            demand = self._task.envelope.tls_demand
            offer = await self._implicit_first().offer(evidence, target, required, demand)
        if offer is not None:
            with self._at(offer):
                if await self._use_kept(host.name, [*addresses], offer.requirement):
                    return True
        return await self._try_addresses(host.name, addresses, required, offer)

    def _implicit_first(self) -> ImplicitFirst:
        if self._implicit is None:
            useless = UselessPorts() if self._pool is None else self._pool.useless_ports
            self._implicit = ImplicitFirst(self._ports, self._options, useless)
        return self._implicit

    @contextmanager
    def _at(self, offer: ImplicitOffer) -> Iterator[None]:
        """With the port of an offer and what must hold there, until mail is left that it did not take."""
        usual_port, ground = self._options.port, self._ground
        self._take_port(offer.port)
        self._ground = ground and (ground[0], offer.target, offer.requirement)
        try:
            yield
        finally:
            if self._pending():
                self._take_port(usual_port)
                self._ground = ground

    async def _try_addresses(
        self, host: str, addresses: list[str], requirement: Requirement, offer: ImplicitOffer | None
    ) -> bool:
        """Try them until one has led somewhere; whether the attempt is over.

        Each is tried once, and again without the extensions that it broke on. The first new session is in a race with
        one on the port of the `offer`.
        """
        ignored = self._options.ignore_ehlo
        while addresses:
            if self._sessions_left <= 0:
                self._handshake_slots.exhausted += 1
                return True
            if await self._use_kept(host, addresses, requirement):
                return True
            if not addresses or self._cannot_have_it(host):
                return False
            if (turn := self._turn(host, addresses)) is None:
                return False
            with turn:
                connecting = partial(self._connect, host, addresses, requirement, turn)
                made = await (self._race(offer, turn, connecting) if offer is not None else connecting())
            if made is not None:
                with self._at(offer) if offer is not None and offer.session(made) else nullcontext():
                    if await self._use(host, *made):
                        return True
            offer = None
            if made is not None and ignored != self._options.ignore_ehlo:
                ignored = self._options.ignore_ehlo
                addresses[:] = dict.fromkeys((made[0], *addresses))
        return False

    async def _race(self, offer: ImplicitOffer, turn: HandshakeSlot, connecting: Connecting) -> Made:
        made = await self._implicit_first().race(offer, turn.addresses, self._options, connecting)
        if made is not None and (session := offer.session(made)) is not None:
            self._sessions_left -= 1
            self._seen.tried(offer.host, made[0], offer.port, offer.requirement, self._ports.clock.now(), session)
            session.conversation.on_end = self._handshake_slots.opened(offer.host, made[0], offer.port)
        return made

    def _turn(self, host: str, addresses: Sequence[str]) -> HandshakeSlot | None:
        """A turn at setting up a session; None when there is none and part of the message has been delivered already.

        Raises HostBusy: then nothing was delivered, and the attempt may begin anew later.
        """
        try:
            return self._handshake_slots.take(host, addresses, self._options.port)
        except HostBusy as busy:
            if not self._outcomes:
                raise
            self._troubles.append(Trouble("4.4.5", busy.why, by_policy=False))
        return None

    async def _use_kept(self, host: str, addresses: list[str], requirement: Requirement) -> bool:
        """Send over sessions that were kept, while there are any; whether the attempt is over."""
        if self._pool is None:
            return False
        for address in tuple(addresses):
            server = self._server(host, address)
            while (kept := self._kept_session(server, requirement)) is not None:
                self._seen.reused(server, kept, self._ports.clock.now())
                over = await self._transact(kept, server, None)
                if over is not None:
                    addresses.remove(address)
                    if over:
                        return True
                    break
        return False

    async def _connect(self, host: str, addresses: list[str], requirement: Requirement, turn: HandshakeSlot) -> Made:
        """A session with the address that connects first; it and those that failed are no more among the addresses."""
        limit = self._options.timeouts.connect
        race = await connect(turn.addresses, self._options.port, self._ports.dialer, limit_seconds=limit)
        for address, why in race.failed:
            addresses.remove(address)
            now = self._ports.clock.now()
            self._seen.not_reached(host, address, self._options.port, requirement, now, why)
            self._troubles.append(Trouble("4.4.1", f"{host}[{address}]: {why}", by_policy=False))
        self._sessions_left -= len(race.failed)
        if race.address is None or race.stream is None:
            return None
        addresses.remove(race.address)
        turn.settle_on(race.address)
        result = await self._open(host, race.address, requirement, race.stream)
        if isinstance(result, Opened):
            result.conversation.on_end = self._handshake_slots.opened(host, race.address, self._options.port)
        return race.address, result

    async def _use(self, host: str, address: str, result: OpenResult) -> bool:
        """Send over a new session, if there is one; whether the attempt is over."""
        name = f"{host}[{address}]"
        match result:
            case Opened() as session:
                self._seen.meet(host, address, session.connected_at, session.handshake)
                return bool(await self._transact(session, self._server(host, address), None))
            case NotCleared(verdict=verdict, evidence=evidence, connected_at=connected_at):
                tls = evidence.handshake if isinstance(evidence.handshake, Completed) else None
                self._seen.meet(host, address, connected_at, tls)
                if isinstance(verdict, SkipHost) and verdict.kind is SkipKind.REQUIRETLS_NOT_OFFERED:
                    self._unable.add(host)
                return self._held(name, verdict)
            case Unreachable(status=code, text=text, connected_at=connected_at, hints=hints):
                self._seen.meet(host, address, connected_at, None)
                self._troubles.append(Trouble(code, f"{name}: {text}", by_policy=False, hints=hints))
        return False

    def _server(self, host: str, address: str) -> PoolKey:
        return PoolKey.of(host, address, self._options.port, self._options)

    def _kept_session(self, server: PoolKey, requirement: Requirement) -> Opened | None:
        if self._pool is None:
            return None
        return self._pool.take(server, requirement, ignored=self._options.ignore_ehlo)

    def _open(self, host: str, address: str, requirement: Requirement, stream: Stream) -> Awaitable[OpenResult]:
        options = self._options
        if self._pool is not None:
            broken = self._pool.broken_offers.at(host, options.port, self._ports.clock.now())
            options = changed(options, ignore_ehlo=options.ignore_ehlo | broken) if broken else options
        return open_with_fallback(
            address,
            requirement,
            ports=self._ports,
            options=options,
            implicit=self._by_route,
            lmtp=self._lmtp,
            stream=stream,
            tried=partial(self._tried, host, address),
            answered=partial(self._handshake_slots.answered, self._task.lease.next_hop),
        )

    def _tried(self, host: str, address: str, requirement: Requirement, result: OpenResult) -> None:
        self._sessions_left -= 1
        self._seen.tried(host, address, self._options.port, requirement, self._ports.clock.now(), result)

    async def _transact(self, session: Opened, server: PoolKey, begun: MessageInSession | None) -> bool | None:
        """Whether the attempt is over; None when a session that was kept turned out to have ended meanwhile."""
        seen, cleared = self._seen, session.cleared
        seen.ready_at, seen.achieved, seen.cleared = self._ports.clock.now(), cleared.achieved, cleared.reasons
        kept = False
        if self._invite is not None:
            self._invite.expect()
        try:
            done = await transact(
                session,
                self._task.envelope,
                self._pending(),
                self._body,
                server=f"{server.host}[{server.address}]",
                begun=begun,
                invite=partial(self._let_follow, session, server),
            )
            over = self._learn(done, session, server)  # first of all, so that nothing can undo it
            worth_keeping = self._implicit is None or self._implicit.keeps(session)
            if self._pool is not None and done.lost is None and worth_keeping:
                if self._follower is not None:
                    kept = bool(over) and self._follower.take_over()
                else:
                    kept = True
                    await self._pool.put(server, session)
                    self._remember_way(server)
        finally:
            self._follower = None
            if not kept:
                await session.conversation.end()
        return over

    def _let_follow(self, session: Opened, server: PoolKey) -> bool:
        """Let the next message's envelope follow the content, if it goes to this very server; whether it does."""
        if self._invite is not None and self._invite.somebody_waits():
            self._remember_way(server)
            self._follower = self._invite.invite(Leader(session, server, self._options))
        return self._follower is not None

    def _learn(self, done: Transacted, session: Opened, server: PoolKey) -> bool | None:
        """What the transactions came to; the same answer as `_transact`."""
        host = server.host
        if done.broke_on:
            self._distrust(host, done.broke_on)
        if done.broke_in_group and self._pool is not None:
            log.warning("%s: the session with %s was lost; no envelope follows a content for an hour", self._id, host)
            self._pool.broken_groups.remember(host, self._options.port, self._ports.clock.now())
        for recipient, outcome in done.unable.items():
            self._without.setdefault(recipient, {})[host] = outcome
            self._troubles.append(Trouble(outcome.status, outcome.text, by_policy=False))
        if session.reused and done.lost is not None and not done.outcomes:
            return None
        taken: Mapping[Mailbox, RecipientOutcome] = done.outcomes
        if session.evidence.starttls is _IMPLICIT and not self._by_route:
            taken = self._implicit_first().taken(taken, host)
        self._outcomes |= taken
        if done.lost is not None:
            name = f"{host}[{server.address}]"
            if done.broken:
                self._broke(name)
            else:
                text = f"{name}: {done.lost.text}"
                self._troubles.append(Trouble(done.lost.status, text, by_policy=False, hints=done.lost.hints))
        return self._is_over()

    def _distrust(self, host: str, keywords: frozenset[str]) -> None:
        """Do without these extensions for the rest of this attempt, and at this host from now on."""
        words = ", ".join(sorted(keywords))
        log.warning("%s: the session with %s was lost; from now on it goes without %s", self._id, host, words)
        self._options = changed(self._options, ignore_ehlo=self._options.ignore_ehlo | keywords)
        if self._pool is not None:
            self._pool.broken_offers.remember(host, self._options.port, keywords, self._ports.clock.now())
