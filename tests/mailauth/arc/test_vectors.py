"""The shared vectors of ARC (the ValiMail suite), whole."""

from typing import Any

import pytest
import yaml

from letterlock.mailauth.arc.seal import own_results, seal
from letterlock.mailauth.arc.sets import Status, arc_sets
from letterlock.mailauth.arc.verify import examine
from letterlock.mailauth.dkim.canonical import Form, canonical_field
from letterlock.mailauth.dkim.signing_key import read_signing_key
from letterlock.mailauth.message import Field, split, with_crlf
from tests.mailauth.answers import zone_answers
from tests.mailauth.vectors import vectors

NOW = 1_800_000_000.0
EXPECTED = {"None": Status.NONE, "Pass": Status.PASS, "Fail": Status.FAIL, "": Status.FAIL}


def cases(file: str) -> list[Any]:
    groups = yaml.safe_load_all((vectors("arc") / file).read_text())
    return [pytest.param(case, group, id=name) for group in groups for name, case in group["tests"].items()]


def zone(group: dict[str, Any]) -> dict[str, dict[str, str]]:
    return {name: {"txt": text} for name, text in group["txt-records"].items()}


@pytest.mark.parametrize(("case", "group"), cases("validation-cases.yml"))
def test_rfc8617_5_2_chains_are_validated(case: dict[str, Any], group: dict[str, Any]) -> None:
    examination = examine(split(with_crlf((case["message"] or "").encode())))
    verdict = examination.judge(zone_answers(examination.key_names, zone(group)), NOW)
    assert verdict.status is EXPECTED[str(case["cv"] or "")], str(verdict)
    assert (verdict.reason is None) == (verdict.status is not Status.FAIL)


def tags(text: bytes) -> dict[bytes, bytes]:
    """The tags without any white space: how a field is folded is the signer's own affair."""
    parts = b"".join(text.split()).rstrip(b";").split(b";")
    return {name: value for name, _, value in (part.partition(b"=") for part in parts)}


@pytest.mark.parametrize(("case", "group"), cases("signing-cases.yml"))
def test_rfc8617_5_1_messages_are_sealed(case: dict[str, Any], group: dict[str, Any]) -> None:
    content = with_crlf(case["message"].encode())
    message = split(content)
    key = read_signing_key(group["privatekey"].encode(), group["domain"], group["sel"], min_rsa_bits=1024)
    before = examine(message)
    verdict = before.judge(zone_answers(before.key_names, zone(group)), NOW)
    names = tuple(case["sig-headers"].encode().split(b":"))
    sealed = seal(message, verdict, own_results(message, case["srv-id"]), key, case["t"], names)
    (made,) = arc_sets(split(sealed + content))
    assert tags(made.seal.field.value) == tags(case["AS"].encode())
    assert tags(made.signature.field.value) == tags(case["AMS"].encode())
    results = Field(b"arc-authentication-results", b":" + with_crlf(case["AAR"].encode()).replace(b"\r\n", b" "))
    assert (
        canonical_field(made.results, Form.RELAXED).partition(b":")[2]
        == (canonical_field(results, Form.RELAXED).partition(b":")[2])
    )
    after = examine(split(sealed + content))
    assert after.judge(zone_answers(after.key_names, zone(group)), NOW).passed
