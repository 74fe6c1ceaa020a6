"""Verification: every reason, each with a signature that is right but for one thing."""

import base64
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from letterlock.mailauth.dkim.reasons import EXPLANATIONS, DkimReason, DkimResult, explain
from letterlock.mailauth.dkim.signature import MAX_SIGNED_NAMES
from letterlock.mailauth.dkim.tags import MAX_LIST_OCTETS, MAX_TAGS
from letterlock.mailauth.dkim.verify import MAX_KEY_RECORDS, MAX_SIGNATURES, examine
from letterlock.mailauth.message import split
from letterlock.resolver.answer import FailureKind, Security
from tests.mailauth.answers import failure, nxdomain, txt
from tests.mailauth.dkim.forging import (
    ED25519,
    KEY_NAME,
    MESSAGE,
    NOW,
    RECORD,
    ed25519_key,
    forged,
    rsa_key,
    verdict,
    verdicts,
)

P = RECORD.partition("p=")[2]


def test_a_signature_that_holds() -> None:
    found = verdict(forged())
    assert (found.result, found.reason, found.key_bits, found.testing, found.unsigned_octets) == (
        DkimResult.PASS,
        None,
        256,
        False,
        0,
    )
    assert found.signature is not None
    assert (found.signature.domain, found.signature.selector, found.signature.identity) == (
        "example.org",
        "sel",
        "@example.org",
    )
    assert str(found) == "the signature holds"


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"v": "2"}, DkimReason.VERSION),
        ({"v": "1.0"}, DkimReason.VERSION),
        *(({tag: None}, DkimReason.TAG_MISSING) for tag in ("v", "a", "d", "s", "h", "bh")),
        ({"a": "rsa-sha1"}, DkimReason.SHA1),
        ({"a": "ed25519-sha512"}, DkimReason.ALGORITHM),
        ({"a": "ED25519-SHA256"}, DkimReason.ALGORITHM),
        ({"c": "nofws"}, DkimReason.CANONICALIZATION),
        ({"c": "relaxed/"}, DkimReason.CANONICALIZATION),
        ({"q": "dns/special"}, DkimReason.QUERY_METHOD),
        ({"d": ""}, DkimReason.SYNTAX),
        ({"d": "example.org."}, DkimReason.SYNTAX),
        ({"d": "exa mple.org"}, DkimReason.SYNTAX),
        ({"s": "a..b"}, DkimReason.SYNTAX),
        ({"s": ".".join(["x" * 60] * 4)}, DkimReason.SYNTAX),  # a DNS name of more than 253 bytes
        ({"i": "ann@example.com"}, DkimReason.IDENTITY),
        ({"i": "@badexample.org"}, DkimReason.IDENTITY),
        ({"i": "@org"}, DkimReason.IDENTITY),
        ({"i": "ann"}, DkimReason.IDENTITY),
        ({"h": "to:subject"}, DkimReason.FROM_NOT_SIGNED),
        ({"h": "from:"}, DkimReason.SYNTAX),
        ({"h": "from:a b"}, DkimReason.SYNTAX),
        ({"l": "-1"}, DkimReason.SYNTAX),
        ({"l": "9" * 77}, DkimReason.SYNTAX),
        ({"t": "soon"}, DkimReason.SYNTAX),
        ({"t": "200", "x": "200"}, DkimReason.TIMES),
        ({"bh": "no base64!"}, DkimReason.SYNTAX),
        ({"x": "1799999999"}, DkimReason.EXPIRED),
        ({"l": "11"}, DkimReason.BODY_TOO_SHORT),
        ({"bh": base64.b64encode(b"x" * 32).decode()}, DkimReason.BODY_CHANGED),
    ],
)
def test_rfc6376_6_1_1_signatures_that_cannot_pass(tags: dict[str, str | None], reason: DkimReason) -> None:
    found = verdict(forged(tags))
    assert (found.reason, found.result) == (reason, explain(reason).result)
    assert found.result is not DkimResult.PASS


