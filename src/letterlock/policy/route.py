"""From the MX answer to the hosts to try (RFC 5321 section 5.1, RFC 7505, RFC 7672 section 2.2.1)."""

import itertools
from collections.abc import Callable, Sequence

from dns.rdtypes.ANY.MX import MX

from letterlock.frozen import changed
from letterlock.mail.names import InvalidName, is_ip_address, literal_address, normalise
from letterlock.policy.absence import unless_expected
from letterlock.policy.codes import Code
from letterlock.policy.decision import Defer, Refuse
from letterlock.policy.evidence import DestinationEvidence, MxHost, Origin, Route
from letterlock.policy.lookups import said, unknown
from letterlock.policy.reasons import Reason
from letterlock.resolver.answer import Absence, Answer, LookupFailure, Security
from letterlock.routing.routes import NextHop

MAX_HOSTS = 20  # chosen: twice what one attempt tries

Shuffle = Callable[[Sequence[MxHost]], Sequence[MxHost]]


def route(evidence: DestinationEvidence, shuffle: Shuffle, own: str | None = None) -> Route | Defer | Refuse:
    """The hosts to try, by preference, and among equals as `shuffle` puts them; at most MAX_HOSTS.

    Whether a host has TLSA records never changes the order (RFC 7672 section 2.2.1). The domain itself is the host
    (implicit MX) only where the MX answer says that there is none, never after a lookup that failed. The operator's
    route, where there is one, comes last; mail waits while it leads nowhere, because the recipient is not at fault.
    `own` is the name of this server: hosts that are no better than it are left out, or mail would loop.
    """
    routed = _to_try(_by_mx(evidence, shuffle), own)
    if evidence.relay is None:
        return routed
    if isinstance(routed, Refuse):
        nowhere = Reason(code=Code.RULE_ROUTE_NOWHERE, subject=evidence.next_hop.domain)
        routed = Defer(reasons=(nowhere, *routed.reasons))
    return changed(routed, reasons=(*routed.reasons, *relay_reasons(evidence)))


def _to_try(routed: Route | Defer | Refuse, own: str | None) -> Route | Defer | Refuse:
    """At most MAX_HOSTS, and only those that are better than this server, if it is one of them.

    Looked for among all of them: where it is beyond the limit, hosts as good as it would send the mail back.
    That nobody is better may be forged, so it is no reason to refuse.
    """
    if not isinstance(routed, Route):
        return routed
    ours = min((host.preference for host in routed.hosts if host.name == own), default=None)
    if ours is None:  # as nearly always
        return routed if len(routed.hosts) <= MAX_HOSTS else changed(routed, hosts=routed.hosts[:MAX_HOSTS])
    better = tuple(host for host in routed.hosts if host.preference < ours)
    if better:
        return changed(routed, hosts=better[:MAX_HOSTS])
    why = Reason(code=Code.RFC5321_5_1_OWN_HOST, subject=routed.next_hop.domain, facts=(("host", str(own)),))
    return Defer(reasons=(why,))


def relay_reasons(evidence: DestinationEvidence) -> tuple[Reason, ...]:
    """Why the mail does not go to the MX hosts of its own domain: the operator's route; empty when it does."""
    if evidence.relay is None:
        return ()
    relay, domain = evidence.relay, evidence.recipient_domain or evidence.next_hop.domain
    destination_key = str(relay.final or f"{'lmtp:' * relay.lmtp}{evidence.next_hop}")
    facts = (("source", relay.source), ("domain", domain), ("next_hop", destination_key))
    return (Reason(code=Code.RULE_ROUTE, subject=domain, facts=facts),)


def _by_mx(evidence: DestinationEvidence, shuffle: Shuffle) -> Route | Defer | Refuse:
    domain, mx = evidence.next_hop.domain, evidence.mx
    if evidence.next_hop.is_host:
        return _static_route(evidence.next_hop)
    if mx is None:
        return _literal_route(evidence.next_hop)
    failure = unknown(
        domain,
        "the MX answer",
        mx,
        failed=Code.RFC7672_2_1_2_MX_LOOKUP_FAILED,
        bogus=Code.RFC7672_2_1_2_MX_BOGUS,
    )
    if failure or isinstance(mx, LookupFailure):
        return Defer(reasons=(failure,) if failure else ())
    if mx.absence is Absence.NXDOMAIN:
        return _nobody(evidence, mx, "5.1.2", Code.RFC5321_5_1_NO_SUCH_DOMAIN)
    if mx.absence is Absence.NODATA:
        return _implicit_route(evidence.next_hop, mx)
    return _mx_route(evidence, mx, shuffle)


