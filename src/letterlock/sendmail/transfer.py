"""Handing a message over: mail transactions, and what became of each recipient."""

from letterlock.sendmail.exits import DATAERR, NOPERM, NOUSER, PROTOCOL, TEMPFAIL, UNAVAILABLE, Failure
from letterlock.sendmail.session import Lost, ServerReply, SubmissionSession

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container

IN_DOUBT = "the connection was lost after the message: it may have been accepted, and arrive twice"


class SubmittedEnvelope:
    """The sender, the recipients and the DSN parameters (RFC 3461), checked by the command line."""

    __slots__ = ("body_type", "envid", "notify", "recipients", "ret", "sender")

    def __init__(  # as many as an envelope has
        self, sender: str, recipients: list[str], *, notify: str = "", ret: str = "", envid: str = "", body_type: str
    ) -> None:
        self.sender = sender
        self.recipients = recipients
        self.notify = notify
        self.ret = ret
        self.envid = envid
        self.body_type = body_type

    def is_ascii(self) -> bool:
        """Whether no address needs SMTPUTF8 (RFC 6531)."""
        return self.sender.isascii() and all(each.isascii() for each in self.recipients)

    def mail(self, size: int, offers: "dict[str, str]") -> str:
        """MAIL with the parameters that the server takes; `size` is in octets."""
        words = [f"MAIL FROM:<{self.sender}>"]
        words += [f"SIZE={size}"] if "SIZE" in offers else []
        words += [f"BODY={self.body_type}"] if "8BITMIME" in offers else []
        words += ["SMTPUTF8"] if not self.is_ascii() else []
        words += [f"RET={self.ret}"] if self.ret else []
        words += [f"ENVID={self.envid}"] if self.envid else []
        return " ".join(words)

    def batch(self, recipients: list[str], wire: bytes, hostname: str) -> bytes:
        """The message for these recipients as commands of SMTP, one after the other (RFC 2442)."""
        lines = [f"EHLO {hostname}", self.mail(0, {"8BITMIME": ""}), *map(self.rcpt, recipients), "DATA"]
        commands = "".join(f"{line}\r\n" for line in lines).encode("utf-8", "surrogateescape")
        return commands + wire + b".\r\nQUIT\r\n"

    def rcpt(self, recipient: str) -> str:
        """RCPT for one recipient."""
        return f"RCPT TO:<{recipient}>" + (f" NOTIFY={self.notify}" if self.notify else "")


class TransferOutcome:
    """Which recipients the server has taken over, and why it has not the others."""

    __slots__ = ("failed", "sent", "waiting", "waiting_because")

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.failed: list[tuple[str, Failure]] = []
        self.waiting = ""  # where the message waits for those who were postponed; then they have not failed
        self.waiting_because = ""

    def fail(self, recipients: list[str], why: Failure) -> None:
        """The server has not taken these."""
        self.failed += [(recipient, why) for recipient in recipients]

    def postponed(self) -> list[str]:
        """For whom the same may work later."""
        return [recipient for recipient, why in self.failed if _may_work_later(why)]

    def settle_postponed(self, where: str) -> None:
        """The message waits there for those who were postponed, and is sent by itself."""
        self.waiting = where
        self.waiting_because = "; ".join({str(why) for _, why in self.failed if _may_work_later(why)})
        self.failed = [(recipient, why) for recipient, why in self.failed if not _may_work_later(why)]

    def status(self) -> int:
        """The exit status: the first failure's, but one for a while comes before one for good."""
        statuses = [why.status for _, why in self.failed]
        return TEMPFAIL if TEMPFAIL in statuses else next(iter(statuses), 0)


def _may_work_later(why: Failure) -> bool:
    return why.status in (TEMPFAIL, PROTOCOL)


