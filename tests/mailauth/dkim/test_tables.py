"""DKIM from the text of RFC 6376, 8301, 8463 and 8616, in tables: white space, tags, keys, fields, bodies."""

import base64
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from letterlock.mailauth.dkim.canonical import BodyHash, Form, canonical_field
from letterlock.mailauth.dkim.reasons import DkimReason, DkimResult, explain
from letterlock.mailauth.dkim.verify import DkimVerdict, examine
from letterlock.mailauth.message import Field, split
from letterlock.resolver.answer import FailureKind
from tests.mailauth.answers import failure, nxdomain, txt
from tests.mailauth.dkim.forging import ED25519, KEY_NAME, MESSAGE, NOW, RECORD, forged, rsa_key, verdict, verdicts

P = RECORD.rpartition("p=")[2]
HASH = base64.b64encode(sha256(b"Hi there\r\n").digest()).decode()
TAGS = f"v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.org; s=sel; h=from:to:subject; bh={HASH}; b="


def written(value: str, *, form: Form = Form.RELAXED, message: bytes = MESSAGE, name: str = "DKIM-Signature") -> bytes:
    """A message signed by a field whose value is exactly this, but for the signature in its `b=` at `{}` or the end.

    The fields From, To and Subject are covered, in the form.
    """
    value = value if "{}" in value else value + "{}"
    unsigned = value.replace("{}", "")
    # Section 3.7: b= is emptied, with the white space around its value.
    before, marker, after = value.partition("{}")
    emptied = before.rstrip(" \t\r\n") + after.lstrip(" \t\r\n") if before.rstrip().endswith("=") else unsigned
    fields = split(message)
    covered = b"".join(canonical_field(fields.named(each)[-1], form) + b"\r\n" for each in (b"from", b"to", b"subject"))
    own = canonical_field(Field(b"dkim-signature", f"{name}:{emptied}".encode()), form)
    signature = base64.b64encode(ED25519.sign(sha256(covered + own).digest())).decode()
    assert marker
    return f"{name}:{before}{signature}{after}\r\n".encode() + message


WHITE_SPACE = {
    "as signers write it": " " + TAGS,
    "none": TAGS.replace(" ", ""),
    "a semicolon at the end": f" {TAGS}{{}};",
    "a semicolon and white space at the end": f" {TAGS}{{}} ;\t ",
    "around semicolons": " " + TAGS.replace("; ", " ;\t"),
    "around equal signs": " " + TAGS.replace("=", " = ").replace(" =  ", "= ").replace(f"{HASH[:-1]} = ", f"{HASH}"),
    "folds between tags": " " + TAGS.replace("; ", ";\r\n\t"),
    "folds before equal signs": " " + TAGS.replace("d=", "d\r\n =").replace("s=", "s\r\n\t="),
    "folds behind equal signs": " " + TAGS.replace("d=", "d=\r\n ").replace("h=", "h=\r\n\t "),
    "in h=": " " + TAGS.replace("from:to:subject", "from :\tto\r\n :subject "),
    "in bh=": " " + TAGS.replace(HASH, f"{HASH[:7]} {HASH[7:20]}\r\n\t{HASH[20:]}"),
    "before and after b=": f" {TAGS}\r\n  {{}}\r\n ",
    "b= in the middle": f" b={{}}; {TAGS.removesuffix('; b=')}",
    "b= in the middle, with white space": f" b= {{}} ; {TAGS.removesuffix('; b=')}",
    "a fold at the beginning": "\r\n " + TAGS,
    "many blanks": " " + TAGS.replace("; ", ";" + " " * 300),
}


