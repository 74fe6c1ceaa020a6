"""Finds out what must hold for mail to a next hop, by the lookups and decisions of our own deliveries."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from letterlock.companion.postfix_key import stays_on_this_machine
from letterlock.companion.postfix_policy import HostDemand, NotDemanded, NotFoundOut, PolicyAnswer, policy_for
from letterlock.mtasts.sts_evidence import Known
from letterlock.policy.decision import Defer, Refuse
from letterlock.policy.evidence import DestinationEvidence, MxHost, Route, TargetHost
from letterlock.policy.require import require
from letterlock.policy.route import route
from letterlock.routing.routes import NextHop

PIN_SECONDS = 30.0
"""An answer stays the same for at least so long: Postfix asks again for each MX host of one attempt, and gives a host
30 seconds to answer (smtp_connect_timeout)."""
MAX_SECONDS = 3600.0  # chosen: then a new MTA-STS policy is noticed, whatever the TTL of the other records
FAILED_SECONDS = 5.0  # chosen: as long as the resolver holds a failure at least (RFC 9520 section 3.2)


class LooksUp(Protocol):
    """The source of evidence: a Discoverer without routes."""

    async def destination(self, next_hop: NextHop, sender: str | None = None) -> DestinationEvidence:
        """The evidence on a next hop."""

    async def host(self, host: MxHost, port: int) -> TargetHost:
        """The evidence on one of its hosts."""


@dataclass(frozen=True, slots=True)
class Decided:
    """The policy for a next hop, what it was derived from, and for how many seconds it may be used."""

    answer: PolicyAnswer
    evidence: DestinationEvidence
    routed: Route | Defer | Refuse
    hosts: tuple[HostDemand, ...]
    seconds: float


async def decide(discoverer: LooksUp, next_hop: NextHop, *, fingerprints: bool = False) -> Decided:
    """Look up a next hop and all its hosts, and decide. Never raises for DNS or HTTPS."""
    evidence = await discoverer.destination(next_hop)
    routed = route(evidence, _as_they_are)
    hosts: tuple[HostDemand, ...] = ()
    if isinstance(routed, Route):
        targets = await asyncio.gather(*(discoverer.host(each, next_hop.port) for each in routed.hosts))
        hosts = tuple(HostDemand(each, require(evidence, each)) for each in targets)
    answer: PolicyAnswer = NotDemanded()
    if not stays_on_this_machine(next_hop):
        answer = policy_for(evidence, routed, hosts, fingerprints=fingerprints)
    return Decided(answer, evidence, routed, hosts, _seconds(answer, evidence, hosts))


def _as_they_are(hosts: Sequence[MxHost]) -> Sequence[MxHost]:
    return hosts


def _seconds(answer: PolicyAnswer, evidence: DestinationEvidence, hosts: Sequence[HostDemand]) -> float:
    """As long as all records last, at least PIN_SECONDS; but no exception lasts longer than the operator wrote."""
    if isinstance(answer, NotFoundOut):
        return FAILED_SECONDS
    ends = [evidence.ends_at, *(each.target.ends_at for each in hosts)]
    if isinstance(evidence.sts, Known):
        ends.append(evidence.sts.expires_at)
    lasting = max(PIN_SECONDS, min(MAX_SECONDS, min(ends) - evidence.at))
    exception = evidence.rule.exception if evidence.rule is not None else None
    last = math.inf if exception is None or exception.until <= evidence.at else exception.until - evidence.at
    return min(lasting, last)
