"""The log of receiving, in the words of Postfix's smtpd, cleanup and qmgr. A client's text is escaped and bounded."""

import logging
import re
from collections.abc import Iterator, Mapping

from letterlock.events import LineEvent, LogEvent, MessageLines, log_lines
from letterlock.identity.handshake import Completed
from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import Envelope
from letterlock.mail.replies import Reply
from letterlock.mailauth.dkim.verify import DkimVerdict
from letterlock.mailauth.mail_verdict import AuthenticatedMail
from letterlock.queue.observing import Arrival, Watcher
from letterlock.receive.session_counts import SessionCounts
from letterlock.smtp.server_replies import TOO_MANY_ERRORS

MAX_WORD_OCTETS = 320  # the longest mailbox has 64 + 1 + 255 octets (RFC 5321 section 4.5.3.1)
FAIL2BAN_MECHANISMS = ("PLAIN", "LOGIN")  # that its filter postfix[mode=auth] names, of those that we offer
_UNPRINTABLE = re.compile(r"[^ -\[\]-~]")  # the backslash too: it begins an escape
_ENHANCED_CODE = re.compile(r"[245]\.\d{1,3}\.\d{1,3} ")

log = logging.getLogger("letterlock.receive")
# Postfix's tools take the message-id from cleanup's line, and size and sender from qmgr's.
_PICKUP, _SMTPD = "letterlock.drop", "letterlock.receive"
_CLEANUP, _QMGR = "letterlock.receive.cleanup", "letterlock.receive.qmgr"


def printable(text: str) -> str:
    r"""A client's text for one line of a log: everything but printable ASCII as `\xNN`, at most MAX_WORD_OCTETS."""
    if len(text) <= MAX_WORD_OCTETS and text.isascii() and text.isprintable() and "\\" not in text:
        return text  # nothing to escape; the expression takes ten times as long to find that
    shown = _UNPRINTABLE.sub(_escape, text[:MAX_WORD_OCTETS])
    return shown if len(shown) <= MAX_WORD_OCTETS and len(text) <= MAX_WORD_OCTETS else shown[:MAX_WORD_OCTETS] + "..."


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


class ReceiptLog(Watcher):
    """The observer that logs messages that are on disk: up to three lines, as three Postfix programs write them."""

    def received(self, envelope: Envelope, arrival: Arrival) -> None:
        """Log a message, whether a client, a local user or this server wrote it."""
        log_lines(RECEIVED, envelope, arrival)

    def authenticated(self, mail: AuthenticatedMail) -> None:
        """Log what was found of a message, in a line of its own."""
        verdict = mail.verdict
        form = "%(id)s: authentication: author=<%(author)s> dmarc=%(dmarc)s policy=%(policy)s action=%(action)s"
        form += " spf=%(spf)s dkim=%(dkim)s arc=%(arc)s"
        values: dict[str, object] = {
            "author": printable(verdict.dmarc.author or ""),
            "dmarc": verdict.dmarc.result.value,
            "policy": verdict.dmarc.published.value if verdict.dmarc.record else "absent",
            "action": mail.done.action.value,
            "spf": verdict.spf[-1].result.value if verdict.spf else "none",
            "dkim": ",".join(map(_signed_by, verdict.dkim)) or "none",
            "arc": verdict.arc.status.value,
        }
        log.info(LogEvent("authenticated", form, id=mail.id, **values))


def _events(envelope: Envelope, arrival: Arrival) -> Iterator[tuple[str, LogEvent]]:
    """The events of a message, each under its program."""
    if arrival.local_uid is not None:
        yield _PICKUP, _picked_up(envelope, arrival.local_uid)
    elif arrival.about is None:
        yield _SMTPD, LineEvent("accepted", _accepted(envelope, arrival), _accepted_values, envelope, arrival)
    message_id = printable(arrival.message_id or "<>")
    line = f"{envelope.id}: message-id={message_id}"
    yield _CLEANUP, LineEvent("message-id", line, _message_id_values, envelope.id, message_id)
    yield _QMGR, LineEvent("queued", _queued(envelope), _queued_values, envelope)


