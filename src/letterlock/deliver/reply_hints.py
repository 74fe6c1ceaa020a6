"""What a temporary refusal asks of the sender: how long to wait, and whether to send less mail.

RFC 5321 has one class for all of it (4yz, section 4.2.1); the rest is custom, read from the enhanced status code
(RFC 3463) and from words. A wrong guess costs some minutes and never a message, so few words are looked for:

- Greylisting (RFC 6647): try again when its span is over, neither before nor an hour after.
- Too many connections: fewer of them, and again soon; the message has done nothing wrong.
- A rate that is exceeded: fewer connections, and the schedule's wait.

A time that the server names is kept to, between MIN_WAIT_SECONDS and MAX_WAIT_SECONDS.
"""

import re
from collections.abc import Iterable
from enum import StrEnum

from letterlock.frozen import frozen_dataclass
from letterlock.mail.replies import Reply

GREYLIST_SECONDS = 310.0
"""A little more than the five minutes that most greylisting servers want."""

SOON_SECONDS = 60.0  # chosen: a server that counts connections usually has a free one within a minute
MIN_WAIT_SECONDS = 60.0  # chosen: nobody may make us try more often
MAX_WAIT_SECONDS = 3600.0  # chosen: nobody may make us wait longer; the usual schedule takes over
MAX_READ_CHARACTERS = 1000  # as much as is kept of a reply (MAX_TEXT_CHARACTERS)

_GREYLISTED = re.compile(r"gr[ea]y-?\s?list|not yet authorized to deliver")
_CONNECTIONS = re.compile(
    r"too many (?:concurrent |simultaneous |open )*(?:smtp )?(?:connections|sessions)|connection (?:rate )?limit"
)
_RATE = re.compile(
    r"rate.?limit|rate of|(?:too|so) (?:many|much) (?:e?mails?|messages?)|too fast|throttl|slow(?:ing)? down"
    r"|temporarily deferred"
)
_TLS = re.compile(r"\b(?:start ?tls|tls|ssl|encrypt(?:ed|ion)?|unencrypted)\b")
_ADDRESS = re.compile(r"<[^>]*>|\S+@\S+|https?:\S+")
_SPAN = re.compile(
    r"(?:in|for|after|within)\s+(?:(?P<h>\d{1,2}):)?(?P<m>\d{1,2}):(?P<s>\d{2})\b|(?:in|for|after|within)\s+(?P<n>\d{1,5})\s*(?P<unit>s|sec|min|m|h|hour)"
)
_UNITS = {"s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "hour": 3600.0}


class ReplySubject(StrEnum):
    """What a reply was about."""

    SESSION = "session"  # the greeting, EHLO, or a 421 at any moment
    MESSAGE = "message"
    RECIPIENT = "recipient"


@frozen_dataclass(frozen=True, slots=True)
class ReplyHints:
    """`retry_after`: seconds to wait instead of the schedule's. `slow_down`: fewer connections for all mail."""

    retry_after: float | None = None
    slow_down: bool = False


NO_HINTS = ReplyHints()


def advise(reply: Reply, about: ReplySubject) -> ReplyHints:
    """What to make of a reply; only what is transient asks for anything."""
    if not reply.transient:
        return NO_HINTS
    words, enhanced = reply.text[:MAX_READ_CHARACTERS].lower(), reply.enhanced or ""
    wanted = _span(words)
    if _GREYLISTED.search(words):
        return ReplyHints(retry_after=wanted or GREYLIST_SECONDS)
    if _CONNECTIONS.search(words) or (about is ReplySubject.SESSION and enhanced == "4.4.5"):
        return ReplyHints(retry_after=wanted or SOON_SECONDS, slow_down=True)
    of_recipient = about is ReplySubject.RECIPIENT and enhanced.startswith("4.2.")
    if about is ReplySubject.SESSION or (_RATE.search(words) and not of_recipient):
        return ReplyHints(retry_after=wanted, slow_down=True)
    if about is ReplySubject.RECIPIENT and reply.code in (450, 451) and enhanced == "4.7.1":
        return ReplyHints(retry_after=wanted or GREYLIST_SECONDS)  # what greylisting says when it does not say its name
    return ReplyHints(retry_after=wanted)


def asks_for_tls(reply: Reply) -> bool:
    """Whether a refusal is for the lack of TLS: 530 (RFC 3207 section 4), 538, 5.7.10, 5.7.11 (RFC 4954), or words.

    Words count only beside a status that is about security or says nothing, and addresses in them not at all.
    """
    if reply.code in (530, 538) or reply.enhanced in ("5.7.10", "5.7.11"):
        return True
    if not reply.permanent or not (reply.enhanced or "5.7.").startswith(("5.7.", "5.5.", "5.0.")):
        return False
    words = _ADDRESS.sub(" ", reply.text[:MAX_READ_CHARACTERS].lower())
    return _TLS.search(words) is not None


def together(several: Iterable[ReplyHints]) -> ReplyHints:
    """One for all: the longest wait if any asks for one, less mail if any asks for that."""
    listed = list(several)
    waits = [each.retry_after for each in listed if each.retry_after is not None]
    return ReplyHints(retry_after=max(waits, default=None), slow_down=any(each.slow_down for each in listed))


def _span(words: str) -> float | None:
    """The time that a reply names ("in 300 seconds", "in 5 minutes", "in 00:05:00"), kept within bounds."""
    found = _SPAN.search(words)
    if found is None:
        return None
    if found["n"] is not None:
        seconds = float(found["n"]) * _UNITS[found["unit"]]
    else:
        seconds = int(found["h"] or 0) * 3600.0 + int(found["m"]) * 60.0 + int(found["s"])
    return min(MAX_WAIT_SECONDS, max(MIN_WAIT_SECONDS, seconds))


def too_many_recipients(reply: Reply) -> bool:
    """Whether RCPT was refused only because there were too many in one transaction (RFC 5321 section 4.5.3.1.10).

    452 says so unless its enhanced status says otherwise; 552, as older servers say it, must speak of recipients.
    """
    if reply.code == 452:
        return reply.enhanced in (None, "4.5.3")
    return reply.code == 552 and (
        reply.enhanced == "5.5.3" or (not reply.enhanced and "recipients" in reply.text.lower())
    )