@pytest.mark.parametrize("form", [Form.RELAXED, Form.SIMPLE])
@pytest.mark.parametrize("name", WHITE_SPACE)
def test_rfc6376_3_2_and_3_5_white_space(name: str, form: Form) -> None:
    value = WHITE_SPACE[name].replace("relaxed/relaxed", f"{form}/relaxed")
    found = verdict(written(value, form=form))
    assert found.passed, str(found)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("d=example.org", "d=exam ple.org", DkimReason.SYNTAX),
        ("s=sel", "s=s el", DkimReason.SYNTAX),
        ("v=1", "v=1 1", DkimReason.VERSION),
        ("v=1", "v=01", DkimReason.VERSION),
        ("v=1", "v=", DkimReason.VERSION),
        ("a=ed25519-sha256", "a=ed25519 -sha256", DkimReason.ALGORITHM),
        ("a=ed25519-sha256", "a=", DkimReason.ALGORITHM),
        ("c=relaxed/relaxed", "c=relaxed / relaxed", DkimReason.CANONICALIZATION),
        ("c=relaxed/relaxed", "c=/relaxed", DkimReason.CANONICALIZATION),
        ("c=relaxed/relaxed", "c=", DkimReason.CANONICALIZATION),
        ("c=relaxed/relaxed", "c=relaxed/relaxed/simple", DkimReason.CANONICALIZATION),
        ("h=from:to:subject", "h=", DkimReason.SYNTAX),
        ("h=from:to:subject", "h=:from", DkimReason.SYNTAX),
        ("h=from:to:subject", "h=from::to", DkimReason.SYNTAX),
        ("h=from:to:subject", "h=from to", DkimReason.SYNTAX),
        ("h=from:to:subject", "h=To:Subject:fromm", DkimReason.FROM_NOT_SIGNED),
        ("; bh=", "; l=1 0; bh=", DkimReason.SYNTAX),
        ("; bh=", "; l=; bh=", DkimReason.SYNTAX),
        ("; bh=", "; l=+1; bh=", DkimReason.SYNTAX),
        ("; bh=", "; t=1.5; bh=", DkimReason.SYNTAX),
        ("; bh=", "; x=never; bh=", DkimReason.SYNTAX),
        ("; bh=", "; q=; bh=", DkimReason.QUERY_METHOD),
        ("; bh=", "; q=dns; bh=", DkimReason.QUERY_METHOD),
        ("; bh=", "; q=DNS/TXT; bh=", DkimReason.QUERY_METHOD),
        ("; bh=", "; i=; bh=", DkimReason.IDENTITY),
        ("; bh=", "; i=example.org; bh=", DkimReason.IDENTITY),
        ("; bh=", "; i=@sub.example.com; bh=", DkimReason.IDENTITY),
        ("; bh=", "; i=a@xample.org; bh=", DkimReason.IDENTITY),
        ("; bh=", "; ; bh=", DkimReason.SYNTAX),
        ("; bh=", "; D=example.org; D=x; bh=", DkimReason.SYNTAX),
        ("; bh=", "; \u00e4=x; bh=", DkimReason.SYNTAX),
    ],
)
def test_rfc6376_3_5_values_against_the_grammar(old: str, new: str, reason: DkimReason) -> None:
    assert old in TAGS
    found = verdict(written(" " + TAGS.replace(old, new)))
    assert (found.reason, found.result) == (reason, explain(reason).result)


@pytest.mark.parametrize(
    "new",
    [
        "; i=ann@example.org; bh=",
        "; i=@a.b.EXAMPLE.org; bh=",
        "; i=a=40b@example.org; bh=",
        "; i==41nn@example.org; bh=",
        "; q=dns/txt; bh=",
        "; q=x/y:dns/txt; bh=",
        "; t=0; bh=",
        "; t=1700000000; x=1900000000; bh=",
        "; z=From:ann=40example.org|To:x; bh=",
        "; l=010; bh=",
        "; l=10; bh=",
        "; D=example.com; bh=",  # names of tags are case-sensitive: this one is unknown
        "; v2=x; bh=",
        "; note=\u00fc; bh=",  # RFC 8616 allows it in values
    ],
)
def test_rfc6376_3_5_values_by_the_grammar(new: str) -> None:
    found = verdict(written(" " + TAGS.replace("; bh=", new)))
    assert found.passed, str(found)


