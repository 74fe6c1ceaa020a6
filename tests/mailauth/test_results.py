"""Authentication-Results: read, written, and cleared of what claims to be ours."""

import json
import time
from typing import Any

import pytest

from letterlock.mailauth.results import (
    AuthenticationResults,
    InvalidResults,
    MethodResult,
    UnsupportedVersion,
    authserv_id,
    parse,
    render,
    without_forged,
)
from tests.mailauth.vectors import vectors

CASES: list[dict[str, Any]] = json.loads((vectors("authentication-results") / "values.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["value"][:50])
def test_rfc8601_2_2_the_values_among_the_vectors(case: dict[str, Any]) -> None:
    if case["outcome"] == "unsupported version":
        with pytest.raises(UnsupportedVersion):
            parse(case["value"])
        return
    if case["outcome"] != "parsed":
        with pytest.raises(InvalidResults):
            parse(case["value"])
        return
    found = parse(case["value"])
    assert found.authserv_id == case["authserv_id"]
    if case["results"] is not None:
        assert [_as_in_the_vectors(each) for each in found.results] == case["results"]


def _as_in_the_vectors(result: MethodResult) -> dict[str, object]:
    values: dict[str, object] = {"method": result.method, "result": result.result}
    if result.method_version:
        values["version"] = result.method_version
    if result.reason:
        values["reason"] = result.reason
    return values | {"properties": dict(result.properties)}


def test_rfc8601_2_2_an_unknown_version_is_refused() -> None:
    with pytest.raises(UnsupportedVersion):
        parse("example.org 2; none")


RESULTS = AuthenticationResults(
    authserv_id="mx.example.org",
    results=(
        MethodResult(method="spf", result="pass", properties=(("smtp.mailfrom", "ann@example.net"),)),
        MethodResult(
            method="dkim",
            result="fail",
            reason='the "body" was \\ changed',
            properties=(("header.d", "example.net"), ("header.b", "ab/d=f+1"), ("policy.dnssec", "secure")),
        ),
        MethodResult(method="dmarc", result="pass", properties=(("header.from", "example.net"),)),
    ),
)


def test_what_is_written_is_read_again() -> None:
    field = render(RESULTS)
    assert parse(field.decode().partition(":")[2]) == RESULTS
    assert max(map(len, field.split(b"\r\n"))) <= 78
    assert render(AuthenticationResults(authserv_id="a.test")) == b"Authentication-Results: a.test; none"


@pytest.mark.parametrize(
    "evil", ["a\r\nBcc: x", "a; dkim=pass", 'a" b', "(", "ü", "\x00\x1b[2J", "x" * 5000, "a\\", ""]
)
def test_text_from_outside_cannot_leave_its_place(evil: str) -> None:
    result = MethodResult(method="spf", result="fail", reason=evil, properties=(("smtp.mailfrom", evil),), comment=evil)
    field = render(AuthenticationResults(authserv_id="a.test", results=(result,)))
    assert b"\r\n" not in field.replace(b"\r\n  ", b"")
    assert field.isascii()
    [found] = parse(field.decode().partition(":")[2]).results
    assert (found.method, [name for name, _ in found.properties]) == ("spf", ["smtp.mailfrom"])


def test_rfc8601_5_fields_that_claim_to_be_ours_are_removed() -> None:
    forged = (
        b"Authentication-Results: mx.example.org; dkim=pass\r\n"
        b"AUTHENTICATION-RESULTS : (a (b)) MX.Example.ORG (c)\r\n 1; spf=pass\r\n"
        b'Authentication-Results: "mx.example.org"; spf=pass\r\n'
        b"Authentication-Results: mx.example.org 7; spf=pass\r\n"
        b"Authentication-Results: mx.example.org.; spf=pass\r\n"
        b"Authentication-Results: (never closed mx.example.org; spf=pass\r\n"
        b"Authentication-Results:\r\n"
    )
    honest = b"Authentication-Results: other.test; spf=pass\r\nSubject: mx.example.org\r\n"
    body = b"\r\nAuthentication-Results: mx.example.org; text of the body\r\n"
    assert without_forged(forged + honest + body, {"mx.example.org"}) == (honest + body, 7)
    assert without_forged(honest + body, {"mx.example.org"}) == (honest + body, 0)
    assert without_forged(b"", {"a"}) == (b"", 0)
    assert without_forged(body, {"mx.example.org"}) == (body, 0)
    assert without_forged(forged[:-2], {"mx.example.org"})[1] == 7


def test_a_message_without_such_fields_is_not_copied() -> None:
    content = b"Subject: x\r\n\r\n" + b"x" * 1000
    assert without_forged(content, {"a.test"})[0] is content


@pytest.mark.parametrize("piece", ["(", "(\\", '"', "a=b ", ";a=b", "\\", "a.b=c ", " ", ". ", "/"])
def test_a_hostile_value_is_bounded(piece: str) -> None:
    began = time.process_time()
    for start in ("", "a.test; ", "a.test; a=b "):
        text = start + piece * (30_000 // len(piece))
        authserv_id(text)
        try:
            parse(text)
        except InvalidResults:
            continue
    assert time.process_time() - began < 1  # a few ms here


def test_comments_cost_little_and_too_many_nested_ones_make_the_field_unreadable() -> None:
    many = "(c) " * 7_000 + "mx.test; none"
    begun = time.process_time()
    assert authserv_id(many) == "mx.test"
    assert authserv_id("(a (b) c) mx.test (x (y)); none") == "mx.test"
    assert authserv_id("((c))" * 6_000 + "mx.test; none") is None
    assert time.process_time() - begun < 0.05


@pytest.mark.parametrize("value", ["example.com none; spf=pass", "example.com x; spf=pass", "example.com 1a; none"])
def test_rfc8601_2_2_a_version_is_a_number(value: str) -> None:
    with pytest.raises(InvalidResults) as caught:
        parse(value)
    assert not isinstance(caught.value, UnsupportedVersion)