def _text(begins: Mapping[str, str], envelope: Envelope, arrival: Arrival) -> str:
    """The lines of the events: most messages come from a client, and have nothing to escape."""
    identity, sender, message_id = envelope.id, envelope.reverse_path, arrival.message_id or "<>"
    if sender is not None and arrival.user is None and arrival.about is None and arrival.local_uid is None:
        text = (
            f"{begins[_SMTPD]}{identity}: client={arrival.client}\n"
            f"{begins[_CLEANUP]}{identity}: message-id={message_id}\n"
            f"{begins[_QMGR]}{identity}: from=<{sender.local_part}@{sender.domain}>, size={envelope.size}, "
            f"nrcpt={len(envelope.recipients)} (queue active)"
        )
        # A mailbox and a client's label have no control characters; their length is bounded.
        if text.isascii() and "\\" not in text and message_id.isprintable() and len(message_id) <= MAX_WORD_OCTETS:
            return text
    return "\n".join([begins[program] + str(event) for program, event in _events(envelope, arrival)])


RECEIVED = MessageLines(_events, _text)


def _signed_by(verdict: DkimVerdict) -> str:
    """A signature's result, with the domain whose it is."""
    domain = f":{printable(verdict.signature.domain)}" if verdict.signature else ""
    return f"{verdict.result.value}{domain}"


def _picked_up(envelope: Envelope, uid: int) -> LogEvent:
    form = "%(id)s: uid=%(uid)d from=<%(sender)s>"
    return LogEvent("pickup", form, id=envelope.id, uid=uid, sender=_path(envelope.reverse_path))


def _message_id_values(identity: str, message_id: str) -> dict[str, object]:
    return {"id": identity, "message_id": message_id}


def _queued(envelope: Envelope) -> str:
    sender, recipients = _path(envelope.reverse_path), len(envelope.recipients)
    return f"{envelope.id}: from=<{sender}>, size={envelope.size}, nrcpt={recipients} (queue active)"


def _queued_values(envelope: Envelope) -> dict[str, object]:
    sender, recipients = _path(envelope.reverse_path), len(envelope.recipients)
    return {"id": envelope.id, "sender": sender, "size": envelope.size, "recipients": recipients}


def _accepted(envelope: Envelope, arrival: Arrival) -> str:
    if arrival.user is None:
        return f"{envelope.id}: client={arrival.client}"
    # As Postfix has it, behind the client.
    method = printable(arrival.mechanism or "unknown")
    user = printable(arrival.user)
    return f"{envelope.id}: client={arrival.client}, sasl_method={method}, sasl_username={user}"


def _accepted_values(envelope: Envelope, arrival: Arrival) -> dict[str, object]:
    values: dict[str, object] = {"id": envelope.id, "client": arrival.client, "protocol": arrival.protocol}
    values["hello"] = printable(arrival.hello or "")
    if arrival.user is not None:
        values["sasl_method"] = printable(arrival.mechanism or "unknown")
        values["sasl_username"] = printable(arrival.user)
    if arrival.handshake is not None:
        values["tls_version"], values["tls_cipher"] = arrival.handshake.version, arrival.handshake.cipher
    return values


def discarded(message_id: str, client: str, by: str | None) -> LogEvent:
    """The event of a message that was thrown away; `by` as `Draft.discarded_by` has it."""
    why = "its aliases lead to /dev/null" if by is None else f"by {by}"
    return LogEvent("discarded", "%(id)s: discarded, from %(client)s: %(why)s", id=message_id, client=client, why=why)


