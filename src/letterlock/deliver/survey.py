"""A look at a destination, as delivery would see it, up to the moment before MAIL FROM. Nothing is sent.

The same line as an attempt (discover, route, require, open, judge), so that what is shown is what would happen; but
every host and address is looked at, where an attempt ends at the first that takes the message.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial

from letterlock.deliver.options import DeliverOptions
from letterlock.deliver.session import Opened, OpenResult, Ports, Refused, Unreachable, open_with_fallback
from letterlock.discover.reporting import find_reporting
from letterlock.policy.advice import Advice, Reporting, Seen, SeenHost, advise
from letterlock.policy.decision import Defer, Refuse, Requirement, SkipHost
from letterlock.policy.evidence import (
    Completed,
    DestinationEvidence,
    MxHost,
    NextHop,
    Route,
    TargetHost,
)
from letterlock.policy.final import FinalHop
from letterlock.policy.outlook import Prospect, Protection, Summary, outlook, protection, weakest
from letterlock.policy.reasons import Reason, sentence
from letterlock.policy.require import require
from letterlock.policy.route import relay_reasons, route
from letterlock.ports import Resolver


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """One address of a host, and what a session with it came to."""

    address: str
    result: OpenResult

    @property
    def handshake(self) -> Completed | None:
        """The finished TLS handshake, whether or not the session was cleared."""
        match self.result:
            case Opened(handshake=handshake):
                return handshake
            case Refused(evidence=evidence) if isinstance(evidence.handshake, Completed):
                return evidence.handshake
        return None

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """What the session itself showed, beside what the requirement says."""
        match self.result:
            case Opened(cleared=cleared):
                return tuple(each for each in cleared.reasons if each not in cleared.requirement.reasons)
            case Refused(verdict=verdict):
                return verdict.reasons
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSurvey:
    """One MX host: evidence, what delivery would demand, what was met, and what that protects against."""

    target: TargetHost
    required: Requirement | SkipHost | Defer | Refuse
    contacts: tuple[Contact, ...]
    prospects: tuple[Prospect, ...]
    summary: Summary


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

    @property
    def domain(self) -> str:
        """The domain that was asked for; the next hop is another one where the operator's route leads elsewhere."""
        return self.evidence.recipient_domain or self.evidence.next_hop.domain


async def survey(
    domain: str, *, ports: Ports, options: DeliverOptions, resolver: Resolver, seats: asyncio.Semaphore
) -> Survey:
    """Look at a destination, or where the operator's route leads. Never raises for DNS, TLS or a server."""
    evidence = await ports.discoverer.destination(NextHop(domain, options.port))
    if evidence.final is not None:
        return _ends_here(evidence, evidence.final, at=ports.clock.now())
    reporting = await find_reporting(resolver, evidence.next_hop.domain)
    options = replace(options, port=evidence.next_hop.port)
    routed = route(evidence, ports.shuffle, options.hostname)
    hosts: tuple[HostSurvey, ...] = ()
    if isinstance(routed, Route):
        looking = (_host(evidence, host, ports, options, seats) for host in routed.hosts[: options.max_hosts])
        hosts = tuple(await asyncio.gather(*looking))
    return Survey(
        evidence=evidence,
        routed=routed,
        hosts=hosts,
        summary=weakest(host.summary for host in hosts) if isinstance(routed, Route) else _without_route(routed),
        reporting=reporting,
        advice=advise(Seen(evidence=evidence, hosts=tuple(map(_seen, hosts)), reporting=reporting)),
        at=ports.clock.now(),
    )


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
    return SeenHost(
        target=host.target,
        required=host.required,
        told=tuple(dict.fromkeys(reason for contact in host.contacts for reason in contact.reasons)),
        chains=tuple(contact.handshake.chain for contact in host.contacts if contact.handshake),
    )


def _without_route(verdict: Defer | Refuse) -> Summary:
    why = "; ".join(sentence(reason) for reason in verdict.reasons)
    if isinstance(verdict, Refuse):
        return Summary(Protection.UNPROTECTED, f"no mail can be sent there: {why}")
    return Summary(Protection.UNKNOWN, why)


async def _host(
    evidence: DestinationEvidence, host: MxHost, ports: Ports, options: DeliverOptions, seats: asyncio.Semaphore
) -> HostSurvey:
    target = await ports.discoverer.host(host, options.port)
    required = require(evidence, target)
    contacts: tuple[Contact, ...] = ()
    if isinstance(required, Requirement):
        addresses = target.addresses[: options.max_addresses]
        opened = partial(open_with_fallback, ports=ports, options=options, lmtp=evidence.lmtp)
        contacts = tuple(await asyncio.gather(*(_contact(each, required, opened, seats) for each in addresses)))
    return HostSurvey(
        target=target,
        required=required,
        contacts=contacts,
        prospects=outlook(evidence, target, required),
        summary=_met(protection(evidence, target, required), contacts),
    )


async def _contact(
    address: str, requirement: Requirement, opened: Callable[..., Awaitable[OpenResult]], seats: asyncio.Semaphore
) -> Contact:
    """A session with one address, when there is a seat for it, by the same steps as delivery."""
    async with seats:
        result = await opened(address, requirement)
        if isinstance(result, Opened):
            await result.conversation.end()
        return Contact(address=address, result=result)


def _met(promised: Summary, contacts: tuple[Contact, ...]) -> Summary:
    """What the DNS and the rules promise, held against what the sessions showed."""
    if promised.protection not in (Protection.PROTECTED, Protection.ONCE_KNOWN) or any(
        isinstance(each.result, Opened) for each in contacts
    ):
        return promised
    refused = next((each.result for each in contacts if isinstance(each.result, Refused)), None)
    if refused is not None:
        why = sentence(refused.verdict.reasons[0])
        return Summary(Protection.HELD, f"nobody can read the mail, and nothing is sent: {why}")
    unreachable = next((each.result for each in contacts if isinstance(each.result, Unreachable)), None)
    why = unreachable.text if unreachable else "no address"
    return replace(promised, protection=Protection.UNKNOWN, sentence=f"the server could not be looked at: {why}")
