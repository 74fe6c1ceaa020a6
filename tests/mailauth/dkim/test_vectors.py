"""The shared vectors of DKIM, whole."""

import json
from pathlib import Path
from typing import Any

import pytest

from letterlock.mailauth.dkim.canonical import BodyCanonicalizer, Form, canonical_field
from letterlock.mailauth.dkim.reasons import DkimReason, DkimResult
from letterlock.mailauth.dkim.verify import DkimVerdict, examine
from letterlock.mailauth.message import split
from tests.mailauth.answers import zone_answers
from tests.mailauth.vectors import vectors

NOW = 1_750_000_000.0
DKIM = vectors("dkim")


def verdicts(folder: Path, name: str) -> tuple[DkimVerdict, ...]:
    zone = json.loads((folder / "dns.json").read_text())
    examination = examine(split((folder / "messages" / name).read_bytes()))
    return examination.judge(zone_answers(examination.key_names, zone), NOW)


def cases(folder: str) -> list[Any]:
    expected = json.loads((DKIM / folder / "expected.json").read_text())
    return [pytest.param(name, case, id=name) for name, case in expected.items()]


@pytest.mark.parametrize(("name", "case"), cases("rfc"))
def test_rfc6376_appendix_a_and_rfc8463_appendix_a(name: str, case: dict[str, list[str]]) -> None:
    assert [verdict.result for verdict in verdicts(DKIM / "rfc", name)] == case["signatures"]


# Why each message of Mail::DKIM does not pass by today's standards; the signatures from the top.
WHY = {
    "bad_1878954.eml": [DkimReason.SYNTAX],
    "badkey2_ed25519.eml": [DkimReason.HEADER_CHANGED],
    "badkey5_ed25519.eml": [DkimReason.KEY_SYNTAX],
}


@pytest.mark.parametrize(("name", "case"), cases("mail-dkim"))
def test_rfc8301_3_1_the_corpus_of_mail_dkim(name: str, case: dict[str, str]) -> None:
    found = verdicts(DKIM / "mail-dkim", name)
    assert any(verdict.passed for verdict in found) == (case["today"] == "pass")
    if name in WHY:
        assert [verdict.reason for verdict in found] == WHY[name]
    for verdict in found:
        assert (verdict.result is DkimResult.PASS) == (verdict.reason is None)


def canonicalized(what: str, form: Form, chunks: list[str]) -> bytes:
    if what == "header":
        (field,) = split("".join(chunks).encode()).fields
        return canonical_field(field, form) + b"\r\n"
    return pieces(form, [chunk.encode() for chunk in chunks])


def pieces(form: Form, chunks: list[bytes]) -> bytes:
    written: list[bytes] = []
    canonicalizer = BodyCanonicalizer(form)
    for chunk in chunks:
        written.extend(canonicalizer.update(chunk))
    return b"".join([*written, *canonicalizer.finish()])


FORMS = json.loads((DKIM / "canonicalization.json").read_text())


@pytest.mark.parametrize("case", FORMS, ids=lambda case: case["what"])
def test_rfc6376_3_4_canonicalization(case: dict[str, Any]) -> None:
    assert canonicalized(case["what"], Form(case["canonicalization"]), case["chunks"]) == case["expected"].encode()
