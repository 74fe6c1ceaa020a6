"""Mail that would come back to this server, or to another one on this machine that sends it here again."""

from dns.rdtypes.ANY.MX import MX

from letterlock.policy.absence import unless_expected
from letterlock.policy.codes import Code
from letterlock.policy.decision import Defer, Refuse
from letterlock.policy.evidence import DestinationEvidence, Origin, TargetHost
from letterlock.policy.reasons import Reason
from letterlock.resolver.answer import Answer, Security


def loop(evidence: DestinationEvidence, target: TargetHost) -> Defer | Refuse | None:
    """Why neither a host nor any after it is tried: it is this server (RFC 5321 section 5.1). None: it is not.

    A host on this machine that no route names counts as this server: mail of strangers has no business there, and
    another server on the machine would usually hand it back. The message fails if this is the best host of its domain.
    It waits if a better host may answer later, if the operator's route is a loop, and if unsigned DNS gives this
    address to a domain that is known to have a server (`absence`): the address may be forged.
    """
    addresses = target.ours or (target.only_by_route if evidence.relay is None else ())
    if not addresses:
        return None
    facts = (("addresses", ", ".join(addresses)),)
    if evidence.relay is None and _is_best(evidence, target):
        why = Reason(code=Code.RFC5321_5_1_LOOPS_BACK, subject=evidence.next_hop.domain, facts=facts)
        refusal = Refuse(status="5.4.6", reasons=(why,))
        return refusal if _is_proven(evidence, target) else unless_expected(evidence, refusal)
    return Defer(reasons=(Reason(code=Code.RFC5321_5_1_OWN_ADDRESS, subject=target.host.name, facts=facts),))


def _is_proven(evidence: DestinationEvidence, target: TargetHost) -> bool:
    """Whether nobody can have forged where the host is: signed DNS says so, or the recipient's address itself."""
    signed = isinstance(evidence.mx, Answer) and evidence.mx.secure and target.address_security is Security.SECURE
    return signed or (target.host.origin is Origin.LITERAL and evidence.mx is None)


def _is_best(evidence: DestinationEvidence, target: TargetHost) -> bool:
    """Whether no MX record of the domain is better than the host's."""
    if target.host.origin not in (Origin.MX, Origin.LITERAL) or not isinstance(evidence.mx, Answer):
        return True
    preferences = [one.preference for one in evidence.mx.records if isinstance(one, MX)]
    return target.host.preference <= min(preferences, default=target.host.preference)
