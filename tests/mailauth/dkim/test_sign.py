"""Signing: what it covers, whom it signs for, and keys."""

import time

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from letterlock.mailauth.dkim import signing_key
from letterlock.mailauth.dkim.reasons import DkimReason
from letterlock.mailauth.dkim.sign import GUARDED, GUARDED_IF_PRESENT, MAX_INSTANCES, Signer, sign_with
from letterlock.mailauth.dkim.signature import MAX_SIGNED_NAMES
from letterlock.mailauth.dkim.signing_domain import author_domain
from letterlock.mailauth.dkim.signing_key import InvalidKey, SigningKey, read_signing_key, zone_line
from letterlock.mailauth.dkim.verify import DkimVerdict, examine
from letterlock.mailauth.message import split
from tests.mailauth.answers import txt
from tests.mailauth.dkim.forging import ED25519, NOW, ed25519_key, rsa_key

RSA = SigningKey("example.org", "rsa", rsa_key())
BOTH = (ed25519_key(), RSA)
MESSAGE = (
    b"Received: from a by b\r\nFrom: Ann <ann@example.org>\r\nTo: b@y.test\r\n"
    b"Subject: Gr\xc3\xbc\xc3\x9fe  \r\n\tAnn\r\n\r\nHello \t there \r\n\r\n\r\n"
)


def verified(message: bytes, *keys: SigningKey) -> tuple[DkimVerdict, ...]:
    return examine(split(message)).judge({key.record_name: txt(key.record_name, key.record) for key in keys}, NOW)


def signed(message: bytes = MESSAGE) -> bytes:
    return Signer(BOTH).sign(split(message), NOW) + message


def test_rfc8463_3_both_algorithms_at_once() -> None:
    found = verified(signed(), *BOTH)
    assert [each.passed for each in found] == [True, True]
    assert [each.signature and each.signature.algorithm for each in found] == ["ed25519-sha256", "rsa-sha256"]
    assert all(each.signature and each.signature.length is None for each in found)


def test_rfc6376_3_3_signatures_are_the_same_for_the_same_message() -> None:
    assert signed() == signed()


