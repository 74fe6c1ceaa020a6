"""From what the queue knows of recipients to what their sender is told."""

from letterlock.dsn import Fate, Report, ToldReason, ToldRecipient
from letterlock.mail.addresses import Mailbox
from letterlock.mail.wishes import decode_xtext, read_orcpt
from letterlock.policy.explanation import NOTHING
from letterlock.policy.reasons import explain
from letterlock.queue.tasks import LastAttempt, Notice, NoticeKind, RecipientOutcome, Why

_FATES = {NoticeKind.FAILED: Fate.FAILED, NoticeKind.DELAYED: Fate.DELAYED, NoticeKind.RELAYED: Fate.RELAYED}


def report_on(notice: Notice, sender: Mailbox) -> Report:
    """What a sender is told of his message; each recipient with the last attempt at his next hop."""
    about, last = notice.envelope, {each.next_hop: each for each in notice.last_attempts}
    return Report(
        sender=sender,
        fate=_FATES[notice.kind],
        accepted_at=about.accepted_at,
        envelope_id=None if about.wishes.envid is None else decode_xtext(about.wishes.envid),
        retry_until=about.expires_at if notice.kind is NoticeKind.DELAYED else None,
        recipients=tuple(_told(each, notice, last.get(each.recipient.domain)) for each in notice.outcomes),
        smtputf8=about.smtputf8 or any(path.needs_smtputf8 for path in (sender, *about.recipients)),
    )


def _told(outcome: RecipientOutcome, notice: Notice, last: LastAttempt | None) -> ToldRecipient:
    orcpt = notice.envelope.wishes.of(outcome.recipient).orcpt
    whys = last.reasons if last is not None and notice.kind is not NoticeKind.RELAYED else ()
    return ToldRecipient(
        recipient=outcome.recipient,
        status=outcome.status,
        text=outcome.text,
        remote_reply=outcome.remote_reply,
        remote_host=last.host if last else None,
        last_attempt_at=last.ended_at if last else None,
        original=None if orcpt is None else read_orcpt(orcpt),
        reasons=tuple(_told_reason(why) for why in whys),
    )


def _told_reason(why: Why) -> ToldReason:
    return ToldReason(
        subject=why.subject, sentence=why.sentence, section=why.section, code=why.code, advice=_advice(why.code)
    )


def _advice(code: str) -> str | None:
    """What to do, unless all is well, or the code is one that only an older Letterlock knew."""
    try:
        advice = explain(code).advice
    except KeyError:
        return None
    return None if advice == NOTHING else advice
