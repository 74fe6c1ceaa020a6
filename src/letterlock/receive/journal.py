"""The log of receiving, in the words of Postfix's smtpd. What a client said is escaped and bounded first."""

import logging
import re

from letterlock.identity.handshake import Completed
from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import Envelope
from letterlock.mail.replies import Reply

MAX_WORD_OCTETS = 320
_UNPRINTABLE = re.compile(r"[^ -\[\]-~]")  # the backslash too: it begins an escape
log = logging.getLogger("letterlock.receive")


def printable(text: str) -> str:
    r"""A client's text for one line of a log: everything but printable ASCII as `\xNN`, at most MAX_WORD_OCTETS."""
    if len(text) <= MAX_WORD_OCTETS and not _UNPRINTABLE.search(text):
        return text
    shown = _UNPRINTABLE.sub(_escape, text[:MAX_WORD_OCTETS])
    return shown if len(shown) <= MAX_WORD_OCTETS and len(text) <= MAX_WORD_OCTETS else shown[:MAX_WORD_OCTETS] + "..."


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


class SessionJournal:
    """What one session writes into the log. `client` is `name[address]`, as Postfix shows it."""

    def __init__(self, address: str) -> None:
        self.client = f"unknown[{address}]"
        self._messages = 0
        self._login = ""

    def connected(self) -> None:
        """A connection was accepted."""
        log.info("connect from %s", self.client)

    def disconnected(self, commands: int) -> None:
        """A connection is over."""
        log.info("disconnect from %s messages=%d commands=%d", self.client, self._messages, commands)

    def secured(self, handshake: Completed) -> None:
        """STARTTLS led to TLS. Nobody is authenticated by it: we ask for no certificate."""
        group = f" group {handshake.group}" if handshake.group else ""
        words = self.client, handshake.version, handshake.cipher, group
        log.info("Anonymous TLS connection established from %s: %s with cipher %s%s", *words)

    def tls_failed(self, why: str) -> None:
        """STARTTLS did not lead to TLS."""
        log.info("SSL_accept error from %s: %s", self.client, printable(why))

    def authenticated(self, mechanism: str, user: str) -> None:
        """A user logged in: from now on Postfix's words for their messages."""
        self._login = f", sasl_method={mechanism}, sasl_username={printable(user)}"

    def auth_failed(self, mechanism: str, user: str | None, why: str) -> None:
        """A login failed. Tools such as fail2ban look for this line."""
        name = f", sasl_username={printable(user)}" if user else ""
        log.warning("%s: SASL %s authentication failed: %s%s", self.client, mechanism, printable(why), name)

    def queued(self, envelope: Envelope) -> None:
        """A message is on disk."""
        self._messages += 1
        log.info("%s: client=%s%s", envelope.id, self.client, self._login)
        facts = envelope.id, _path(envelope.reverse_path), envelope.size, len(envelope.recipients)
        log.info("%s: from=<%s>, size=%d, nrcpt=%d (queue active)", *facts)

    def not_queued(self, message_id: str, why: str) -> None:
        """A message is not on disk, and that is our fault."""
        log.error("%s: not accepted from %s: %s", message_id, self.client, printable(why))

    def rejected(
        self,
        what: str,
        reply: Reply,
        *,
        reverse_path: Mailbox | None = None,
        recipient: Mailbox | None = None,
        protocol: str = "SMTP",
        hello: str | None = None,
    ) -> None:
        """Something was refused."""
        facts = [f"from=<{_path(reverse_path)}>"]
        if recipient is not None:
            facts.append(f"to=<{_path(recipient)}>")
        facts += [f"proto={protocol}", f"helo=<{printable(hello or '')}>"]
        log.info("NOQUEUE: reject: %s from %s: %s; %s", what, self.client, printable(str(reply)), " ".join(facts))

    def timed_out(self, step: str) -> None:
        """The client was too slow."""
        log.info("timeout after %s from %s", step, self.client)

    def lost(self, step: str) -> None:
        """The client went without QUIT."""
        log.info("lost connection after %s from %s", step, self.client)


def _path(mailbox: Mailbox | None) -> str:
    return "" if mailbox is None else printable(str(mailbox))