def check_offers(envelope: SubmittedEnvelope, size: int, offers: "dict[str, str]") -> None:
    """Raises Failure unless the server can take the message at all; `size` is in octets."""
    limit = offers.get("SIZE", "")
    if limit.isascii() and limit.isdigit() and 0 < int(limit) < size:
        raise Failure(DATAERR, f"the message has {size} octets, the server takes {limit}; it was not sent")
    if not envelope.is_ascii() and "SMTPUTF8" not in offers:
        raise Failure(DATAERR, "an address is not ASCII, and the server does not offer SMTPUTF8; nothing was sent")
    if (envelope.notify or envelope.ret or envelope.envid) and "DSN" not in offers:
        raise Failure(UNAVAILABLE, "-N, -R and -V need a server that offers DSN; nothing was sent")
    if envelope.body_type == "8BITMIME" and "8BITMIME" not in offers:
        raise Failure(UNAVAILABLE, "the message has 8-bit octets, and the server does not offer 8BITMIME")


def transfer(session: SubmissionSession, envelope: SubmittedEnvelope, wire: bytes) -> TransferOutcome:
    """Hand a message over, in as many transactions as the server's limit of recipients demands."""
    outcome, rest = TransferOutcome(), envelope.recipients
    while rest:
        rest = _transact(session, envelope, rest, wire, outcome)
    return outcome


def _transact(
    session: SubmissionSession,
    envelope: SubmittedEnvelope,
    recipients: list[str],
    wire: bytes,
    outcome: TransferOutcome,
) -> list[str]:
    """One transaction; the recipients that are left for the next one."""
    accepted: list[str] = []
    left: list[str] = []
    doubt = False
    try:
        _demand(session.command(envelope.mail(len(wire), session.offers)), UNAVAILABLE)
        left = _offer(session, envelope, recipients, accepted, outcome)
        if accepted:
            _demand(session.command("DATA"), UNAVAILABLE, _GO_ON)
            doubt = True
            _demand(session.content(wire), DATAERR, _TAKEN)
            outcome.sent += accepted
        else:
            session.command("RSET")
    except Lost as lost:
        outcome.fail(_unsettled(recipients, outcome), Failure(TEMPFAIL, IN_DOUBT if doubt else str(lost)))
        return []
    except Failure as failure:
        outcome.fail(_unsettled(recipients, outcome), failure)
        return []
    return left


def _offer(
    session: SubmissionSession,
    envelope: SubmittedEnvelope,
    recipients: list[str],
    accepted: list[str],
    outcome: TransferOutcome,
) -> list[str]:
    """RCPT for each; those behind the server's limit (RFC 5321 section 4.5.3.1.10) are left."""
    for number, recipient in enumerate(recipients):
        reply = session.command(envelope.rcpt(recipient))
        if reply.code in _DONE:
            accepted.append(recipient)
        elif reply.code == 452 and accepted:
            return recipients[number:]
        else:
            outcome.fail([recipient], _failure(reply, NOUSER))
            if reply.code == 421:
                raise Lost(str(reply))
    return []


def _unsettled(recipients: list[str], outcome: TransferOutcome) -> list[str]:
    settled = {*outcome.sent, *(recipient for recipient, _ in outcome.failed)}
    return [recipient for recipient in recipients if recipient not in settled]


_DONE, _GO_ON = range(200, 300), range(300, 400)  # the first digit decides (RFC 5321 section 4.3.2)
_TAKEN = (250,)  # but only this takes a message over: 221 ends a session (section 4.2.3)


def _demand(reply: ServerReply, otherwise: int, wanted: "Container[int]" = _DONE) -> None:
    if reply.code not in wanted:
        raise _failure(reply, otherwise)


def _failure(reply: ServerReply, otherwise: int) -> Failure:
    """The exit status for a rejection, by its enhanced status code (RFC 3463), else by where it came."""
    text = f"the server says {reply}"
    if reply.code < 500:
        return Failure(TEMPFAIL, text)
    status = reply.lines[0].partition(" ")[0]
    for start, meaning in (("5.1.", NOUSER), ("5.6.", DATAERR), ("5.3.4", DATAERR), ("5.7.", NOPERM)):
        if status.startswith(start):
            return Failure(meaning, text)
    # RFC 5321 section 4.2.3: the message is too large
    return Failure(DATAERR if reply.code == 552 else otherwise, text)
