"""What became of a recipient, from what a server said or from what hindered us."""

from collections.abc import Sequence
from dataclasses import replace

from letterlock.deliver.reply_hints import NO_HINTS, ReplyHints, ReplySubject, advise, too_many_recipients
from letterlock.mail.addresses import Mailbox
from letterlock.mail.replies import Reply
from letterlock.policy.reasons import Reason, sentence
from letterlock.queue.tasks import OutcomeKind, RecipientOutcome

_DELIVERED = OutcomeKind.DELIVERED  # until Python 3.12, to look it up in its class costs more than a call
MAX_TEXT_CHARACTERS = 1000  # chosen: of a reply; two full reply lines of 512 octets


def answered(recipient: Mailbox, reply: Reply, *, server: str, command: str, confirms: bool) -> RecipientOutcome:
    """The server decided: 2yz delivered, 5yz failed, anything else deferred. Too many recipients is never for good.

    `server` is its name and address, `command` what it answered: both for people; `confirms`: it offers DSN, and was
    told the sender's wishes.
    """
    said = str(reply)[:MAX_TEXT_CHARACTERS]
    status = reply.enhanced or f"{reply.code // 100}.0.0"
    if 200 <= reply.code < 300:
        return RecipientOutcome(
            recipient=recipient, kind=_DELIVERED, status=status, text=said, remote_reply=said, confirms=confirms
        )
    for_good = reply.permanent and not too_many_recipients(reply)
    kind = OutcomeKind.FAILED if for_good else OutcomeKind.DEFERRED
    text = f"{server} said: {said} (in answer to {command})"
    if not for_good:
        status = "4" + status[1:]
    about = ReplySubject.RECIPIENT if command == "RCPT TO" else ReplySubject.MESSAGE
    hints = advise(reply, ReplySubject.SESSION if reply.code == 421 else about)
    return RecipientOutcome(
        recipient=recipient,
        kind=kind,
        status=status,
        text=text,
        remote_reply=said,
        confirms=confirms,
        retry_after=hints.retry_after,
        slow_down=hints.slow_down,
    )


def wants_tls(recipient: Mailbox, reply: Reply, *, server: str, command: str) -> RecipientOutcome:
    """A session in clear was refused for being in clear: TLS is tried again, for an attacker can have prevented it."""
    said = str(reply)[:MAX_TEXT_CHARACTERS]
    text = f"{server} said: {said} (in answer to {command}); this session was in clear, and TLS is tried again"
    status = "4" + (reply.enhanced or "5.7.10")[1:]
    return replace(deferred(recipient, status, text), remote_reply=said)


def deferred(
    recipient: Mailbox, status: str, text: str, *, in_doubt: bool = False, hints: ReplyHints = NO_HINTS
) -> RecipientOutcome:
    """To be tried again. `status` is turned into class 4 if it is not."""
    return RecipientOutcome(
        recipient=recipient,
        kind=OutcomeKind.DEFERRED,
        status="4" + status[1:],
        text=text[:MAX_TEXT_CHARACTERS],
        in_doubt=in_doubt,
        retry_after=hints.retry_after,
        slow_down=hints.slow_down,
    )


def failed(recipient: Mailbox, status: str, text: str) -> RecipientOutcome:
    """Undeliverable for good. `status` is turned into class 5 if it is not."""
    return RecipientOutcome(
        recipient=recipient, kind=OutcomeKind.FAILED, status="5" + status[1:], text=text[:MAX_TEXT_CHARACTERS]
    )


def with_route(outcome: RecipientOutcome, relayed: Sequence[Reason]) -> RecipientOutcome:
    """The outcome; where mail did not arrive, with the route that it was to take."""
    if outcome.kind is OutcomeKind.DELIVERED:
        return outcome
    route_taken = "; ".join(sentence(reason) for reason in relayed)
    if route_taken in outcome.text:
        return outcome
    return replace(outcome, text=f"{outcome.text}; {route_taken}")
