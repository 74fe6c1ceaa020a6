"""Our client against our server, over joined buffers."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.mail.addresses import Mailbox
from letterlock.mail.replies import Reply
from letterlock.smtp.client import SmtpClient
from letterlock.smtp.client_events import EnvelopeAnswered, MessageAnswered, TlsAnswered, TlsGoAhead
from letterlock.smtp.client_events import Event as ClientEvent
from letterlock.smtp.client_steps import ClientState
from tests.smtp.server_driver import LIMITS, Driver
from tests.smtp.test_client import without

ANN, BOB, EVE = Mailbox("ann", "example.org"), Mailbox("bob", "example.net"), Mailbox("eve", "example.net")


class Pair:
    """A client and a server; `settle` carries octets to and fro until nobody has any."""

    def __init__(self, *, pipelining: bool = True, chunking: bool = True) -> None:
        self.driver = Driver(starttls=True, limits=replace(LIMITS, accept_nul=True))
        self.client = SmtpClient("client.example", ignored=without(pipelining=pipelining, chunking=chunking))
        self.events: list[ClientEvent] = list(self.client.receive(self.driver.greeting))

    def settle(self) -> None:
        while output := self.client.take_output():
            self.events += self.client.receive(self.driver.send(output))


def _lines() -> st.SearchStrategy[bytes]:
    line = st.one_of(st.sampled_from([b"", b".", b"..", b".x"]), st.binary(max_size=60))
    return line.map(lambda raw: raw.replace(b"\r", b"").replace(b"\n", b"") + b"\r\n")


def _ready(*, pipelining: bool = True, chunking: bool = True) -> Pair:
    pair = Pair(pipelining=pipelining, chunking=chunking)
    pair.client.hello()
    pair.settle()
    return pair


def test_a_session_with_tls_and_two_messages() -> None:
    pair = _ready()
    pair.client.start_tls()
    pair.settle()
    assert isinstance(answered := pair.events[-1], TlsAnswered)
    assert answered.go_ahead is TlsGoAhead.READY
    pair.client.tls_established()
    pair.driver.server.tls_established()
    pair.client.hello()
    pair.settle()
    assert not pair.client.capabilities.starttls
    for number in range(2):
        pair.client.begin(ANN, [BOB], size=5)
        pair.settle()
        pair.client.send_message(b"%d..\r\n" % number)
        pair.settle()
    pair.client.quit()
    pair.settle()
    assert pair.client.state is ClientState.CLOSED
    assert [message.content for message in pair.driver.messages] == [b"0..\r\n", b"1..\r\n"]


WAYS = [(True, True), (True, False), (False, True), (False, False)]


@pytest.mark.parametrize(("pipelining", "chunking"), WAYS)
def test_a_refused_envelope_leaves_both_ready_for_the_next(pipelining: bool, chunking: bool) -> None:
    pair = _ready(pipelining=pipelining, chunking=chunking)
    pair.driver.refuse_recipients = Reply(550, ("5.7.1 relaying denied",))
    pair.client.begin(ANN, [BOB, EVE], size=5)
    pair.settle()
    asked_for_leave = pipelining and not chunking
    refusal = Reply(554, ("5.5.1 No valid recipients",)) if asked_for_leave else None
    assert pair.events[-1] == EnvelopeAnswered((), refusal)
    pair.driver.refuse_recipients = None
    pair.client.begin(None, [BOB, EVE], size=5)
    pair.settle()
    pair.client.send_message(b"x\r\n")
    pair.settle()
    assert pair.driver.messages[0].recipients == (BOB, EVE)


@pytest.mark.parametrize(("pipelining", "chunking"), WAYS)
@given(st.lists(_lines(), max_size=12))
def test_any_content_arrives_as_it_was_sent(pipelining: bool, chunking: bool, lines: list[bytes]) -> None:
    content = b"".join(lines)
    pair = _ready(pipelining=pipelining, chunking=chunking)
    pair.client.begin(ANN, [BOB], size=len(content))
    pair.settle()
    pair.client.send_message(content)
    pair.settle()
    assert isinstance(pair.events[-1], MessageAnswered)
    assert pair.driver.messages[0].content == content
