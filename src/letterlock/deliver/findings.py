"""What an attempt has found out so far: outcomes, and what kept the other recipients from having one."""

from letterlock.deliver import outcomes
from letterlock.deliver.seen import Seen
from letterlock.deliver.troubles import Trouble, sum_up
from letterlock.deliver.unforeseen import unforeseen
from letterlock.mail.addresses import Mailbox
from letterlock.policy.absence import unless_expected
from letterlock.policy.codes import Code
from letterlock.policy.decision import Defer, Refuse, SkipHost, SkipKind
from letterlock.policy.evidence import DestinationEvidence, Route
from letterlock.policy.reasons import Reason, sentence, status
from letterlock.policy.require import exhausted
from letterlock.queue.sessions import ImplicitTry
from letterlock.queue.tasks import Attempt, DeliveryTask, OutcomeKind, RecipientOutcome


class AttemptFindings:
    """What is known of an attempt, whose steps a subclass makes."""

    def __init__(self, task: DeliveryTask, started_at: float) -> None:
        self._task = task
        self._seen = Seen(started_at)
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

    def _is_over(self) -> bool:
        """Whether every recipient has an outcome."""
        return len(self._outcomes) == len(self._task.recipients) or not self._pending()

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
        return self._is_over()

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

    def _whole(self, ended_at: float, port: int, implicit: ImplicitTry | None) -> Attempt:
        """The attempt, which is over: what has no outcome yet is tried again."""
        if not self._is_over():
            trouble = sum_up(self._troubles)
            for recipient in self._pending():
                self._outcomes[recipient] = outcomes.deferred(
                    recipient, trouble.status, trouble.text, hints=trouble.hints
                )
        made = tuple([self._outcomes[recipient] for recipient in self._task.recipients])
        if self._relayed:
            made = tuple([outcomes.with_route(outcome, self._relayed) for outcome in made])
        seen = self._seen
        return Attempt(
            message_id=self._task.envelope.id,
            next_hop=self._task.lease.next_hop,
            started_at=seen.started_at,
            ended_at=ended_at,
            outcomes=made,
            connected_at=seen.connected_at,
            ready_at=seen.ready_at,
            host=seen.host,
            address=seen.address,
            port=port if seen.host is not None else None,
            achieved=seen.achieved,
            handshake=seen.handshake,
            reasons=seen.reasons(self._held_reasons, self._relayed),
            broken=self._broken and seen.connected_at is None,
            sessions=tuple(seen.sessions),
            skipped=tuple(self._skipped),
            ruled_out=tuple(seen.ruled_out),
            implicit=implicit,
        )
