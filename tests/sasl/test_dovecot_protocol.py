"""The lines of Dovecot's authentication protocol, as 2.3 writes them and as 2.4 documents them."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.sasl.dovecot_protocol import (
    MAX_GREETING_LINES,
    MAX_REQUEST_OCTETS,
    AuthAnswer,
    AuthFinding,
    AuthGreeting,
    BadAuthLine,
    auth_request,
    cancellation,
    continuation,
    introduction,
    read_auth_answer,
)

# Recorded from Dovecot 2.3.19.
GREETING = b"""VERSION\t1\t2
MECH\tPLAIN\tplaintext
MECH\tSCRAM-SHA-256\tmutual-auth
MECH\tAPOP\tprivate
MECH\tANONYMOUS\tanonymous
SPID\t11978
CUID\t1
COOKIE\t9c66be00f914c3b2ab04a796d5b1ca88
DONE
"""


def greeted(text: bytes) -> AuthGreeting:
    greeting = AuthGreeting()
    done = [greeting.feed(line) for line in text.splitlines(keepends=True)]
    assert done[-1]
    assert not any(done[:-1])
    return greeting


def test_the_greeting_names_the_mechanisms() -> None:
    assert greeted(GREETING).mechanisms == ("PLAIN", "SCRAM-SHA-256", "ANONYMOUS")


def test_the_greeting_of_a_later_minor_version() -> None:
    """2.4 sends its version first, and may add lines that nobody knows yet."""
    later = b"VERSION\t1\t4\nNEWS\tof 2.5\nMECH\tPLAIN\tplaintext\tnew=1\nSPID\t1\nCUID\t1\nCOOKIE\t00\nDONE\n"
    assert greeted(later).mechanisms == ("PLAIN",)


@pytest.mark.parametrize(
    "text",
    [b"VERSION\t2\t0\n", b"VERSION\n", b"DONE\n", b"VERSION\t1\t2", b"\xff\n", b"MECH\tX\n" * (MAX_GREETING_LINES + 1)],
)
def test_a_greeting_that_is_none(text: bytes) -> None:
    with pytest.raises(BadAuthLine):
        greeted(text)


def test_what_we_send() -> None:
    assert introduction(7) == b"VERSION\t1\t2\nCPID\t7\n"
    request = auth_request(1, "PLAIN", client="2001:db8::1", met_at="192.0.2.1", response=b"\0a\0b")
    start = b"AUTH\t1\tPLAIN\tservice=smtp\tnologin\tsecured=tls\tlip=192.0.2.1\trip=2001:db8::1\t"
    assert request == start + b"resp=AGEAYg==\n"
    assert auth_request(2, "LOGIN", client="", met_at=None, response=None).endswith(b"secured=tls\n")
    assert auth_request(3, "PLAIN", client="", met_at=None, response=b"").endswith(b"\tresp=\n")
    assert continuation(1, b"x") == b"CONT\t1\teA==\n"
    assert cancellation(1) == b"CANCEL\t1\n"


def test_a_longer_message_than_dovecot_reads_is_not_sent() -> None:
    """It would end the connection, and everybody's logins with it."""
    with pytest.raises(BadAuthLine):
        auth_request(1, "PLAIN", client="::1", met_at="::1", response=b"x" * MAX_REQUEST_OCTETS)
    with pytest.raises(BadAuthLine):
        continuation(1, b"x" * MAX_REQUEST_OCTETS)


@given(st.binary(max_size=300), st.text(max_size=60))
def test_no_text_of_a_client_makes_another_line_or_field(response: bytes, client: str) -> None:
    request = auth_request(1, "PLAIN", client=client, met_at=client, response=response)
    assert request.count(b"\n") == 1
    assert request.endswith(b"\n")
    fields = request[:-1].split(b"\t")
    assert fields[-1] == b"resp=" + base64.b64encode(response)
    assert len(fields) in (7, 9)


