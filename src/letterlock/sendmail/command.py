"""`letterlock-sendmail`: the command."""

import os
import pwd
import sys

import letterlock
from letterlock.sendmail.address_lists import BadAddress, addresses, distinct, qualified, readable_addresses
from letterlock.sendmail.arguments import Arguments, parse
from letterlock.sendmail.exits import DATAERR, NOINPUT, OK, TEMPFAIL, USAGE, Failure, prepare_streams, printable
from letterlock.sendmail.session import Lost, SubmissionSession
from letterlock.sendmail.settings import Settings, settings
from letterlock.sendmail.submitted_message import SubmittedMessage, read_message
from letterlock.sendmail.transfer import IN_DOUBT, SubmittedEnvelope, TransferOutcome, check_offers, transfer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

STDIN, STDOUT, STDERR = 0, 1, 2  # file descriptors (stdin(3))
MAX_SHOWN = 5  # of what could not be read
HELP = """\
usage: letterlock-sendmail [option ...] [recipient ...] < message

  -t                 take the recipients from To, Cc and Bcc
  -f ADDRESS         the envelope's sender; -F NAME: the full name in From
  -i, -oi            a line with a lone dot does not end the message
  -N LIST, -R WHAT, -V ID   delivery status notifications (RFC 3461)
  -bm -bs -bp -bv    send (the default), speak SMTP, list the queue, verify recipients
  -bi                check the files of aliases, as newaliases does
  -C FILE            the server's configuration; -v: show the session

Other options of Sendmail and Postfix are accepted; those without effect here say so.
"""
NEWALIASES_HELP = """\
usage: letterlock-newaliases [-C FILE]

  -C FILE            the server's configuration

Checks the files of aliases and mailboxes: lines that cannot be used, and aliases that lead to nobody. There is no
database to build: the server reads a changed file within a second. The same as `letterlock aliases`.
"""
_NAMES = {"mailq": "p", "newaliases": "i", "letterlock-newaliases": "i"}  # sendmail has always been these, too


def main() -> int:
    """Run the command with the program's arguments; its exit status."""
    prepare_streams()
    try:
        arguments = parse(sys.argv[1:])
        for sentence in arguments.ignored:
            _tell(sentence)
        name = os.path.basename(sys.argv[0])
        if arguments.mode == "--help" and _NAMES.get(name) == "i":
            sys.stdout.write(NEWALIASES_HELP)
            return OK
        return _run(arguments, arguments.mode if arguments.mode.startswith("--") else _NAMES.get(name, arguments.mode))
    except Failure as failure:
        _tell(str(failure))
        return failure.status
    except KeyboardInterrupt:
        _tell("interrupted: only what was confirmed was sent")
        return TEMPFAIL


def _run(arguments: Arguments, mode: str) -> int:
    match mode:
        case "p":
            from letterlock.sendmail.mailq import show  # noqa: PLC0415  # another command's

            return show(arguments.config)
        case "i":
            return _check_aliases(arguments)
        case "n":
            _tell("this mode of sendmail has nothing to do here")
            return OK
        case "s":
            return _speak(arguments)
        case "v":
            return _verify(arguments)
        case "--version":
            sys.stdout.write(f"letterlock-sendmail {letterlock.__version__}\n")
            return OK
        case "--help":
            sys.stdout.write(HELP)
            return OK
    if arguments.run_queue:
        if not arguments.recipients and not arguments.from_headers:
            return _send_kept(settings(arguments.config))
        _tell("-q has no effect beside a message")
    return _send(arguments)


def _check_aliases(arguments: Arguments) -> int:
    """`-bi` and `newaliases`: another program, for this one is small and does not know the whole configuration."""
    config = [] if arguments.config is None else ["--config", arguments.config]
    try:
        os.execv(sys.executable, [sys.executable, "-m", "letterlock", "aliases", *config])  # noqa: S606  # ourselves
    except OSError as error:
        raise Failure(TEMPFAIL, f"{sys.executable} cannot be run: {error.strerror or error}") from None


def _send_kept(known: Settings) -> int:
    """`-q`: what this user has kept goes to the server. Its own queue it tries by itself."""
    from letterlock.sendmail.unsent import move_to  # noqa: PLC0415  # seldom needed

    try:
        moved = move_to(known.drop_directories())
    except OSError as error:
        raise Failure(TEMPFAIL, f"what is kept cannot be sent: {error.strerror or error}") from None
    if moved:
        _tell(f"{moved} kept message{'s' if moved != 1 else ''} left for the server")
    else:
        _tell("nothing is kept here; for the server's queue: `letterlock queue retry --all`")
    return OK


