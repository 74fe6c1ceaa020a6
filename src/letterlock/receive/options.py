"""What all listeners share."""

from dataclasses import dataclass, field
from typing import Annotated, Protocol

from letterlock.accounts.backend import Accounts
from letterlock.keys import MAX_SECONDS, Key
from letterlock.mail.addresses import Mailbox
from letterlock.mailauth.dkim.sign import Signer
from letterlock.receive.authenticate_mail import MailAuthenticationOptions
from letterlock.receive.check_dns_lists import DnsList
from letterlock.receive.rate_limits import RateLimit
from letterlock.receive.recipient_rules import RecipientRule
from letterlock.recipients.directory import RecipientTable
from letterlock.recipients.site import LocalSite
from letterlock.shared_defaults import DEFAULT_MAX_MESSAGE_OCTETS
from letterlock.shares import DIVIDED, EACH


class Closable(Protocol):
    """What has connections."""

    def close(self) -> None:
        """End those that nobody uses. Raises nothing; who asks later makes new ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiveOptions:
    """Names, limits and time-outs of receiving, over all listeners. Sizes are bytes, times are seconds.

    `postmaster` gets what comes for `<postmaster>`; None: the postmaster of `hostname`.
    `command_timeout_seconds` bounds every silence, and the time that one command line may take (RFC 5321 section
    4.5.3.2.7: at least 5 minutes); `message_timeout_seconds` one message from DATA to its final dot.
    `max_inflight_octets` bounds the envelopes and contents of unaccepted messages of all sessions together, as they
    arrive, each twice, for a copy is made while it goes to disk; one largest message always fits. `expire_seconds` is
    how long delivery is tried. IPv6 clients are counted by /64. `signer` signs with DKIM; None: nobody does.
    `mail_authentication` is what happens to mail that is not authentic. Users of `accounts` may log in on submission
    listeners; `sender_tables` name those who may send as an address besides its owner. `site` knows the recipients of
    local domains; None: everybody exists, and there are no aliases. `rate_limits` bound what is sent in a time,
    `dns_lists` say who is not welcome. `databases` are those that tables and accounts ask. `recipient_rules` are the
    first to decide for whom mail is accepted.
    """

    hostname: str
    signer: Signer | None = None
    mail_authentication: MailAuthenticationOptions = field(default_factory=MailAuthenticationOptions)
    accounts: Accounts | None = None
    sender_tables: tuple[RecipientTable, ...] = ()
    site: LocalSite | None = None
    databases: tuple[Closable, ...] = ()
    rate_limits: tuple[RateLimit, ...] = ()
    dns_lists: tuple[DnsList, ...] = ()
    recipient_rules: tuple[RecipientRule, ...] = ()
    postmaster: Annotated[
        Mailbox | None,
        Key(
            "smtp.postmaster",
            "The recipient of mail for `<postmaster>`, which every server must accept (RFC 5321 section 4.5.1). "
            "Unset: `postmaster@` and the `hostname`, wherever mail for that name goes.",
        ),
    ] = None
    max_message_octets: Annotated[
        int, EACH, Key("smtp.max_message_octets", "Largest message accepted (SIZE).", least=1024, most=1 << 30)
    ] = DEFAULT_MAX_MESSAGE_OCTETS
    max_text_line_octets: Annotated[
        int,
        EACH,
        Key(
            "smtp.max_line_octets",
            "Longest line of a message, its end included. RFC 5321 section 4.5.3.1.6 promises 1000, and other "
            "servers may refuse more. Longer lines are passed on as they are, for a signature to stay valid.",
            least=1000,
            most=1 << 20,
        ),
    ] = 1000
    accept_nul: Annotated[
        bool,
        Key(
            "smtp.accept_nul",
            "Accept messages with NUL octets and pass them on. MIME forbids them (RFC 2045 section 2.8), and "
            "some servers end the message at the first.",
        ),
    ] = False
    max_recipients: Annotated[
        int, EACH, Key("smtp.max_recipients", "Most recipients of one message.", least=100, most=100_000)
    ] = 1000  # as Postfix; RFC 5321 section 4.5.3.1.8 demands 100
    max_bad_commands: Annotated[int, EACH] = 20  # as Postfix (smtpd_hard_error_limit)
    max_idle_commands: Annotated[int, EACH] = 100  # as Postfix (smtpd_junk_command_limit)
    max_connections: Annotated[
        int, DIVIDED, Key("smtp.max_connections", "Most connections at once.", least=1, most=100_000)
    ] = 500  # chosen: each takes a descriptor, of which a process usually gets 1,024
    max_connections_per_client: Annotated[
        int,
        DIVIDED,
        Key(
            "smtp.max_connections_per_client",
            "Most connections of one client at once. With several workers each takes its part, at least one, "
            "and may turn a client away that has not reached the sum.",
            least=1,
            most=100_000,
        ),
    ] = 100  # chosen: a smarthost opens twenty or fifty, and one client must not take all
    max_inflight_octets: Annotated[int, DIVIDED] = 268_435_456  # chosen: 256 MiB; of a large message 2 MiB count
    command_timeout_seconds: Annotated[
        float,
        Key(
            "smtp.command_timeout_seconds",
            "How long a client may be silent (RFC 5321 4.5.3.2).",
            above=0,
            most=MAX_SECONDS,
        ),
    ] = 300
    message_timeout_seconds: Annotated[
        float,
        Key("smtp.message_timeout_seconds", "How long one message may take to arrive.", above=0, most=MAX_SECONDS),
    ] = 3600  # chosen: the largest message takes 35 minutes at 100 kbit/s
    tls_timeout_seconds: float = 60  # chosen: a handshake has two round trips, and a slow link takes seconds
    expire_seconds: Annotated[
        float,
        Key(
            "queue.lifetime_seconds",
            "How long delivery is tried, from the first attempt; then mail goes back. "
            "No time passes while the machine is off.",
            above=0,
            most=MAX_SECONDS,
        ),
    ] = 5 * 86400  # RFC 5321 section 4.5.4.1: at least 4 to 5 days
