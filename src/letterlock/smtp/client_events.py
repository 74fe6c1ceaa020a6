"""The events that the SMTP client reports to its driver, its exceptions, and a server's capabilities."""

import functools
from collections.abc import Sequence
from enum import StrEnum

from letterlock.frozen import frozen_dataclass
from letterlock.mail.addresses import Mailbox
from letterlock.mail.replies import Reply


class LocalProtocolError(Exception):
    """The driver asked for what the protocol does not allow now: a bug of ours."""


class RemoteProtocolError(Exception):
    """The server does not keep to the protocol. The session is over."""


class ConnectionEnded(RemoteProtocolError):
    """The server closed the connection while an answer was due."""


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """The capabilities offered in an EHLO reply (RFC 5321 section 4.1.1.1).

    `size` is the largest message in octets, 0 when it did not say one; None when SIZE was not offered (RFC 1870).
    `auth` are the mechanisms of AUTH, in
    capitals (RFC 4954 section 3). `keywords` are all that it offered, those that are ignored too.
    """

    starttls: bool = False
    pipelining: bool = False
    eight_bit_mime: bool = False
    enhanced_status_codes: bool = False
    chunking: bool = False
    smtputf8: bool = False
    requiretls: bool = False
    dsn: bool = False
    size: int | None = None
    auth: frozenset[str] = frozenset()
    keywords: frozenset[str] = frozenset()


@functools.lru_cache(maxsize=256)  # a session hears two of them, and servers say the same to everybody
def parse_capabilities(lines: tuple[str, ...], ignored: frozenset[str] = frozenset()) -> Capabilities:
    """Read the lines of an EHLO reply; the first one only greets. What cannot be understood counts as not offered.

    `ignored`: keywords, in capitals, that are read as if they were not there.
    """
    offered = {words[0].upper(): words[1:] for line in lines[1:] if (words := line.split())}
    keywords = frozenset(offered)
    for keyword in ignored:
        offered.pop(keyword, None)
    return Capabilities(
        starttls="STARTTLS" in offered,
        pipelining="PIPELINING" in offered,
        eight_bit_mime="8BITMIME" in offered,
        enhanced_status_codes="ENHANCEDSTATUSCODES" in offered,
        chunking="CHUNKING" in offered,
        smtputf8="SMTPUTF8" in offered,
        requiretls="REQUIRETLS" in offered,
        dsn="DSN" in offered,
        size=_size(offered["SIZE"]) if "SIZE" in offered else None,
        auth=frozenset(map(str.upper, offered.get("AUTH", ()))),
        keywords=keywords,
    )


def _size(parameters: Sequence[str]) -> int:
    text = parameters[0] if parameters else "0"
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else 0  # RFC 1870 section 3: 20 digits


class TlsGoAhead(StrEnum):
    """The server's reply to the STARTTLS command (RFC 3207 section 4)."""

    READY = "ready"
    REFUSED = "refused"
    INJECTED = "injected"  # octets came with or after the 220, before TLS (CVE-2011-0411)


@frozen_dataclass(frozen=True, slots=True)
class Greeted:
    """The server's greeting; only 220, or a 2yz that means nothing else, lets the session go on."""

    reply: Reply


@frozen_dataclass(frozen=True, slots=True)
class HelloAnswered:
    """The answer to EHLO or HELO; `capabilities` is None when it was refused."""

    reply: Reply
    capabilities: Capabilities | None


@frozen_dataclass(frozen=True, slots=True)
class TlsAnswered:
    """The answer to STARTTLS."""

    reply: Reply
    go_ahead: TlsGoAhead


@frozen_dataclass(frozen=True, slots=True)
class LoginAnswered:
    """The answer to AUTH, or to a response: 334 is a challenge, 235 the end, anything else a refusal."""

    reply: Reply


@frozen_dataclass(frozen=True, slots=True)
class SenderAnswered:
    """The answer to MAIL."""

    reply: Reply


@frozen_dataclass(frozen=True, slots=True)
class RecipientAnswered:
    """The answer to one RCPT."""

    recipient: Mailbox
    reply: Reply


@frozen_dataclass(frozen=True, slots=True)
class EnvelopeAnswered:
    """The envelope is through. With `accepted` recipients the message is to be sent now; without, it is over.

    `reply` is the answer to DATA, None when DATA was not sent. A message that went out early is not sent again.
    """

    accepted: tuple[Mailbox, ...]
    reply: Reply | None


@frozen_dataclass(frozen=True, slots=True)
class MessageAnswered:
    """The answer to the whole message: from a 2yz on it is the server's (RFC 5321 section 6.1).

    In LMTP there is one for each accepted `recipient`, in the order in which they were accepted (RFC 2033 section 4.2).
    """

    reply: Reply
    recipient: Mailbox | None = None


@frozen_dataclass(frozen=True, slots=True)
class QuitAnswered:
    """The answer to QUIT."""

    reply: Reply


@frozen_dataclass(frozen=True, slots=True)
class ServerClosing:
    """421: the server ends the session, asked or not (RFC 5321 section 3.8). Comes after the event of the answer."""

    reply: Reply


Event = (
    Greeted
    | HelloAnswered
    | TlsAnswered
    | LoginAnswered
    | SenderAnswered
    | RecipientAnswered
    | EnvelopeAnswered
    | MessageAnswered
    | QuitAnswered
    | ServerClosing
)
