"""The lookups for one next hop and for one host (RFC 5321 section 5.1, RFC 7672 section 2.2)."""

import asyncio
import copy
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

import dns.name
from dns.rdatatype import RdataType
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA

from letterlock.frozen import frozen_dataclass
from letterlock.identity.trust import TrustRoots
from letterlock.mail.names import is_address_literal
from letterlock.memory.remembered import DomainMemory
from letterlock.mtasts import Known, StsEvidence, StsPolicy
from letterlock.policy.by_memory import memory_key
from letterlock.policy.evidence import DestinationEvidence, MemoryUnreadable, MxHost, Origin, TargetHost
from letterlock.ports import Clock, Resolver
from letterlock.resolver.answer import Answer, FailureKind, LookupFailure, Question, Security
from letterlock.resolver.known_names import from_text
from letterlock.routing.destination_rule import MemoryMode
from letterlock.routing.routes import NextHop, RelayHost
from letterlock.routing.rules import Rules

SMTP_TLS = "_smtp-tls._tcp"  # draft-nurpmeso-smtp-tls-srv: the service of SMTP between servers inside TLS
MAX_ADDRESSES = 20  # chosen: of one host; real ones have two to eight, and a hostile one must not cost more time


class PolicyFinder(Protocol):
    """Finds the MTA-STS policies of domains; implemented in `letterlock.discover.sts_finder`."""

    def find(self, domain: str) -> Awaitable[StsEvidence]:
        """The evidence on a domain's policy."""

    async def recheck(self, domain: str) -> StsEvidence:
        """The same, after a fresh look at the TXT record's id."""


class OwnAddresses(Protocol):
    """Knows the addresses of this server; implemented in `letterlock.net.ourselves`."""

    def listens(self, address: str, port: int) -> bool:
        """Whether it is this server that answers there."""

    def only_by_route(self, address: str) -> bool:
        """Whether a host there, on this machine, can be meant by the operator only."""

    def has_ipv6(self) -> bool:
        """Whether this machine can reach IPv6 addresses at all."""


class MemoryFinder(Protocol):
    """Knows what earlier deliveries showed; implemented in `letterlock.discover.remembered_finder`."""

    async def find(self, domain: str) -> DomainMemory | MemoryUnreadable | None:
        """What is remembered of a next hop."""


_T = TypeVar("_T")
_Found = Answer | LookupFailure
_WEAKEST_FIRST = (Security.BOGUS, Security.INDETERMINATE, Security.INSECURE, Security.SECURE)


