"""Notifications of failure and of delay (RFC 3464: form; RFC 3461 section 6: content; RFC 5321 section 6.1)."""

import datetime as dt
import email.policy
import email.utils
import itertools
import re
import textwrap
from dataclasses import dataclass
from email.message import EmailMessage, Message

from letterlock.mail.addresses import Mailbox

MAX_HEADER_OCTETS = 16_384
MAX_TEXT_CHARACTERS = 800
_SUBJECTS = {
    False: "Not delivered: your message could not be handed over",
    True: "Delayed: your message waits, and is tried again",
}
_WIDTH = 76
_HEADER_LINE = re.compile(rb"[!-9;-~]+[ \t]*:|[ \t]+[^ \t]")  # RFC 5322 sections 2.2 and 2.2.3
_POLICY = email.policy.SMTP.clone(max_line_length=_WIDTH)
_PLAIN = email.policy.compat32.clone(linesep="\r\n", max_line_length=None)  # machines read these lines: no folding


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldRecipient:
    """One recipient: enhanced status code, why in a sentence, and the remote server's reply if it decided."""

    recipient: Mailbox
    status: str
    text: str
    remote_reply: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a sender is told of: a message that was accepted at a time (seconds since 1970), and who has not got it.

    `retry_until`: the message waits, and is tried again until then; None: it has failed.
    """

    sender: Mailbox
    accepted_at: float
    last_attempt_at: float
    recipients: tuple[ToldRecipient, ...]
    remote_host: str | None = None
    retry_until: float | None = None


def header_of(content: bytes) -> bytes:
    """The header section of a message, at most MAX_HEADER_OCTETS, cut at a line end.

    It ends at the empty line, and at the first line that is no header field: what follows is taken for the body.
    """
    lines = content[:MAX_HEADER_OCTETS].split(b"\r\n")
    whole = lines if len(content) <= MAX_HEADER_OCTETS else lines[:-1]
    return b"\r\n".join(itertools.takewhile(_HEADER_LINE.match, whole))


def compose(report: Report, header: bytes, *, hostname: str, message_id: str, now: float) -> bytes:
    """The notification for a report, with CRLF line ends and no line longer than RFC 5322 allows.

    `header` is the header of the message it is about; `message_id` names the notification; `now` is its date.
    """
    message = Message(policy=_PLAIN)
    message["From"] = f"Mail Delivery System <MAILER-DAEMON@{hostname}>"
    message["To"] = str(report.sender)
    message["Subject"] = _SUBJECTS[report.retry_until is not None]
    message["Date"] = _date(now)
    message["Message-ID"] = f"<{message_id}@{hostname}>"
    message["Auto-Submitted"] = "auto-replied"
    message["MIME-Version"] = "1.0"
    message["Content-Type"] = 'multipart/report; report-type="delivery-status"'
    message.set_payload([_for_people(report, hostname), _for_machines(report, hostname), _original(header)])
    return message.as_bytes()


def _date(moment: float) -> str:
    return email.utils.format_datetime(dt.datetime.fromtimestamp(moment, dt.UTC))


def _for_people(report: Report, hostname: str) -> EmailMessage:
    blocks = [
        f"This is the mail server {hostname}.",
        _wrapped(_what_became_of_it(report)),
        *(_told(each) for each in report.recipients),
        _wrapped(
            "If the reason is not clear to you, forward this notification to your postmaster. The header of your "
            "message is attached; its text is not."
        ),
    ]
    part = EmailMessage(policy=_POLICY)
    part.set_content("\n\n".join(blocks) + "\n", cte="quoted-printable")
    del part["MIME-Version"]
    return part


def _what_became_of_it(report: Report) -> str:
    count = len(report.recipients)
    whom = "this recipient" if count == 1 else f"these {count} recipients"
    if report.retry_until is None:
        return f"Your message of {_date(report.accepted_at)} could not be delivered to {whom}. It is not tried again."
    return (
        f"Your message of {_date(report.accepted_at)} could not be delivered to {whom} yet. It is tried again until "
        f"{_date(report.retry_until)}; there is nothing that you need to do, and you are told if it fails."
    )


def _told(recipient: ToldRecipient) -> str:
    lines = [
        f"  <{safe(str(recipient.recipient))}>",
        _wrapped(f"Why: {safe(recipient.text)} ({recipient.status})", "    "),
    ]
    if recipient.remote_reply:
        lines.append(_wrapped(f"The other server said: {safe(recipient.remote_reply)}", "    "))
    return "\n".join(lines)


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(text, _WIDTH - 2, initial_indent=indent, subsequent_indent=indent, break_long_words=False)


def _for_machines(report: Report, hostname: str) -> Message:
    """The message/delivery-status part: one group of fields for the message, one for each recipient."""
    groups: list[Message | str] = [
        _fields(("Reporting-MTA", f"dns; {hostname}"), ("Arrival-Date", _date(report.accepted_at)))
    ]
    groups += [_recipient_fields(each, report) for each in report.recipients]
    part = Message(policy=_PLAIN)
    part["Content-Type"] = "message/delivery-status"
    part["Content-Description"] = "Delivery status"
    part.set_payload(groups)
    return part


def _recipient_fields(recipient: ToldRecipient, report: Report) -> Message:
    fields = [
        ("Final-Recipient", _typed(recipient.recipient)),
        ("Action", "failed" if report.retry_until is None else "delayed"),
        ("Status", recipient.status),
    ]
    if report.remote_host:
        fields.append(("Remote-MTA", f"dns; {ascii_only(report.remote_host)}"))
    if recipient.remote_reply:
        fields.append(("Diagnostic-Code", f"smtp; {ascii_only(recipient.remote_reply)}"))
    else:
        fields.append(("Diagnostic-Code", f"x-letterlock; {ascii_only(recipient.text)}"))
    fields.append(("Last-Attempt-Date", _date(report.last_attempt_at)))
    if report.retry_until is not None:
        fields.append(("Will-Retry-Until", _date(report.retry_until)))
    return _fields(*fields)


def _typed(recipient: Mailbox) -> str:
    if not recipient.needs_smtputf8:
        return f"rfc822; {recipient}"
    return "utf-8; " + "".join(map(_xtext, str(recipient)))


def _xtext(character: str) -> str:
    """RFC 6533 section 3, utf-8-addr-xtext."""
    return character if "!" <= character <= "~" and character not in "\\+=" else f"\\x{{{ord(character):X}}}"


def _fields(*fields: tuple[str, str]) -> Message:
    group = Message(policy=_PLAIN)
    for name, value in fields:
        group[name] = value
    return group


def _original(header: bytes) -> Message:
    part = Message(policy=_PLAIN)
    part["Content-Type"] = "text/rfc822-headers"
    part["Content-Description"] = "Header of the undelivered message"
    lines = header.decode("ascii", "replace").split("\r\n")
    part.set_payload("".join(f"{ascii_only(line, 998)}\n" for line in lines))
    return part


def safe(text: str) -> str:
    """Remote text for people: bounded, in one line, without control characters."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    shown = " ".join(shown.split())
    return shown if len(shown) <= MAX_TEXT_CHARACTERS else shown[:MAX_TEXT_CHARACTERS] + "..."


def ascii_only(text: str, limit: int = MAX_TEXT_CHARACTERS) -> str:
    """Remote text for a header field: printable ASCII in one line, bounded."""
    spaced = re.sub(r"[\t\r\n]+", " ", text)
    return "".join(character if " " <= character <= "~" else "?" for character in spaced)[:limit]