FAILED, OK, CONTINUES = AuthFinding.FAILED, AuthFinding.SUCCEEDED, AuthFinding.CONTINUES


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"OK\t1\tuser=ann@example.org\n", AuthAnswer(1, OK, user="ann@example.org", why="")),
        (b"OK\t1\tuser=ann\ttoken=abc\tpass=secret\n", AuthAnswer(1, OK, user="ann", why="")),
        (b"OK\t1\tuser=ann\tresp=dj1h\n", AuthAnswer(1, OK, b"v=a", "ann", why="")),
        (b"OK\t1\tuser=a\tnologin\n", AuthAnswer(1, OK, user="a", may_enter=False, why="the user may not log in")),
        (b"OK\t1\tuser=a\tnologin=\n", AuthAnswer(1, OK, user="a", may_enter=False, why="the user may not log in")),
        (b"OK\t1\tuser=a\tproxy=Y\n", AuthAnswer(1, OK, user="a", may_enter=False, why="the user may not log in")),
        (b"CONT\t9\tUGFzc3dvcmQ6\n", AuthAnswer(9, CONTINUES, b"Password:")),
        (b"CONT\t9\t\n", AuthAnswer(9, CONTINUES, b"")),
        (b"CONT\t9\n", AuthAnswer(9, CONTINUES, b"")),
        (b"FAIL\t1\tuser=ann\n", AuthAnswer(1, FAILED, user="ann")),
        (b"FAIL\t1\n", AuthAnswer(1, FAILED)),
        (b"FAIL\t1\tuser=a\x01tb\n", AuthAnswer(1, FAILED, user="a\tb")),
        (
            b"FAIL\t1\tuser=ann\ttemp\n",
            AuthAnswer(1, FAILED, user="ann", temporary=True, why="Dovecot reports a temporary failure"),
        ),
        (
            b"FAIL\t1\tcode=temp_fail\treason=x\n",
            AuthAnswer(1, FAILED, temporary=True, why="Dovecot reports a temporary failure"),
        ),
        (b"FAIL\t1\tauthz\n", AuthAnswer(1, FAILED, why="one user asks to act for another")),
        (b"FAIL\t1\tcode=authz_fail\n", AuthAnswer(1, FAILED, why="one user asks to act for another")),
        (b"FAIL\t1\tuser_disabled\n", AuthAnswer(1, FAILED, why="the user is disabled")),
        (b"FAIL\t1\tcode=pass_expired\n", AuthAnswer(1, FAILED, why="the password has expired")),
        (b"FAIL\t1\tresp=e30=\n", AuthAnswer(1, FAILED, b"{}")),
        (b"CANCELLED\t1\n", None),
        (b"MECH\tPLAIN\n", None),
    ],
)
def test_what_dovecot_answers(line: bytes, answer: AuthAnswer | None) -> None:
    assert read_auth_answer(line) == answer


@pytest.mark.parametrize(
    "line",
    [
        b"OK\n",
        b"OK\tx\n",
        b"OK\t1\n",
        b"OK\t1\tuser=\n",
        b"OK\t1\tuser=" + b"x" * 321 + b"\n",
        b"OK\t1\tuser=a\x01nb\n",
        b"CONT\t1\t!\n",
        b"FAIL\t1\tresp=!\n",
        b"FAIL\t" + b"9" * 5000 + b"\n",
        b"FAIL\t1",
        b"FAIL\t1\t\xff\n",
        b"",
    ],
)
def test_lines_that_are_not_the_protocol(line: bytes) -> None:
    with pytest.raises(BadAuthLine):
        read_auth_answer(line)


@given(st.binary(max_size=200))
def test_whatever_comes_is_an_answer_or_none(octets: bytes) -> None:
    for line in (octets, b"OK\t1\t" + octets + b"\n", b"FAIL\t1\t" + octets + b"\n", b"CONT\t1\t" + octets + b"\n"):
        try:
            answer = read_auth_answer(line)
        except BadAuthLine:
            continue
        assert answer is None or answer.number >= 0


def test_secrets_are_in_no_representation() -> None:
    """A pass= of a proxied user, a token, or a SCRAM proof must not reach a log by accident."""
    answer = read_auth_answer(b"OK\t1\tuser=ann\tpass=secret\tresp=c2VjcmV0\n")
    assert "secret" not in repr(answer)