def _nobody(evidence: DestinationEvidence, mx: Answer, status: str, code: Code) -> Refuse | Defer:
    """Nobody takes mail there: for good where that is proven, or nothing speaks against it."""
    refusal = Refuse(status=status, reasons=(Reason(code=code, subject=evidence.next_hop.domain),))
    return refusal if mx.secure else unless_expected(evidence, refusal)


def _literal_route(next_hop: NextHop) -> Route | Refuse:
    reasons = (Reason(code=Code.RFC5321_4_1_3_LITERAL, subject=next_hop.domain),)
    try:
        address = literal_address(next_hop.domain)
    except InvalidName:
        return Refuse(status="5.1.2", reasons=(Reason(code=Code.RFC5321_5_1_NO_SUCH_DOMAIN, subject=next_hop.domain),))
    host = MxHost(name=address, preference=0, origin=Origin.LITERAL, secure=False)
    return Route(next_hop=next_hop, hosts=(host,), mx_security=Security.INSECURE, reasons=reasons)


def _static_route(next_hop: NextHop) -> Route:
    """The host that the operator named: as trusted as the configuration."""
    host = MxHost(name=next_hop.domain, preference=0, origin=Origin.STATIC, secure=True)
    return Route(next_hop=next_hop, hosts=(host,), mx_security=Security.SECURE)


def _implicit_route(next_hop: NextHop, mx: Answer) -> Route:
    host = MxHost(name=next_hop.domain, preference=0, origin=Origin.IMPLICIT_MX, secure=mx.secure)
    reasons = (Reason(code=Code.RFC5321_5_1_IMPLICIT_MX, subject=next_hop.domain),)
    return Route(next_hop=next_hop, hosts=(host,), mx_security=mx.security, reasons=reasons)


def _mx_route(evidence: DestinationEvidence, mx: Answer, shuffle: Shuffle) -> Route | Defer | Refuse:
    domain = evidence.next_hop.domain
    records = sorted((one for one in mx.records if isinstance(one, MX)), key=lambda one: one.preference)
    if records and all(len(one.exchange.labels) == 1 for one in records):
        return _nobody(evidence, mx, "5.1.10", Code.RFC7505_3_NULL_MX)
    hosts = _ordered(_hosts(records, secure=mx.secure), shuffle)
    if not hosts:
        names = said(", ".join(one.exchange.to_text() for one in records[:5]))
        return Defer(reasons=(Reason(code=Code.RFC5321_5_1_MX_UNUSABLE, subject=domain, facts=(("hosts", names),)),))
    literals = [host.name for host in hosts if host.origin is Origin.LITERAL][:MAX_HOSTS]
    code = Code.RFC5321_2_3_5_MX_IS_ADDRESS
    reasons = tuple(Reason(code=code, subject=domain, facts=(("host", name),)) for name in literals)
    return Route(next_hop=evidence.next_hop, hosts=hosts, mx_security=mx.security, reasons=reasons)


def _hosts(records: Sequence[MX], *, secure: bool) -> list[MxHost]:
    """One host per name, at its best preference. A root name among others is not a host (RFC 7505 section 3).

    `records` are sorted by preference.
    """
    hosts: dict[str, MxHost] = {}
    for record in records:
        try:
            name = normalise(record.exchange.to_text())
        except InvalidName:
            continue  # route says so if none is left
        literal = is_ip_address(name)
        origin = Origin.LITERAL if literal else Origin.MX
        host = MxHost(name=name, preference=record.preference, origin=origin, secure=secure and not literal)
        hosts.setdefault(name, host)
    return list(hosts.values())


def _ordered(hosts: Sequence[MxHost], shuffle: Shuffle) -> tuple[MxHost, ...]:
    groups = itertools.groupby(hosts, key=lambda host: host.preference)
    return tuple(itertools.chain.from_iterable(shuffle(list(group)) for _, group in groups))
