"""Every pair of state and command, against the table and against a model of the standard's order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.mail.replies import Reply
from letterlock.smtp.commands import Verb
from letterlock.smtp.server_events import AuthOffered, Ended, MessageReceived, StartTlsRequested
from letterlock.smtp.server_table import COMMAND_STATES, TABLE, Effect, State
from tests.bodies import octets_of
from tests.smtp.server_driver import Driver

LINES = {
    Verb.EHLO: b"EHLO client.example",
    Verb.HELO: b"HELO client.example",
    Verb.MAIL: b"MAIL FROM:<ann@example.org>",
    Verb.RCPT: b"RCPT TO:<bob@example.net>",
    Verb.DATA: b"DATA",
    Verb.BDAT: b"BDAT 0",
    Verb.RSET: b"RSET",
    Verb.NOOP: b"NOOP",
    Verb.VRFY: b"VRFY bob",
    Verb.HELP: b"HELP",
    Verb.QUIT: b"QUIT",
    Verb.STARTTLS: b"STARTTLS",
    Verb.AUTH: b"AUTH PLAIN AGEAYg==",
}
WAY = {State.HELLO: (), State.READY: (Verb.EHLO,)}
WAY[State.SENDER] = (*WAY[State.READY], Verb.MAIL)
WAY[State.RECIPIENTS] = (*WAY[State.SENDER], Verb.RCPT)
WAY[State.CHUNKS] = (*WAY[State.RECIPIENTS], Verb.BDAT)
CODE = {
    Effect.GREET: b"250",
    Effect.OPEN: b"250",
    Effect.ADD: b"250",
    Effect.TAKE: b"354",
    Effect.CHUNK: b"250",
    Effect.RESET: b"250",
    Effect.ANSWER: b"2",
    Effect.SECURE: b"220",
    Effect.LEAVE: b"221",
    Effect.PROVE: b"5",  # in clear; inside TLS without users it is not implemented
}


def next_state(state: State, effect: Effect | Reply) -> State:
    """Where an effect leads, by the standard (RFC 5321 section 4.1.4)."""
    match effect:
        case Effect.GREET:
            return State.READY
        case Effect.OPEN:
            return State.SENDER
        case Effect.ADD:
            return State.RECIPIENTS
        case Effect.TAKE:
            return State.CONTENT
        case Effect.CHUNK:
            return State.CHUNKS
        case Effect.RESET:
            return State.HELLO if state is State.HELLO else State.READY
        case Effect.SECURE:
            return State.HANDSHAKE
        case Effect.LEAVE:
            return State.CLOSED
    return state


def test_the_table_is_complete() -> None:
    assert set(TABLE) == set(Verb) == set(LINES)
    assert all(tuple(row) == COMMAND_STATES for row in TABLE.values())


@pytest.mark.parametrize("verb", Verb)
@pytest.mark.parametrize("state", COMMAND_STATES)
def test_every_pair(state: State, verb: Verb) -> None:
    driver = Driver(starttls=True)
    for earlier in WAY[state]:
        driver.send(LINES[earlier] + b"\r\n")
    assert driver.server.state is state
    effect = TABLE[verb][state]
    answer = driver.send(LINES[verb] + b"\r\n")
    assert answer == f"{effect}\r\n".encode() if isinstance(effect, Reply) else answer.startswith(CODE[effect])
    assert driver.server.state is next_state(state, effect)


@given(st.lists(st.sampled_from(list(Verb)), max_size=25), st.integers(min_value=1, max_value=40))
def test_any_order_of_commands_is_what_the_table_says(verbs: list[Verb], piece: int) -> None:
    driver, state = Driver(starttls=True), State.HELLO
    for verb in verbs:
        line = LINES[verb] + b"\r\n"
        effect = TABLE[verb][state]
        if driver.server.secure and effect is Effect.SECURE:
            effect = Reply(503, ("5.5.1 TLS is active already",))
        answer = b"".join(driver.send(line[start : start + piece]) for start in range(0, len(line), piece))
        assert answer == f"{effect}\r\n".encode() if isinstance(effect, Reply) else answer.startswith(CODE[effect])
        state = next_state(state, effect)
        if state is State.CONTENT:
            driver.send(b"x\r\n.\r\n")
            state = State.READY
        if state is State.HANDSHAKE:
            assert isinstance(driver.events[-1], StartTlsRequested)
            driver.server.tls_established()
            state = State.HELLO
        if isinstance(driver.events[-1] if driver.events else None, Ended):
            return
        assert driver.server.state is state


def inside_tls() -> Driver:
    """A session of a submission server, inside TLS and before EHLO."""
    driver = Driver(starttls=True)
    driver.send(b"EHLO client.example\r\n")
    driver.send(b"STARTTLS\r\n")
    driver.server.tls_established()
    driver.server.offer_auth(("PLAIN",))
    driver.events.clear()
    return driver


@given(st.lists(st.sampled_from(list(Verb)), max_size=25), st.booleans())
def test_rfc4954_4_any_order_of_commands_where_users_log_in(verbs: list[Verb], fits: bool) -> None:
    driver, state, logged_in = inside_tls(), State.HELLO, False
    for verb in verbs:
        effect = TABLE[verb][state]
        driver.server.feed(LINES[verb] + b"\r\n")
        event = driver.server.next_event() if effect is Effect.PROVE and not logged_in else None
        if isinstance(event, AuthOffered):
            if fits:
                driver.server.accept()
            else:
                driver.server.refuse(Reply(535, ("5.7.8 no",)))
            logged_in = fits
            expected = b"235" if fits else b"535"
        elif effect in (Effect.PROVE, Effect.SECURE):
            expected = b"503"  # logged in already, or inside TLS already
        else:
            expected = f"{effect}\r\n".encode() if isinstance(effect, Reply) else CODE[effect]
        driver.run()
        assert driver.server.take_output().startswith(expected)
        state = state if effect in (Effect.PROVE, Effect.SECURE) else next_state(state, effect)
        if state is State.CONTENT:
            driver.send(b"x\r\n.\r\n")
            state = State.READY
        if driver.events and isinstance(driver.events[-1], Ended):
            return
        assert driver.server.state is state
        assert driver.server.protocol.endswith("A") is logged_in


@pytest.mark.parametrize("verb", Verb)
def test_rfc4954_4_no_command_is_obeyed_while_an_answer_to_a_challenge_is_due(verb: Verb) -> None:
    driver = inside_tls()
    driver.send(b"EHLO client.example\r\n")
    driver.server.feed(b"AUTH PLAIN\r\n")
    assert isinstance(driver.server.next_event(), AuthOffered)
    driver.server.challenge(b"")
    driver.server.take_output()
    driver.server.feed(LINES[verb] + b"\r\n")
    event = driver.server.next_event()
    if event is not None and not driver.server.take_output():  # NOOP and others are base64 too
        driver.server.refuse(Reply(535, ("5.7.8 no",)))
    assert driver.server.state is State.READY
    assert not driver.server.protocol.endswith("A")
    assert not driver.server.in_transaction


@pytest.mark.parametrize("verb", Verb)
def test_rfc5321_4_1_1_4_no_command_is_obeyed_within_content(verb: Verb) -> None:
    for begin, end in ((b"DATA\r\n", b".\r\n"), (b"BDAT %d LAST\r\n" % (len(LINES[verb]) + 2), b"")):
        driver = Driver()
        driver.send(b"EHLO c\r\n")
        driver.send(b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<bob@example.net>\r\n")
        driver.send(begin)
        answer = driver.send(LINES[verb] + b"\r\n" + end)
        assert answer.startswith(b"250 2.0.0 Ok")
        assert answer.count(b"\r\n") == 1
        [message] = [event for event in driver.events if isinstance(event, MessageReceived)]
        assert octets_of(message.content) == LINES[verb] + b"\r\n"