class Discoverer:
    """Asks a validating resolver, and adds the domain's MTA-STS policy and the operator's rule.

    `sts` None: MTA-STS is not asked for. `public_roots` are those of WebPKI. `ourselves` None: who looks is no server
    that mail could come back to. `implicit_tls`: whether SRV records that announce it are asked for.
    """

    def __init__(
        self,
        resolver: Resolver,
        rules: Rules,
        *,
        clock: Clock,
        sts: PolicyFinder | None = None,
        public_roots: TrustRoots | None = None,
        ourselves: OwnAddresses | None = None,
        implicit_tls: bool = False,
        memory: MemoryFinder | None = None,
    ) -> None:
        self._look_up: Callable[[str, RdataType], Awaitable[_Found]] = getattr(resolver, "look_up", resolver.resolve)
        self._rules = rules
        self._clock = clock
        self._sts = sts
        self._public_roots = public_roots
        self._ourselves = ourselves
        self._implicit_tls = implicit_tls
        self._memory = memory

    def with_rules(self, rules: Rules) -> "Discoverer":
        """The same, for other rules."""
        other = copy.copy(self)
        other._rules = rules  # noqa: SLF001  # a copy of our own
        return other

    def for_another_server(self) -> "Discoverer":
        """The same for mail that another server on this machine sends: without our routes, and it is no loop to us."""
        other = self.with_rules(self._rules.without_routes())
        other._memory = None  # noqa: SLF001  # a copy of our own; what that server delivers, nobody here sees
        other._ourselves = None  # noqa: SLF001  # a copy of our own
        other._implicit_tls = False  # noqa: SLF001
        return other

    def destination_key(self, domain: str) -> str:
        """Where mail for a domain goes: the next hop of its route, else the domain itself. No lookups."""
        relay = self._rules.relay_for(domain)
        return domain if relay is None else relay.domain

    async def destination(self, next_hop: NextHop, sender: str | None = None) -> DestinationEvidence:
        """The MX answer of a next hop, its MTA-STS policy, and the rule for it and the sender's domain.

        Where the operator has a route for it, it is the route's next hop that is asked for: the policy domain is that
        of the relay host (RFC 8461 section 3.4). An address literal has neither MX nor policy, and a host that a route
        names no MX. Where mail ends on this machine, nobody is asked. Never raises for DNS or HTTPS.
        """
        relay = self._rules.relay_for(next_hop.domain, sender)
        if relay is not None and relay.final is not None:
            return _final(relay, next_hop, at=self._clock.now())
        hop = next_hop if relay is None else relay.next_hop(next_hop.port)
        heard = self._rules.for_message(next_hop.domain, sender)
        policy = self._policy(hop)
        try:
            mx = await self._mx(hop)
            memory = await self._remembered(hop, heard.memory, lmtp=relay is not None and relay.lmtp)
            smtp_tls = await self._smtp_tls(hop, mx)
            sts = None if policy is None else await policy
        finally:
            if policy is not None:  # if it is not done, nobody waits for it any more
                policy.cancel()
        return DestinationEvidence(
            next_hop=hop,
            mx=mx,
            rule=heard.rule,
            audited=heard.audited,
            sts=sts,
            public_roots=self._public_roots,
            at=self._clock.now(),  # once all is there: what is left of a TTL counts from now on
            relay=relay,
            recipient_domain=None if relay is None else next_hop.domain,
            expected_by=self._rules.written_for(hop.domain),
            smtp_tls=smtp_tls,
            memory=memory,
            memory_mode=heard.memory,
            memory_rule=heard.memory_rule,
        )

    async def reconsider(self, evidence: DestinationEvidence) -> bool:
        """Look at the id of the domain's MTA-STS policy again: whether another one holds than that in the evidence.

        Due before a failure becomes permanent (RFC 8461 section 5.1).
        """
        if self._sts is None or evidence.sts is None:
            return False
        return _policy_of(await self._sts.recheck(evidence.next_hop.domain)) != _policy_of(evidence.sts)

    async def _mx(self, next_hop: NextHop) -> Answer | LookupFailure | None:
        if next_hop.is_host or is_address_literal(next_hop.domain):
            return None
        return await self._look_up(next_hop.domain, RdataType.MX)

    async def _smtp_tls(self, next_hop: NextHop, mx: Answer | LookupFailure | None) -> Answer | LookupFailure | None:
        """The SRV records that announce implicit TLS; asked for only where they can be signed: the MX records are."""
        if not self._implicit_tls or not isinstance(mx, Answer) or not mx.secure or not mx.records:
            return None
        try:
            from_text(owner := f"{SMTP_TLS}.{next_hop.domain}")
        except dns.name.NameTooLong:  # no such name can exist, so nothing is announced there
            return None
        return await self._look_up(owner, RdataType.SRV)

    def _policy(self, next_hop: NextHop) -> "asyncio.Future[StsEvidence] | None":
        """The search for a policy, which is begun beside that for MX records."""
        if self._sts is None or is_address_literal(next_hop.domain):
            return None
        return _under_way(self._sts.find(next_hop.domain))

    async def _remembered(
        self, next_hop: NextHop, mode: MemoryMode, *, lmtp: bool
    ) -> DomainMemory | MemoryUnreadable | None:
        if self._memory is None or mode is MemoryMode.OFF or lmtp or is_address_literal(next_hop.domain):
            return None
        return await self._memory.find(memory_key(next_hop))

    async def host(self, host: MxHost, port: int) -> TargetHost:
        """The addresses of a host, at most MAX_ADDRESSES, and the TLSA answer where it is to be asked for.

        One address family that could not be found out is kept as evidence, and the other is used. The security is that
        of the answers that gave addresses, so that nobody makes a host insecure by making one lookup fail.
        """
        if host.origin is Origin.LITERAL:
            return self._with_ours(_literal_target(host, port, at=self._clock.now()))
        lookups = await self._address_lookups(host.name)
        answers = [one for one in lookups if isinstance(one, Answer)]
        positive = [one for one in answers if one.records]
        weakest = min(positive, key=lambda one: _WEAKEST_FIRST.index(one.security), default=None)
        found = await self._tlsa(_base_candidates(host.name, weakest) if weakest else (), port)
        canonical = weakest or next(iter(answers), None)
        target = TargetHost(
            host=host,
            port=port,
            canonical_name=_text(canonical.canonical_name) if canonical else host.name,
            addresses=addresses_of(positive),
            address_lookups=tuple(lookups),
            address_security=weakest.security if weakest else None,
            tlsa_base=found.base,
            tlsa=found.answer,
            at=self._clock.now(),
        )
        return self._with_ours(target)

    async def _address_lookups(self, name: str) -> list[_Found]:
        """AAAA and A; a machine without IPv6 has no use for AAAA records where there is an A record."""
        if self._ourselves is not None and not self._ourselves.has_ipv6():
            found = _readable(await self._look_up(name, RdataType.A))
            if isinstance(found, Answer) and found.records:
                return [found]
        return [_readable(one) for one in await self._side_by_side(name, (RdataType.AAAA, RdataType.A))]

    async def _side_by_side(self, name: str, rdtypes: Sequence[RdataType]) -> list[_Found]:
        looking = [_under_way(self._look_up(name, rdtype)) for rdtype in rdtypes]
        try:
            return [await each for each in looking]
        finally:
            for each in looking:  # as above
                each.cancel()

    def _with_ours(self, target: TargetHost) -> TargetHost:
        """With what is known of its addresses as those of this machine."""
        if (ourselves := self._ourselves) is None:
            return target
        ours = tuple([one for one in target.addresses if ourselves.listens(one, target.port)])
        by_route = tuple([one for one in target.addresses if ourselves.only_by_route(one)])
        return replace(target, ours=ours, only_by_route=by_route) if ours or by_route else target

    async def _tlsa(self, candidates: Sequence[str], port: int) -> "_Tlsa":
        """Ask for TLSA at the candidates in turn, until one has signed records, or could not be found out."""
        found = _Tlsa()
        for base in candidates:
            answer = await self._tlsa_at(base, port)
            found = _Tlsa(base, answer)
            if isinstance(answer, LookupFailure) or _is_final(answer):
                break
        return found

    async def _tlsa_at(self, base: str, port: int) -> Answer | LookupFailure:
        """The TLSA answer of one base domain; a failure where the labels in front make its name longer than DNS has."""
        owner = f"_{port}._tcp.{base}"
        try:
            from_text(owner)
        except dns.name.NameTooLong:
            question = Question(dns.name.from_text(base), RdataType.TLSA)
            detail = f"with _{port}._tcp. before it, its name is longer than the 255 octets that DNS allows"
            return LookupFailure(question=question, kind=FailureKind.MALFORMED, detail=detail)
        return await self._look_up(owner, RdataType.TLSA)


