"""A notification with 8-bit parts on its way to a server that takes 7 bits only (RFC 6152 section 3).

It must not be lost: nobody would learn of it. What may be encoded is; a message may not (RFC 2046 section 5.2.1),
and of it the header goes on, as for RET=HDRS (RFC 3461 section 4.3).
"""

import re

from letterlock.dsn.compose import header_part, quoted_printable

_REPORT = re.compile(rb"^Content-Type:[ \t]*multipart/report\b(?:[^\r\n]|\r\n[ \t])*", re.IGNORECASE | re.MULTILINE)
_BOUNDARY = re.compile(rb"boundary=(?:\"([^\"\r\n]{1,70})\"|([^\s;\"]{1,70}))", re.IGNORECASE)
_KIND = re.compile(rb"^Content-Type:[ \t]*([!-:<-~]+)", re.IGNORECASE | re.MULTILINE)
_8BIT = re.compile(rb"^(Content-Transfer-Encoding:[ \t]*)8bit[ \t]*(?=\r?$)", re.IGNORECASE | re.MULTILINE)
_SIGNATURE = re.compile(rb"^DKIM-Signature:(?:[^\r\n]|\r\n[ \t])*+\r\n", re.IGNORECASE | re.MULTILINE)
_MESSAGES = frozenset({b"message/rfc822", b"message/global"})
_ENCODABLE = (b"text/", b"message/global-")  # RFC 6533 section 5


def in_seven_bits(notification: bytes) -> bytes | None:
    """The same notification without octets above 127; None when it is none, or cannot be had so.

    Our own signature, which stands above From, does not survive the change: it is left out.
    """
    head, empty_line, body = notification.partition(b"\r\n\r\n")
    report = _REPORT.search(head)
    named = _BOUNDARY.search(report[0]) if report else None
    if named is None or not (empty_line and head.isascii()):
        return None
    marker = b"\r\n--" + (named[1] or named[2])
    before, *parts = (b"\r\n" + body).split(marker + b"\r\n")
    if not parts or not before.isascii():
        return None
    *others, rest = parts
    last, _, after = rest.partition(marker + b"--")
    made = [_part(each) for each in (*others, last)]
    head = _SIGNATURE.sub(b"", head + b"\r\n")[:-2]
    whole = _8BIT.sub(rb"\g<1>7bit", head) + b"\r\n" + marker.join((before, *(b"\r\n" + each for each in made)))
    whole += marker + b"--" + after
    return whole if whole.isascii() and whole.count(marker) == len(made) + 1 else None


def _part(part: bytes) -> bytes:
    """A part in 7 bits, if that can be."""
    head, _, body = part.partition(b"\r\n\r\n")
    found = _KIND.search(head)
    kind = found[1].lower() if found else b"text/plain"
    if part.isascii() or not head.isascii():
        return part
    if kind in _MESSAGES:
        return header_part(body, smtputf8=False)
    if kind.startswith(_ENCODABLE) and _8BIT.search(head):
        return _8BIT.sub(rb"\g<1>quoted-printable", head) + b"\r\n\r\n" + quoted_printable(body)
    return part