def _speak(arguments: Arguments) -> int:
    from letterlock.sendmail.passthrough import relay  # noqa: PLC0415  # only for -bs

    try:
        os.fstat(STDIN)  # else the connection would take its place
        os.fstat(STDOUT)
    except OSError as error:
        raise Failure(NOINPUT, f"-bs needs standard input and output: {error.strerror}") from None
    session = _connected(settings(arguments.config), arguments)
    try:
        return relay(session, STDIN, STDOUT)
    finally:
        session.close()


def _connected(known: Settings, arguments: Arguments) -> SubmissionSession:
    try:
        return SubmissionSession(known.listen, _watch if arguments.verbose else None)
    except Lost as lost:
        raise Failure(TEMPFAIL, str(lost)) from None


def _verify(arguments: Arguments) -> int:
    from letterlock.sendmail.recipient_check import verify  # noqa: PLC0415  # only for -bv

    known = settings(arguments.config)
    recipients, unreadable = _recipients(arguments.recipients)
    recipients = [qualified(each, known.hostname) for each in recipients]
    for why in unreadable[:MAX_SHOWN]:
        _tell(why)
    if not recipients:
        raise Failure(USAGE, "-bv: no recipients to verify")
    session = _connected(known, arguments)
    try:
        status = verify(session, known.hostname, _Person(arguments, known.hostname).sender, recipients)
    except Lost as lost:
        raise Failure(TEMPFAIL, str(lost)) from None
    finally:
        session.close()
    return status or (USAGE if unreadable else OK)


def _send(arguments: Arguments) -> int:
    if not arguments.recipients and not arguments.from_headers:
        raise Failure(USAGE, "no recipients: name them, or give -t to take them from To, Cc and Bcc")
    known = settings(arguments.config)
    person = _Person(arguments, known.hostname)
    recipients, unreadable = _recipients(arguments.recipients)
    unreadable_status = USAGE
    raw = read_message(STDIN, ignore_dots=arguments.ignore_dots, max_octets=known.max_message_octets)
    message = SubmittedMessage(raw)
    if arguments.from_headers:
        found, more = _recipients(message.recipient_lists())
        recipients += found
        unreadable_status = USAGE if unreadable else DATAERR
        unreadable += more
    recipients = distinct(qualified(each, known.hostname) for each in recipients)
    if not recipients and unreadable:
        raise Failure(unreadable_status, f"{unreadable[0]}; nothing was sent")
    if not recipients:
        raise Failure(USAGE, "no recipients in To, Cc and Bcc; nothing was sent")
    message.complete(sender=person.address, full_name=person.name, hostname=known.hostname)
    wire = message.wire()
    body_type = "7BIT" if wire.isascii() else "8BITMIME"
    envelope = SubmittedEnvelope(
        person.sender,
        recipients,
        notify=arguments.notify,
        ret=arguments.ret,
        envid=arguments.envid,
        body_type=arguments.body_type if wire.isascii() and arguments.body_type else body_type,
    )
    outcome = _hand_over(envelope, wire, known, verbose=arguments.verbose)
    _keep_postponed(outcome, envelope, wire, known)
    _report(outcome, unreadable, verbose=arguments.verbose)
    return outcome.status() or (unreadable_status if unreadable else OK)


class _Person:
    """The sender: `sender` goes into the envelope and may be empty, `address` and `name` into From."""

    __slots__ = ("address", "name", "sender")

    def __init__(self, arguments: Arguments, hostname: str) -> None:
        given = None if arguments.sender is None else _sender(arguments.sender)
        login, gecos = _account()
        own = qualified(login, hostname)
        self.sender = own if given is None else qualified(given, hostname)
        self.address = self.sender or own
        if arguments.full_name is not None:
            if not arguments.full_name.isprintable():
                raise Failure(USAGE, "-F: a name has no control characters")
            self.name = arguments.full_name
        else:
            self.name = _own_name(gecos) if given is None else ""


def _account() -> tuple[str, str]:
    """The user's name, fit for an address, and the GECOS field. In containers a user may have neither."""
    try:
        entry = pwd.getpwuid(os.getuid())
    except KeyError:
        return f"uid{os.getuid()}", ""
    name = entry.pw_name
    if set(name) & set(' ()<>,;:\\"[]'):  # such as those of a Windows domain
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        name = f'"{escaped}"'
    return name, entry.pw_gecos