@pytest.mark.parametrize(
    ("expires", "now", "passes"), [(100, 99.0, True), (100, 100.0, True), (100, 100.5, False), (100, 101.0, False)]
)
def test_rfc6376_6_1_1_expiry(expires: int, now: float, passes: bool) -> None:
    found = verdict(forged({"t": "50", "x": str(expires)}), now=now)
    assert found.passed is passes
    assert passes or found.reason is DkimReason.EXPIRED


KEYS: dict[str, tuple[str, dict[str, str | None], DkimReason | None]] = {
    # k=, h=, s=, t=, p= (section 3.6.1), each with what a signature has to do with it.
    "nothing but a key": (f"k=ed25519; p={P}", {}, None),
    "white space": (f" v = DKIM1 ;k\t=ed25519 ; p= {P[:9]} {P[9:]} ; ", {}, None),
    "a fold of a zone file": (f"v=DKIM1; k=ed25519;\r\n p={P}", {}, None),
    "any tags": (f"v=DKIM1; k=ed25519; x=1; zz=; n=Keys=20of=3B; p={P}", {}, None),
    "other hashes, too": (f"k=ed25519; h=sha1 : sha256 : x; p={P}", {}, None),
    "hashes in upper case": (f"k=ed25519; h=SHA256; p={P}", {}, DkimReason.KEY_HASH),
    "no hashes": (f"k=ed25519; h=; p={P}", {}, DkimReason.KEY_HASH),
    "all services": (f"k=ed25519; s=*; p={P}", {}, None),
    "email among services": (f"k=ed25519; s=x : email; p={P}", {}, None),
    "no service": (f"k=ed25519; s=; p={P}", {}, DkimReason.KEY_SERVICE),
    "another service": (f"k=ed25519; s=emails; p={P}", {}, DkimReason.KEY_SERVICE),
    "services in upper case": (f"k=ed25519; s=EMAIL; p={P}", {}, DkimReason.KEY_SERVICE),
    "strict, and no i=": (f"k=ed25519; t=s; p={P}", {}, None),
    "strict, and the same domain": (f"k=ed25519; t=s; p={P}", {"i": "ann@EXAMPLE.org"}, None),
    "strict, and a subdomain": (f"k=ed25519; t=s; p={P}", {"i": "@sub.example.org"}, DkimReason.KEY_STRICT),
    "strict among flags": (f"k=ed25519; t=y : s; p={P}", {"i": "@sub.example.org"}, DkimReason.KEY_STRICT),
    "strict in upper case is no flag": (f"k=ed25519; t=S; p={P}", {"i": "@sub.example.org"}, None),
    "not strict, and a subdomain": (f"k=ed25519; t=y:x; p={P}", {"i": "@sub.example.org"}, None),
    "no flags": (f"k=ed25519; t=; p={P}", {"i": "@sub.example.org"}, None),
    "revoked": ("v=DKIM1; k=ed25519; p=", {}, DkimReason.KEY_REVOKED),
    "revoked, with white space": ("v=DKIM1; k=ed25519; p= ;", {}, DkimReason.KEY_REVOKED),
    "revoked, without a type": ("v=DKIM1; p=", {}, DkimReason.KEY_ALGORITHM),
    "the type in upper case": (f"k=ED25519; p={P}", {}, DkimReason.KEY_ALGORITHM),
    "an unknown type": (f"k=x; p={P}", {}, DkimReason.KEY_ALGORITHM),
    "the version not first": (f"k=ed25519; v=DKIM1; p={P}", {}, DkimReason.KEY_SYNTAX),
    "the version empty": (f"v=; k=ed25519; p={P}", {}, DkimReason.KEY_SYNTAX),
    "the version twice": (f"v=DKIM1; v=DKIM1; k=ed25519; p={P}", {}, DkimReason.KEY_SYNTAX),
    "the key of 33 bytes": (f"k=ed25519; p={base64.b64encode(b'x' * 33).decode()}", {}, DkimReason.KEY_SYNTAX),
    "another key": (f"k=ed25519; p={base64.b64encode(bytes(32)).decode()}", {}, DkimReason.HEADER_CHANGED),
    "commas for semicolons": (f"v=DKIM1, k=ed25519, p={P}", {}, DkimReason.KEY_SYNTAX),
    "quotes": (f'"v=DKIM1; k=ed25519; p={P}"', {}, DkimReason.KEY_SYNTAX),
}


