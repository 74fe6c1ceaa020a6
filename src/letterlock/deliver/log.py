"""Deliveries in the log: one line per recipient, in Postfix's words and order, so that its log tools read it.

The reason stands at the end of the line.
"""

from collections.abc import Mapping

from letterlock.deliver.tls_status import tls_status
from letterlock.events import LineEvent, MessageLines, log_lines
from letterlock.identity.handshake import Completed
from letterlock.mail.printable import printable
from letterlock.policy.decision import Achieved, Cleared, Level
from letterlock.policy.reasons import FINDINGS, Finding, Reason
from letterlock.queue.observing import Watcher
from letterlock.queue.sessions import SessionTried
from letterlock.queue.tasks import Attempt, DeliveryTask, OutcomeKind, RecipientOutcome

_SMTP, _LMTP, _LOCAL = "letterlock.deliver", "letterlock.deliver.local.lmtp", "letterlock.deliver.local"

MAX_TEXT_CHARACTERS = 600  # of what a server said: several replies fit, and a line stays well below syslog's 2 KiB
MAX_PROTECTIONS = 256  # sessions whose words are remembered: more than are in use at once, but for the largest servers
SHORTEST_SECONDS = 0.01  # less is shown as 0, as Postfix does (delay_logging_resolution_limit = 2)
_MILLISECONDS = tuple(f"{number / 1000:.2g}" for number in range(101))
_JSON_NAMES = {"tls": "tls_status", "protection": "tls"}  # JSON had its `tls` first, and its fields stay as they are
_HUNDREDTHS = tuple(f"{number / 100:.2g}" for number in range(101))
# Until Python 3.12, to look a member up in its class costs more than a call.
_AUTHENTICATED, _ROUTED = Level.AUTHENTICATED, Finding.ROUTED
_STATUS = {OutcomeKind.DELIVERED: "sent", OutcomeKind.DEFERRED: "deferred", OutcomeKind.FAILED: "bounced"}


class DeliveryLog(Watcher):
    """The observer that writes the log of deliveries."""

    def __init__(self) -> None:
        # What protected the last messages of sessions, in words, by the session: what they were made from is kept, so
        # that nothing else gets the same identity meanwhile.
        self._protections: dict[tuple[int, int], tuple[Achieved, Completed | None, tuple[Reason, ...], str]] = {}
        self.delivered = MessageLines(self._events, self._text)

    def attempted(self, task: DeliveryTask, attempt: Attempt) -> None:
        """Log the TLS of each new session, and each recipient's outcome."""
        for session in attempt.sessions:
            if not session.reused and (evidence := session.evidence) is not None:
                tls = evidence.handshake
                if isinstance(tls, Completed):
                    log_lines(SESSION_TLS, session, tls)
        log_lines(self.delivered, attempt, task.envelope.accepted_at)

    def _events(self, attempt: Attempt, accepted_at: float) -> list[tuple[str, LineEvent]]:
        """As `events`, each with the logger of its program."""
        program = _program(attempt)
        return [(program, event) for event in _delivery_events(attempt, accepted_at, self._protection(attempt))]

    def _text(self, begins: Mapping[str, str], attempt: Attempt, accepted_at: float) -> str:
        """The lines of the events: most attempts have one recipient and a peer, and nothing to escape."""
        protection, outcomes = self._protection(attempt), attempt.outcomes
        if len(outcomes) == 1 and (address := attempt.address) is not None and not outcomes[0].in_doubt:
            outcome, host = outcomes[0], attempt.host or "none"
            recipient, said, status, identity = outcome.recipient, outcome.text, outcome.status, attempt.message_id
            local_part, domain = recipient.local_part, recipient.domain
            line = (
                f"{identity}: to=<{local_part}@{domain}>, relay={host}[{address}]:{attempt.port}, "
                f"{_timing(attempt, accepted_at)}, dsn={status}, status={_STATUS[outcome.kind]} ({said}) {protection}"
            )
            # The words are looked at one by one: that takes half the time of the whole line, most of which is fixed.
            if (
                len(line) <= MAX_TEXT_CHARACTERS
                and said.isprintable()
                and local_part.isprintable()
                and domain.isprintable()
                and host.isprintable()
                and status.isprintable()
                and identity.isprintable()
            ):
                return begins[_SMTP] + line
        begin, timing, relay = begins[_program(attempt)], _timing(attempt, accepted_at), _relay(attempt)
        return "\n".join([begin + _line(attempt, outcome, relay, timing, protection) for outcome in outcomes])

    def _protection(self, attempt: Attempt) -> str:
        """What protected the message, without saying it anew for each that goes over the same session."""
        achieved, handshake, reasons = attempt.achieved, attempt.handshake, attempt.reasons
        if achieved is None or attempt.broken:
            return safe(" ".join(_protection(attempt)))  # nothing was sent, so there is no session to know it by
        session = id(achieved), id(handshake)  # both are kept below, so that nothing else gets their numbers
        last = self._protections.get(session)
        if last is not None and last[2] == reasons:
            return last[3]
        words = safe(" ".join(_protection(attempt)))
        if len(self._protections) >= MAX_PROTECTIONS:
            self._protections.clear()
        self._protections[session] = achieved, handshake, reasons, words
        return words


