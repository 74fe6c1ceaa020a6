"""The states of a client session, what an answer may be due to, and which answers do not refuse."""

from enum import StrEnum

from letterlock.frozen import frozen_dataclass
from letterlock.mail.addresses import Mailbox


class ClientState(StrEnum):
    """The next permitted step."""

    WAITING = "waiting"  # for an answer
    GREETED = "greeted"  # hello, quit
    READY = "ready"  # start_tls, log_in, begin, quit
    HANDSHAKE = "handshake"  # tls_established
    CHALLENGED = "challenged"  # answer_challenge
    SENDING = "sending"  # send_message
    CLOSED = "closed"


class Step(StrEnum):
    """The commands that a reply can answer."""

    GREETING = "greeting"
    EHLO = "EHLO"
    HELO = "HELO"
    LHLO = "LHLO"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"
    RSET = "RSET"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    BDAT = "BDAT"  # with the whole message, sent before the envelope is answered
    MESSAGE = "message"
    NO_MESSAGE = "no message"  # what follows a DATA or comes with a BDAT that no recipient wants
    QUIT = "QUIT"


@frozen_dataclass(frozen=True, slots=True)
class ClientCommand:
    """A command that awaits its reply; `line` with its CRLF."""

    step: Step
    line: bytes = b""
    recipient: Mailbox | None = None


# Commands that are the same in each session.
GREETING_COMMAND = ClientCommand(Step.GREETING)
STARTTLS_COMMAND = ClientCommand(Step.STARTTLS, b"STARTTLS\r\n")
RSET_COMMAND = ClientCommand(Step.RSET, b"RSET\r\n")
DATA_COMMAND = ClientCommand(Step.DATA, b"DATA\r\n")
MESSAGE_COMMAND = ClientCommand(Step.MESSAGE)
QUIT_COMMAND = ClientCommand(Step.QUIT, b"QUIT\r\n")

# A code that a client does not know counts by its first digit (RFC 5321 sections 4.2.1 and 4.3.2). One that it does
# know keeps its meaning: where it answers another command, the replies are out of step with what was sent, or a new
# server has begun behind a proxy. The known ones are those of RFC 5321 section 4.2.3, and of AUTH (RFC 4954).
_POSITIVE = frozenset(range(200, 300))
_UNKNOWN_POSITIVE = _POSITIVE - {211, 214, 220, 221, 235, 250, 251, 252}
_UNKNOWN_INTERMEDIATE = frozenset(range(300, 400)) - {334, 354}

GO_AHEAD = frozenset({220}) | _UNKNOWN_POSITIVE
"""The reply that starts the handshake (RFC 3207 section 4); if it was sent in error, the handshake fails."""

_MESSAGE_TAKEN = _POSITIVE - {211, 214, 220, 221, 235}
"""From here on the message is the server's (RFC 5321 section 6.1), so `221 closing` and `220 ready` are no such answer:
they say nothing of the message, which is then in doubt, and tried again. A code that means nothing else counts by its
first digit, for otherwise the message would come again and again to a server that took it each time."""

# The codes that do not refuse; 4yz and 5yz always may come, and anything else is against the protocol.
ACCEPTING: dict[Step, frozenset[int]] = {
    Step.GREETING: frozenset({220}) | _UNKNOWN_POSITIVE,
    Step.EHLO: frozenset({250}) | _UNKNOWN_POSITIVE,
    Step.HELO: frozenset({250}) | _UNKNOWN_POSITIVE,
    Step.LHLO: frozenset({250}) | _UNKNOWN_POSITIVE,
    Step.STARTTLS: frozenset(range(200, 400)),  # all but GO_AHEAD refuse it, and are left to the policy
    Step.AUTH: frozenset({235, 334}),  # RFC 4954 section 4
    Step.RSET: _POSITIVE,
    Step.MAIL: _POSITIVE,
    Step.RCPT: _POSITIVE,
    Step.DATA: frozenset({354}) | _UNKNOWN_INTERMEDIATE,
    Step.MESSAGE: _MESSAGE_TAKEN,
    Step.NO_MESSAGE: _POSITIVE,
    Step.QUIT: frozenset(range(200, 400)),
}


def while_awaiting(step: Step | None) -> str:
    """When something happened, for the text of a fault."""
    match step:
        case None:
            return "while nothing was asked"
        case Step.GREETING:
            return "instead of greeting"
        case Step.MESSAGE | Step.NO_MESSAGE:
            return "when the whole message had been sent"
        case _:
            return f"in answer to {step}"
