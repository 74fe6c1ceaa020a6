"""`-bv`: would the server accept these recipients? Nothing is sent."""

import sys

from letterlock.sendmail.exits import NOUSER, OK, TEMPFAIL, UNAVAILABLE, Failure, printable
from letterlock.sendmail.session import SubmissionSession


def verify(session: SubmissionSession, hostname: str, sender: str, recipients: list[str]) -> int:
    """Print what the server says to each recipient; the exit status. Raises Lost, Failure."""
    session.greet(hostname)
    smtputf8 = " SMTPUTF8" if not all(each.isascii() for each in (sender, *recipients)) else ""
    reply = session.command(f"MAIL FROM:<{sender}>{smtputf8}")
    if reply.code != 250:
        raise Failure(TEMPFAIL if reply.code < 500 else UNAVAILABLE, f"the server says {reply}")
    worst = OK
    for recipient in recipients:
        reply = session.command(f"RCPT TO:<{recipient}>")
        accepted = reply.code in (250, 251)
        words = "deliverable" if accepted else f"not accepted: {reply}"
        sys.stdout.write(f"{printable(recipient)}... {words}\n")
        if not accepted and worst != TEMPFAIL:
            worst = TEMPFAIL if reply.code < 500 else NOUSER
    session.command("RSET")
    session.quit()
    return worst
