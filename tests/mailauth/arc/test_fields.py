"""Chains whose fields are written in every way, each signed rightly: what the grammar allows holds, nothing else."""

import base64
import re
from collections.abc import Callable
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256

from letterlock.mailauth.arc.verify import examine
from letterlock.mailauth.dkim.canonical import Form, canonical_field
from letterlock.mailauth.dkim.signing_key import SigningKey
from letterlock.mailauth.message import Field, split
from tests.mailauth.answers import txt
from tests.mailauth.dkim.forging import MESSAGE, NOW, rsa_key

KEY = SigningKey("example.org", "dummy", rsa_key())
BODY_HASH = base64.b64encode(sha256(b"Hi there\r\n").digest()).decode()
Tags = dict[str, str | None]
SIGNATURE: Tags = {
    "i": "1",
    "a": "rsa-sha256",
    "b": "",
    "bh": BODY_HASH,
    "c": "relaxed/relaxed",
    "d": "example.org",
    "h": "from:to:subject",
    "s": "dummy",
    "t": "12345",
}
SEAL: Tags = {"i": "1", "a": "rsa-sha256", "b": "", "cv": "none", "d": "example.org", "s": "dummy", "t": "12345"}
RESULTS = " i=1; lists.example.org; spf=pass smtp.mailfrom=example.org"
_EMPTY_B = re.compile(r"\bb[ \t]*=[ \t]*(?=;|$)")


def written(tags: Tags, between: str = "; ", equals: str = "=") -> str:
    """The value of a field."""
    return " " + between.join(f"{name}{equals}{value}" for name, value in tags.items() if value is not None)


def relaxed(name: str, value: str) -> bytes:
    """A field's relaxed form, with the value of b= and the white space around it removed (RFC 6376 section 3.5)."""
    text = re.sub(r"(\bb[ \t]*=)[ \t]*(?=;|$)", r"\1", value)
    return canonical_field(Field(name.lower().encode(), f"{name}:{text}".encode()), Form.RELAXED)


def signed(value: str, data: bytes, change: Callable[[str], str]) -> str:
    """The field's value with the signature over the data in b=."""
    signature = change(base64.b64encode(rsa_key().sign(data, padding.PKCS1v15(), SHA256())).decode())
    return _EMPTY_B.sub(lambda found: found[0].rstrip() + signature, value, count=1)


def message(
    *,
    signature: str = written(SIGNATURE),
    seal: str = written(SEAL),
    results: str = RESULTS,
    covered: tuple[bytes, ...] = (b"from", b"to", b"subject"),
    change: Callable[[str], str] = str,
) -> bytes:
    """A message with one set, whose signatures are right whatever the fields look like."""
    fields = split(MESSAGE)
    header = b"".join(canonical_field(fields.named(name)[-1], Form.RELAXED) + b"\r\n" for name in covered)
    signature = signed(signature, header + relaxed("ARC-Message-Signature", signature), change)
    before = relaxed("ARC-Authentication-Results", results) + b"\r\n"
    before += canonical_field(Field(b"x", f"ARC-Message-Signature:{signature}".encode()), Form.RELAXED) + b"\r\n"
    seal = signed(seal, before + relaxed("ARC-Seal", seal), change)
    made = f"ARC-Seal:{seal}\r\nARC-Message-Signature:{signature}\r\nARC-Authentication-Results:{results}\r\n"
    return made.encode() + MESSAGE


def status(content: bytes) -> str:
    """The state of the chain."""
    examination = examine(split(content))
    zone = {KEY.record_name: txt(KEY.record_name, KEY.record)}
    answers = {name: zone.get(name, txt(name)) for name in examination.key_names}
    return examination.judge(answers, NOW).status.value


FORMS: dict[str, tuple[Callable[[Tags], str], str]] = {
    "as it is": (written, "pass"),
    "a semicolon at the end": (lambda tags: written(tags) + ";", "pass"),
    "two semicolons": (lambda tags: written(tags, ";; "), "fail"),
    "a semicolon at the beginning": (lambda tags: " ;" + written(tags), "fail"),
    "white space around semicolons": (lambda tags: written(tags, " ;\t "), "pass"),
    "white space around equal signs": (lambda tags: written(tags, equals=" = "), "pass"),
    "no white space": (lambda tags: written(tags, ";").strip(), "pass"),
    "folds": (lambda tags: written(tags, ";\r\n\t"), "pass"),
    "a tag twice": (lambda tags: written(tags) + "; s=dummy", "fail"),
    "an unknown tag": (lambda tags: written(tags) + "; w=catparty", "pass"),
    "a name that is no name": (lambda tags: written(tags) + "; 9a=x", "fail"),
    "a tag without a value": (lambda tags: written(tags) + "; abc", "fail"),
    "a name in upper case": (lambda tags: written(tags).replace(" d=", " D="), "fail"),
    "the version that is not defined": (lambda tags: written(tags) + "; v=2", "pass"),
}


