"""The Received field that says how a message came here (RFC 5321 section 4.4), and the step that adds it."""

import datetime as dt
import functools
from email.utils import format_datetime

from letterlock.identity.handshake import Completed
from letterlock.mail.addresses import Mailbox
from letterlock.receive.pipeline import Draft, Facts


class AddReceived:
    """Puts our Received field on top of every message. Later steps see it in `draft.fields`."""

    def __init__(self, hostname: str) -> None:
        self._hostname = hostname

    def message(self, facts: Facts, draft: Draft) -> None:
        """Add the field, in the form for a connection or for a local user."""
        if facts.local_uid is not None:
            draft.add_field(local_received_field(facts.local_uid, self._hostname, draft.id, draft.received_at))
            return
        draft.add_field(
            received_field(
                hello=facts.hello,
                client=facts.client,
                hostname=self._hostname,
                protocol=facts.protocol,
                tls=facts.tls,
                message_id=draft.id,
                recipients=draft.recipients,
                now=draft.received_at,
            )
        )


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
    return ("\r\n\t".join(lines) + f";\r\n\t{date_time(int(now))}\r\n").encode()


def local_received_field(uid: int, hostname: str, message_id: str, now: float) -> bytes:
    """The field of a message that a local user left, in Postfix's form."""
    lines = f"Received: by {hostname} (Letterlock, from userid {uid})", f"id {message_id};", date_time(int(now))
    return ("\r\n\t".join(lines) + "\r\n").encode()


@functools.lru_cache(maxsize=2)  # messages come by the second: this one, and the one before
def date_time(seconds: int) -> str:
    """Seconds since 1970 as RFC 5322 section 3.3 writes a date."""
    return format_datetime(dt.datetime.fromtimestamp(seconds, dt.UTC))


def _literal(address: str) -> str:
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"
