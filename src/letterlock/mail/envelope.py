"""The envelope: everything SMTP conveys about a message except its content (RFC 5321 section 2.3.1)."""

from enum import StrEnum

from letterlock.frozen import frozen_dataclass
from letterlock.mail.addresses import Mailbox
from letterlock.mail.wishes import NO_WISHES, Wishes


class BodyType(StrEnum):
    """The BODY parameter of MAIL (RFC 6152)."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT_MIME = "8BITMIME"


class TlsDemand(StrEnum):
    """What the sender demands of TLS for this message (RFC 8689)."""

    NONE = "none"
    REQUIRETLS = "requiretls"  # the MAIL FROM parameter: authenticated TLS at every hop, or not at all
    TLS_REQUIRED_NO = "tls-required-no"  # the header: rather delivered than protected


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """An accepted message's envelope.

    `id` names the message in the queue, the log and the 250 reply. `reverse_path` None is the null reverse-path `<>`.
    Times are seconds since 1970 (UTC). `size` is the message content's octets. `client` says where it came from, for
    the log: `name[address]`; `wishes` the notifications requested. `smtputf8`: it came with SMTPUTF8 (RFC 6531),
    so its header may have UTF-8.
    """

    id: str
    reverse_path: Mailbox | None
    recipients: tuple[Mailbox, ...]
    size: int
    accepted_at: float
    expires_at: float
    body_type: BodyType = BodyType.SEVEN_BIT
    tls_demand: TlsDemand = TlsDemand.NONE
    client: str = "local"
    wishes: Wishes = NO_WISHES
    smtputf8: bool = False

    @property
    def sender_domain(self) -> str | None:
        """The domain of the reverse-path; None for the null reverse-path."""
        return None if self.reverse_path is None else self.reverse_path.domain
