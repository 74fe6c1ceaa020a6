"""A look at a destination, as delivery would see it, up to the moment before MAIL FROM. Nothing is sent.

The same line as an attempt (discover, route, require, open, judge), so that what is shown is what would happen; but
every host and address is looked at, where an attempt ends at the first that takes the message.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from letterlock.deliver.options import DeliverOptions
from letterlock.deliver.session import NotCleared, Ports, Unreachable
from letterlock.deliver.unforeseen import INTERNAL_ERROR
from letterlock.discover.announced import Announced, find_announced
from letterlock.discover.report_destinations import find_reporting
from letterlock.identity.handshake import Completed, HandshakeFailed
from letterlock.inspect.outlook import Prospect, Protection, Summary, but, outlook, protection, unseen, weakest
from letterlock.inspect.recommend import Advice, Reporting, SeenHost, SurveyedDestination, advise
from letterlock.inspect.shared_sessions import SessionFindings, SessionTerms, SharedSessions
from letterlock.policy.decision import Cleared, Defer, Refuse, Requirement, SkipHost
from letterlock.policy.evidence import DestinationEvidence, MxHost, Route, SessionEvidence, StartTls, TargetHost
from letterlock.policy.judge import judge
from letterlock.policy.reasons import Reason, sentence
from letterlock.policy.require import exhausted, require
from letterlock.policy.route import relay_reasons, route
from letterlock.ports import Resolver
from letterlock.routing.local_targets import FinalHop
from letterlock.routing.routes import NextHop


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """What was required held in a session with one address. It is closed: mail is sent in another one."""

    cleared: Cleared
    evidence: SessionEvidence

    @property
    def handshake(self) -> Completed | None:
        """The TLS handshake, where there was one."""
        return self.evidence.handshake if isinstance(self.evidence.handshake, Completed) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """One address of a host, and what a session with it came to."""

    address: str
    result: Met | NotCleared | Unreachable

    @property
    def handshake(self) -> Completed | None:
        """The finished TLS handshake, whether or not the session was cleared."""
        match self.result:
            case Met(handshake=handshake):
                return handshake
            case NotCleared(evidence=evidence) if isinstance(evidence.handshake, Completed):
                return evidence.handshake
        return None

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """The reasons from the session itself, without those of the requirement."""
        match self.result:
            case Met(cleared=cleared):
                return tuple(each for each in cleared.reasons if each not in cleared.requirement.reasons)
            case NotCleared(verdict=verdict):
                return verdict.reasons
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSurvey:
    """One MX host: evidence, what delivery would demand, what was met, and what that protects against.

    `promised` is what DNS and the rules come to, whatever the sessions showed; `summary` what both come to.
    """

    target: TargetHost
    required: Requirement | SkipHost | Defer | Refuse
    contacts: tuple[Contact, ...]
    prospects: tuple[Prospect, ...]
    promised: Summary
    summary: Summary

    @property
    def reached(self) -> bool:
        """Whether any of its addresses was spoken to."""
        return any(not isinstance(each.result, Unreachable) for each in self.contacts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """A destination: its evidence, its route or why there is none, its hosts, what all that comes to, what to do next.

    `at`: seconds since 1970.
    """

    evidence: DestinationEvidence
    routed: Route | Defer | Refuse
    hosts: tuple[HostSurvey, ...]
    summary: Summary
    reporting: Reporting | None
    advice: tuple[Advice, ...]
    at: float
    announced: tuple[Announced, ...] = ()

    @property
    def domain(self) -> str:
        """The domain that was asked for; the next hop is another one where the operator's route leads elsewhere."""
        return self.evidence.recipient_domain or self.evidence.next_hop.domain


