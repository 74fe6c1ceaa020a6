"""Verdicts as results of an Authentication-Results field."""

import pytest

from letterlock.mailauth.reporting import spf_result
from letterlock.mailauth.results import AuthenticationResults, parse, render
from letterlock.mailauth.spf.reasons import SpfCode, SpfReason, SpfResult
from letterlock.mailauth.spf.request import mail_from_request
from letterlock.mailauth.spf.verdict import SpfVerdict


@pytest.mark.parametrize(
    ("reverse_path", "helo", "named"),
    [
        ("ann@example.org", "mx.example.org", "ann@example.org"),
        ("", "mx.example.org", "postmaster@mx.example.org"),
        ("", "a..b", "postmaster@a..b"),
        ("", ".", "postmaster@"),
        ("", "x@y@z", "x@y@z"),
        ('"x@y"@example.org', "z", '"x@y"@example.org'),
        ("", "[192.0.2.1]", "postmaster@[192.0.2.1]"),
    ],
)
def test_rfc8601_2_2_an_spf_result_can_be_read_whatever_the_client_calls_itself(
    reverse_path: str, helo: str, named: str
) -> None:
    request = mail_from_request("192.0.2.1", reverse_path, helo)
    result = spf_result(SpfVerdict(request=request, result=SpfResult.PASS, reason=SpfReason(SpfCode.NO_MATCH)))
    assert dict(result.properties)["smtp.mailfrom"] == named
    field = render(AuthenticationResults(authserv_id="mx.example.net", results=(result,)))
    [read] = parse(field.decode().partition(":")[2].strip()).results
    assert read.properties == result.properties
