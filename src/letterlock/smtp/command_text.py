"""The text of commands: what may stand in a line that we send."""

from letterlock.smtp.client_events import LocalProtocolError


def as_utf8(text: str) -> bytes:
    """For addresses where SMTPUTF8 is in use (RFC 6531). Raises LocalProtocolError on what is not printable."""
    if not text.isprintable():
        raise LocalProtocolError(f"{text!r} cannot be part of an SMTP command")
    return text.encode()


def as_ascii(text: str) -> bytes:
    """For everything else. Raises LocalProtocolError on what is not printable ASCII."""
    if not (text.isascii() and text.isprintable()):
        raise LocalProtocolError(f"{text!r} cannot be part of an SMTP command")
    return text.encode("ascii")
