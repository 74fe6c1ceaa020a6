"""Notifications of failure, delay and relaying (RFC 3464: form; RFC 3461 section 6: content; RFC 6533: UTF-8)."""

import itertools
import quopri
import re
from collections.abc import Iterable

from letterlock.dsn.notice_text import MAX_REASONS, ascii_only, date, decode_utf8_xtext, safe, text_for_people
from letterlock.dsn.original import Original, names_of, subject_field
from letterlock.dsn.reports import Fate, Report, ToldRecipient
from letterlock.mail.addresses import Mailbox
from letterlock.mail.checked_content import has_utf8_header

MAX_HEADER_OCTETS = 16_384  # chosen: of the returned header section; real ones have 2 to 10 KB
MAX_RETURNED_OCTETS = 262_144
"""A message that is larger comes back as its header, whatever RET says: a notification must find its way."""

_MAX_FIELD_OCTETS = 990  # RFC 5322 section 2.1.1 allows 998 in a line
_SUBJECTS = {
    Fate.FAILED: "Not delivered",
    Fate.DELAYED: "Delayed",
    Fate.RELAYED: "Relayed, delivery not confirmed",
}
_HEADER_LINE = re.compile(rb"[!-9;-~]+[ \t]*:|[ \t]+[^ \t]")  # RFC 5322 sections 2.2 and 2.2.3
_Fields = Iterable[tuple[str, str]]


def header_of(content: bytes) -> bytes:
    """The header section of a message, at most MAX_HEADER_OCTETS, cut at a line end.

    It ends at the empty line, and at the first line that is no header field: what follows is taken for the body.
    """
    lines = content[:MAX_HEADER_OCTETS].split(b"\r\n")
    whole = lines if len(content) <= MAX_HEADER_OCTETS else lines[:-1]
    return b"\r\n".join(itertools.takewhile(_HEADER_LINE.match, whole))


def compose(report: Report, content: bytes, *, hostname: str, message_id: str, now: float, full: bool = False) -> bytes:
    """The notification for a report, with CRLF line ends and no line longer than RFC 5322 allows.

    `content` is the message that it is about, whose names it bears: subject, and reply fields. All of it goes back when
    it is `full`, has failed and has no more than MAX_RETURNED_OCTETS (RFC 3461 section 4.3), and else its header.
    `message_id` names the notification; `now` is its date. It is 8-bit only where the message is, and it goes back
    whole, or the report is `smtputf8`; then `in_seven_bits` knows what to do for a server that takes 7 bits only.
    """
    original = names_of(header_of(content))
    full = full and report.fate is Fate.FAILED and len(content) <= MAX_RETURNED_OCTETS
    parts = (
        _for_people(text_for_people(report, hostname, original, attached=_attached(content, full=full))),
        _for_machines(report, hostname),
        _whole(content, smtputf8=report.smtputf8) if full else header_part(content, smtputf8=report.smtputf8),
    )
    boundary = _boundary(message_id, parts)
    head: _Fields = (
        ("From", f"Mail Delivery System <MAILER-DAEMON@{hostname}>"),
        ("To", str(report.sender)),
        ("Subject", subject_field(f"{_SUBJECTS[report.fate]}: {original.subject or 'your message'}")),
        ("Date", date(now)),
        ("Message-ID", f"<{message_id}@{hostname}>"),
        *_thread(original),
        ("Auto-Submitted", "auto-replied"),
        ("MIME-Version", "1.0"),
        ("Content-Type", f'multipart/report; report-type="delivery-status";\r\n boundary="{boundary}"'),
        ("Content-Transfer-Encoding", "7bit" if all(part.isascii() for part in parts) else "8bit"),
    )
    marker = b"--" + boundary.encode()
    body = b"".join(marker + b"\r\n" + part + b"\r\n" for part in parts)
    return _lines(head) + b"\r\n" + body + marker + b"--\r\n"


def _thread(original: Original) -> list[tuple[str, str]]:
    """Links the notification to the message it is about (RFC 5322 section 3.6.4, RFC 3834 section 3.1.6)."""
    if not original.message_id:
        return []
    return [("In-Reply-To", original.message_id), ("References", "\r\n ".join(original.thread))]


def _attached(content: bytes, *, full: bool) -> str:
    if not full:
        return "The header of your message is attached; its text is not."
    unsure = "" if content.isascii() else ", or its header, where a mail server on the way takes 7-bit text only"
    return f"Your message is attached{unsure}."


def _boundary(message_id: str, parts: Iterable[bytes]) -> str:
    """A boundary that is in no part: a sender who guesses one must not be able to add parts."""
    whole = b"".join(parts)
    return next(made for number in itertools.count() if (made := f"=_{message_id}_{number}").encode() not in whole)


