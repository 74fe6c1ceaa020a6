"""The states of a client session, what an answer may be due to, and which answers do not refuse."""

from enum import StrEnum


class State(StrEnum):
    """What may come next."""

    WAITING = "waiting"  # for an answer
    GREETED = "greeted"  # hello, quit
    READY = "ready"  # start_tls, begin, quit
    HANDSHAKE = "handshake"  # tls_established
    SENDING = "sending"  # send_message
    CLOSED = "closed"


class Step(StrEnum):
    """What an answer is due to."""

    GREETING = "greeting"
    EHLO = "EHLO"
    HELO = "HELO"
    LHLO = "LHLO"
    STARTTLS = "STARTTLS"
    RSET = "RSET"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    BDAT = "BDAT"  # with the whole message, sent before the envelope is answered
    MESSAGE = "message"
    NO_MESSAGE = "no message"  # what follows a DATA or comes with a BDAT that no recipient wants
    QUIT = "QUIT"


# The codes that do not refuse; 4yz and 5yz always may come, and anything else is against the protocol.
ACCEPTING: dict[Step, frozenset[int]] = {
    Step.GREETING: frozenset({220}),
    Step.EHLO: frozenset({250}),
    Step.HELO: frozenset({250}),
    Step.LHLO: frozenset({250}),
    Step.STARTTLS: frozenset(range(200, 400)),
    Step.RSET: frozenset(range(200, 300)),
    Step.MAIL: frozenset(range(200, 300)),
    Step.RCPT: frozenset(range(200, 300)),
    Step.DATA: frozenset({354}),
    Step.MESSAGE: frozenset(range(200, 300)),
    Step.NO_MESSAGE: frozenset(range(200, 300)),
    Step.QUIT: frozenset(range(200, 400)),
}
