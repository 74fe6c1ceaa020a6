"""Deliveries in the log: one line per recipient, in Postfix's words and order, so that its log tools read it.

The reason stands at the end of the line.
"""

import logging
from collections.abc import Mapping, Sequence

from letterlock.events import LineEvent, LogEvent, log_lines
from letterlock.identity.handshake import Completed
from letterlock.mail.printable import printable
from letterlock.policy.decision import Achieved, Cleared, Level
from letterlock.policy.reasons import FINDINGS, Finding, Reason
from letterlock.queue.observing import Watcher
from letterlock.queue.sessions import SessionTried
from letterlock.queue.tasks import Attempt, DeliveryTask, OutcomeKind, RecipientOutcome

log = logging.getLogger("letterlock.deliver")
_SMTP, _LMTP, _LOCAL = "letterlock.deliver", "letterlock.deliver.local.lmtp", "letterlock.deliver.local"

MAX_TEXT_CHARACTERS = 600  # of what a server said: several replies fit, and a line stays well below syslog's 2 KiB
_TLS_FORM_WITHOUT_GROUP = (
    "%(trust)s TLS connection established to %(host)s[%(address)s]:%(port)d: %(version)s with cipher %(cipher)s"
)
_TLS_FORM = _TLS_FORM_WITHOUT_GROUP + " key-exchange %(group)s"
_UNPROTECTED = (None, None, ()), "tls=none"
_STATUS = {OutcomeKind.DELIVERED: "sent", OutcomeKind.DEFERRED: "deferred", OutcomeKind.FAILED: "bounced"}


class DeliveryLog(Watcher):
    """The observer that writes the log of deliveries."""

    def __init__(self) -> None:
        # What protected the last message, in words, and what they were made from.
        self._protection: tuple[tuple[Achieved | None, Completed | None, tuple[Reason, ...]], str] = _UNPROTECTED

    def attempted(self, task: DeliveryTask, attempt: Attempt) -> None:
        """Log the TLS of each new session, and each recipient's outcome."""
        for session in attempt.sessions:
            if not session.reused and (event := tls_event(session)) is not None:
                log.info(event)
        log_lines(self._events, attempt, task.envelope.accepted_at)

    def _events(self, attempt: Attempt, accepted_at: float) -> list[tuple[str, LineEvent]]:
        """As `events`, without saying anew how the same session protected one message after the other."""
        achieved, handshake, reasons = attempt.achieved, attempt.handshake, attempt.reasons
        last, protection = self._protection
        if attempt.broken or achieved is not last[0] or handshake is not last[1] or reasons != last[2]:
            protection = safe(" ".join(_protection(attempt)))
            if not attempt.broken:
                self._protection = (achieved, handshake, reasons), protection
        program = _program(attempt)
        return [(program, event) for event in _delivery_events(attempt, accepted_at, protection)]


def _program(attempt: Attempt) -> str:
    """The logger of the program whose line it would be in Postfix.

    Where mail ends on this machine, the host is the target, without address.
    """
    if attempt.address is not None or attempt.host is None:
        return _SMTP
    return _LMTP if attempt.host.startswith("lmtp") else _LOCAL


def tls_event(session: SessionTried) -> LogEvent | None:
    """The TLS of a session as Postfix logs it; None where there was none.

    "Verified" is whom the policy authenticated; "Untrusted" everybody else, for nothing else was proven. Postfix has
    "Trusted" between them, for a chain to a known root under any name: that proves nothing of the peer.
    """
    evidence = session.evidence
    if evidence is None or not isinstance(evidence.handshake, Completed):
        return None
    verified = isinstance(session.verdict, Cleared) and session.verdict.achieved.level is Level.AUTHENTICATED
    tls = evidence.handshake
    return LogEvent(
        "session-tls",
        _TLS_FORM if tls.group else _TLS_FORM_WITHOUT_GROUP,
        trust="Verified" if verified else "Untrusted",
        host=safe(session.host),
        address=session.address,
        port=session.port,
        version=tls.version,
        cipher=tls.cipher,
        group=tls.group,
        cleared=isinstance(session.verdict, Cleared),
        policies=sorted(session.policies),
        reasons=[reason.code for reason in session.reasons],
    )


def _values(attempt: Attempt, outcome: RecipientOutcome, accepted_at: float) -> Mapping[str, object]:
    """What a line has, and the next hop."""
    values: dict[str, object] = {
        "id": safe(attempt.message_id),
        "recipient": safe(str(outcome.recipient)),
        "next_hop": safe(attempt.next_hop),
        "relay": safe(_relay(attempt)),
        "delay_seconds": round(max(0.0, attempt.ended_at - accepted_at), 3),
        "dsn": safe(outcome.status),
        "status": _STATUS[outcome.kind],
        "text": safe(outcome.text),
        "in_doubt": outcome.in_doubt,
    }
    for word in _protection(attempt):
        name, _, value = word.partition("=")
        values[name] = safe(value)
    return values