async def survey(
    domain: str,
    *,
    ports: Ports,
    options: DeliverOptions,
    resolver: Resolver,
    sessions: SharedSessions,
    source: str = "",
    selectors: tuple[str, ...] | None = None,
) -> Survey:
    """Look at a destination, or where the operator's route leads. Never raises for DNS, TLS or a server.

    `selectors`: look at SPF, DMARC and these DKIM keys, too; None: at none of them.
    `source` names the address that the dialer in `ports` dials from: sessions are shared between equal ones.
    """
    evidence = await ports.discoverer.destination(NextHop(domain, options.port))
    if evidence.final is not None:
        return _ends_here(evidence, evidence.final, at=ports.clock.now())
    options = replace(options, port=evidence.next_hop.port)
    look = _Look(evidence, ports, options, sessions, source)
    routed = route(evidence, ports.shuffle, options.hostname)
    listed = routed.hosts[: options.max_hosts] if isinstance(routed, Route) else ()
    reporting, announced, hosts = await asyncio.gather(
        find_reporting(resolver, evidence.next_hop.domain),
        _announced(resolver, domain, selectors),
        look.at_hosts(listed),
    )
    if isinstance(routed, Route):
        routed = _after_all(evidence, routed, hosts)
    return Survey(
        evidence=evidence,
        routed=routed,
        hosts=hosts,
        summary=_together(hosts) if isinstance(routed, Route) else _without_route(routed),
        reporting=reporting,
        advice=advise(SurveyedDestination(evidence=evidence, hosts=tuple(map(_seen, hosts)), reporting=reporting)),
        at=ports.clock.now(),
        announced=announced,
    )


async def _announced(resolver: Resolver, domain: str, selectors: tuple[str, ...] | None) -> tuple[Announced, ...]:
    return () if selectors is None else await find_announced(resolver, domain, selectors)


def unforeseen(domain: str, *, port: int, at: float) -> Survey:
    """A survey that a bug of ours has ended: nothing is known of the domain, and others are looked at all the same."""
    reason = Reason(code=INTERNAL_ERROR, subject=domain)
    return Survey(
        evidence=DestinationEvidence(next_hop=NextHop(domain, port), mx=None, rule=None),
        routed=Defer(reasons=(reason,)),
        hosts=(),
        summary=Summary(Protection.UNKNOWN, sentence(reason)),
        reporting=None,
        advice=(),
        at=at,
    )


def _after_all(evidence: DestinationEvidence, routed: Route, hosts: tuple[HostSurvey, ...]) -> Route | Refuse:
    """The route; or that no mail can ever be sent there, as delivery decides when no host has an address."""
    skipped = [host.required for host in hosts if isinstance(host.required, SkipHost)]
    verdict = exhausted(routed.next_hop.domain, skipped)
    never = len(skipped) == len(routed.hosts) and evidence.relay is None
    return verdict if never and isinstance(verdict, Refuse) else routed


def _together(hosts: tuple[HostSurvey, ...]) -> Summary:
    """What the hosts come to. Where one was reached, another that was not counts by what is promised for it: mail goes
    there when it is up again, or when an attacker keeps it from the others."""
    if not any(host.reached for host in hosts):
        return weakest(host.summary for host in hosts)
    return weakest(host.summary if host.reached or not _weak(host.promised) else host.promised for host in hosts)


def _weak(promised: Summary) -> bool:
    return promised.protection in (Protection.UNPROTECTED, Protection.ONCE_KNOWN)


def _ends_here(evidence: DestinationEvidence, final: FinalHop, *, at: float) -> Survey:
    return Survey(
        evidence=evidence,
        routed=Defer(reasons=relay_reasons(evidence)),
        hosts=(),
        summary=Summary(Protection.PROTECTED, f"mail ends on this machine: {final}"),
        reporting=None,
        advice=(),
        at=at,
    )


def _seen(host: HostSurvey) -> SeenHost:
    shown = [each.result.evidence for each in host.contacts if not isinstance(each.result, Unreachable)]
    return SeenHost(
        target=host.target,
        required=host.required,
        told=tuple(dict.fromkeys(reason for contact in host.contacts for reason in contact.reasons)),
        chains=tuple(contact.handshake.chain for contact in host.contacts if contact.handshake),
        strengths=tuple(contact.handshake.strength for contact in host.contacts if contact.handshake),
        broken=tuple(filter(None, map(_broken, shown))),
    )