class SessionJournal:
    """What one session logs and counts. `client` is `name[address]`, as Postfix shows it."""

    def __init__(self, address: str, counts: SessionCounts | None = None) -> None:
        self._counts = counts or SessionCounts()
        self.client = f"unknown[{address}]"
        self._messages = 0
        self.mechanism: str | None = None  # by which the client authenticated, and as whom
        self.user: str | None = None

    def connected(self) -> None:
        """A connection was accepted."""
        self._counts.connections += 1
        log.info(LogEvent("connect", "connect from %(client)s", client=self.client))

    def disconnected(self, commands: int) -> None:
        """A connection is over."""
        form = "disconnect from %(client)s messages=%(messages)d commands=%(commands)d"
        log.info(LogEvent("disconnect", form, client=self.client, messages=self._messages, commands=commands))

    def secured(self, handshake: Completed) -> None:
        """TLS was established. Nobody is authenticated by it: we ask for no certificate."""
        self._counts.tls_versions[handshake.version] += 1
        form = "Anonymous TLS connection established from %(client)s: %(version)s with cipher %(cipher)s"
        if handshake.group:
            form += " key-exchange %(group)s"
        values = {"version": handshake.version, "cipher": handshake.cipher, "group": handshake.group}
        log.info(LogEvent("tls-accepted", form, client=self.client, **values))

    def tls_failed(self, why: str) -> None:
        """The handshake failed."""
        self._counts.tls_failures += 1
        form = "SSL_accept error from %(client)s: %(why)s"
        log.info(LogEvent("tls-accept-failed", form, client=self.client, why=printable(why)))

    def authenticated(self, mechanism: str, user: str) -> None:
        """A user logged in: from now on Postfix's words for their messages."""
        self._counts.logins += 1
        self.mechanism, self.user = mechanism, user

    def auth_failed(self, mechanism: str, user: str | None, why: str) -> None:
        """A login failed. A warning, as in Postfix: fail2ban looks for the word.

        Its filter knows PLAIN and LOGIN, in any case of letters, and no newer mechanism: those are a "login", too.
        """
        self._counts.failed_logins += 1
        form = "%(client)s: SASL %(mechanism)s authentication failed: %(why)s"
        if mechanism not in FAIL2BAN_MECHANISMS:
            form = "%(client)s: SASL login authentication failed: %(why)s, sasl_method=%(mechanism)s"
        values: dict[str, object] = {"mechanism": printable(mechanism), "why": printable(why)}
        if user:
            form += ", sasl_username=%(user)s"
            values["user"] = printable(user)
        log.warning(LogEvent("authentication-failed", form, client=self.client, **values))

    def auth_aborted(self, mechanism: str, why: str) -> None:
        """Nobody knows whether a login was right. In other words than a failure: fail2ban must not ban for it."""
        form = "%(client)s: SASL %(mechanism)s authentication aborted: %(why)s"
        values: dict[str, object] = {"mechanism": printable(mechanism), "why": printable(why)}
        log.warning(LogEvent("authentication-aborted", form, client=self.client, **values))

    def queued(self) -> None:
        """A message of this session is on disk."""
        self._messages += 1

    def discarded(self, message_id: str, by: str | None) -> None:
        """A message was accepted and thrown away, by a filter, or (None) because its aliases lead to /dev/null."""
        log.info(discarded(message_id, self.client, by))

    def not_queued(self, message_id: str, why: str) -> None:
        """A message is not on disk, and that is our fault."""
        form = "%(id)s: not accepted from %(client)s: %(why)s"
        log.error(LogEvent("not-accepted", form, id=message_id, client=self.client, why=printable(why)))

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
        """Something was refused. Too many errors have a line of their own: log tools go by it."""
        self._counts.rejected(what, reply)
        form = "NOQUEUE: reject: %(command)s from %(client)s: %(reply)s; from=<%(sender)s>"
        values: dict[str, object] = {"command": what, "client": self.client, "sender": _path(reverse_path)}
        values["reply"] = _reply_about(reply, recipient)
        if recipient is not None:
            form += " to=<%(recipient)s>"
            values["recipient"] = _path(recipient)
        form += " proto=%(protocol)s helo=<%(hello)s>"
        log.info(LogEvent("rejected", form, protocol=protocol, hello=printable(hello or ""), **values))
        if reply == TOO_MANY_ERRORS:
            log.info(LogEvent("too-many-errors", "too many errors after %(command)s from %(client)s", **values))

    def timed_out(self, step: str) -> None:
        """The client was too slow."""
        self._counts.timeouts += 1
        log.info(LogEvent("timeout", "timeout after %(step)s from %(client)s", step=step, client=self.client))

    def lost(self, step: str) -> None:
        """The client went without QUIT."""
        self._counts.lost += 1
        form = "lost connection after %(step)s from %(client)s"
        log.info(LogEvent("connection-lost", form, step=step, client=self.client))


def _reply_about(reply: Reply, recipient: Mailbox | None) -> str:
    """A reply as Postfix words it: with the recipient that it is about, behind the enhanced status code."""
    text = printable(str(reply))
    code, _, words = text.partition(" ")
    found = _ENHANCED_CODE.match(words)
    if recipient is None or found is None:
        return text
    return f"{code} {found[0]}<{_path(recipient)}>: {words[found.end() :]}"


def _path(mailbox: Mailbox | None) -> str:
    return "" if mailbox is None else printable(str(mailbox))
