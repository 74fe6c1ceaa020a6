"""Fuzz the SMTP client: whatever a server sends, only the documented exceptions come, and nothing false is believed.

`python -m tests.fuzz.smtp_client_fuzz --cases N --seed S`. A fault names the session's own seed, which repeats it.
"""

import argparse
import random

from letterlock.mail.addresses import Mailbox
from letterlock.smtp.client import SmtpClient
from letterlock.smtp.client_content import wire_content
from letterlock.smtp.client_events import (
    EnvelopeAnswered,
    Event,
    LocalProtocolError,
    MessageAnswered,
    RecipientAnswered,
    RemoteProtocolError,
    SenderAnswered,
    TlsAnswered,
    TlsGoAhead,
)
from letterlock.smtp.client_steps import ClientState, Step

RECIPIENTS = [Mailbox("ann", "example.org"), Mailbox("bob", "example.org")]
CONTENT = b"Subject: x\r\n\r\n.\r\nMAIL\r\n"
_CODES = [220, 221, 250, 251, 354, 421, 450, 451, 452, 454, 500, 502, 503, 550, 552, 554, 150, 999, 299, 399]
_WORDS = [
    b"STARTTLS",
    b"CHUNKING",
    b"PIPELINING",
    b"SIZE 10",
    b"SIZE",
    b"8BITMIME",
    b"2.0.0",
    b"5.1.1 no",
    b"",
    b"\0",
    b"\xff",
    b"x" * 600,
]
_ENDS = [b"\r\n"] * 12 + [b"\n", b"\r", b"", b"\r\r\n"]
_USUAL = {
    Step.GREETING: 220,
    Step.EHLO: 250,
    Step.HELO: 250,
    Step.STARTTLS: 220,
    Step.MAIL: 250,
    Step.RCPT: 250,
    Step.DATA: 354,
    Step.BDAT: 250,
    Step.MESSAGE: 250,
}


def play(chance: random.Random, *, max_turns: int = 60) -> None:
    """One session with a server that does what chance says. Raises AssertionError when the client is wrong."""
    client = SmtpClient("client.example")
    session = _Session(client, chance)
    for _ in range(max_turns):
        if client.state is ClientState.CLOSED:
            break
        try:
            session.turn()
        except RemoteProtocolError:
            assert str(client.state) == ClientState.CLOSED
    session.check_the_end()


