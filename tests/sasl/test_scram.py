"""SCRAM-SHA-256 and -PLUS over the recorded exchanges, and what an attacker sends."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.sasl.exchange import Accepted, Challenge, NeedCredential, Rejected
from letterlock.sasl.prepare import Unprepared, prepare
from letterlock.sasl.scram import BadCredential, Scram, ScramCredential

EXCHANGES = [
    each
    for each in json.loads((Path(__file__).parent / "exchanges.json").read_text())
    if each["mechanism"].startswith("SCRAM-SHA-256") and each.get("side") != "client"
]


def play(each: dict[str, str]) -> tuple[str, list[bytes]]:
    """What an exchange ends with, and our messages."""
    sent: list[bytes] = []
    first = each["client_first"].encode()
    theirs = first.rpartition(b"r=")[2].partition(b",")[0]
    ours = each.get("server_first", "r=,").encode().partition(b",")[0].removeprefix(b"r=").removeprefix(theirs)
    offered = b"x" * 32 if "-PLUS" in str(each.get("server_offers", "")) else None
    binding = bytes.fromhex(each["channel_binding"]) if each.get("channel_binding") else offered
    exchange = Scram(ours, plus=each["mechanism"].endswith("-PLUS"), binding=binding)
    credential = ScramCredential.of_password(
        prepare(each["password"].encode()), base64.b64decode(each["salt"]), int(each["iterations"])
    )
    messages = [first, each.get("client_final", "").encode(), b""]
    for message in messages:
        outcome = exchange.step(message)
        if isinstance(outcome, NeedCredential):
            outcome = exchange.continue_with(credential)
        if isinstance(outcome, Challenge):
            sent.append(outcome.data)
        else:
            return ("success" if isinstance(outcome, Accepted) else "refused"), sent
    return "open", sent


@pytest.mark.parametrize("each", EXCHANGES, ids=lambda each: each["what"])
def test_rfc7677_3_recorded_exchanges_end_as_they_must(each: dict[str, str]) -> None:
    end, sent = play(each)
    assert end == each["outcome"]
    if end == "success":
        assert sent == [each["server_first"].encode(), each["server_final"].encode()]


def test_rfc5803_2_a_credential_is_read_as_it_was_written() -> None:
    credential = ScramCredential.of_password("pencil", b"salt" * 4)
    assert ScramCredential.parse(str(credential)) == credential
    assert "stored_key" not in repr(credential)


@pytest.mark.parametrize(
    "text", ["", "SCRAM-SHA-256$4096:AAAA$AAAA:AAAA", "SCRAM-SHA-256$4096:A$A:A", "SCRAM-SHA-1$4096:AA==$AA==:AA=="]
)
def test_what_is_no_credential_is_refused(text: str) -> None:
    with pytest.raises(BadCredential):
        ScramCredential.parse(text)


def test_rfc5802_6_a_client_that_was_told_that_we_cannot_bind_is_refused() -> None:
    assert isinstance(Scram(b"n", plus=False, binding=b"x" * 32).step(b"y,,n=user,r=abc"), Rejected)


@given(st.lists(st.one_of(st.binary(max_size=60), st.sampled_from([b"n,,n=u,r=a", b"c=biws,r=an,p=AAAA", b""]))))
def test_any_octets_end_in_a_documented_outcome_and_never_in_success(messages: list[bytes]) -> None:
    exchange = Scram(b"n", plus=False, binding=None)
    for message in messages:
        outcome = exchange.step(message)
        if isinstance(outcome, Rejected):
            return
        if isinstance(outcome, NeedCredential):
            exchange.continue_with(ScramCredential.of_password("pencil", b"salt"))
        assert not isinstance(outcome, Accepted)


@pytest.mark.parametrize(
    ("octets", "prepared"),
    [
        (b"I\xc2\xadX", "IX"),
        (b"user", "user"),
        (b"USER", "USER"),
        ("\u00aa".encode(), "a"),
        ("\u2168".encode(), "IX"),
        ("a\u00a0b".encode(), "a b"),
    ],
)
def test_rfc4013_3_saslprep(octets: bytes, prepared: str) -> None:
    assert prepare(octets) == prepared


@pytest.mark.parametrize("octets", [b"", b"\x07", "\u0627\u0031".encode(), b"\xff", b"a" * 1025, "\u0221".encode()])
def test_rfc4013_3_what_saslprep_prohibits(octets: bytes) -> None:
    with pytest.raises(Unprepared):
        prepare(octets)