@pytest.mark.parametrize(
    "tags",
    [
        {"i": "ann@example.org"},
        {"i": "@mail.Example.ORG"},
        {"i": "=61=6E=6E@ex ample.org"},
        {"d": "EXAMPLE.org"},
        {"q": "http : dns/txt"},
        {"t": "1900000000"},  # in the future: MAY be refused, is not
        {"t": "1", "x": "1800000000"},
        {"x": "9" * 76},
        {"h": "From : To: SUBJECT:from:x-none"},
        {"z": "From:ann@example.org|To:b@y.test", "r": "y", "unknown_1": "x"},
        {"c": "relaxed/simple"},
    ],
)
def test_rfc6376_3_5_signatures_that_pass(tags: dict[str, str | None]) -> None:
    assert verdict(forged(tags)).passed


@pytest.mark.parametrize(
    "text", [b"v=1; v=1", b"v", b"=1", b"1v=1", b"v=1;; a=x", b"v=1; a=\x00", b"a=\rb", b"a=\nb", b"v-x=1", b""]
)
def test_rfc6376_3_2_tag_lists_against_the_grammar(text: bytes) -> None:
    assert verdict(b"DKIM-Signature: " + text + b"\r\n" + MESSAGE).reason is DkimReason.SYNTAX


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("", DkimReason.KEY_SYNTAX),
        ("v=spf1 -all", DkimReason.KEY_SYNTAX),
        (f"v=DKIM2; k=ed25519; p={P}", DkimReason.KEY_SYNTAX),
        (f"k=ed25519; v=DKIM1; p={P}", DkimReason.KEY_SYNTAX),
        (f"v=dkim1; k=ed25519; p={P}", DkimReason.KEY_SYNTAX),
        (f"k=ed25519; p={P}; p={P}", DkimReason.KEY_SYNTAX),
        ("k=ed25519", DkimReason.KEY_SYNTAX),
        ("k=ed25519; p=!!", DkimReason.KEY_SYNTAX),
        ("k=ed25519; p=" + base64.b64encode(b"x" * 31).decode(), DkimReason.KEY_SYNTAX),
        ("k=ed25519; p=", DkimReason.KEY_REVOKED),
        (f"p={P}", DkimReason.KEY_ALGORITHM),
        (f"k=rsa; p={P}", DkimReason.KEY_ALGORITHM),
        (f"k=ed25519; h=sha1; p={P}", DkimReason.KEY_HASH),
        (f"k=ed25519; s=chat; p={P}", DkimReason.KEY_SERVICE),
        ("k=ed25519; p=" + base64.b64encode(b"x" * 32).decode(), DkimReason.HEADER_CHANGED),
    ],
)
def test_rfc6376_3_6_1_keys_that_cannot_verify(record: str, reason: DkimReason) -> None:
    found = verdict(forged(), txt(KEY_NAME, record, security=Security.SECURE))
    assert (found.reason, found.security) == (reason, Security.SECURE)


@pytest.mark.parametrize(
    "record",
    [
        f"k=ed25519; p={P}",
        f" v = DKIM1 ; k = ed25519 ; n = a note ; p = {P[:20]} {P[20:]} ; ",
        f"v=DKIM1; k=ed25519; p={P[:20]}\r\n\t{P[20:]}\n",
        f"v=DKIM1; k=ed25519; h=sha1 : sha256; s=web:email; g=nobody; t=x:y:z; p={P.rstrip('=')}",
    ],
)
def test_rfc6376_3_6_1_odd_forms_of_a_key(record: str) -> None:
    assert verdict(forged(), txt(KEY_NAME, record)).passed


def test_rfc6376_3_6_2_2_strings_of_a_record_are_joined() -> None:
    record = RECORD.replace("p=", f"n={'x' * 600}; p=")
    answer = txt(KEY_NAME, record)
    assert [str(record).count('" "') for record in answer.records] == [2]
    assert verdict(forged(), answer).passed


