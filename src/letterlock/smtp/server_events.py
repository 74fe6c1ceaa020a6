"""The events that the SMTP server reports to its driver, and its limits."""

from dataclasses import dataclass, field
from enum import StrEnum

from letterlock.frozen import frozen_dataclass
from letterlock.mail.addresses import Mailbox
from letterlock.mail.checked_content import CheckedContent, LargeContent
from letterlock.mail.envelope import BodyType
from letterlock.mail.replies import Reply
from letterlock.mail.wishes import NO_WISHES, NOTHING_SAID, RecipientWishes, Wishes

MAX_COMMAND_OCTETS = 2048  # RFC 5321 section 4.5.3.1.4 has 512, and parameters of extensions need more


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """The limits for a client. Lines are counted in octets with their CRLF.

    RFC 5321 section 4.5.3.1 demands at least 512 (and more for parameters), 1000 and 100 of the defaults' first three.
    `max_bad_commands` refused commands, or `max_idle_commands` without a message, end the session with 421. NUL is no
    octet of 7-bit or 8-bit content (RFC 2045 sections 2.7 and 2.8), and programs that end a string at it see another
    message than we do: `accept_nul` passes it on all the same.
    """

    max_message_octets: int
    max_command_octets: int = MAX_COMMAND_OCTETS
    max_text_line_octets: int = 1000
    max_recipients: int = 1000  # as Postfix
    max_bad_commands: int = 20  # as Postfix (smtpd_hard_error_limit)
    max_idle_commands: int = 100  # as Postfix (smtpd_junk_command_limit)
    max_hops: int = 100  # RFC 5321 section 6.3: at least 100
    accept_nul: bool = False


@frozen_dataclass(frozen=True, slots=True)
class SenderOffered:
    """MAIL. Answer with `accept` or `refuse`. `size` is what the client declared, within the limit."""

    reverse_path: Mailbox | None
    size: int | None


@frozen_dataclass(frozen=True, slots=True)
class RecipientOffered:
    """RCPT. Answer with `accept` or `refuse`. `postmaster`: ours, whom everybody may write to (RFC 5321 4.5.1).

    `octets` are about what the recipient will take in memory.
    """

    reverse_path: Mailbox | None
    recipient: Mailbox
    wishes: RecipientWishes = NOTHING_SAID
    postmaster: bool = False
    octets: int = field(default=0, repr=False, compare=False)


@frozen_dataclass(frozen=True, slots=True)
class AuthOffered:
    """AUTH with a mechanism that we offer. Answer with `challenge`, `accept` or `refuse`."""

    mechanism: str
    response: bytes | None = field(repr=False)


@frozen_dataclass(frozen=True, slots=True)
class AuthAnswered:
    """The client's answer to a challenge. Answer with `challenge`, `accept` or `refuse`."""

    response: bytes = field(repr=False)


@dataclass(slots=True, kw_only=True)
class MessageReceived:
    """A whole message; ours from the moment that `accept` answers it. Or `refuse` it."""

    reverse_path: Mailbox | None
    recipients: tuple[Mailbox, ...]
    body_type: BodyType
    content: CheckedContent | LargeContent
    requiretls: bool = False
    wishes: Wishes = NO_WISHES
    smtputf8: bool = False

    def take_content(self) -> CheckedContent | LargeContent:
        """The content, once: a caller that transforms it need not hold both copies."""
        content, self.content = self.content, CheckedContent()
        return content


@frozen_dataclass(frozen=True, slots=True)
class StartTlsRequested:
    """Send the output (220), do the handshake, then call `tls_established`; after a failed one, drop the connection."""


@frozen_dataclass(frozen=True, slots=True)
class Refused:
    """The session itself refused something. For the log: what, with which reply, of which mail transaction."""

    what: str
    reply: Reply
    reverse_path: Mailbox | None = None


class End(StrEnum):
    """Why a session ended."""

    QUIT = "quit"
    REFUSED = "refused"  # the session or the driver had enough of it
    LOST = "lost"  # the client closed without QUIT


@frozen_dataclass(frozen=True, slots=True)
class Ended:
    """Send the output and close the connection."""

    why: End


Decision = SenderOffered | RecipientOffered | MessageReceived | AuthOffered | AuthAnswered
Event = Decision | StartTlsRequested | Refused | Ended