def _lines(fields: _Fields) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in fields).encode("utf-8", "replace")


def _part(fields: _Fields, body: bytes) -> bytes:
    return _lines(fields) + b"\r\n" + body


def quoted_printable(body: bytes) -> bytes:
    """Text with CRLF line ends in the quoted-printable encoding (RFC 2045 section 6.7)."""
    return quopri.encodestring(body.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")


def _encoding(body: bytes) -> tuple[str, str]:
    return "Content-Transfer-Encoding", "7bit" if body.isascii() else "8bit"


def _for_people(text: str) -> bytes:
    body = quoted_printable(text.encode("utf-8", "replace"))
    fields = ("Content-Type", 'text/plain; charset="utf-8"'), ("Content-Transfer-Encoding", "quoted-printable")
    return _part(fields, body)


def _for_machines(report: Report, hostname: str) -> bytes:
    """One group of fields for the message, one for each recipient (RFC 3464 section 2.1)."""
    groups = [_message_fields(report, hostname)]
    groups += [_recipient_fields(each, report) for each in report.recipients]
    body = b"\r\n".join(_lines(group) for group in groups)
    kind = "message/global-delivery-status" if report.smtputf8 else "message/delivery-status"
    return _part((("Content-Type", kind), ("Content-Description", "Delivery status"), _encoding(body)), body)


def _message_fields(report: Report, hostname: str) -> list[tuple[str, str]]:
    fields = [("Reporting-MTA", f"dns; {hostname}"), ("Arrival-Date", date(report.accepted_at))]
    if report.envelope_id is not None:
        fields.insert(0, ("Original-Envelope-Id", ascii_only(report.envelope_id)))
    return fields


def _recipient_fields(recipient: ToldRecipient, report: Report) -> list[tuple[str, str]]:
    fields = []
    if recipient.original is not None:
        kind, address = recipient.original
        decoded = report.smtputf8 and kind.lower() == "utf-8"
        shown = safe(decode_utf8_xtext(address)) if decoded else ascii_only(address)
        fields.append(("Original-Recipient", f"{ascii_only(kind)}; {shown}"))
    fields += [
        ("Final-Recipient", _typed(recipient.recipient, smtputf8=report.smtputf8)),
        ("Action", report.fate.value),
        ("Status", ascii_only(recipient.status)),
    ]
    if recipient.remote_host:
        fields.append(("Remote-MTA", f"dns; {ascii_only(recipient.remote_host)}"))
    if recipient.remote_reply:
        fields.append(("Diagnostic-Code", f"smtp; {ascii_only(recipient.remote_reply)}"))
    else:
        fields.append(("Diagnostic-Code", f"x-letterlock; {ascii_only(recipient.text)}"))
    if recipient.last_attempt_at is not None:
        fields.append(("Last-Attempt-Date", date(recipient.last_attempt_at)))
    if report.fate is Fate.DELAYED and report.retry_until is not None:
        fields.append(("Will-Retry-Until", date(report.retry_until)))
    fields += [("X-Letterlock-Reason", ascii_only(str(reason))) for reason in recipient.reasons[:MAX_REASONS]]
    return fields


def _typed(recipient: Mailbox, *, smtputf8: bool) -> str:
    if not recipient.needs_smtputf8:
        return f"rfc822; {recipient}"
    return f"utf-8; {recipient}" if smtputf8 else "utf-8; " + "".join(map(_xtext, str(recipient)))


def _xtext(character: str) -> str:
    """RFC 6533 section 3, utf-8-addr-xtext."""
    return character if "!" <= character <= "~" and character not in "\\+=" else f"\\x{{{ord(character):X}}}"


def _whole(content: bytes, *, smtputf8: bool) -> bytes:
    kind = "message/global" if smtputf8 and has_utf8_header(content) else "message/rfc822"  # RFC 6532 section 3.7
    fields = ("Content-Type", kind), ("Content-Description", "Undelivered message"), _encoding(content)
    return _part(fields, content)


def header_part(content: bytes, *, smtputf8: bool) -> bytes:
    """The part with the header of a message; 7-bit unless the report is `smtputf8`."""
    header = header_of(content)
    kind = "message/global-headers" if smtputf8 else "text/rfc822-headers"
    if smtputf8:
        shown = header.decode("utf-8", "replace").encode()
    else:
        shown = b"\r\n".join(_ascii_line(line) for line in header.split(b"\r\n"))
    fields = ("Content-Type", kind), ("Content-Description", "Header of the message"), _encoding(shown)
    return _part(fields, shown + b"\r\n")


def _ascii_line(line: bytes) -> bytes:
    return ascii_only(line.decode("ascii", "replace"), _MAX_FIELD_OCTETS).encode()