def events(attempt: Attempt, *, accepted_at: float) -> list[LineEvent]:
    """One event per recipient of an attempt at a message that was accepted at `accepted_at` (seconds since 1970).

    `delays` are: before this attempt, waiting for a slot (always 0 here: it counts as before), from the first lookup
    to the moment before MAIL FROM, and the transaction.
    """
    return _delivery_events(attempt, accepted_at, safe(" ".join(_protection(attempt))))


def _delivery_events(attempt: Attempt, accepted_at: float, protection: str) -> list[LineEvent]:
    timing = _timing(attempt, accepted_at)
    relay = _relay(attempt)
    return [
        LineEvent(
            "delivery", _line(attempt, outcome, relay, timing, protection), _values, attempt, outcome, accepted_at
        )
        for outcome in attempt.outcomes
    ]


def lines(attempt: Attempt, *, accepted_at: float) -> list[str]:
    """The lines of `events`."""
    return [str(event) for event in events(attempt, accepted_at=accepted_at)]


def _relay(attempt: Attempt) -> str:
    relay = attempt.host or "none"
    return relay if attempt.address is None else f"{relay}[{attempt.address}]:{attempt.port}"


def _line(attempt: Attempt, outcome: RecipientOutcome, relay: str, timing: str, protection: str) -> str:
    doubt = " in-doubt=yes" if outcome.in_doubt else ""
    texts = attempt.message_id, str(outcome.recipient), relay, outcome.status, outcome.text
    line = _laid_out(texts, timing, outcome.kind, protection) + doubt
    if len(line) <= MAX_TEXT_CHARACTERS and line.isprintable():  # looked at whole: most lines need no change
        return line
    return _laid_out([safe(text) for text in texts], timing, outcome.kind, protection) + doubt


def _laid_out(texts: Sequence[str], timing: str, kind: OutcomeKind, protection: str) -> str:
    message_id, recipient, relay, status, text = texts
    # What Postfix does not have stands last: pflogsumm skips lines with tls= before dsn=.
    return (
        f"{message_id}: to=<{recipient}>, relay={relay}, {timing}, dsn={status}, status={_STATUS[kind]} ({text}) "
        f"{protection}"
    )


def _timing(attempt: Attempt, accepted_at: float) -> str:
    ready_at = attempt.ended_at if attempt.ready_at is None else attempt.ready_at
    before = attempt.started_at - accepted_at
    connecting, sending = ready_at - attempt.started_at, attempt.ended_at - ready_at
    delay = _seconds(attempt.ended_at - accepted_at)
    return f"delay={delay}, delays={_seconds(before)}/0/{_seconds(connecting)}/{_seconds(sending)}"


def _protection(attempt: Attempt) -> list[str]:
    """What protected the message, and why: `name=value` each."""
    reasons: list[Reason] = []
    routes: list[Reason] = []
    for reason in attempt.reasons:
        (routes if FINDINGS[reason.code] is Finding.ROUTED else reasons).append(reason)
    words = [f"tls={_level(attempt.achieved, refused=bool(reasons) and not attempt.broken)}"]
    if attempt.achieved is not None and attempt.achieved.by is not None:
        words.append(f"by={attempt.achieved.by}")
    if attempt.handshake is not None:
        words += [f"version={attempt.handshake.version}", f"group={attempt.handshake.group or 'none'}"]
    if reasons:
        words.append(f"why={reasons[0].code}")
    if routes:
        words.append(f"rule-route={dict(routes[0].facts)['source']}")
    return words


def _level(achieved: Achieved | None, *, refused: bool) -> str:
    if achieved is not None:
        return achieved.level.value
    return "refused" if refused else "none"


def _seconds(value: float) -> str:
    """Two significant digits, as Postfix has it; time that went backwards counts as none."""
    if value < 0.01:
        return "0"
    return f"{value:.2g}" if value < 100 else f"{value:.0f}"


def safe(text: str) -> str:
    """Remote text for one line: bounded, and with what could steer a terminal, or end the line, as escapes."""
    if len(text) <= MAX_TEXT_CHARACTERS and text.isprintable():
        return text
    shown = printable(text[: MAX_TEXT_CHARACTERS + 1])
    return shown if len(shown) <= MAX_TEXT_CHARACTERS else shown[:MAX_TEXT_CHARACTERS] + "…"
