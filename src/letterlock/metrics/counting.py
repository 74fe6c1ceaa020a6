"""The observer that counts messages, deliveries and sessions. Additions to a list, and little else: it sees every one.

Nothing here depends on how many destinations there are.
"""

from letterlock.identity.handshake import Completed, HandshakeFailed
from letterlock.mail.envelope import Envelope
from letterlock.mailauth.mail_verdict import AuthenticatedMail
from letterlock.metrics.catalogue import DELIVERY_SECONDS, EXPIRED, LOCAL, NONE, OTHER
from letterlock.metrics.family import observe
from letterlock.metrics.numbers import Numbers
from letterlock.policy.decision import Cleared
from letterlock.policy.host_results import dane_result, skipped_dane_result, skipped_sts_result, sts_result
from letterlock.queue.observing import Arrival, Watcher
from letterlock.queue.refusals import refusing_code, status_subject
from letterlock.queue.sessions import SessionTried
from letterlock.queue.settle import gave_up_after
from letterlock.queue.tasks import Attempt, DeliveryTask, OutcomeKind, RecipientOutcome, Settlement

_DELIVERED = OutcomeKind.DELIVERED


class Counting(Watcher):
    """Counts what it is shown into the numbers of this process."""

    def __init__(self, numbers: Numbers) -> None:
        self._values = numbers.values
        layout = numbers.layout
        sources, sessions = (
            layout.by_label(f"letterlock_{name}") for name in ("messages_received_total", "outbound_sessions_total")
        )
        self._client, self._local, self._notification = (sources[each] for each in ("client", LOCAL, "notification"))
        self._bytes = layout.place("letterlock_received_bytes_total")
        self._recipients = layout.place("letterlock_recipients_received_total")
        self._attempts = layout.place("letterlock_attempts_total")
        self._deliveries = layout.families["letterlock_deliveries_total"].places
        self._delivered = {labels[1]: at for labels, at in self._deliveries.items() if labels[0] == _DELIVERED}
        self._verified = layout.by_label("letterlock_deliveries_verified_total")
        self._deferrals = layout.by_label("letterlock_deferrals_total")
        self._bounces = layout.by_label("letterlock_bounces_total")
        self._seconds = layout.place("letterlock_delivery_seconds")
        self._last = layout.place("letterlock_last_delivery_timestamp_seconds")
        self._cleared, self._refused, self._failed = (sessions[each] for each in ("cleared", "refused", "failed"))
        self._reused = layout.place("letterlock_outbound_sessions_reused_total")
        self._versions = layout.by_label("letterlock_outbound_tls_handshakes_total")
        self._tls_failures = layout.place("letterlock_outbound_tls_failures_total")
        self._dane = layout.by_label("letterlock_dane_results_total")
        self._sts = layout.by_label("letterlock_mta_sts_results_total")
        self._implicit = layout.by_label("letterlock_implicit_tls_total")
        self._blocked = layout.place("letterlock_mta_sts_blocked_total")
        self._authentic = layout.families["letterlock_mail_authentication_results_total"].places
        self._actions = layout.by_label("letterlock_mail_authentication_actions_total")

    def received(self, envelope: Envelope, arrival: Arrival) -> None:
        """A message came in."""
        values = self._values
        if arrival.about is not None:
            values[self._notification] += 1
        else:
            values[self._client if arrival.local_uid is None else self._local] += 1
        values[self._bytes] += envelope.size
        values[self._recipients] += len(envelope.recipients)

    def attempted(self, task: DeliveryTask, attempt: Attempt) -> None:
        """An attempt is over."""
        values, achieved = self._values, attempt.achieved
        values[self._attempts] += 1
        protection = _unprotected(attempt) if achieved is None else achieved.level
        for outcome in attempt.outcomes:
            if outcome.kind is not _DELIVERED:
                self._not_delivered(attempt, outcome, protection)
                continue
            ended_at = values[self._last] = attempt.ended_at
            values[self._delivered[protection]] += 1
            seconds = ended_at - task.envelope.accepted_at
            observe(values, self._seconds, DELIVERY_SECONDS, seconds if seconds > 0 else 0.0)
            if achieved is not None and achieved.by is not None:
                values[self._verified[achieved.by]] += 1
        for session in attempt.sessions:
            if session.reused:
                values[self._reused] += 1
            else:
                self._count_sessions(attempt)
                break
        if attempt.skipped:
            self._count_skipped(attempt)
        if attempt.implicit is not None:
            values[self._implicit[attempt.implicit]] += 1

    def authenticated(self, mail: AuthenticatedMail) -> None:
        """A message from elsewhere was judged."""
        values, places, verdict = self._values, self._authentic, mail.verdict
        for signature in verdict.dkim:
            values[places["dkim", signature.result.value]] += 1
        if not verdict.dkim:
            values[places["dkim", NONE]] += 1
        if verdict.spf:
            values[places["spf", verdict.spf[-1].result.value]] += 1
        values[places["dmarc", verdict.dmarc.result.value]] += 1
        values[places["arc", verdict.arc.status.value]] += 1
        values[self._actions[mail.done.action.value]] += 1

    def failed(self, _task: DeliveryTask, attempt: Attempt, settlement: Settlement) -> None:
        """Recipients have failed for good."""
        for outcome in settlement.failed:
            expired = bool(gave_up_after(outcome.text)[0])
            self._values[self._bounces[EXPIRED if expired else _reason(attempt, outcome)]] += 1

    def _not_delivered(self, attempt: Attempt, outcome: RecipientOutcome, protection: str) -> None:
        self._values[self._deliveries[outcome.kind.value, protection]] += 1
        if outcome.kind is OutcomeKind.DEFERRED:
            self._values[self._deferrals[_reason(attempt, outcome)]] += 1

    def _count_sessions(self, attempt: Attempt) -> None:
        """Sessions that were opened for this attempt; the decision about a host once, however many it has."""
        decided: set[str] = set()
        for session in attempt.sessions:
            if session.reused:
                continue
            self._count_session(session)
            if session.host not in decided:
                decided.add(session.host)
                reasons = session.requirement.reasons
                self._count_results(dane_result(reasons), sts_result(reasons))
                self._values[self._blocked] += bool(session.requirement.signs)

    def _count_session(self, session: SessionTried) -> None:
        values, evidence = self._values, session.evidence
        if evidence is None:
            values[self._failed] += 1
            return
        values[self._cleared if isinstance(session.verdict, Cleared) else self._refused] += 1
        if isinstance(evidence.handshake, Completed):
            values[self._versions.get(evidence.handshake.version, self._versions[OTHER])] += 1
        elif isinstance(evidence.handshake, HandshakeFailed):
            values[self._tls_failures] += 1

    def _count_skipped(self, attempt: Attempt) -> None:
        for skipped in attempt.skipped:
            self._count_results(skipped_dane_result(skipped), skipped_sts_result(skipped))

    def _count_results(self, dane: str | None, sts: str | None) -> None:
        if dane is not None:
            self._values[self._dane[dane]] += 1
        if sts is not None:
            self._values[self._sts[sts]] += 1


def _unprotected(attempt: Attempt) -> str:
    return LOCAL if attempt.host is not None and attempt.address is None else NONE


def _reason(attempt: Attempt, outcome: RecipientOutcome) -> str:
    """The reason code of what the policy refused; where a server refused, or the network failed, the status."""
    return refusing_code(attempt, outcome) or status_subject(outcome.status)
