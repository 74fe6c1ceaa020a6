"""The content of a notification, before it is formatted."""

from dataclasses import dataclass
from enum import StrEnum

from letterlock.mail.addresses import Mailbox


class Fate(StrEnum):
    """What became of the recipients of a report: its Action field (RFC 3464 section 2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    RELAYED = "relayed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldReason:
    """A reason of the last attempt: what it is about, the sentence, its standard's section, and its code."""

    subject: str
    sentence: str
    section: str
    code: str

    def __str__(self) -> str:
        """The words of `letterlock queue show`."""
        return f"{self.subject}: {self.sentence} ({self.section}; {self.code})"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldRecipient:
    """One recipient: enhanced status code, why in a sentence, and the remote server's reply if it decided.

    `original` is what the sender said that the recipient was: address type and address (ORCPT, decoded).
    `last_attempt_at` is in seconds since 1970. `advice` is what the sender can do, in whole sentences.
    """

    recipient: Mailbox
    status: str
    text: str
    remote_reply: str | None = None
    remote_host: str | None = None
    last_attempt_at: float | None = None
    original: tuple[str, str] | None = None
    reasons: tuple[ToldReason, ...] = ()
    advice: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The content of a notification: a message accepted at a time (seconds since 1970), and the fate of each recipient.

    `envelope_id` is what the sender named the message (ENVID, decoded). `retry_until`: until when it is tried again,
    of what is delayed. `smtputf8`: the message had an address beyond ASCII, so the sender reads UTF-8 (RFC 6533).
    """

    sender: Mailbox
    fate: Fate
    accepted_at: float
    recipients: tuple[ToldRecipient, ...]
    envelope_id: str | None = None
    retry_until: float | None = None
    smtputf8: bool = False
