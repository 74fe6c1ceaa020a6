"""Which of the operator's `[[rule]]`s decide on a recipient, as far as it is known who sends. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from letterlock.mail.addresses import Mailbox
from letterlock.mail.replies import Reply
from letterlock.receive.recipient_rules import ANYBODY, RecipientRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """Who sends, as far as it was said. `sender_given`: it is known, though it may be none (`<>`)."""

    sender: Mailbox | None = None
    sender_given: bool = False
    client: str | None = None
    user: str | None = None

    @property
    def is_known(self) -> bool:
        """Whether it was said who sends."""
        return self.client is not None or self.user is not None


@dataclass(slots=True)
class RuleOutcome:
    """What the rules say, in words. `decided`: one matches without a further condition; `refusal` is its reply."""

    lines: list[str] = field(default_factory=list)
    decided: bool = False
    refusal: Reply | None = None


def rule_outcome(rules: Sequence[RecipientRule], recipient: Mailbox, sending: Sending) -> RuleOutcome:
    """The rules that can decide, in their order, up to the first that does."""
    outcome = RuleOutcome()
    for number, rule in enumerate(rules, 1):
        conditions = _open_conditions(rule, recipient, sending)
        if conditions is None:
            continue
        what = rule.action.value if rule.reply is None else f"{rule.action} with {rule.reply}"
        outcome.lines.append(f"rule {number} at {rule.source}: {what}" + (f", if {conditions}" if conditions else ""))
        if not conditions:
            outcome.decided, outcome.refusal = True, rule.reply
            break
    return outcome


def _open_conditions(rule: RecipientRule, recipient: Mailbox, sending: Sending) -> str | None:
    """What else must hold for a rule, in words; None: it does not hold."""
    known_sender = rule.senders is None or not sending.sender_given or rule.senders.cover(sending.sender)
    if not known_sender or not (rule.recipients is None or rule.recipients.cover(recipient)):
        return None
    if sending.is_known and not rule.names_the_user(sending.user):
        return None
    if sending.client is not None and not rule.names_the_client(sending.client):
        return None
    return " and ".join(_words(rule, sending))


def _words(rule: RecipientRule, sending: Sending) -> Iterator[str]:
    if rule.senders is not None and not sending.sender_given and not rule.senders.cover_all:
        yield f"the sender is {_either(rule.senders.written)}"
    if rule.users is not None and not sending.is_known:
        yield "somebody logged in" if ANYBODY in rule.users else f"{_either(sorted(rule.users))} logged in"
    if rule.clients is not None and sending.client is None:
        yield f"the client is in {_either(rule.clients)}"
    if rule.roles is not None:
        yield f"it comes to a listener with the role {_either(sorted(rule.roles))}"


def _either(values: Sequence[object]) -> str:
    return " or ".join(map(str, values))
