"""`letterlock-sendmail`: the command."""

import os
import pwd
import sys

from letterlock.sendmail.addresses import BadAddress, addresses, distinct, qualified
from letterlock.sendmail.arguments import Arguments, parse
from letterlock.sendmail.exits import DATAERR, NOINPUT, NOUSER, OK, TEMPFAIL, USAGE, Failure, printable
from letterlock.sendmail.message import Message, read_message
from letterlock.sendmail.relay import relay
from letterlock.sendmail.session import Lost, Session
from letterlock.sendmail.settings import Settings, settings
from letterlock.sendmail.transfer import Envelope, Outcome, check_offers, transfer
from letterlock.sendmail.unsent import keep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

STDIN, STDOUT = 0, 1
_NAMES = {"mailq": "p", "newaliases": "i"}  # under these names sendmail has always been something else


def main() -> int:
    """Run the command with the program's arguments; its exit status."""
    try:
        arguments = parse(sys.argv[1:])
        for sentence in arguments.ignored:
            _tell(sentence)
        return _run(arguments, _NAMES.get(os.path.basename(sys.argv[0]), arguments.mode))
    except Failure as failure:
        _tell(str(failure))
        return failure.status
    except KeyboardInterrupt:
        _tell("interrupted; nothing was sent that is not said to be")
        return TEMPFAIL


def _run(arguments: Arguments, mode: str) -> int:
    match mode:
        case "p":
            from letterlock.sendmail.mailq import show  # noqa: PLC0415  # another command's

            return show(arguments.config)
        case "i":
            _tell("there is no alias database: nothing to do")
            return OK
        case "s":
            return _speak(arguments)
    if arguments.run_queue:
        _tell("-q has no effect: the server tries again by itself, `letterlock queue retry --all` at once")
        if not arguments.recipients and not arguments.from_headers:
            return OK
    return _send(arguments)


def _speak(arguments: Arguments) -> int:
    try:
        os.fstat(STDIN)  # else the connection would take its place
        os.fstat(STDOUT)
    except OSError as error:
        raise Failure(NOINPUT, f"-bs needs standard input and output: {error.strerror}") from None
    try:
        session = Session(settings(arguments.config).listen, _watch if arguments.verbose else None)
    except Lost as lost:
        raise Failure(TEMPFAIL, str(lost)) from None
    try:
        return relay(session, STDIN, STDOUT)
    finally:
        session.close()


def _send(arguments: Arguments) -> int:
    if not arguments.recipients and not arguments.from_headers:
        raise Failure(USAGE, "no recipients: name them, or give -t to take them from To, Cc and Bcc")
    known = settings(arguments.config)
    person = _Person(arguments, known.hostname)
    recipients = _addresses(arguments.recipients, USAGE)
    raw = read_message(STDIN, ignore_dots=arguments.ignore_dots, max_octets=known.max_message_octets)
    message = Message(raw)
    if arguments.from_headers:
        recipients += _addresses(message.recipient_lists(), DATAERR)
    recipients = distinct(qualified(each, known.hostname) for each in recipients)
    if not recipients:
        raise Failure(USAGE, "no recipients in To, Cc and Bcc; nothing was sent")
    message.complete(sender=person.address, full_name=person.name, hostname=known.hostname)
    wire = message.wire()
    body_type = "7BIT" if wire.isascii() else "8BITMIME"
    envelope = Envelope(
        person.sender,
        recipients,
        notify=arguments.notify,
        ret=arguments.ret,
        envid=arguments.envid,
        body_type=arguments.body_type if wire.isascii() and arguments.body_type else body_type,
    )
    return _finish(_hand_over(envelope, wire, known, verbose=arguments.verbose), envelope, wire, known)


class _Person:
    """Who sends: `sender` stands in the envelope and may be empty, `address` and `name` in From."""

    __slots__ = ("address", "name", "sender")

    def __init__(self, arguments: Arguments, hostname: str) -> None:
        given = None if arguments.sender is None else _sender(arguments.sender)
        entry = None
        try:
            entry = pwd.getpwuid(os.getuid())
        except KeyError:
            if not given:
                raise Failure(NOUSER, f"user {os.getuid()} has no name: give -f") from None
        own = qualified(entry.pw_name, hostname) if entry else ""
        self.sender = own if given is None else qualified(given, hostname)
        self.address = self.sender or own
        if arguments.full_name is not None:
            if not arguments.full_name.isprintable():
                raise Failure(USAGE, "-F: a name has no control characters")
            self.name = arguments.full_name
        else:
            self.name = _own_name(entry.pw_gecos) if entry and given is None else ""


def _own_name(gecos: str) -> str:
    return printable(os.environ.get("NAME") or gecos.partition(",")[0])


def _sender(text: str) -> str:
    if text in ("", "<>"):
        return ""
    found = _addresses([text], USAGE)
    if len(found) != 1:
        raise Failure(USAGE, f"-f: one address, not {len(found)}")
    return found[0]


def _addresses(lists: "Iterable[str]", status: int) -> list[str]:
    try:
        found = [address for text in lists for address in addresses(text)]
    except BadAddress as error:
        raise Failure(status, f"{printable(str(error))}; nothing was sent") from None
    if "" in found:
        raise Failure(status, "<> is no recipient; nothing was sent")
    return found


def _hand_over(envelope: Envelope, wire: bytes, known: Settings, *, verbose: bool) -> Outcome:
    session = None
    try:
        session = Session(known.listen, _watch if verbose else None)
        session.greet(known.hostname)
        check_offers(envelope, len(wire), session.offers)
        outcome = transfer(session, envelope, wire)
        session.quit()
    except Lost as lost:
        outcome = Outcome()
        outcome.fail(envelope.recipients, Failure(TEMPFAIL, str(lost)))
    except Failure as failure:
        outcome = Outcome()
        outcome.fail(envelope.recipients, failure)
    finally:
        if session is not None:
            session.close()
    return outcome


def _finish(outcome: Outcome, envelope: Envelope, wire: bytes, known: Settings) -> int:
    """Tell what was not sent, and keep what may be sent later."""
    reasons: dict[str, list[str]] = {}
    for recipient, why in outcome.failed:
        reasons.setdefault(str(why), []).append(recipient)
    for reason, recipients in reasons.items():
        _tell(f"not sent to {_enumerated(recipients)}: {reason}")
    if outcome.failed and outcome.sent:
        _tell(f"sent to {_enumerated(outcome.sent)}")
    if postponed := outcome.postponed():
        try:
            path = keep(envelope, postponed, wire, known.hostname)
        except OSError as error:
            _tell(f"the message could not be kept either ({error.strerror or error}): it is still yours to send")
        else:
            _tell(f"the message is kept in {path}; to send it: letterlock-sendmail -bs < {path}")
    return outcome.status()


def _enumerated(recipients: list[str]) -> str:
    shown = ", ".join(map(printable, recipients[:5]))
    return shown if len(recipients) <= 5 else f"{shown} and {len(recipients) - 5} more"


def _watch(direction: str, octets: bytes) -> None:
    for line in octets.splitlines():
        sys.stderr.write(f"{direction} {printable(line.decode('utf-8', 'replace'))}\n")


def _tell(text: str) -> None:
    if sys.stderr is not None:  # closed by some callers
        sys.stderr.write(f"letterlock-sendmail: {text}\n")
