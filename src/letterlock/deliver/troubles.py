"""What kept a message from one host or from all, and all of it in one sentence."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from letterlock.deliver.reply_hints import NO_HINTS, ReplyHints, together

_MAX_TROUBLES_TOLD = 3  # what more hosts said is mostly the same again, and the text has an end


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why one host or the whole destination did not get the message: an enhanced status code and a text."""

    status: str
    text: str
    by_policy: bool = field(kw_only=True)
    hints: ReplyHints = field(default=NO_HINTS, kw_only=True)


def sum_up(troubles: Sequence[Trouble]) -> Trouble:
    """All troubles in one: a refusal by the policy gives the status, for that is what the operator must see."""
    if not troubles:
        return Trouble("4.4.4", "no host to try", by_policy=False)
    decisive = next((trouble for trouble in troubles if trouble.by_policy), troubles[-1])
    texts = dict.fromkeys([decisive.text, *(trouble.text for trouble in troubles)])
    said = "; ".join(list(texts)[:_MAX_TROUBLES_TOLD])
    hints = together(trouble.hints for trouble in troubles)
    return Trouble(decisive.status, said, by_policy=decisive.by_policy, hints=hints)


def not_from(source: object, host: str, addresses: Sequence[str]) -> Trouble:
    """None of a host's addresses can be dialled from the operator's own."""
    text = f"{host}: {', '.join(addresses)} cannot be dialled from {source}, by source_address"
    return Trouble("4.4.4", text, by_policy=False)