def test_rfc5322_2_1_1_no_line_is_longer_than_78_columns() -> None:
    fields = b"".join(name + b": x\r\n" for name in (*GUARDED, *GUARDED_IF_PRESENT)) * MAX_INSTANCES
    for message in (MESSAGE, fields + b"\r\nBody"):
        made = sign_with([RSA], split(message), NOW, 3600)
        assert made.startswith(b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=rsa;\r\n t=18")
        assert made.endswith(b"\r\n")
        assert max(map(len, made.split(b"\r\n"))) <= 78
        assert verified(made + message, RSA)[0].passed


@pytest.mark.parametrize("name", GUARDED)
def test_rfc6376_8_15_a_field_that_is_added_breaks_the_signature(name: bytes) -> None:
    found = verified(name + b": x\r\n" + signed(), *BOTH)
    assert [each.reason for each in found] == [DkimReason.HEADER_CHANGED] * 2


@pytest.mark.parametrize("name", GUARDED_IF_PRESENT)
def test_rfc6376_8_15_a_second_one_of_a_field_breaks_the_signature(name: bytes) -> None:
    message = signed(name + b": x\r\n" + MESSAGE)
    assert verified(message, *BOTH)[0].passed
    assert verified(name + b": y\r\n" + message, *BOTH)[0].reason is DkimReason.HEADER_CHANGED
    assert verified(name + b": x\r\n" + signed(), *BOTH)[0].passed  # a list may add what was not there


@pytest.mark.parametrize("count", [MAX_INSTANCES - 1, MAX_INSTANCES, MAX_INSTANCES + 1, 1_000])
def test_many_fields_of_one_name_can_be_signed_and_verified(count: int) -> None:
    message = b"To: c@y.test\r\n" * count + MESSAGE.replace(b"To: b@y.test\r\n", b"")
    assert verified(signed(message), *BOTH)[0].passed
    assert (len(GUARDED) + len(GUARDED_IF_PRESENT)) * (MAX_INSTANCES + 1) <= MAX_SIGNED_NAMES


@pytest.mark.parametrize(
    "message", [b"From: a@example.org", b"From: a@example.org\r\n\r\n", b"From: a@example.org\r\n\r\nno end"]
)
def test_messages_without_an_end(message: bytes) -> None:
    whole = message if b"\r\n\r\n" in message else message + b"\r\n\r\n"
    assert verified(Signer(BOTH).sign(split(message), NOW) + whole, *BOTH)[0].passed


def test_the_domain_in_from_chooses_the_keys() -> None:
    other = ed25519_key("example.com", "s1"), ed25519_key("example.com", "s2")
    signer = Signer([*BOTH, *other])
    assert signer.domains == ("example.org", "example.com")
    assert signer.sign(split(b"From: a@example.net\r\n\r\n"), NOW) == b""
    assert signer.sign(split(b"To: a@example.org\r\n\r\n"), NOW) == b""
    below = signer.sign(split(b"From: a@news.example.com\r\n\r\n"), NOW)
    assert (below.count(b"d=example.com; s=s1"), below.count(b"d=example.com; s=s2")) == (1, 1)
    chosen = signer.sign(split(b"From: a@example.net\r\n\r\n"), NOW, "example.org")
    assert chosen.count(b"d=example.org") == 2


def test_rfc6376_3_5_an_expiry_when_wanted() -> None:
    made = Signer([ed25519_key()], lifetime_seconds=600).sign(split(MESSAGE), NOW)
    assert b"t=1800000000; x=1800000600;" in made
    assert b"x=" not in Signer([ed25519_key()]).sign(split(MESSAGE), NOW).partition(b"h=")[0]


@pytest.mark.parametrize(
    ("value", "domain"),
    [
        ("a@x.test", "x.test"),
        ("A <a@X.test>", "x.test"),
        ('"a@b <c@d.test>" <a@x.test>', "x.test"),
        ('"a \\" @y.test" (c@z.test (n@z.test)) <a@x.test>', "x.test"),
        ("a@y.test <a@x.test>", "x.test"),
        ("a@x.test, B <b@x.test>", "x.test"),
        ("a@x.test, b@y.test", None),
        ("<a@x.test>, <b@y.test>", None),
        ("\r\n A\r\n <a@x.test>", "x.test"),
        ("jürgen@bücher.test", "xn--bcher-kva.test"),
        ("undisclosed", None),
        ('"a@y.test', None),
        ('"a" "b" <a@x.test> "', None),
        ("a @x.test", None),
        ("a@", None),
        ("a@-", None),
        ("", None),
        ("(" * 100 + "a@x.test", None),
    ],
)
def test_the_domain_of_the_author(value: str, domain: str | None) -> None:
    assert author_domain(split(f"From: {value}\r\n\r\n".encode())) == domain


def test_no_domain_when_from_is_not_there_once() -> None:
    assert author_domain(split(b"From: a@x.test\r\nFrom: a@x.test\r\n\r\n")) is None
    assert author_domain(split(b"From: " + b"x" * 10_000 + b"a@x.test\r\n\r\n")) is None


@pytest.mark.parametrize("piece", [b'"\\', b'"', b"(", b"(\\", b"a", b"<", b"<a", b"@", b"a@", b"\\(", b"a@b,", b"()"])
def test_from_fields_of_hostile_clients_cost_little(piece: bytes) -> None:
    message = split(b"From: " + piece * (8000 // len(piece)) + b"a@x.test\r\n\r\n")
    spent = []
    for _ in range(3):  # the least of them: a collection of garbage may fall into one
        begun = time.process_time()
        author_domain(message)
        spent.append(time.process_time() - begun)
    assert min(spent) < 0.05  # of CPU: they take 1 ms


def pem(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_keys_are_read_from_pem() -> None:
    for key in (rsa_key(), ED25519):
        assert read_signing_key(pem(key), "example.org", "s1").record_name == "s1._domainkey.example.org"
    old = rsa_key().private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    assert read_signing_key(old, "example.org", "s1").record == RSA.record


def test_rfc8301_3_2_keys_that_cannot_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidKey, match="1024 bits; 2048 to 4096"):
        read_signing_key(pem(rsa_key(1024)), "example.org", "s")
    assert read_signing_key(pem(rsa_key(1024)), "example.org", "s", min_rsa_bits=1).selector == "s"
    with monkeypatch.context() as patched:  # a larger key takes seconds to make
        patched.setattr(signing_key, "MAX_RSA_BITS", 1536)
        with pytest.raises(InvalidKey, match="2048 bits; 1024 to 1536"):
            SigningKey("example.org", "s", rsa_key(2048))
    with pytest.raises(InvalidKey, match="neither"):
        read_signing_key(pem(ec.generate_private_key(ec.SECP256R1())), "example.org", "s")
    public = ED25519.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for text in (b"", b"x", public):
        with pytest.raises(InvalidKey, match="no unencrypted private key"):
            read_signing_key(text, "example.org", "s")
    for names in (("Example.org", "s"), ("example.org", "S"), ("a b", "s"), ("example.org", ""), ("x." * 120, "s")):
        with pytest.raises(InvalidKey):
            read_signing_key(pem(ED25519), *names)


def test_a_key_does_not_show_itself() -> None:
    assert "key=" not in repr(RSA)


def test_rfc6376_3_6_2_2_records_are_split_into_strings() -> None:
    line = zone_line(RSA.record_name, RSA.record)
    assert line.startswith('rsa._domainkey.example.org. IN TXT ( "v=DKIM1; k=rsa; p=')
    strings = line.split('"')[1::2]
    assert [len(string) for string in strings[:-1]] == [255]
    assert "".join(strings) == RSA.record
    assert ed25519_key().record.startswith("v=DKIM1; k=ed25519; p=")