@pytest.mark.parametrize("form", FORMS)
def test_rfc6376_3_2_the_list_of_tags(form: str) -> None:
    write, wanted = FORMS[form]
    assert status(message(signature=write(SIGNATURE))) == wanted
    assert status(message(seal=write(SEAL))) == wanted


OPTIONAL = {("signature", "t"), ("seal", "t")}


@pytest.mark.parametrize("value", [None, "", "!@#"])
@pytest.mark.parametrize("tag", [*(("signature", name) for name in SIGNATURE), *(("seal", name) for name in SEAL)])
def test_rfc8617_4_1_required_tags(tag: tuple[str, str], value: str | None) -> None:
    field, name = tag
    if name == "b" or (name, value) == ("c", None):  # without c= both forms are simple, and this signature is not
        return
    tags = written({**(SIGNATURE if field == "signature" else SEAL), name: value})
    content = message(signature=tags) if field == "signature" else message(seal=tags)
    assert status(content) == ("pass" if value is None and tag in OPTIONAL else "fail")


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"a": "rsa-sha1"}, "fail"),
        ({"a": "RSA-SHA256"}, "fail"),
        ({"i": "01"}, "pass"),
        ({"i": "0"}, "fail"),
        ({"d": "Example.ORG", "s": "DUMMY"}, "pass"),
        ({"t": "-1"}, "fail"),
        ({"t": "99999999999"}, "pass"),
    ],
)
def test_values_that_both_fields_have(change: Tags, wanted: str) -> None:
    assert status(message(signature=written({**SIGNATURE, **change}))) == wanted
    assert status(message(seal=written({**SEAL, **change}))) == wanted


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"h": "From:TO:Subject"}, "pass"),
        ({"h": "from : to :\r\n subject"}, "pass"),
        ({"h": "from:to:subject:from"}, "pass"),
        ({"h": "from::to:subject"}, "fail"),
        ({"h": "from:to:subject:arc-seal"}, "fail"),
        ({"c": "relaxed"}, "pass"),
        ({"c": "relaxed/simple"}, "pass"),
        ({"c": "Relaxed/Relaxed"}, "fail"),
        ({"c": "relaxed/"}, "fail"),
        ({"l": "10"}, "pass"),
        ({"l": "11"}, "fail"),
        ({"q": "dns/txt:x"}, "pass"),
        ({"q": "x"}, "fail"),
        ({"x": "12346"}, "fail"),
        ({"x": "99999999999"}, "pass"),
        ({"bh": BODY_HASH[:9] + " " + BODY_HASH[9:]}, "pass"),
        ({"bh": "A" * 43 + "="}, "fail"),
    ],
)
def test_rfc8617_4_1_2_values_of_the_message_signature(change: Tags, wanted: str) -> None:
    assert status(message(signature=written({**SIGNATURE, **change}))) == wanted


@pytest.mark.parametrize("value", ["None", "NONE", "pass", "fail", "foo"])
def test_rfc6376_3_2_the_state_of_the_first_seal_is_none_and_values_are_case_sensitive(value: str) -> None:
    assert status(message(seal=written({**SEAL, "cv": value}))) == "fail"


def test_rfc8617_4_1_3_a_seal_covers_no_named_fields() -> None:
    assert status(message(seal=written({**SEAL, "h": "from"}))) == "fail"


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda text: f"{text[:20]} {text[20:]}", "pass"),
        (lambda text: f"{text[:20]}\r\n\t{text[20:]}", "pass"),
        (lambda text: f"!{text}", "fail"),
        (lambda text: text[:-4], "fail"),
    ],
)
def test_white_space_in_signatures(change: Callable[[str], str], wanted: str) -> None:
    assert status(message(change=change)) == wanted


@pytest.mark.parametrize(
    ("results", "wanted"),
    [
        ("i=1;x;none", "pass"),
        (" i = 1 ; x; none", "pass"),
        (" (a comment) i=1; x; none", "pass"),
        (" i=01; x; none", "pass"),
        (" i=1 x; none", "fail"),
        (" x; i=1; none", "fail"),
        (" ; i=1; x; none", "fail"),
        (" I=1; x; none", "fail"),
        (" i=2; x; none", "fail"),
        (" i=; x; none", "fail"),
        (" i=001; x; none", "fail"),
        (" x; none", "fail"),
    ],
)
def test_rfc8617_4_1_1_the_instance_comes_first_in_the_results(results: str, wanted: str) -> None:
    assert status(message(results=results)) == wanted