def _under_way(found: Awaitable[_T]) -> asyncio.Future[_T]:
    """Begun at once; a search that is under way already needs no task."""
    return found if isinstance(found, asyncio.Future) else asyncio.ensure_future(found)


def _final(relay: RelayHost, next_hop: NextHop, *, at: float) -> DestinationEvidence:
    """Mail ends on this machine: there is nothing to find out."""
    hop = relay.next_hop(next_hop.port)
    return DestinationEvidence(next_hop=hop, mx=None, rule=None, at=at, relay=relay, recipient_domain=next_hop.domain)


def _policy_of(sts: StsEvidence) -> StsPolicy | None:
    return sts.policy if isinstance(sts, Known) else None


@frozen_dataclass(frozen=True, slots=True)
class _Tlsa:
    base: str | None = None
    answer: Answer | LookupFailure | None = None


def _is_final(answer: Answer) -> bool:
    """Signed records make the base domain; what no anchor covers ends the search too, as not found out."""
    return (answer.secure and bool(answer.records)) or answer.security is Security.INDETERMINATE


def _base_candidates(name: str, answer: Answer) -> tuple[str, ...]:
    """The TLSA base domains to try for a host, by the security of its addresses and aliases (RFC 7672 section 2.2.2).

    No alias, signed: the name. Aliases, all signed: where they end, then the name, never one between. Aliases whose
    first is signed, though what follows is not: the name. All else: none, and TLSA is not asked for.
    """
    if not answer.aliases:
        return (name,) if answer.secure else ()
    if answer.secure:
        return tuple(dict.fromkeys((_text(answer.canonical_name), name)))
    return (name,) if answer.aliases[0].security is Security.SECURE else ()


def _readable(lookup: Answer | LookupFailure) -> Answer | LookupFailure:
    """The lookup; a failure when there are address records and none can be read: the host has one, but which?"""
    if isinstance(lookup, LookupFailure) or not lookup.records:
        return lookup
    for record in lookup.records:
        if isinstance(record, A | AAAA):
            return lookup
    detail = f"none of the {len(lookup.records)} address records can be read"
    return LookupFailure(question=lookup.question, kind=FailureKind.MALFORMED, detail=detail, proof=lookup.proof)


def addresses_of(answers: Sequence[Answer]) -> tuple[str, ...]:
    """Addresses of both families in turn, so that a cut at MAX_ADDRESSES leaves some of each; IPv6 first."""
    families = [[one.address for one in answer.records if isinstance(one, A | AAAA)] for answer in answers]
    mixed = itertools.chain.from_iterable(itertools.zip_longest(*families))
    return tuple(dict.fromkeys(address for address in mixed if address is not None))[:MAX_ADDRESSES]


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def _literal_target(host: MxHost, port: int, *, at: float) -> TargetHost:
    return TargetHost(
        host=host,
        port=port,
        canonical_name=host.name,
        addresses=(host.name,),
        address_lookups=(),
        address_security=Security.INSECURE,
        tlsa_base=None,
        tlsa=None,
        at=at,
    )
