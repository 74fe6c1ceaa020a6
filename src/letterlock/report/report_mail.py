"""Reports as mail: RFC 8460 section 5.3 and RFC 9990 section 3.5. Pure."""

import base64
import email.utils
import textwrap
from dataclasses import dataclass

from letterlock.mail.addresses import Mailbox

_BASE64_CHARACTERS = 76  # of a line (RFC 2045 section 6.8)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportMail:
    """A report on its way. `fields` are further header fields; `kind` is the Content-Type of the whole."""

    author: Mailbox
    recipient: Mailbox
    subject: str
    text: str
    kind: str
    attachment: bytes
    attachment_kind: str
    file_name: str
    fields: tuple[tuple[str, str], ...] = ()


def compose_report_mail(mail: ReportMail, message_id: str, now: float) -> bytes:
    """The message, in lines with CRLF. `TLS-Required: No` (RFC 8689) lets it through where TLS is what is broken."""
    boundary = f"=_{message_id}"  # made by us for this message, so it is in no part
    header = (
        ("From", str(mail.author)),
        ("To", str(mail.recipient)),
        ("Subject", mail.subject),
        ("Date", email.utils.formatdate(now, usegmt=False)),
        ("Message-ID", f"<{message_id}@{mail.author.domain}>"),
        *mail.fields,
        ("TLS-Required", "No"),
        ("Auto-Submitted", "auto-generated"),
        ("MIME-Version", "1.0"),
        ("Content-Type", f'{mail.kind};\r\n boundary="{boundary}"'),
    )
    data = "\r\n".join(textwrap.wrap(base64.b64encode(mail.attachment).decode(), _BASE64_CHARACTERS))
    text = mail.text.replace("\n", "\r\n")
    about_file = (
        f'Content-Type: {mail.attachment_kind};\r\n name="{mail.file_name}"',
        "Content-Transfer-Encoding: base64",
        f'Content-Disposition: attachment;\r\n filename="{mail.file_name}"',
    )
    parts = (
        f'Content-Type: text/plain; charset="us-ascii"\r\nContent-Transfer-Encoding: 7bit\r\n\r\n{text}',
        "\r\n".join((*about_file, "", data, "")),
    )
    body = "".join(f"--{boundary}\r\n{part}\r\n" for part in parts) + f"--{boundary}--\r\n"
    return ("".join(f"{name}: {value}\r\n" for name, value in header) + "\r\n" + body).encode("ascii", "replace")
