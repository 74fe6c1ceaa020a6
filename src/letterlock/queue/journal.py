"""An attempt as JSON-able values: what `queue show` prints, and what statistics are made from later. Pure."""

from collections.abc import Iterable, Mapping

from letterlock.policy.reasons import section, sentence
from letterlock.queue.refusals import NEVER_REFUSING
from letterlock.queue.tasks import Attempt, LastAttempt, Why


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


_ATTEMPT: Mapping[str, type | tuple[type, ...]] = {
    "next_hop": str,
    "started_at": (int, float),
    "ended_at": (int, float),
    "reasons": list,
    "outcomes": list,
}
_REASON = {"code", "subject", "section", "sentence"}
_OUTCOME = {"recipient", "kind", "status", "text", "reply", "in_doubt"}
_OPTIONAL = ("host", "address", "port", "level", "by", "tls")


def is_whole(kept: Mapping[str, object]) -> bool:
    """Whether a record is an attempt's or an order's: a damaged disk, or an archive, may have anything."""
    if "order" in kept:  # an operator's, which has no outcomes
        known = isinstance(kept["order"], str) and isinstance(kept.get("at"), int | float)
        return known and kept.keys() >= {"next_hop", "reason"}
    if not all(isinstance(kept.get(name), kind) for name, kind in _ATTEMPT.items()):
        return False
    return (
        kept.keys() >= set(_OPTIONAL)
        and _all_have(kept["reasons"], _REASON)
        and _all_have(kept["outcomes"], _OUTCOME)
        and (kept["tls"] is None or (isinstance(kept["tls"], dict) and kept["tls"].keys() >= {"version", "cipher"}))
    )


def _all_have(values: object, names: set[str]) -> bool:
    return isinstance(values, list) and all(isinstance(each, dict) and each.keys() >= names for each in values)


def last_attempts(newest_first: Iterable[Mapping[str, object]], next_hops: frozenset[str]) -> tuple[LastAttempt, ...]:
    """The last attempt at each of these next hops; reads no more records than that takes.

    A damaged record says less, and nothing wrong.
    """
    found: dict[str, LastAttempt] = {}
    for kept in newest_first:
        next_hop, ended_at, host = kept.get("next_hop"), kept.get("ended_at"), kept.get("host")
        if isinstance(next_hop, str) and next_hop in next_hops and isinstance(ended_at, int | float):
            reasons = tuple(_whys(kept.get("reasons")))
            attempt = LastAttempt(
                next_hop=next_hop,
                ended_at=float(ended_at),
                host=host if isinstance(host, str) else None,
                reasons=reasons,
                refusal=_refusal(kept, reasons),
            )
            found.setdefault(next_hop, attempt)
        if len(found) == len(next_hops):
            break
    return tuple(found.values())


def _refusal(kept: Mapping[str, object], reasons: Iterable[Why]) -> str | None:
    """As `refusals.refusing_code`, of what was kept; the SQL of `tally` finds the same."""
    outcomes = kept.get("outcomes")
    answered = isinstance(outcomes, list) and any(isinstance(each, dict) and each.get("reply") for each in outcomes)
    if kept.get("level") is not None or answered:
        return None
    return next((why.code for why in reasons if why.code not in NEVER_REFUSING), None)


def _whys(reasons: object) -> Iterable[Why]:
    for each in reasons if isinstance(reasons, list) else ():
        match each:
            case {"code": str(code), "subject": str(subject), "section": str(standard), "sentence": str(words)}:
                yield Why(code, subject, standard, words)