def _broken(evidence: SessionEvidence) -> str | None:
    """How the handshake failed; of a session that is the fallback, only that it did."""
    if isinstance(evidence.handshake, HandshakeFailed):
        return evidence.handshake.detail
    return "twice, before a session in cleartext" if evidence.starttls is StartTls.NOT_TRIED else None


def _without_route(verdict: Defer | Refuse) -> Summary:
    if isinstance(verdict, Refuse):
        return Summary(Protection.NO_MAIL, f"no mail can be sent there: {sentence(verdict.reasons[0])}")
    return Summary(Protection.UNKNOWN, "; ".join(sentence(reason) for reason in verdict.reasons))


@dataclass(frozen=True, slots=True)
class _Look:
    """A look at the hosts of one destination."""

    evidence: DestinationEvidence
    ports: Ports
    options: DeliverOptions
    sessions: SharedSessions
    source: str

    async def at_hosts(self, hosts: Sequence[MxHost]) -> tuple[HostSurvey, ...]:
        """Look at each, all at once."""
        return tuple(await asyncio.gather(*map(self.at_host, hosts)))

    async def at_host(self, host: MxHost) -> HostSurvey:
        """What is demanded of it, and what its addresses show."""
        target = await self.ports.discoverer.host(host, self.options.port)
        required = require(self.evidence, target)
        contacts: tuple[Contact, ...] = ()
        if isinstance(required, Requirement):
            addresses = target.addresses[: self.options.max_addresses]
            contacts = tuple(await asyncio.gather(*(self._contact(each, required) for each in addresses)))
        promised = protection(self.evidence, target, required)
        return HostSurvey(
            target=target,
            required=required,
            contacts=contacts,
            prospects=outlook(self.evidence, target, required),
            promised=promised,
            summary=_met(promised, contacts),
        )

    async def _contact(self, address: str, requirement: Requirement) -> Contact:
        """What a session showed, judged by what is required here: others may have opened it, for other demands."""
        way = SessionTerms.of(
            requirement,
            address,
            self.options.port,
            source=self.source,
            lmtp=self.evidence.lmtp,
            implicit=self.evidence.implicit_tls,
        )
        shown = await self.sessions.look(way, requirement, self.ports, self.options)
        if isinstance(shown, Unreachable):
            return Contact(address=address, result=shown)
        return Contact(address=address, result=_judged(requirement, shown, self.ports.clock.now()))


def _judged(requirement: Requirement, shown: SessionFindings, now: float) -> Met | NotCleared:
    if shown.by_fallback and requirement.fallback is not None:
        requirement = requirement.fallback
    verdict = judge(requirement, shown.evidence, now)
    if isinstance(verdict, Cleared):
        return Met(cleared=verdict, evidence=shown.evidence)
    return NotCleared(verdict=verdict, evidence=shown.evidence, connected_at=now)


def _met(promised: Summary, contacts: Iterable[Contact]) -> Summary:
    """What the DNS and the rules promise, held against what the sessions showed."""
    results = [each.result for each in contacts]
    met = [one for one in results if isinstance(one, Met)]
    if met:
        return but(promised, [words for one in met if one.handshake for words in one.handshake.strength.sentences])
    if promised.protection in (Protection.UNKNOWN, Protection.HELD):
        return promised
    refused = next((one for one in results if isinstance(one, NotCleared)), None)
    if refused is None:
        unreachable = next((one.text for one in results if isinstance(one, Unreachable)), "it has no address")
        return unseen(promised, unreachable)
    if promised.protection is Protection.UNPROTECTED:
        return promised
    why = sentence(refused.verdict.reasons[0])
    return Summary(Protection.HELD, f"nobody can read the mail, and nothing is sent: {why}")
