"""Mail that would come back to this server, or to another one on this machine that sends it here again."""

from dns.rdtypes.ANY.MX import MX

from letterlock.mtasts.evidence import Known
from letterlock.policy.codes import Code
from letterlock.policy.decision import Defer, Refuse
from letterlock.policy.evidence import DestinationEvidence, Origin, TargetHost
from letterlock.policy.reasons import Reason
from letterlock.resolver.answer import Answer


def loop(evidence: DestinationEvidence, target: TargetHost) -> Defer | Refuse | None:
    """Why a host is tried no more than any that come after it: it is this server (RFC 5321 section 5.1).

    So is a host on this machine that no route of the operator's leads to: mail of strangers has no business there, and
    another server on the machine would mostly give it back to us. The message fails when this is the best host of its
    domain; it waits where a better one may answer later, where the operator's route leads in a circle, and where the
    domain's MTA-STS policy says that it has a server: then the address may be forged.
    """
    addresses = target.ours or (target.only_by_route if evidence.relay is None else ())
    if not addresses:
        return None
    facts = (("addresses", ", ".join(addresses)),)
    if evidence.relay is None and not isinstance(evidence.sts, Known) and _is_best(evidence, target):
        why = Reason(code=Code.RFC5321_5_1_LOOPS_BACK, subject=evidence.next_hop.domain, facts=facts)
        return Refuse(status="5.4.6", reasons=(why,))
    return Defer(reasons=(Reason(code=Code.RFC5321_5_1_OWN_ADDRESS, subject=target.host.name, facts=facts),))


def _is_best(evidence: DestinationEvidence, target: TargetHost) -> bool:
    """Whether no MX record of the domain is better than the host's."""
    if target.host.origin not in (Origin.MX, Origin.LITERAL) or not isinstance(evidence.mx, Answer):
        return True
    preferences = [one.preference for one in evidence.mx.records if isinstance(one, MX)]
    return target.host.preference <= min(preferences, default=target.host.preference)