def test_rfc6376_6_1_2_several_records_are_tried() -> None:
    other = "k=ed25519; p=" + base64.b64encode(b"x" * 32).decode()
    assert verdict(forged(), txt(KEY_NAME, "v=spf1 -all", other, RECORD)).passed
    assert verdict(forged(), txt(KEY_NAME, other, "v=spf1 -all")).reason is DkimReason.HEADER_CHANGED
    many = ["x"] * MAX_KEY_RECORDS
    assert verdict(forged(), txt(KEY_NAME, *many, RECORD)).reason is DkimReason.KEY_SYNTAX


@pytest.mark.parametrize("kind", FailureKind)
def test_rfc6376_6_1_2_a_lookup_that_failed_is_temporary_and_never_no_key(kind: FailureKind) -> None:
    found = verdict(forged(), failure(KEY_NAME, kind))
    assert found.result is DkimResult.TEMPERROR
    assert found.reason is (DkimReason.KEY_BOGUS if kind is FailureKind.BOGUS else DkimReason.KEY_LOOKUP_FAILED)
    assert found.security is (Security.BOGUS if kind is FailureKind.BOGUS else None)


def test_rfc6376_6_1_2_absent_keys() -> None:
    for answer in (nxdomain(KEY_NAME), txt(KEY_NAME)):
        found = verdict(forged(), answer)
        assert (found.result, found.reason, found.security) == (
            DkimResult.PERMERROR,
            DkimReason.KEY_ABSENT,
            answer.security,
        )


def test_rfc6376_3_6_1_testing_and_strict_keys() -> None:
    testing = txt(KEY_NAME, RECORD.replace("k=", "t=y; k="))
    assert verdict(forged(), testing).testing
    assert verdict(forged().replace(b"Hello", b"Bye"), testing).testing
    strict = txt(KEY_NAME, RECORD.replace("k=", "t=s; k="))
    assert verdict(forged(), strict).passed
    assert verdict(forged({"i": "ann@example.org"}), strict).passed
    assert verdict(forged({"i": "@sub.example.org"}), strict).reason is DkimReason.KEY_STRICT


