"""Relatives of the vectors, from the text of the standards: spellings and structures that the vectors do not have."""

import base64
from hashlib import sha256

import pytest

from letterlock.mailauth.dkim.canonical import Form, canonical_field
from letterlock.mailauth.dkim.reasons import DkimResult
from letterlock.mailauth.message import split
from letterlock.mailauth.results import (
    AuthenticationResults,
    InvalidResults,
    MethodResult,
    UnsupportedVersion,
    parse,
    render,
)
from letterlock.mailauth.spf.evaluate import evaluate
from letterlock.mailauth.spf.request import mail_from_request
from tests.mailauth.answers import txt
from tests.mailauth.dkim.forging import KEY_NAME, RECORD, forged, verdict
from tests.mailauth.dns_world import World

PASS, FAIL, SOFTFAIL, NEUTRAL, NONE, PERMERROR = "pass", "fail", "softfail", "neutral", "none", "permerror"


@pytest.mark.parametrize(
    ("record", "wanted"),
    [
        # Section 4.5: the version, and section 4.6.1: terms are parted by spaces, names are case-insensitive.
        ("V=SPF1 IP4:192.0.2.7 -ALL", PASS),
        ("v=spf1", NEUTRAL),
        ("v=spf1 ", NEUTRAL),
        ("v=spf1  ", NEUTRAL),
        ("v=spf1-all", NONE),
        ("v=spf1\t-all", NONE),
        ("v=spf10 -all", NONE),
        ("v=spf1. -all", NONE),
        (" v=spf1 -all", NONE),
        ("v=spf1 -all\t", PERMERROR),
        ("v=spf1 ?all", NEUTRAL),
        ("v=spf1 ~all", SOFTFAIL),
        ("v=spf1 +all", PASS),
        ("v=spf1 *all", PERMERROR),
        ("v=spf1 --all", PERMERROR),
        ("v=spf1 all -all", PASS),
        # Section 5.1.
        ("v=spf1 -all.", PERMERROR),
        ("v=spf1 -all/8", PERMERROR),
        ("v=spf1 -all:x", PERMERROR),
        ("v=spf1 -all=x", PERMERROR),  # a modifier has no qualifier
        # Section 5.6.
        ("v=spf1 ip4:192.0.2.7/32 -all", PASS),
        ("v=spf1 ip4:192.0.2.99/0 -all", PASS),
        ("v=spf1 ip4:192.0.2.7/33 -all", PERMERROR),
        ("v=spf1 ip4:192.0.2.7/032 -all", PERMERROR),
        ("v=spf1 ip4:192.0.2.7/ -all", PERMERROR),
        ("v=spf1 ip4:192.0.2.7//32 -all", PERMERROR),
        ("v=spf1 ip4:192.0.2 -all", PERMERROR),
        ("v=spf1 ip4:192.0.2.007 -all", PERMERROR),
        ("v=spf1 ip4:192.0.2.7:25 -all", PERMERROR),
        ("v=spf1 ip4 -all", PERMERROR),
        ("v=spf1 ip4: -all", PERMERROR),
        ("v=spf1 ip4=192.0.2.7 -all", FAIL),  # a modifier without a meaning
        ("v=spf1 ip6:::1 -all", FAIL),
        ("v=spf1 ip6:::ffff:192.0.2.7 -all", FAIL),
        ("v=spf1 ip6:2001:db8::/129 -all", PERMERROR),
        ("v=spf1 ip6:2001:db8::/0 -all", FAIL),
        ("v=spf1 ip6:2001:db8::x -all", PERMERROR),
        ("v=spf1 ip6:fe80::1%1 -all", PERMERROR),
        # Sections 5.3 and 5.4.
        ("v=spf1 a -all", PASS),
        ("v=spf1 a/24 -all", PASS),
        ("v=spf1 a/24//64 -all", PASS),
        ("v=spf1 a//64 -all", PASS),
        ("v=spf1 a/24/64 -all", PERMERROR),
        ("v=spf1 a//129 -all", PERMERROR),
        ("v=spf1 a/33 -all", PERMERROR),
        ("v=spf1 a/-1 -all", PERMERROR),
        ("v=spf1 a:/24 -all", PERMERROR),
        ("v=spf1 a: -all", PERMERROR),
        ("v=spf1 a:host.example.org/24 -all", PASS),
        ("v=spf1 a:host.example.org. -all", PASS),
        ("v=spf1 a:org -all", PERMERROR),
        ("v=spf1 a:host.example.123 -all", PERMERROR),
        ("v=spf1 a:host.example.-x -all", PERMERROR),
        ("v=spf1 a:host.example.x- -all", PERMERROR),
        ("v=spf1 a:host.example.a1-b -all", FAIL),
        ("v=spf1 a:192.0.2.7 -all", PERMERROR),
        ("v=spf1 a:example.org:25 -all", PERMERROR),  # "org:25" is no toplabel
        ("v=spf1 a:x:25.example.org -all", FAIL),  # a name with a colon can be one, and exists nowhere
        ("v=spf1 mx -all", PASS),
        ("v=spf1 mx:example.org//64 -all", PASS),
        # Sections 5.5 and 5.7.
        ("v=spf1 exists -all", PERMERROR),
        ("v=spf1 exists: -all", PERMERROR),
        ("v=spf1 exists:host.example.org/24 -all", PERMERROR),
        ("v=spf1 exists:host.example.org -all", PASS),
        ("v=spf1 exists:nothing.example.org -all", FAIL),
        ("v=spf1 ptr/0 -all", PERMERROR),
        # Section 5.2.
        ("v=spf1 include -all", PERMERROR),
        ("v=spf1 include: -all", PERMERROR),
        ("v=spf1 include:good.example.org/24 -all", PERMERROR),
        ("v=spf1 include:good.example.org -all", PASS),
        ("v=spf1 -include:good.example.org +all", FAIL),
        ("v=spf1 include:bad.example.org ~all", SOFTFAIL),
        ("v=spf1 include:nothing.example.org +all", PERMERROR),
        ("v=spf1 include:broken.example.org +all", PERMERROR),
        ("v=spf1 ip4:192.0.2.7 include:nothing.example.org", PASS),
        ("v=spf1 ip4:192.0.2.7 nonsense", PERMERROR),  # section 4.6: errors anywhere
        # Section 6.
        ("v=spf1 redirect=good.example.org", PASS),
        ("v=spf1 redirect=good.example.org ?all", NEUTRAL),
        ("v=spf1 redirect=nothing.example.org", PERMERROR),
        ("v=spf1 redirect=", PERMERROR),
        ("v=spf1 redirect=good.example.org redirect=good.example.org", PERMERROR),
        ("v=spf1 redirect:good.example.org", PERMERROR),
        ("v=spf1 exp=a.test exp=b.test ?all", PERMERROR),
        ("v=spf1 exp= ?all", PERMERROR),
        ("v=spf1 exp=-all", PERMERROR),
        ("v=spf1 moo= ?all", NEUTRAL),
        ("v=spf1 moo=cow:far_out=man:dog/cat ?all", NEUTRAL),
        ("v=spf1 moo.cow-far_out=man:dog/cat ?all", NEUTRAL),
        ("v=spf1 moo=a moo=b ?all", NEUTRAL),
        ("v=spf1 moo=%{s ?all", PERMERROR),
        ("v=spf1 moo=%{q} ?all", PERMERROR),
        ("v=spf1 1moo=a ?all", PERMERROR),
        ("v=spf1 -moo=a ?all", PERMERROR),
        # Section 7.
        ("v=spf1 exists:%{d} -all", PASS),
        ("v=spf1 exists:%{D} -all", PASS),
        ("v=spf1 exists:%{d0} -all", PERMERROR),
        ("v=spf1 exists:%{d1r}.example.org -all", FAIL),
        ("v=spf1 exists:%{d99999999999}  -all", PASS),
        ("v=spf1 exists:%{x}.example.org -all", PERMERROR),
        ("v=spf1 exists:%{c}.example.org -all", PERMERROR),  # of explanations only
        ("v=spf1 exists:%{r}.example.org -all", PERMERROR),
        ("v=spf1 exists:%{t}.example.org -all", PERMERROR),
        ("v=spf1 exists:%d.example.org -all", PERMERROR),
        ("v=spf1 exists:%%.example.org -all", FAIL),
        ("v=spf1 exists:%_.example.org -all", FAIL),
        ("v=spf1 exists:%-.example.org -all", FAIL),
        ("v=spf1 exists:%{ir}.%{v}.example.org -all", PASS),
        ("v=spf1 exists:%{l}.example.org -all", FAIL),
        ("v=spf1 exists:%{i}. -all", PERMERROR),  # only a toplabel may be followed by a dot
        ("v=spf1 exists:%{d2,.-/_=+} -all", PASS),
    ],
)
def test_rfc7208_records(record: str, wanted: str) -> None:
    world = World().add("example.org", "TXT", record).add("example.org", "A", "192.0.2.7")
    world.add("example.org", "MX", (10, "host.example.org")).add("host.example.org", "A", "192.0.2.7")
    world.add("good.example.org", "TXT", "v=spf1 ip4:192.0.2.0/24 -all").add(
        "7.2.0.192.in-addr.example.org", "A", "127.0.0.2"
    )
    world.add("bad.example.org", "TXT", "v=spf1 -all").add("broken.example.org", "TXT", "v=spf1 nonsense")
    request = mail_from_request("192.0.2.7", "ann@example.org", "h.example.org", receiver="mx.test", now=1)
    assert world.run(evaluate(request)).result.value == wanted


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("example.org; none", ("example.org", [])),
        ("(c) example.org (c); (c) none (c)", ("example.org", [])),
        ('"mx; a"; none', ("mx; a", [])),
        ("example.org x; none", None),
        ("example.org 1 2; none", None),
        ("example.org; spf=pass; dkim=fail", ("example.org", [("spf", "pass"), ("dkim", "fail")])),
        ("example.org; spf=pass;; dkim=fail", None),
        ("example.org; spf/1=pass", ("example.org", [("spf", "pass")])),
        ("example.org; spf/x=pass", None),
        ("example.org; =pass", None),
        ("example.org; spf=", None),
        ("example.org; spf=pass smtp.mailfrom", None),
        ("example.org; spf=pass smtp.mailfrom=", None),
        ("example.org; spf=pass mailfrom=a@b.test", None),
        ("example.org; spf=pass smtp.mailfrom=a@b.test reason=late", None),
        ("example.org; spf=pass reason=good smtp.mailfrom=a@b.test", ("example.org", [("spf", "pass")])),
        ("example.org; spf=pass (unclosed smtp.mailfrom=a@b.test", None),
        ('example.org; spf=pass reason="unclosed', None),
        ("example.org; spf = pass smtp . mailfrom = a@b.test", ("example.org", [("spf", "pass")])),
        ("example.org; spf=pass smtp.mailfrom=@b.test", ("example.org", [("spf", "pass")])),
        ("example.org; spf/1x=pass", None),
        ("example.org; spf=pass smtp.mailfrom=a@", None),
        ("example.org; spf=pass smtp.mailfrom=@", None),
        ("example.org; spf=pass smtp.mailfrom=a@b@c.test", None),
        ("example.org; spf=pass smtp.mailfrom=a@.test", None),
        ("example.org; spf=pass smtp.mailfrom=a@b.", None),
        ("example.org; spf=pass smtp.mailfrom=a@b..test", None),
        ("example.org; spf=pass smtp.mailfrom=a@;dkim=none", None),
        ("example.org; spf=pass smtp.mailfrom=a@ b.test", None),
        ("example.org; spf=pass smtp.mailfrom=a@localhost", ("example.org", [("spf", "pass")])),
        ('example.org; spf=pass smtp.mailfrom="a@"', ("example.org", [("spf", "pass")])),
        ('example.org; spf=pass smtp.mailfrom="a@ "@b.test', ("example.org", [("spf", "pass")])),
        ('example.org; spf=pass smtp.mailfrom="a"@', None),
        ("example.org; spf=pass smtp.mailfrom=<>", ("example.org", [("spf", "pass")])),
        ("example.org; iprev=pass policy.iprev=2001:db8::1", ("example.org", [("iprev", "pass")])),
        ("example.org; spf=pass smtp.mailfrom=\u00fc@b\u00fccher.example", ("example.org", [("spf", "pass")])),
        ("example.org spf=pass", None),
        ("", None),
        (";", None),
    ],
)
def test_rfc8601_2_2_values(value: str, wanted: tuple[str, list[tuple[str, str]]] | None) -> None:
    if wanted is None:
        with pytest.raises((InvalidResults, UnsupportedVersion)):
            parse(value)
        return
    found = parse(value)
    assert (found.authserv_id, [(each.method, each.result) for each in found.results]) == wanted


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("ann@example.org", "ann@example.org"),
        ("@example.org", "@example.org"),
        ("a.b+c=d@sub.example.org", "a.b+c=d@sub.example.org"),
        ("ann@localhost", "ann@localhost"),
        ("postmaster@a..b", '"postmaster@a..b"'),
        ("postmaster@a.", '"postmaster@a."'),
        ("postmaster@.a", '"postmaster@.a"'),
        ("postmaster@", '"postmaster@"'),
        ("@", '"@"'),
        ("a@b@c.test", '"a@b@c.test"'),
        ("a..b@c.test", '"a..b@c.test"'),
        ("a b@c.test", '"a b@c.test"'),
        ('a"b\\@c.test', '"a\\"b\\\\@c.test"'),
        ("ann@[192.0.2.7]", '"ann@[192.0.2.7]"'),
    ],
)
def test_rfc8601_2_2_what_is_no_address_by_the_grammar_is_quoted(value: str, written: str) -> None:
    result = MethodResult(method="spf", result="pass", properties=(("smtp.mailfrom", value),))
    field = render(AuthenticationResults(authserv_id="mx.test", results=(result,))).decode()
    assert field.endswith(f"smtp.mailfrom={written}")
    [found] = parse(field.partition(":")[2]).results
    assert found.properties == (("smtp.mailfrom", value),)


