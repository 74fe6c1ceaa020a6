"""A driver that says yes to everything, unless told otherwise, and remembers what happened."""

from letterlock.mail.replies import Reply
from letterlock.smtp.server import SmtpServer
from letterlock.smtp.server_events import (
    Ended,
    Event,
    MessageReceived,
    RecipientOffered,
    SenderOffered,
    ServerLimits,
    StartTlsRequested,
)

LIMITS = ServerLimits(max_message_octets=10_000)


class Driver:
    """One greeted session."""

    def __init__(self, *, starttls: bool = False, limits: ServerLimits = LIMITS, greet: bool = True) -> None:
        self.server = SmtpServer("mx.example.org", limits, starttls=starttls)
        self.events: list[Event] = []
        self.note = ""
        self.refuse_recipients: Reply | None = None
        self.refuse_messages: Reply | None = None
        if greet:
            self.server.greet()
            self.greeting = self.server.take_output()

    @property
    def content_held(self) -> int:
        """The octets that the server holds, without the envelope."""
        return self.server.held_octets - self.server._mail.envelope_octets

    @property
    def messages(self) -> list[MessageReceived]:
        return [event for event in self.events if isinstance(event, MessageReceived)]

    def send(self, data: bytes) -> bytes:
        """Feed octets, deal with what follows, and return what the server says."""
        self.server.feed(data)
        self.run()
        return self.server.take_output()

    def run(self) -> None:
        """Deal with events until more octets are needed, TLS is, or the session is over."""
        while (event := self.server.next_event()) is not None:
            self.events.append(event)
            if isinstance(event, Ended | StartTlsRequested):
                return
            self._decide(event)

    def _decide(self, event: Event) -> None:
        match event:
            case SenderOffered():
                self.server.accept()
            case RecipientOffered():
                self._answer(self.refuse_recipients)
            case MessageReceived():
                self._answer(self.refuse_messages)

    def _answer(self, refusal: Reply | None) -> None:
        if refusal is None:
            self.server.accept(self.note)
        else:
            self.server.refuse(refusal)


def ready(*, starttls: bool = False, limits: ServerLimits = LIMITS) -> Driver:
    """A session after EHLO."""
    driver = Driver(starttls=starttls, limits=limits)
    driver.send(b"EHLO client.example\r\n")
    driver.events.clear()
    return driver


def envelope() -> bytes:
    """The commands up to the content."""
    return b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n"
