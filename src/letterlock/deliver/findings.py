"""What an attempt has found out so far: outcomes, and what kept the other recipients from having one."""

from letterlock.deliver import outcomes
from letterlock.deliver.troubles import Trouble
from letterlock.deliver.unforeseen import unforeseen
from letterlock.mail.addresses import Mailbox
from letterlock.policy.absence import unless_expected
from letterlock.policy.codes import Code
from letterlock.policy.decision import Defer, Refuse, SkipHost, SkipKind
from letterlock.policy.evidence import DestinationEvidence, Route
from letterlock.policy.reasons import Reason, sentence, status
from letterlock.policy.require import exhausted
from letterlock.queue.tasks import DeliveryTask, OutcomeKind, RecipientOutcome


class AttemptFindings:
    """What is known of an attempt, whose steps a subclass makes."""

    def __init__(self, task: DeliveryTask) -> None:
        self._task = task
        self._outcomes: dict[Mailbox, RecipientOutcome] = {}
        self._troubles: list[Trouble] = []
        self._held_reasons: list[Reason] = []
        self._held_by: set[SkipKind] = set()
        self._skipped: list[SkipHost] = []
        self._unable: set[str] = set()  # hosts that are proven, and do not support REQUIRETLS
        self._without: dict[Mailbox, dict[str, RecipientOutcome]] = {}  # by hosts that cannot have it
        self._signs: tuple[Reason, ...] = ()  # of an attack, among what the requirement rests on
        self._relayed: tuple[Reason, ...] = ()  # the operator's route, if one led elsewhere
        self._broken = False  # whether there was a bug

    def _pending(self) -> list[Mailbox]:
        recipients, known = self._task.recipients, self._outcomes  # outcomes are of these recipients only
        if not known:
            return list(recipients)
        if len(known) == len(recipients):
            return []
        return [recipient for recipient in recipients if recipient not in known]

    def _held(self, subject: str, verdict: SkipHost | Defer | Refuse) -> bool:
        """Keep what the policy said, and what looks like an attack beside it; whether the attempt is over."""
        reasons = tuple(dict.fromkeys((*verdict.reasons, *self._signs)))
        self._held_reasons += reasons
        if isinstance(verdict, SkipHost):
            self._held_by.add(verdict.kind)
        text = f"{subject}: " + ("; ".join(sentence(reason) for reason in reasons) or "held back")
        if isinstance(verdict, Refuse):
            for recipient in self._pending():
                self._outcomes[recipient] = outcomes.failed(recipient, verdict.status, text)
            return True
        codes = (status(reason) for reason in verdict.reasons)
        code = next((code for code in codes if code.startswith("4")), "4.7.0")
        self._troubles.append(Trouble(code, text, by_policy=True))
        return isinstance(verdict, Defer)

    def _broke(self, subject: str) -> bool:
        """Whether the attempt is over after all."""
        self._broken = True
        reason, code, text = unforeseen(subject)
        self._held_reasons.append(reason)
        self._troubles.append(Trouble(code, text, by_policy=False))
        return not self._pending()

    def _forget(self) -> None:
        """Begin anew, with the sessions that are left: the policy that held the message is another one by now."""
        self._troubles, self._held_reasons, self._skipped, self._unable, self._without = [], [], [], set(), {}
        self._held_by.clear()

    def _give_up(self, evidence: DestinationEvidence, routed: Route) -> None:
        """Every host was tried; when none of them can have the message or even has an address, it will never arrive.

        The operator has to repair a relay host without one; until then the message waits.
        """
        tried = {host.name for host in routed.hosts}
        for recipient in self._pending():
            without = self._without.get(recipient, {})
            if without.keys() == tried and all(each.kind is OutcomeKind.FAILED for each in without.values()):
                self._outcomes[recipient] = next(iter(without.values()))
        if self._unable == tried:
            why = Reason(code=Code.RFC8689_4_2_1_NOT_OFFERED, subject=routed.next_hop.domain)
            self._held(routed.next_hop.domain, Refuse(status=status(why), reasons=(why,)))
            return
        verdict = exhausted(routed.next_hop.domain, self._skipped)
        if len(self._skipped) == len(routed.hosts) and isinstance(verdict, Refuse) and not self._relayed:
            self._held(routed.next_hop.domain, unless_expected(evidence, verdict))

    def _cannot_have_it(self, host: str) -> bool:
        """Whether a host has been found unable to take the message to those who are left."""
        return bool(self._without) and all(host in self._without.get(one, ()) for one in self._pending())