@pytest.mark.parametrize(
    ("raw", "relaxed"),
    [
        (b"A: X", b"a:X"),
        (b"B : Y\t\r\n\tZ  ", b"b:Y Z"),
        (b"C:", b"c:"),
        (b"C: \t", b"c:"),
        (b"D:\r\n E", b"d:E"),
        (b"E: a\r\n \r\n b", b"e:a b"),
        (b"F\t:\tx", b"f:x"),
        (b"G: a:b", b"g:a:b"),
        (b"H: \xc3\xbc  \xc3\xbc", b"h:\xc3\xbc \xc3\xbc"),
        (b"I: a\x0bb\x0c", b"i:a\x0bb\x0c"),
    ],
)
def test_rfc6376_3_4_2_header_fields(raw: bytes, relaxed: bytes) -> None:
    [field] = split(raw + b"\r\n\r\n").fields
    assert canonical_field(field, Form.RELAXED) == relaxed
    assert canonical_field(field, Form.SIMPLE) == raw


@pytest.mark.parametrize(
    ("body", "simple", "relaxed"),
    [
        (b"", b"\r\n", b""),
        (b"\r\n", b"\r\n", b""),
        (b"\r\n\r\n", b"\r\n", b""),
        (b" \r\n", b" \r\n", b""),
        (b" \t \r\n\t\r\n", b" \t \r\n\t\r\n", b""),
        (b"a", b"a\r\n", b"a\r\n"),
        (b"a ", b"a \r\n", b"a\r\n"),
        (b"a\r\n\r\n\r\n", b"a\r\n", b"a\r\n"),
        (b"a\r\n \r\n", b"a\r\n \r\n", b"a\r\n"),
        (b"\r\n\r\na\r\n", b"\r\n\r\na\r\n", b"\r\n\r\na\r\n"),
        (b" a\t b \r\n", b" a\t b \r\n", b" a b\r\n"),
        (b"a\r\n\r\nb\r\n", b"a\r\n\r\nb\r\n", b"a\r\n\r\nb\r\n"),
    ],
)
def test_rfc6376_3_4_3_and_3_4_4_bodies(body: bytes, simple: bytes, relaxed: bytes) -> None:
    for form, wanted in (("simple", simple), ("relaxed", relaxed)):
        tags = {"c": f"relaxed/{form}", "bh": base64.b64encode(sha256(wanted).digest()).decode()}
        message = b"From: a@example.org\r\nTo: b@y.test\r\nSubject: x\r\n\r\n" + body
        assert verdict(forged(tags, message)).result is DkimResult.PASS


