"""The client's side of SASL, against the published exchanges, and against our own server."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.sasl.client_login import ClientMechanism, Credentials, LoginFailed, ScramLogin, choose
from letterlock.sasl.exchange import Accepted, Challenge, NeedCredential
from letterlock.sasl.prepare import prepare
from letterlock.sasl.scram import Scram, ScramCredential
from tests.mailauth.vectors import vectors

CASES: list[dict[str, Any]] = [
    each
    for each in json.loads((vectors("scram") / "exchanges.json").read_text())
    if each["mechanism"].startswith("SCRAM-SHA-256") and (each["outcome"] == "success" or each.get("side") == "client")
]
ANN = Credentials("ann", "correct horse")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["what"])
def test_rfc5802_5_the_published_exchanges(case: dict[str, Any]) -> None:
    found = re.fullmatch(r"(?:(n|y)|p=tls-exporter),(?:a=([^,]*))?,n=([^,]*),r=(.*)", case["client_first"])
    assert found is not None
    if found[2]:
        return  # an authorization identity: a relay host is not asked to act for somebody else
    binding = bytes.fromhex(case["channel_binding"]) if case.get("channel_binding") else None
    credentials = Credentials(prepare(case["username"].encode()), prepare(case["password"].encode()))
    login = ScramLogin(credentials, found[4].encode(), binding=binding, flag=(found[1] or "n").encode())
    assert login.initial() == case["client_first"].encode()
    if case["outcome"] == "refused":
        with pytest.raises(LoginFailed):
            login.answer(case["server_first"].encode())
        return
    assert login.answer(case["server_first"].encode()) == case["client_final"].encode()
    assert not login.proven
    assert login.answer(case["server_final"].encode()) == b""
    assert login.proven


def run(login: ScramLogin, server: Scram, password: str) -> object:
    outcome = server.step(login.initial())
    assert isinstance(outcome, NeedCredential)
    challenge: object = server.continue_with(ScramCredential.of_password(password, b"salt" * 4))
    while isinstance(challenge, Challenge):
        challenge = server.step(login.answer(challenge.data))
    return challenge


@pytest.mark.parametrize("binding", [None, b"b" * 32])
def test_our_own_server_accepts_it(binding: bytes | None) -> None:
    login = ScramLogin(ANN, b"client", binding=binding)
    ended = run(login, Scram(b"server", plus=binding is not None, binding=binding), ANN.password)
    assert ended == Accepted("ann")
    assert login.proven


def test_rfc5802_3_a_server_that_does_not_know_the_password_is_found_out() -> None:
    login = ScramLogin(ANN, b"client", binding=None)
    login.answer(b"r=clientserver,s=c2FsdA==,i=4096")
    with pytest.raises(LoginFailed, match="does not know the password"):
        login.answer(b"v=" + b"A" * 43 + b"=")


@pytest.mark.parametrize(
    ("offered", "binding", "name"),
    [
        ({"PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"}, b"b", "SCRAM-SHA-256-PLUS"),
        ({"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"}, None, "SCRAM-SHA-256"),
        ({"PLAIN", "SCRAM-SHA-1", "CRAM-MD5"}, b"b", "PLAIN"),
        ({"LOGIN", "XOAUTH2"}, None, "LOGIN"),
    ],
)
def test_the_strongest_mechanism_is_chosen(offered: set[str], binding: bytes | None, name: str) -> None:
    assert choose(offered, ANN, b"nonce", binding).name == name


def test_rfc5802_6_a_client_that_can_bind_says_so() -> None:
    assert choose({"SCRAM-SHA-256"}, ANN, b"nonce", b"b").initial() == b"y,,n=ann,r=nonce"


def test_no_mechanism_that_can_be_used_is_a_failure() -> None:
    with pytest.raises(LoginFailed, match="CRAM-MD5"):
        choose({"CRAM-MD5"}, ANN, b"nonce", None)


def test_plain_and_login_have_nothing_more_to_say() -> None:
    plain, login = choose({"PLAIN"}, ANN, b"n", None), choose({"LOGIN"}, ANN, b"n", None)
    assert plain.initial() == b"\0ann\0correct horse"
    assert [login.answer(b"Username:"), login.answer(b"Password:")] == [b"ann", b"correct horse"]
    for each in (plain, login):
        with pytest.raises(LoginFailed):
            each.answer(b"?")


def test_a_password_is_never_shown() -> None:
    assert "correct" not in repr(ANN)


@given(st.binary(max_size=80))
def test_any_challenge_is_answered_or_refused(challenge: bytes) -> None:
    logins: list[ClientMechanism] = [ScramLogin(ANN, b"n", binding=None), choose({"LOGIN"}, ANN, b"n", None)]
    for login in logins:
        try:
            login.answer(challenge)
        except LoginFailed:
            continue