@pytest.mark.parametrize("name", KEYS)
def test_rfc6376_3_6_1_records(name: str) -> None:
    record, tags, reason = KEYS[name]
    found = verdict(forged(tags), txt(KEY_NAME, record))
    assert found.reason is reason, str(found)
    assert found.testing is (found.key_bits is not None and "t=y" in record)


def test_rfc6376_3_6_1_a_key_is_rsa_unless_it_says_otherwise() -> None:
    spki = rsa_key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    numbers = base64.b64encode(spki).decode()
    content = forged(key=rsa_key())
    assert verdict(content, txt(KEY_NAME, f"p={numbers}")).passed
    assert verdict(content, txt(KEY_NAME, f"v=DKIM1; k=rsa; p={numbers}")).passed
    assert verdict(content, txt(KEY_NAME, f"k=ed25519; p={numbers}")).reason is DkimReason.KEY_ALGORITHM


def test_rfc8463_3_an_ed25519_signature_is_over_the_hash() -> None:
    header = b"".join(
        canonical_field(field, Form.RELAXED) + b"\r\n" for field in split(MESSAGE).fields
    ) + canonical_field(Field(b"dkim-signature", f"DKIM-Signature: {TAGS}".encode()), Form.RELAXED)
    for signed, passes in ((sha256(header).digest(), True), (header, False)):
        signature = base64.b64encode(ED25519.sign(signed))
        assert verdict(f"DKIM-Signature: {TAGS}".encode() + signature + b"\r\n" + MESSAGE).passed is passes


def test_rfc8301_3_1_a_sha1_signature_fails_before_its_key_is_asked_for() -> None:
    value = TAGS.replace("a=ed25519-sha256", "a=rsa-sha1")
    examination = examine(split(f"DKIM-Signature: {value}AAAA\r\n".encode() + MESSAGE))
    assert examination.key_names == ()
    [found] = examination.judge({}, NOW)
    assert (found.reason, found.result) == (DkimReason.SHA1, DkimResult.FAIL)