def _own_name(gecos: str) -> str:
    return printable(os.environ.get("NAME") or gecos.partition(",")[0])


def _sender(text: str) -> str:
    if text in ("", "<>"):
        return ""
    try:
        found = addresses(text)
    except BadAddress as error:
        raise Failure(USAGE, f"-f: {printable(str(error))}; nothing was sent") from None
    if len(found) != 1:
        raise Failure(USAGE, f"-f: one address, not {len(found)}")
    return found[0]


def _recipients(lists: "Iterable[str]") -> tuple[list[str], list[str]]:
    """The recipients that can be read, and what is wrong with the rest. Raises Failure (USAGE)."""
    recipients: list[str] = []
    unreadable: list[str] = []
    try:
        for text in lists:
            found, bad = readable_addresses(text)
            recipients += found
            unreadable += map(printable, bad)
    except BadAddress as error:
        raise Failure(USAGE, f"{printable(str(error))}; nothing was sent") from None
    if "" in recipients:
        unreadable.append("<> is no recipient")
    return [each for each in recipients if each], unreadable


def _hand_over(envelope: SubmittedEnvelope, wire: bytes, known: Settings, *, verbose: bool) -> TransferOutcome:
    session = None
    try:
        session = SubmissionSession(known.listen, _watch if verbose else None)
        session.greet(known.hostname)
        check_offers(envelope, len(wire), session.offers)
        outcome = transfer(session, envelope, wire)
        session.quit()
    except Lost as lost:
        outcome = TransferOutcome()
        outcome.fail(envelope.recipients, Failure(TEMPFAIL, str(lost)))
    except Failure as failure:
        outcome = TransferOutcome()
        outcome.fail(envelope.recipients, failure)
    finally:
        if session is not None:
            session.close()
    return outcome


def _keep_postponed(outcome: TransferOutcome, envelope: SubmittedEnvelope, wire: bytes, known: Settings) -> None:
    """Save a message that the server does not take now in its drop directory, or else in the user's own."""
    if not (postponed := outcome.postponed()):
        return
    from letterlock.sendmail import drop_file, unsent  # noqa: PLC0415  # seldom needed

    parts = [postponed[at : at + drop_file.MAX_RECIPIENTS] for at in range(0, len(postponed), drop_file.MAX_RECIPIENTS)]
    batches = [envelope.batch(part, wire, known.hostname) for part in parts]
    for directory in known.drop_directories():
        try:
            drop_file.leave(directory, batches)
        except OSError as error:
            _tell(f"the message cannot wait in {directory}: {error.strerror or error}")
        else:
            outcome.settle_postponed(directory)
            return
    try:
        path = unsent.keep(envelope.batch(postponed, wire, known.hostname))
    except OSError as error:
        _tell(f"the message could not be kept either ({error.strerror or error}): it is still yours to send")
    else:
        _tell(f"the message is kept in {path}; once the server has a drop directory, `letterlock-sendmail -q` sends it")


def _report(outcome: TransferOutcome, unreadable: list[str], *, verbose: bool) -> None:
    """Report who does not get the message, and why; in a terminal also who gets it later."""
    reasons: dict[str, list[str]] = {}
    for recipient, why in outcome.failed:
        reasons.setdefault(str(why), []).append(recipient)
    for reason, recipients in reasons.items():
        _tell(f"not sent to {_enumerated(recipients)}: {reason}")
    for trouble in unreadable[:MAX_SHOWN]:
        _tell(f"not sent: {trouble}")
    if len(unreadable) > MAX_SHOWN:
        _tell(f"not sent: {len(unreadable) - MAX_SHOWN} more that cannot be read")
    if (outcome.failed or unreadable) and outcome.sent:
        _tell(f"sent to {_enumerated(outcome.sent)}")
    if outcome.waiting and (verbose or os.isatty(STDERR) or IN_DOUBT in outcome.waiting_because):
        _tell(f"{outcome.waiting_because}; the message waits in {outcome.waiting}, and the server sends it from there")


def _enumerated(recipients: list[str]) -> str:
    shown = ", ".join(map(printable, recipients[:5]))
    return shown if len(recipients) <= 5 else f"{shown} and {len(recipients) - 5} more"


def _watch(direction: str, octets: bytes) -> None:
    for line in octets.splitlines():
        sys.stderr.write(f"{direction} {printable(line.decode('utf-8', 'replace'))}\n")


def _tell(text: str) -> None:
    sys.stderr.write(f"letterlock-sendmail: {text}\n")
