"""The Received field that says how a message came here (RFC 5321 section 4.4)."""

import datetime as dt
import functools
from email.utils import format_datetime

from letterlock.identity.handshake import Completed
from letterlock.mail.addresses import Mailbox


def received_field(
    *,
    hello: str,
    client: str,
    hostname: str,
    protocol: str,
    tls: Completed | None,
    message_id: str,
    recipients: tuple[Mailbox, ...],
    now: float,
) -> bytes:
    """The whole field with its CRLF. `client` is an IP address; `now` is seconds since 1970.

    `for` stands there only with a single recipient: of several, nobody is to learn of the others. It is left out, as it
    may be, for an address beyond ASCII: our own field must not be what keeps a message from a server without SMTPUTF8,
    nor a returned one from being 7-bit.
    """
    lines = [f"Received: from {hello} ({_literal(client)})"]
    if tls is not None:
        group = f" group {tls.group}" if tls.group else ""
        lines.append(f"(using {tls.version} with cipher {tls.cipher}{group})")
    lines.append(f"by {hostname} (Letterlock) with {protocol} id {message_id}")
    if len(recipients) == 1 and not recipients[0].needs_smtputf8:
        lines.append(f"for <{recipients[0]}>")
    return ("\r\n\t".join(lines) + f";\r\n\t{_date(int(now))}\r\n").encode()


def local_received_field(uid: int, hostname: str, message_id: str, now: float) -> bytes:
    """The field of a message that a local user left, in Postfix's form."""
    lines = f"Received: by {hostname} (Letterlock, from userid {uid})", f"id {message_id};", _date(int(now))
    return ("\r\n\t".join(lines) + "\r\n").encode()


@functools.lru_cache(maxsize=2)
def _date(seconds: int) -> str:
    return format_datetime(dt.datetime.fromtimestamp(seconds, dt.UTC))


def _literal(address: str) -> str:
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"
