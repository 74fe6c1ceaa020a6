"""The effect of each command in each state of a server session. Every pair is in TABLE; a test tries them all."""

from enum import StrEnum

from letterlock.mail.replies import Reply
from letterlock.smtp import server_replies as say
from letterlock.smtp.commands import Verb


class State(StrEnum):
    """Where a session stands."""

    NEW = "new"  # greet
    HELLO = "hello"  # EHLO or HELO is due
    READY = "ready"  # no mail transaction
    SENDER = "sender"  # MAIL was accepted
    RECIPIENTS = "recipients"  # a RCPT was accepted, too
    CONTENT = "content"  # DATA was accepted
    CHUNK = "chunk"  # the octets of a BDAT
    CHUNKS = "chunks"  # between two BDAT
    SASL = "sasl"  # AUTH was begun
    HANDSHAKE = "handshake"  # tls_established
    CLOSED = "closed"


class Effect(StrEnum):
    """The effect of a command."""

    GREET = "greet"
    OPEN = "open a mail transaction"
    ADD = "add a recipient"
    TAKE = "take the content"
    CHUNK = "take a chunk of the content"
    RESET = "end the mail transaction"
    ANSWER = "answer only"
    SECURE = "start TLS"
    PROVE = "authenticate"
    LEAVE = "end the session"


COMMAND_STATES = (State.HELLO, State.READY, State.SENDER, State.RECIPIENTS, State.CHUNKS)


def _row(*cells: Effect | Reply) -> dict[State, Effect | Reply]:
    return dict(zip(COMMAND_STATES, cells if len(cells) > 1 else cells * len(COMMAND_STATES), strict=True))


# The effect in each of COMMAND_STATES, or the reply that says why not now; a single cell holds in all of them.
TABLE: dict[Verb, dict[State, Effect | Reply]] = {
    Verb.EHLO: _row(Effect.GREET),
    Verb.HELO: _row(Effect.GREET),
    Verb.MAIL: _row(say.HELLO_FIRST, Effect.OPEN, say.ALREADY_MAIL, say.ALREADY_MAIL, say.ALREADY_MAIL),
    Verb.RCPT: _row(say.HELLO_FIRST, say.MAIL_FIRST, Effect.ADD, Effect.ADD, say.NOT_BETWEEN_CHUNKS),
    Verb.DATA: _row(say.HELLO_FIRST, say.MAIL_FIRST, say.RCPT_FIRST, Effect.TAKE, say.NOT_BETWEEN_CHUNKS),
    Verb.BDAT: _row(say.HELLO_FIRST, say.MAIL_FIRST, say.RCPT_FIRST_BDAT, Effect.CHUNK, Effect.CHUNK),
    Verb.STARTTLS: _row(say.HELLO_FIRST, Effect.SECURE, say.NOT_DURING_MAIL, say.NOT_DURING_MAIL, say.NOT_DURING_MAIL),
    Verb.AUTH: _row(say.HELLO_FIRST, Effect.PROVE, say.NOT_DURING_MAIL, say.NOT_DURING_MAIL, say.NOT_DURING_MAIL),
    Verb.RSET: _row(Effect.RESET),
    Verb.NOOP: _row(Effect.ANSWER),
    Verb.VRFY: _row(Effect.ANSWER),
    Verb.HELP: _row(Effect.ANSWER),
    Verb.QUIT: _row(Effect.LEAVE),
}
