"""From the queue's record of recipients to the notification for their sender."""

from letterlock.dsn import Fate, Report, ToldReason, ToldRecipient
from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import Envelope
from letterlock.mail.wishes import decode_xtext, read_orcpt
from letterlock.queue.orders import REMOVED_TEXT
from letterlock.queue.settle import gave_up_after
from letterlock.queue.tasks import LastAttempt, Notice, NoticeKind, RecipientOutcome, Why
from letterlock.report.public import advice, is_routed, what_failed, why_told

_FATES = {NoticeKind.FAILED: Fate.FAILED, NoticeKind.DELAYED: Fate.DELAYED, NoticeKind.RELAYED: Fate.RELAYED}


def report_on(notice: Notice, sender: Mailbox, *, now: float) -> Report:
    """The notification for the sender of a message; each recipient with the last attempt at its next hop."""
    about, last = notice.envelope, {each.next_hop: each for each in notice.last_attempts}
    return Report(
        sender=sender,
        fate=_FATES[notice.kind],
        accepted_at=about.accepted_at,
        envelope_id=None if about.wishes.envid is None else decode_xtext(about.wishes.envid),
        retry_until=_tried_until(about, now) if notice.kind is NoticeKind.DELAYED else None,
        recipients=tuple(_told(each, notice, last.get(each.recipient.domain)) for each in notice.outcomes),
        smtputf8=about.smtputf8 or any(path.needs_smtputf8 for path in (sender, *about.recipients)),
    )


def _tried_until(about: Envelope, now: float) -> float:
    """When a message that waits is given up; a clock that was wrong when it was accepted says nothing of that."""
    return about.expires_at if about.expires_at > now else now + about.expires_at - about.accepted_at


def _told(outcome: RecipientOutcome, notice: Notice, last: LastAttempt | None) -> ToldRecipient:
    orcpt = notice.envelope.wishes.of(outcome.recipient).orcpt
    held_back = why_told(last.reasons) if last is not None and not outcome.remote_reply else ()
    is_public = last is not None and not is_routed(last.reasons)
    host = last.host if last is not None and is_public else None
    whys = held_back if is_public and notice.kind is not NoticeKind.RELAYED else ()
    return ToldRecipient(
        recipient=outcome.recipient,
        status=outcome.status,
        text=_text(outcome, whys, host, shows_text=host is not None),
        remote_reply=outcome.remote_reply,
        remote_host=host,
        last_attempt_at=last.ended_at if last else None,
        original=None if orcpt is None else read_orcpt(orcpt),
        reasons=tuple(_told_reason(why) for why in whys),
        advice=advice(outcome.status, held_back, by_remote=outcome.remote_reply is not None)
        if notice.kind is NoticeKind.FAILED
        else None,
    )


def _text(outcome: RecipientOutcome, whys: tuple[Why, ...], host: str | None, *, shows_text: bool) -> str:
    """Why, in words for everybody. The operator's own are shown where they can only speak of others' servers."""
    gave_up, last_reason = gave_up_after(outcome.text)
    if outcome.remote_reply:
        why = f"the mail server {host or 'that it was passed to'} {_did(outcome)}"
    elif whys:
        why = "; ".join(f"{each.subject}: {each.sentence}" for each in whys)
    else:
        for_the_sender = shows_text or last_reason.startswith(REMOVED_TEXT)  # the operator wrote that one for them
        why = last_reason if for_the_sender else what_failed(outcome.status)
    return f"{gave_up}; the last reason: {why}" if gave_up else why


def _did(outcome: RecipientOutcome) -> str:
    return "refused it" if outcome.remote_reply and outcome.remote_reply.startswith("5") else "did not take it"


def _told_reason(why: Why) -> ToldReason:
    return ToldReason(subject=why.subject, sentence=why.sentence, section=why.section, code=why.code)