@pytest.mark.parametrize(
    ("domain", "selector", "asked"),
    [
        ("EXAMPLE.ORG", "SEL", "sel._domainkey.example.org"),
        ("b\u00fccher.example", "sel", "sel._domainkey.xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "m\u00e4rz", "xn--mrz-qla._domainkey.xn--bcher-kva.example"),
        ("example.org", "a.b.c", "a.b.c._domainkey.example.org"),
        ("sub_domain.example.org", "s_1", "s_1._domainkey.sub_domain.example.org"),
    ],
)
def test_rfc6376_3_6_2_1_and_rfc8616_4_the_name_of_a_key(domain: str, selector: str, asked: str) -> None:
    [found] = verdicts(forged({"d": domain, "s": selector}), txt(asked, RECORD))
    assert found.passed, str(found)


@pytest.mark.parametrize(
    ("records", "wanted"),
    [
        ((RECORD,), None),
        (("v=spf1 -all", RECORD), None),  # as a wildcard record of another kind gives it
        ((RECORD, "v=spf1 -all"), None),
        (("v=DKIM1; k=ed25519; p=", RECORD), None),
        (("", RECORD), None),
        (("v=spf1 -all",), DkimReason.KEY_SYNTAX),
        (("x", "y"), DkimReason.KEY_SYNTAX),
        (("1", "2", "3", "4", RECORD), DkimReason.KEY_SYNTAX),  # the first four are tried
    ],
)
def test_rfc6376_3_6_2_2_and_6_1_2_several_records(records: tuple[str, ...], wanted: DkimReason | None) -> None:
    assert verdict(forged(), txt(KEY_NAME, *records)).reason is wanted


@pytest.mark.parametrize("kind", list(FailureKind))
def test_rfc6376_6_1_2_failures_are_temporary_and_absence_is_not(kind: FailureKind) -> None:
    assert verdict(forged(), failure(KEY_NAME, kind)).result is DkimResult.TEMPERROR
    assert verdict(forged(), nxdomain(KEY_NAME)).result is DkimResult.PERMERROR
    assert verdict(forged(), txt(KEY_NAME)).result is DkimResult.PERMERROR


TWO = (
    b"From: Ann <ann@example.org>\r\nTo: one@y.test\r\nSubject: First\r\nTo: two@y.test\r\nSubject: Second\r\n\r\n"
    b"Hi there\r\n"
)
SELECTIONS: dict[str, tuple[str, bytes, bytes, bool]] = {
    # Section 5.4.2: each name takes the lowest field that no name before it took.
    "the lowest one, another one changed": ("from:to:subject", b"one@y.test", b"1@y.test", True),
    "the lowest one, changed": ("from:to:subject", b"two@y.test", b"2@y.test", False),
    "both, the upper one changed": ("from:to:to", b"one@y.test", b"1@y.test", False),
    "both, exchanged": ("from:to:to", b"two@y.test", b"one@y.test", False),
    "both, another field between them changed": ("from:to:to", b"First", b"1st", True),
    "more names than fields": ("from:to:to:to:subject:subject:subject", b"", b"", True),
    "more names than fields, one added": ("from:to:to:to", b"Subject: First", b"To: three@y.test", False),
    "a field that is absent, added": ("from:to:reply-to", b"Subject: First", b"Reply-To: x@y.test", False),
    "a field that is absent": ("from:to:reply-to:x-none", b"", b"", True),
    "a field that is not named, removed": ("from:to", b"Subject: Second\r\n", b"", True),
    "names in upper case": ("FROM:To:sUBJECT", b"", b"", True),
    "From once more than it is there": ("from:from:to", b"", b"", True),
    "From once more, one added": ("from:from:to", b"Subject: First", b"From: x@y.test", False),
    "a second From above, not covered": ("from:to", b"From: Ann", b"From: x@y.test\r\nFrom: Ann", False),
    "the value's case": ("from:subject", b"Second", b"SECOND", False),
    "the name's case": ("from:subject", b"Subject: Second", b"SUBJECT: Second", True),
    "white space": ("from:subject", b"Subject: Second", b"Subject:   Second \t", True),
    "a fold": ("from:to", b"Ann <ann@example.org>", b"Ann\r\n\t<ann@example.org>", True),
    "a fold that ends a word": ("from:subject", b"Second", b"Sec\r\n ond", False),
}


@pytest.mark.parametrize("name", SELECTIONS)
def test_rfc6376_5_4_2_and_3_4_2_fields_that_are_covered(name: str) -> None:
    names, old, new, passes = SELECTIONS[name]
    content = forged({"h": names}, TWO)
    if old:
        header, gap, body = content.partition(b"\r\n\r\n")
        assert old in header + b"\r\n"
        content = (header + b"\r\n").replace(old, new, 1) + gap[2:] + body
    found = verdict(content)
    assert found.passed is passes, str(found)


def test_rfc6376_3_4_1_a_simple_header_is_covered_to_the_byte() -> None:
    content = written(" " + TAGS.replace("relaxed/relaxed", "simple/relaxed"), form=Form.SIMPLE)
    assert verdict(content).passed
    for old, new in ((b"To: b", b"To:  b"), (b"To:", b"TO:"), (b"Hello", b"Hello "), (b"; d=", b";  d=")):
        assert verdict(content.replace(old, new, 1)).reason is DkimReason.HEADER_CHANGED
    assert verdict(content.replace(b"Hi there", b"Hi   there \t")).passed


BODIES: list[tuple[bytes, int, bool, int]] = [
    # Section 3.5: l= is of octets of the canonical body; 0 is none at all.
    (b"", 0, True, 0),
    (b"Hi there\r\n", 0, True, 10),
    (b"Hi there\r\n", 2, True, 8),
    (b"Hi there\r\n", 10, True, 0),
    (b"Hi there\r\n", 11, False, 0),
    (b"Hi there\r\n\r\n\r\n", 10, True, 0),
    (b"Hi there\r\n\r\n\r\n", 12, False, 0),
    (b"Hi there", 10, True, 0),  # the CRLF that is added counts
    (b"Hi \t there \r\n", 10, True, 0),
    (b"Hi there\r\nadded\r\n", 10, True, 7),
    (b"\r\n\r\n", 1, False, 0),  # an empty relaxed body
]


@pytest.mark.parametrize(("body", "length", "passes", "unsigned"), BODIES)
def test_rfc6376_3_5_and_8_2_the_length_that_is_signed(body: bytes, length: int, passes: bool, unsigned: int) -> None:
    covered = b"Hi there\r\n"[:length]
    tags: dict[str, str | None] = {"l": str(length), "bh": base64.b64encode(sha256(covered).digest()).decode()}
    found = verdict(forged(tags, MESSAGE.replace(b"Hi there\r\n", body)))
    assert (found.passed, found.unsigned_octets) == (passes, unsigned), str(found)
    assert passes or found.reason is DkimReason.BODY_TOO_SHORT


@pytest.mark.parametrize(
    ("form", "body", "canonical"),
    [
        (Form.RELAXED, b"a\t\r\n \r\n\t\r\n", b"a\r\n"),
        (Form.RELAXED, b"a\r\n\r\n b \t c\r\n\r\n", b"a\r\n\r\n b c\r\n"),
        (Form.RELAXED, b"\t\ta", b" a\r\n"),
        (Form.RELAXED, b"a\rb \r c\r\n", b"a\rb \r c\r\n"),  # a bare CR is a byte like any other
        (Form.RELAXED, b"a\nb \n\r\n", b"a\nb \n\r\n"),
        (Form.RELAXED, b"a\r\r\n", b"a\r\r\n"),
        (Form.RELAXED, b"a \r", b"a \r\r\n"),
        (Form.RELAXED, b"\xc3\xbc\xa0 \xff\r\n", b"\xc3\xbc\xa0 \xff\r\n"),
        (Form.RELAXED, b"a\x00 \x00\r\n", b"a\x00 \x00\r\n"),
        (Form.SIMPLE, b"a \r\n\r\n", b"a \r\n"),
        (Form.SIMPLE, b"\r\n\r\n\r\n", b"\r\n"),
        (Form.SIMPLE, b"a\r\n \r\n\r\n", b"a\r\n \r\n"),
        (Form.SIMPLE, b"a\r", b"a\r\r\n"),
        (Form.SIMPLE, b"\r", b"\r\r\n"),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 1_000])
def test_rfc6376_3_4_3_and_3_4_4_bodies_in_pieces(form: Form, body: bytes, canonical: bytes, size: int) -> None:
    hashed = BodyHash(form)
    for at in range(0, len(body), size):
        hashed.update(body[at : at + size])
    assert (hashed.finish()[None], hashed.octets) == (sha256(canonical).digest(), len(canonical))


def test_rfc6376_4_2_and_6_1_each_signature_is_judged_for_itself() -> None:
    content = forged({"bh": HASH[::-1][1:] + "="})[: -len(MESSAGE)] + forged({"x": "1"})[: -len(MESSAGE)] + forged()
    found: tuple[DkimVerdict, ...] = verdicts(content, now=NOW)
    assert [each.passed for each in found] == [False, False, True]


def test_rfc6376_3_7_a_signature_may_cover_another_one() -> None:
    first = forged({"h": "from:subject"})
    both = forged({"h": "from:dkim-signature"}, first)
    assert [each.passed for each in verdicts(both)] == [True, True]
    later = both.replace(b"h=from:subject", b"h=from:Subject")
    assert [each.passed for each in verdicts(later)] == [False, False]