def _program(attempt: Attempt) -> str:
    """The logger of the program whose line it would be in Postfix.

    Where mail ends on this machine, the host is the target, without address.
    """
    if attempt.address is not None or attempt.host is None:
        return _SMTP
    return _LMTP if attempt.host.startswith("lmtp") else _LOCAL


def _tls_events(session: SessionTried, tls: Completed) -> list[tuple[str, LineEvent]]:
    return [(_SMTP, LineEvent("session-tls", _tls_line(session, tls), _tls_values, session, tls))]


def _tls_text(begins: Mapping[str, str], session: SessionTried, tls: Completed) -> str:
    return begins[_SMTP] + _tls_line(session, tls)


SESSION_TLS = MessageLines(_tls_events, _tls_text)
"""The TLS of a session as Postfix logs it."""


def _tls_line(session: SessionTried, tls: Completed) -> str:
    key_exchange = f" key-exchange {tls.group}" if tls.group else ""
    return safe(
        f"{_trust(session)} TLS connection established to {session.host}[{session.address}]:{session.port}: "
        f"{tls.version} with cipher {tls.cipher}{key_exchange}"
    )


def _trust(session: SessionTried) -> str:
    """A server is verified if the policy authenticated it, and untrusted otherwise: nothing else was proven.

    Postfix has "Trusted" between them, for a chain to a known root under any name: that proves nothing of the peer.
    """
    verdict = session.verdict
    return "Verified" if isinstance(verdict, Cleared) and verdict.achieved.level is _AUTHENTICATED else "Untrusted"


def _tls_values(session: SessionTried, tls: Completed) -> Mapping[str, object]:
    return {
        "trust": _trust(session),
        "host": safe(session.host),
        "address": session.address,
        "port": session.port,
        "version": tls.version,
        "cipher": tls.cipher,
        "group": tls.group,
        "cleared": isinstance(session.verdict, Cleared),
        "policies": sorted(session.policies),
        "reasons": [reason.code for reason in session.reasons],
    }


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
        values[_JSON_NAMES.get(name, name)] = safe(value)
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
    address = str(outcome.recipient)
    # tls= stands last, like what Postfix does not have: Debian's pflogsumm skips lines with it before dsn=, where
    # Postfix 3.11 has it.
    line = (
        f"{attempt.message_id}: to=<{address}>, relay={relay}, {timing}, dsn={outcome.status}, "
        f"status={_STATUS[outcome.kind]} ({outcome.text}) {protection}{doubt}"
    )
    if len(line) <= MAX_TEXT_CHARACTERS and line.isprintable():
        return line
    return (
        f"{safe(attempt.message_id)}: to=<{safe(address)}>, relay={safe(relay)}, {timing}, dsn={safe(outcome.status)}, "
        f"status={_STATUS[outcome.kind]} ({safe(outcome.text)}) {protection}{doubt}"
    )


def _timing(attempt: Attempt, accepted_at: float) -> str:
    began_at, ended_at = attempt.started_at, attempt.ended_at
    ready_at = ended_at if attempt.ready_at is None else attempt.ready_at
    before, connecting, sending = began_at - accepted_at, ready_at - began_at, ended_at - ready_at
    return (  # a call is saved for what is short, as most of it is on a server that is not full
        f"delay={_seconds(ended_at - accepted_at)}, delays={'0' if before < SHORTEST_SECONDS else _seconds(before)}/0/"
        f"{'0' if connecting < SHORTEST_SECONDS else _seconds(connecting)}/"
        f"{'0' if sending < SHORTEST_SECONDS else _seconds(sending)}"
    )


def _protection(attempt: Attempt) -> list[str]:
    """What protected the message, and why: `name=value` each."""
    why: Reason | None = None
    route: Reason | None = None
    for reason in attempt.reasons:
        if FINDINGS[reason.code] is _ROUTED:
            route = route or reason
        else:
            why = why or reason
    achieved, tls = attempt.achieved, attempt.handshake
    words = [f"tls={tls_status(attempt.sessions[-1])}"] if attempt.sessions else []
    if achieved is None:
        words.append("protection=none" if why is None or attempt.broken else "protection=refused")
    else:
        words.append(f"protection={achieved.level}")
        if achieved.by is not None:
            words.append(f"by={achieved.by}")
    if tls is not None:
        words += [f"version={tls.version}", f"group={tls.group or 'none'}"]
    if why is not None:
        words.append(f"why={why.code}")
    if route is not None:
        words.append(f"rule-route={dict(route.facts)['source']}")
    return words


def _seconds(value: float) -> str:
    """Two significant digits, as Postfix has it; time that went backwards counts as none."""
    if value < SHORTEST_SECONDS:
        return "0"
    if value < 0.1:
        return _MILLISECONDS[int(value * 1000 + 0.5)]  # a third of the time that formatting takes
    if value < 1:
        return _HUNDREDTHS[int(value * 100 + 0.5)]
    return f"{value:.2g}" if value < 100 else f"{value:.0f}"


def safe(text: str) -> str:
    """Remote text for one line: bounded, and with what could steer a terminal, or end the line, as escapes."""
    if len(text) <= MAX_TEXT_CHARACTERS and text.isprintable():
        return text
    shown = printable(text[: MAX_TEXT_CHARACTERS + 1])
    return shown if len(shown) <= MAX_TEXT_CHARACTERS else shown[:MAX_TEXT_CHARACTERS] + "…"
