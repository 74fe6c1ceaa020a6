"""Decides between bouncing and waiting when unsigned DNS says that a domain accepts no mail.

An attacker who can forge an unsigned answer can make a domain vanish. An absence that DNSSEC proves is final. Any other
is believed unless there is evidence against it, because mail to a mistyped address must bounce at once. Evidence is an
MTA-STS policy, which came by HTTPS from the domain itself; a rule that the operator wrote for this very domain; and,
in mode `hold`, the memory of earlier deliveries. Then the mail waits.
"""

from letterlock.mtasts.policy import Mode
from letterlock.mtasts.sts_evidence import Known
from letterlock.policy.codes import Code
from letterlock.policy.decision import Defer, Refuse
from letterlock.policy.evidence import DestinationEvidence, MemoryUnreadable
from letterlock.policy.lookups import said
from letterlock.policy.reasons import Reason, sentence
from letterlock.routing.destination_rule import MemoryMode


def unless_expected(evidence: DestinationEvidence, refusal: Refuse) -> Refuse | Defer:
    """The refusal of a domain for what unsigned DNS says; Defer where somebody is known to be there."""
    domain = evidence.next_hop.domain
    facts = (("domain", domain), ("what", sentence(refusal.reasons[0])))
    sts = evidence.sts
    if isinstance(sts, Known) and sts.policy.mode is not Mode.NONE:
        why = Reason(code=Code.RFC8461_10_2_VANISHED, subject=domain, facts=(*facts, ("id", sts.id)))
        return Defer(reasons=(why,))
    if evidence.expected_by is not None:
        why = Reason(code=Code.RULE_VANISHED, subject=domain, facts=(*facts, ("source", evidence.expected_by)))
        return Defer(reasons=(why,))
    if evidence.memory_mode is MemoryMode.HOLD and (known := _remembered(evidence, facts)) is not None:
        return Defer(reasons=(known,))
    return refusal


def _remembered(evidence: DestinationEvidence, facts: tuple[tuple[str, str], ...]) -> Reason | None:
    """That mail went there before, or that this could not be found out."""
    memory, domain = evidence.memory, evidence.next_hop.domain
    if isinstance(memory, MemoryUnreadable):
        return Reason(code=Code.MEMORY_UNREADABLE, subject=domain, facts=(("detail", said(memory.detail)),))
    if memory is not None and memory.known_hosts(evidence.at):
        return Reason(code=Code.MEMORY_VANISHED, subject=domain, facts=facts)
    return None
