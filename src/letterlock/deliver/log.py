"""Deliveries in the log: one line per recipient, in Postfix's words and order, so that its log tools read it.

The reason stands at the end of the line.
"""

import logging

from letterlock.mail.printable import printable
from letterlock.policy.decision import Achieved
from letterlock.policy.reasons import Finding, Reason, finding
from letterlock.queue.observing import Watcher
from letterlock.queue.tasks import Attempt, DeliveryTask, OutcomeKind, RecipientOutcome

log = logging.getLogger("letterlock.deliver")

MAX_TEXT_CHARACTERS = 600  # of what a server said: several replies fit, and a line stays well below syslog's 2 KiB
_STATUS = {OutcomeKind.DELIVERED: "sent", OutcomeKind.DEFERRED: "deferred", OutcomeKind.FAILED: "bounced"}


class DeliveryLog(Watcher):
    """The observer that writes the log of deliveries."""

    def attempted(self, task: DeliveryTask, attempt: Attempt) -> None:
        """Log each recipient's outcome."""
        for line in lines(attempt, accepted_at=task.envelope.accepted_at):
            log.info("%s", line)


def lines(attempt: Attempt, *, accepted_at: float) -> list[str]:
    """The lines for an attempt at a message that was accepted at `accepted_at` (seconds since 1970).

    `delays` are: before this attempt, waiting for a seat (always 0 here: it counts as before), from the first lookup
    to the moment before MAIL FROM, and the transaction.
    """
    timing = _timing(attempt, accepted_at)
    protection = _protection(attempt)
    return [_line(attempt, outcome, timing, protection) for outcome in attempt.outcomes]


def _line(attempt: Attempt, outcome: RecipientOutcome, timing: str, protection: str) -> str:
    relay = attempt.host or "none"
    if attempt.address is not None:
        relay = f"{relay}[{attempt.address}]:{attempt.port}"
    doubt = " in-doubt=yes" if outcome.in_doubt else ""
    return (
        f"{safe(attempt.message_id)}: to=<{safe(str(outcome.recipient))}>, relay={safe(relay)}, {timing}, "
        f"dsn={safe(outcome.status)}, status={_STATUS[outcome.kind]} ({safe(outcome.text)}) {protection}{doubt}"
    )


def _timing(attempt: Attempt, accepted_at: float) -> str:
    ready_at = attempt.ended_at if attempt.ready_at is None else attempt.ready_at
    before = attempt.started_at - accepted_at
    connecting, sending = ready_at - attempt.started_at, attempt.ended_at - ready_at
    return (
        f"delay={_seconds(attempt.ended_at - accepted_at)}, "
        f"delays={_seconds(before)}/0/{_seconds(connecting)}/{_seconds(sending)}"
    )


def _protection(attempt: Attempt) -> str:
    reasons: list[Reason] = []
    routes: list[Reason] = []
    for reason in attempt.reasons:
        (routes if finding(reason) is Finding.ROUTED else reasons).append(reason)
    words = [f"tls={_level(attempt.achieved, refused=bool(reasons) and not attempt.broken)}"]
    if attempt.achieved is not None and attempt.achieved.by is not None:
        words.append(f"by={attempt.achieved.by}")
    if attempt.handshake is not None:
        words += [f"version={attempt.handshake.version}", f"group={attempt.handshake.group or 'none'}"]
    if reasons:
        words.append(f"why={reasons[0].code}")
    if routes:
        words.append(f"rule-route={dict(routes[0].facts)['source']}")
    return safe(" ".join(words))


def _level(achieved: Achieved | None, *, refused: bool) -> str:
    if achieved is not None:
        return achieved.level.value
    return "refused" if refused else "none"


def _seconds(value: float) -> str:
    """Two significant digits, as Postfix has it; time that went backwards counts as none."""
    value = max(0.0, value)
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.2g}" if value >= 0.01 else "0"


def safe(text: str) -> str:
    """Remote text for one line: bounded, and with what could steer a terminal, or end the line, as escapes."""
    if len(text) <= MAX_TEXT_CHARACTERS and text.isprintable():
        return text
    shown = printable(text[: MAX_TEXT_CHARACTERS + 1])
    return shown if len(shown) <= MAX_TEXT_CHARACTERS else shown[:MAX_TEXT_CHARACTERS] + "…"