def rsa_record(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> str:
    return "p=" + base64.b64encode(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


@pytest.mark.parametrize(("bits", "weak"), [(1024, True), (2048, False), (4096, False)])
def test_rfc8301_3_2_rsa_keys_of_1024_bits_and_more(bits: int, *, weak: bool) -> None:
    key = rsa_key(bits)
    found = verdict(forged(key=key), txt(KEY_NAME, rsa_record(key.public_key())))
    assert (found.result, found.key_bits, found.weak_key) == (DkimResult.PASS, bits, weak)


def test_rfc8301_3_2_an_rsa_key_of_fewer_bits_fails() -> None:
    # a modulus of 512 bits: libraries refuse to make such a key, and so its public half is written here
    short = "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBALgSoqXVSEmfcIsOzw7oRuCCOwsmtX/SJnTWxYyj2leFxfS/AVJ+dYfY+hXqMsT7l+MZvvh/"
    found = verdict(forged({"a": "rsa-sha256"}), txt(KEY_NAME, f"p={short}R1WzN4MO/kI/7XsCAwEAAQ=="))
    assert (found.result, found.reason, found.found) == (DkimResult.FAIL, DkimReason.KEY_TOO_SHORT, "512 bits")


@pytest.mark.parametrize(("bits", "exponent"), [(65_536, 65537), (9_000, 65537), (2048, (1 << 40) + 1)])
def test_rfc6376_8_4_huge_keys_cost_nothing(bits: int, exponent: int) -> None:
    modulus = rsa_key().public_key().public_numbers().n if bits == 2048 else (1 << (bits - 1)) + 1
    record = "p=" + base64.b64encode(pkcs1(modulus, exponent)).decode()
    begun = time.process_time()
    found = verdict(forged({"a": "rsa-sha256"}), txt(KEY_NAME, record))
    assert (found.result, found.reason) == (DkimResult.POLICY, DkimReason.KEY_TOO_LARGE)
    assert time.process_time() - begun < 0.05  # of CPU: it takes less than a millisecond


def pkcs1(modulus: int, exponent: int) -> bytes:
    """An RSAPublicKey in DER (RFC 8017 appendix A.1.1)."""
    body = b"".join(_der(2, each.to_bytes(each.bit_length() // 8 + 1)) for each in (modulus, exponent))
    return _der(0x30, body)


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    length = (
        bytes([size]) if size < 128 else b"\x84" + size.to_bytes(4) if size > 65_535 else b"\x82" + size.to_bytes(2)
    )
    return bytes([tag]) + length + content


def test_an_elliptic_key_is_no_rsa_key() -> None:
    record = rsa_record(ec.generate_private_key(ec.SECP256R1()).public_key())
    assert verdict(forged({"a": "rsa-sha256"}), txt(KEY_NAME, record)).reason is DkimReason.KEY_ALGORITHM
    assert verdict(forged({"a": "rsa-sha256"}), txt(KEY_NAME, "p=AAAA")).reason is DkimReason.KEY_SYNTAX


def test_rfc6376_3_7_what_a_signature_covers() -> None:
    message = forged({"h": "from:to:subject:subject"})
    assert verdict(message).passed
    assert verdict(b"X-New: 1\r\n" + message).passed
    assert verdict(message.replace(b"Subject: Hello", b"subject:\t Hello ")).passed
    for changed in (
        message.replace(b"Hello", b"Hullo"),
        b"Subject: Other\r\n" + message,
        message.replace(b"To: b", b"To: c"),
    ):
        assert verdict(changed).reason is DkimReason.HEADER_CHANGED
    assert verdict(message.replace(b"Hi there", b"Hi  there")).passed
    assert verdict(message.replace(b"Hi there", b"Hithere")).reason is DkimReason.BODY_CHANGED


def test_rfc6376_5_4_2_instances_are_taken_from_the_bottom() -> None:
    message = b"Received: 3\r\nReceived: 2\r\nReceived: 1\r\n" + MESSAGE
    signed = forged({"h": "from:received:received"}, message)
    assert verdict(signed).passed
    assert verdict(b"Received: 4\r\n" + signed).passed
    assert verdict(signed.replace(b"Received: 3", b"Received: x")).passed
    assert verdict(signed.replace(b"Received: 2", b"Received: x")).reason is DkimReason.HEADER_CHANGED


def test_rfc6376_8_15_a_from_field_that_is_not_signed() -> None:
    added = b"From: boss@example.org\r\n"
    assert verdict(added + forged()).reason is DkimReason.FROM_ADDED
    assert verdict(forged({"h": "from:from"}, added + MESSAGE)).passed
    assert verdict(added + forged({"h": "from:from"}, added + MESSAGE)).reason is DkimReason.FROM_ADDED


def test_rfc6376_3_5_its_own_field_is_none_of_those_that_it_names() -> None:
    inner = forged()
    outer = forged({"h": "from:dkim-signature"}, inner)
    assert [each.passed for each in verdicts(outer)] == [True, True]
    below = inner.split(b"\r\n", 1)[0]  # its own field may as well be the lowest
    field = outer.split(b"\r\n", 1)[0]
    moved = below + b"\r\n" + field + b"\r\n" + MESSAGE
    assert [each.passed for each in verdicts(moved)] == [True, True]


def test_rfc6376_8_2_what_l_leaves_out_is_reported() -> None:
    message = forged({"l": "10"}) + b"Buy  now\r\n\r\n"
    found = verdict(message)
    assert (found.result, found.unsigned_octets) == (DkimResult.PASS, len(b"Buy now\r\n"))
    assert verdict(forged({"l": "10"})).unsigned_octets == 0
    assert verdict(forged({"l": "0"}, body=b"")).unsigned_octets == 10
    both = forged({"l": "10"}, forged({"l": "2"}, body=b"Hi"))
    assert [each.unsigned_octets for each in verdicts(both)] == [0, 8]


def test_rfc8616_4_domains_and_selectors_in_u_labels() -> None:
    name = "xn--fs-xka._domainkey.xn--bcher-kva.example"
    message = forged({"d": "bücher.example", "s": "füs", "i": "jürgen@post.bücher.example"})
    found = verdict(message, txt(name, RECORD))
    assert found.passed
    assert found.signature is not None
    assert found.signature.identity == "jürgen@post.xn--bcher-kva.example"


def test_rfc6376_6_1_the_first_signatures_are_checked() -> None:
    message = MESSAGE
    for _ in range(MAX_SIGNATURES + 2):
        message = forged(message=message)
    examination = examine(split(message))
    assert examination.key_names == (KEY_NAME,)
    found = verdicts(message)
    assert [each.passed for each in found] == [True] * MAX_SIGNATURES + [False]
    assert (found[-1].reason, found[-1].found) == (DkimReason.TOO_MANY_SIGNATURES, f"{MAX_SIGNATURES + 2} signatures")
    assert len(verdicts(b"DKIM-Signature: x\r\n" * 9_000 + MESSAGE)) == MAX_SIGNATURES + 1
    assert len(verdicts(b"no field\r\n" + b"DKIM-Signature: x\r\n" * 9_000 + MESSAGE)) == MAX_SIGNATURES + 1


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({f"x{number}": "1" for number in range(10_000)}, DkimReason.TOO_MANY_TAGS),
        ({f"x{number}": "1" for number in range(MAX_TAGS)}, DkimReason.TOO_MANY_TAGS),
        ({"h": "from:" + ":".join(f"x{number}" for number in range(1_000))}, DkimReason.TOO_MANY_NAMES),
        ({"h": ":".join(["from"] * (MAX_SIGNED_NAMES + 1))}, DkimReason.TOO_MANY_NAMES),
        ({"z": "x" * MAX_LIST_OCTETS}, DkimReason.TOO_LARGE),
    ],
)
def test_rfc6376_8_4_work_is_bounded_and_the_limit_named(tags: dict[str, str], reason: DkimReason) -> None:
    signed = forged(tags)
    begun = time.process_time()
    found = verdict(signed)
    assert (found.result, found.reason) == (DkimResult.POLICY, reason)
    assert time.process_time() - begun < 0.05  # of CPU


def test_most_names_and_tags_that_are_read() -> None:
    assert verdict(forged({"h": ":".join(["from"] * MAX_SIGNED_NAMES)})).passed
    assert verdict(forged({f"x{number}": "1" for number in range(MAX_TAGS - 8)})).passed


def test_keys_of_several_domains() -> None:
    message = forged({"d": "a.test"}, forged({"d": "b.test"}))
    names = examine(split(message)).key_names
    assert names == ("sel._domainkey.a.test", "sel._domainkey.b.test")
    found = verdicts(message, txt(names[0], RECORD), failure(names[1], FailureKind.TIMEOUT))
    assert [each.result for each in found] == [DkimResult.PASS, DkimResult.TEMPERROR]


def test_each_reason_is_explained() -> None:
    assert set(EXPLANATIONS) == set(DkimReason)
    for reason in DkimReason:
        assert explain(reason).section.startswith("RFC ")
    found = verdict(forged({"i": "@example.com"}))
    assert str(found) == (
        "the identity i= is not in the signing domain d=: i='@example.com', d=example.org (RFC 6376 section 6.1.1)"
    )


@pytest.mark.parametrize("line", [b"no field", b"two words: x", b">From x", b";x=y"])
def test_rfc6376_3_8_a_line_that_is_no_field_ends_all_trust(line: bytes) -> None:
    found = verdict(line + b"\r\n" + forged())
    assert (found.result, found.reason) == (DkimResult.PERMERROR, DkimReason.MALFORMED_HEADER)
    assert verdict(forged() + line).reason is DkimReason.BODY_CHANGED


def test_a_message_without_signatures_needs_nothing() -> None:
    examination = examine(split(MESSAGE))
    assert examination.key_names == ()
    assert examination.judge({}, NOW) == ()


def test_the_key_of_the_tests_is_what_it_says() -> None:
    assert ed25519_key().key is ED25519