@pytest.mark.parametrize(
    ("record", "wanted"),
    [
        (RECORD, "pass"),
        (RECORD + ";", "pass"),
        (RECORD.replace("; ", ";"), "pass"),
        (RECORD.replace(";", " ; "), "pass"),
        (RECORD.replace("p=", "p = "), "pass"),
        (RECORD.replace("v=DKIM1", "v=DKIM2"), "permerror"),
        (RECORD.replace("v=DKIM1; ", "") + "; v=DKIM1", "permerror"),
        (RECORD.replace("v=DKIM1; ", ""), "pass"),
        (RECORD + "; h=sha256", "pass"),
        (RECORD + "; h=sha1", "permerror"),
        (RECORD + "; h=sha1:sha256", "pass"),
        (RECORD + "; s=email", "pass"),
        (RECORD + "; s=*", "pass"),
        (RECORD + "; s=tlsrpt", "permerror"),
        (RECORD + "; t=y", "pass"),
        (RECORD + "; t=s", "pass"),
        (RECORD + "; n=a note", "pass"),
        (RECORD + "; g=nobody", "pass"),
        (RECORD + "; unknown=x", "pass"),
        (RECORD + "; p=AAAA", "permerror"),
        (RECORD.replace("k=ed25519", "k=rsa"), "permerror"),
        (RECORD.partition("p=")[0] + "p=", "permerror"),
        (RECORD.partition("p=")[0], "permerror"),
        (RECORD.partition("p=")[0] + "p=!!!", "permerror"),
    ],
)
def test_rfc6376_3_6_1_key_records(record: str, wanted: str) -> None:
    found = verdict(forged(), txt(KEY_NAME, record))
    assert ("pass" if found.passed else found.result.value) in ({"pass"} if wanted == "pass" else {"permerror", "fail"})
