"""An attempt as JSON-able values: what `queue show` prints, and what statistics are made from later. Pure."""

from letterlock.policy.reasons import section, sentence
from letterlock.queue.tasks import Attempt


def record(attempt: Attempt) -> dict[str, object]:
    """Everything of an attempt that is worth keeping; certificates are left out."""
    handshake, achieved = attempt.handshake, attempt.achieved
    return {
        "next_hop": attempt.next_hop,
        "started_at": attempt.started_at,
        "ended_at": attempt.ended_at,
        "host": attempt.host,
        "address": attempt.address,
        "port": attempt.port,
        "level": achieved.level.value if achieved else None,
        "by": achieved.by if achieved else None,
        "match": achieved.match if achieved else None,
        "tls": {"version": handshake.version, "cipher": handshake.cipher, "group": handshake.group}
        if handshake
        else None,
        "reasons": [
            {"code": reason.code, "subject": reason.subject, "section": section(reason), "sentence": sentence(reason)}
            for reason in attempt.reasons
        ],
        "outcomes": [
            {
                "recipient": str(outcome.recipient),
                "kind": outcome.kind.value,
                "status": outcome.status,
                "text": outcome.text,
                "reply": outcome.remote_reply,
                "in_doubt": outcome.in_doubt,
            }
            for outcome in attempt.outcomes
        ],
    }