class _Session:
    """What was sent and what the client made of the answers."""

    def __init__(self, client: SmtpClient, chance: random.Random) -> None:
        self.client = client
        self.chance = chance
        self.nastiness = chance.choice([0.0, 0.03, 0.3])
        self.content_sent = False
        self.following = False  # whether an envelope is in one group with the content whose answer is due

    def turn(self) -> None:
        """Act if it is our turn, then hear what the server says."""
        self.act()
        output = self.client.take_output()
        self.content_sent |= b".\r\n" in output or b" LAST\r\n" in output
        if self.client.state in (ClientState.CLOSED, ClientState.HANDSHAKE):
            return
        if self.client.awaiting is None and self.chance.random() >= self.nastiness:
            return
        events = self.client.receive(self.says())
        for event in events:
            self.check(event)

    def act(self) -> None:
        """One of the commands that the state allows; now and then one that it does not."""
        client, chance = self.client, self.chance
        if chance.random() < 0.05:
            self.misuse()
        match client.state:
            case ClientState.GREETED:
                (client.quit if chance.random() < 0.05 else client.hello)()
            case ClientState.READY if client.capabilities.starttls and not client.secure and chance.random() < 0.5:
                client.start_tls()
            case ClientState.READY:
                self.content_sent = False
                early = wire_content(CONTENT) if client.may_send_early and chance.random() < 0.5 else None
                client.begin(None, RECIPIENTS[: chance.randint(1, 2)], size=len(CONTENT), early=early)
            case ClientState.HANDSHAKE:
                client.tls_established()
                assert not client.capabilities.keywords
            case ClientState.SENDING:
                client.send_message(CONTENT)
        if client.may_follow and chance.random() < 0.5:
            self.following = True
            client.begin(None, RECIPIENTS[: chance.randint(1, 2)], size=len(CONTENT), behind=True)

    def misuse(self) -> None:
        """A command out of order is a LocalProtocolError and changes nothing."""
        state = self.client.state
        if state is not ClientState.SENDING:
            try:
                self.client.send_message(CONTENT)
            except LocalProtocolError:
                assert self.client.state is state
            else:
                raise AssertionError("content was taken without a 354")

    def says(self) -> bytes:
        """What the server says next: as it should be, or less so the nastier this server is."""
        chance = self.chance
        if chance.random() >= self.nastiness:
            return self.usual()
        match chance.randrange(4):
            case 0:
                return b""
            case 1:
                return chance.randbytes(chance.randint(1, 40))
            case 2:
                return self.usual()[: chance.randint(1, 30)] or b"2"
        lines = (
            b"%d" % chance.choice(_CODES)
            + chance.choice([b" ", b" ", b"-"])
            + chance.choice(_WORDS)
            + chance.choice(_ENDS)
            for _ in range(chance.randint(1, 5))
        )
        return b"".join(lines)

    def usual(self) -> bytes:
        """An answer to everything that is due, refusals included."""
        answers = []
        for command in self.client._due:
            code = _USUAL.get(command.step, 221)
            if self.chance.random() < 0.1:
                code = self.chance.choice([421, 450, 452, 502, 550, 554])
            extensions = [b"mx", *self.chance.sample(_WORDS[:6], self.chance.randint(0, 6))]
            if command.step is not Step.EHLO or code != 250:
                extensions = extensions[:1]
            *first, last = extensions
            answers += [b"%d-%s\r\n" % (code, line) for line in first] + [b"%d %s\r\n" % (code, last)]
        return b"".join(answers) or b"421 idle\r\n"

    def check(self, event: Event) -> None:
        """No event says more than the server did."""
        match event:
            case MessageAnswered(reply):
                assert self.content_sent, "an answer to a message that was not sent"
                self.content_sent, self.following = False, False
                assert reply.code // 100 in (2, 4, 5)
                assert reply.code not in (211, 214, 220, 221, 235), "a word of another command took the message"
            case SenderAnswered() | RecipientAnswered() | EnvelopeAnswered() if self.following:
                raise AssertionError("an envelope was answered before the content in front of it")
            case EnvelopeAnswered(accepted, reply) if accepted:
                assert self.client.chunking == (reply is None)
                assert reply is None or (reply.code // 100 == 3 and reply.code != 334)
                assert not self.client.sent_early or self.content_sent
            case RecipientAnswered(recipient, reply):
                assert recipient in RECIPIENTS
                assert reply.code // 100 in (2, 4, 5)
            case TlsAnswered(reply, go_ahead) if go_ahead is not TlsGoAhead.REFUSED:
                assert reply.code // 100 == 2
                assert reply.code not in (211, 214, 221, 235, 250, 251, 252)

    def check_the_end(self) -> None:
        """A closed session takes no command."""
        if self.client.state is ClientState.CLOSED:
            for command in (self.client.hello, self.client.start_tls, self.client.quit, self.client.tls_established):
                try:
                    command()
                except LocalProtocolError:
                    continue
                raise AssertionError("a closed session took a command")


def run(cases: int, seed: int) -> None:
    """Play so many sessions, each from its own seed."""
    for number in range(seed, seed + cases):
        try:
            play(random.Random(number))
        except Exception as fault:
            fault.add_note(f"the case: seed {number}, --cases 1")
            raise


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    run(given.cases, given.seed)
    print(f"{given.cases} cases, no fault")


if __name__ == "__main__":
    main()
