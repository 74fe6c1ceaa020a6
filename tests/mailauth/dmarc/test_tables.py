"""DMARC from the text of RFC 9989, in tables: walks, records, policies, alignment, From fields."""

import pytest

from letterlock.mailauth.dmarc.author import NoAuthor, author_domains
from letterlock.mailauth.dmarc.evaluate import (
    AuthMechanism,
    DmarcVerdict,
    Evidence,
    Identifier,
    MechanismOutcome,
    evaluate,
)
from letterlock.mailauth.dmarc.record import InvalidDmarcRecord, dmarc_records, parse_record
from letterlock.mailauth.message import split
from tests.mailauth.dns_world import World

Records = dict[str, str | tuple[str, ...]]
NINE = "a.b.c.d.e.f.g.example.com"
REJECT, NONE, QUARANTINE = "v=DMARC1; p=reject", "v=DMARC1; p=none", "v=DMARC1; p=quarantine"


def world(records: Records) -> World:
    """A world with policy records at these domains."""
    made = World()
    for domain, texts in records.items():
        made.add(f"_dmarc.{domain}", "TXT", *((texts,) if isinstance(texts, str) else texts))
    return made


def judged(records: Records, author: str, *identifiers: str, failing: tuple[str, ...] = ()) -> DmarcVerdict:
    """The verdict on an author; identifiers are written `dkim:domain` or `spf:domain`, `?` behind for temperror."""
    made = world(records)
    for domain in failing:
        made.fail(f"_dmarc.{domain}")
    return made.run(evaluate(Evidence(authors=(author,), identifiers=tuple(map(_identifier, identifiers)))))


def _identifier(text: str) -> Identifier:
    mechanism, _, domain = text.partition(":")
    outcome = MechanismOutcome.UNKNOWN if domain.endswith("?") else MechanismOutcome.PASS
    return Identifier(AuthMechanism(mechanism), domain.rstrip("?"), outcome)


@pytest.mark.parametrize(
    ("author", "asked"),
    [
        ("com", ("com",)),
        ("example.com", ("example.com", "com")),
        ("b.c.d.e.f.g.example.com", ("b.c.d.e.f.g.example.com", "c.d.e.f.g.example.com", "d.e.f.g.example.com")),
        (
            "a.b.c.d.e.f.g.h.i.j.mail.example.com",  # the example of section 4.10
            (
                *("a.b.c.d.e.f.g.h.i.j.mail.example.com", "g.h.i.j.mail.example.com", "h.i.j.mail.example.com"),
                *("i.j.mail.example.com", "j.mail.example.com", "mail.example.com", "example.com", "com"),
            ),
        ),
        (
            "mail.a.b.c.d.e.f.g.example.com",  # the example of section 5.1.8
            (
                *("mail.a.b.c.d.e.f.g.example.com", "c.d.e.f.g.example.com", "d.e.f.g.example.com"),
                *("e.f.g.example.com", "f.g.example.com", "g.example.com", "example.com", "com"),
            ),
        ),
    ],
)
def test_rfc9989_4_10_the_names_of_a_walk(author: str, asked: tuple[str, ...]) -> None:
    verdict = judged({}, author)
    names = [str(each.question.name).removeprefix("_dmarc.").removesuffix(".") for each in verdict.asked]
    assert names[: len(asked)] == list(asked)
    assert len(names) <= 8
    assert verdict.result.value == "none"


@pytest.mark.parametrize(
    ("records", "author", "policy_domain", "organization"),
    [
        # The examples of section 4.10.2.
        ({"mail.example.com": REJECT, "example.com": NONE}, "a.mail.example.com", "example.com", "example.com"),
        ({"mail.example.com": f"{REJECT}; psd=n"}, "a.mail.example.com", "mail.example.com", "mail.example.com"),
        ({"com": f"{REJECT}; psd=y"}, "a.mail.example.com", "com", "example.com"),
        # psd=n ends the walk, whatever is above; psd=u and a value that is none do not.
        (
            {"mail.example.com": f"{NONE}; psd=n", "example.com": REJECT, "com": f"{REJECT}; psd=y"},
            *("a.mail.example.com", "mail.example.com", "mail.example.com"),
        ),
        ({"mail.example.com": f"{NONE}; psd=u", "example.com": REJECT}, "a.mail.example.com", *["example.com"] * 2),
        ({"mail.example.com": f"{NONE}; psd=x", "example.com": REJECT}, "a.mail.example.com", *["example.com"] * 2),
        (
            {"mail.example.com": f"{NONE}; psd=N", "example.com": REJECT},
            "a.mail.example.com",
            *["mail.example.com"] * 2,
        ),
        # psd=y at the author itself is its own organization; above, the organization is one label below it.
        ({"co.test": f"{REJECT}; psd=y"}, "co.test", "co.test", "co.test"),
        ({"co.test": f"{REJECT}; psd=y", "test": NONE}, "co.test", "co.test", "co.test"),
        ({"co.test": f"{REJECT}; psd=y"}, "a.b.shop.co.test", "co.test", "shop.co.test"),
        ({"co.test": f"{REJECT}; psd=y", "shop.co.test": NONE}, "a.b.shop.co.test", "shop.co.test", "shop.co.test"),
        # A record between the author and an organization without one does not count: the public suffix decides.
        ({"co.test": f"{REJECT}; psd=y", "b.shop.co.test": NONE}, "a.b.shop.co.test", "co.test", "shop.co.test"),
        # The author's own record comes first, though another domain is its organization.
        ({"a.example.com": NONE, "example.com": REJECT}, "a.example.com", "a.example.com", "example.com"),
        ({"a.example.com": NONE, "com": f"{REJECT}; psd=y"}, "a.example.com", "a.example.com", "example.com"),
        # Section 4.10, steps 2 and 6: what does not begin with the version, and several records, count as none.
        ({"a.example.com": "p=reject; v=DMARC1", "example.com": NONE}, "a.example.com", *["example.com"] * 2),
        ({"a.example.com": "v=DMARC2; p=reject", "example.com": NONE}, "a.example.com", *["example.com"] * 2),
        ({"a.example.com": "v=dmarc1; p=reject", "example.com": NONE}, "a.example.com", *["example.com"] * 2),
        ({"a.example.com": " v=DMARC1; p=reject", "example.com": NONE}, "a.example.com", *["example.com"] * 2),
        ({"a.example.com": (REJECT, REJECT), "example.com": NONE}, "a.example.com", *["example.com"] * 2),
        ({"a.example.com": (f"{REJECT}; psd=n", NONE), "example.com": NONE}, "a.example.com", *["example.com"] * 2),
        ({"a.example.com": (REJECT, "v=spf1 -all")}, "a.example.com", *["a.example.com"] * 2),
        ({"a.example.com": (REJECT, "v=DMARC1x")}, "a.example.com", *["a.example.com"] * 2),
        # A tag twice makes a record invalid (RFC 6376 section 3.2), so the walk goes on above it.
        ({"a.example.com": f"{REJECT}; psd=n; psd=n", "example.com": NONE}, "a.example.com", *["example.com"] * 2),
        # Names of more than eight labels: seven are left after the author's own.
        ({NINE: REJECT, "example.com": NONE}, NINE, NINE, "example.com"),
        ({NINE: f"{REJECT}; psd=n", "example.com": NONE}, NINE, NINE, NINE),
        ({"b.c.d.e.f.g.example.com": REJECT}, NINE, None, None),
        ({"c.d.e.f.g.example.com": REJECT}, NINE, *["c.d.e.f.g.example.com"] * 2),
    ],
)
def test_rfc9989_4_10_1_and_4_10_2_which_record_applies(
    records: Records, author: str, policy_domain: str | None, organization: str | None
) -> None:
    verdict = judged(records, author)
    assert (verdict.policy_domain, verdict.organizational_domain) == (policy_domain, organization)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("v=DMARC1;p=reject", "reject"),
        ("v=DMARC1; p=reject;", "reject"),
        ("v=DMARC1 ; p = reject ; ", "reject"),
        ("v = DMARC1;\tp\t=\treject", "reject"),
        ("V=DMARC1; P=REJECT", "reject"),
        ("v=DMARC1; sp=none; p=reject", "reject"),
        ("v=DMARC1;; p=reject", "reject"),
        ("v=DMARC1; p=reject; x", "reject"),
        ("v=DMARC1; p=reject; =x", "reject"),
        ("v=DMARC1; p=reject; pct=0", "reject"),
        ("v=DMARC1; p=reject; rf=x; ri=x", "reject"),
        ("v=DMARC1; p=reject; np=reject", "reject"),
        # Section 4.10.1: without a valid p, or with an invalid sp or np, rua decides.
        ("v=DMARC1; p=", None),
        ("v=DMARC1; p=rejects", None),
        ("v=DMARC1; p=reject now", None),
        ("v=DMARC1; p=reject; sp=", None),
        ("v=DMARC1; p=reject; np=x", None),
        ("v=DMARC1", None),
        ("v=DMARC1; ruf=mailto:a@b.test", None),
        ("v=DMARC1; rua=mailto:a@b.test", "none"),
        ("v=DMARC1; p=bad; rua=mailto:a@b.test!10m", "none"),
        ("v=DMARC1; p=reject; sp=bad; rua=mailto:a@b.test", "none"),
        ("v=DMARC1; p=reject; np=bad; rua=mailto:a@b.test", "none"),
        ("v=DMARC1; p=bad; rua=x, mailto:a@b.test", "none"),
        ("v=DMARC1; p=bad; rua=https://b.test/r", "none"),
        ("v=DMARC1; p=bad; rua=a@b.test", None),
        ("v=DMARC1; p=bad; rua=mailto:", None),
        ("v=DMARC1; p=bad; rua=mailto:a b@c.test", None),
        ("v=DMARC1; p=bad; rua=mailto:a@b.test!10x", None),
        ("v=DMARC1; p=bad; rua=mailto:<a@b.test>", None),
        ("v=DMARC1; p=bad; rua=mailto:a%4@b.test", None),
        ("v=DMARC1; p=bad; rua=mailto:a%40x@b.test", "none"),
        ("v=DMARC1; p=bad; rua=,", None),
        # Twice, or not at the beginning: no record at all.
        ("v=DMARC1; p=none; p=reject", None),
        ("v=DMARC1; v=DMARC1; p=reject", None),
        ("v=DMARC1; x=1; X=2; p=reject", None),
        ("v=DMARC1 p=reject", None),
        ("v=DMARC1,p=reject", None),
        ("p=reject", None),
        ("", None),
    ],
)
def test_rfc9989_4_7_and_4_8_records(text: str, wanted: str | None) -> None:
    verdict = judged({"example.com": text}, "example.com")
    found = verdict.published.value if verdict.result.value == "fail" else None
    assert (verdict.result.value, found) == ("none" if wanted is None else "fail", wanted)


@pytest.mark.parametrize(
    ("value", "kept"),
    [("0", "0"), ("1", "1"), ("d", "d"), ("0:d:s", "0:d:s"), ("S:d:1", "S:d:1"), ("d:s", "d:s"), ("s:0:d", "s:0:d"),
     ("0:1", "0"), ("1:0", "0"), ("d:d", "0"), ("0:0", "0"), ("x", "0"), ("", "0"), ("d:", "0"), ("1:d:s:d", "0")],
)  # fmt: skip
def test_rfc9989_4_8_failure_options(value: str, kept: str) -> None:
    assert parse_record(f"v=DMARC1; p=none; fo={value}".encode()).failure_options == kept


@pytest.mark.parametrize(
    ("tags", "author", "exists", "published", "applied"),
    [
        ("p=reject", "example.com", True, "reject", "reject"),
        ("p=reject; sp=none; np=quarantine", "example.com", True, "reject", "reject"),
        ("p=reject; sp=none; np=quarantine", "a.example.com", True, "none", "none"),
        ("p=reject; sp=none; np=quarantine", "a.example.com", False, "quarantine", "quarantine"),
        ("p=none; np=reject", "a.example.com", True, "none", "none"),
        ("p=none; np=reject", "a.b.example.com", False, "reject", "reject"),
        ("p=none; sp=reject", "a.example.com", False, "reject", "reject"),
        ("p=quarantine", "a.example.com", False, "quarantine", "quarantine"),
        ("p=reject; t=y", "example.com", True, "reject", "quarantine"),
        ("p=quarantine; t=y", "example.com", True, "quarantine", "none"),
        ("p=none; t=y", "example.com", True, "none", "none"),
        ("p=none; sp=reject; t=Y", "a.example.com", True, "reject", "quarantine"),
        ("p=none; np=quarantine; t=y", "a.example.com", False, "quarantine", "none"),
        ("p=reject; t=n", "example.com", True, "reject", "reject"),
        ("p=reject; t=x", "example.com", True, "reject", "reject"),
        ("p=reject; t=", "example.com", True, "reject", "reject"),
        ("p=reject; pct=0", "example.com", True, "reject", "reject"),
    ],
)
def test_rfc9989_4_7_policies_of_domains_and_subdomains(
    tags: str, author: str, exists: bool, published: str, applied: str
) -> None:
    made = world({"example.com": f"v=DMARC1; {tags}"})
    if exists:
        made.add(author, "MX", (10, "mx.example.com"))
    verdict = made.run(evaluate(Evidence(authors=(author,))))
    assert (verdict.published.value, verdict.policy.value) == (published, applied)


@pytest.mark.parametrize(
    ("published", "wanted"), [("sp=reject", "reject"), ("np=quarantine", "quarantine"), ("p=reject", "reject")]
)
def test_rfc9989_4_10_1_the_policy_of_a_public_suffix_is_that_for_subdomains(published: str, wanted: str) -> None:
    text = f"v=DMARC1; psd=y; {published}" + ("" if published.startswith("p=") else "; p=none")
    assert judged({"bank": text}, "gone.bank").published.value == wanted
    assert judged({"bank": text}, "bank").published.value == ("reject" if published == "p=reject" else "none")


ALIGNMENTS: list[tuple[Records, str, str, str]] = [
    # The table of section 4.4.
    ({"example.com": REJECT}, "news.example.com", "dkim:foo.example.com", "pass"),
    ({"example.com": REJECT}, "news.example.com", "dkim:news.example.com", "pass"),
    ({"example.com": REJECT}, "news.example.com", "dkim:foo.example.net", "fail"),
    ({"example.com": REJECT}, "news.example.com", "spf:example.com", "pass"),
    ({"example.com": REJECT}, "example.com", "spf:bounces.mail.example.com", "pass"),
    ({"example.com": REJECT}, "example.com", "spf:notexample.com", "fail"),
    ({"example.com": REJECT}, "example.com", "dkim:com", "fail"),
    ({"example.com": f"{REJECT}; adkim=s"}, "example.com", "dkim:a.example.com", "fail"),
    ({"example.com": f"{REJECT}; adkim=S"}, "example.com", "dkim:a.example.com", "fail"),
    ({"example.com": f"{REJECT}; adkim=s"}, "a.example.com", "dkim:example.com", "fail"),
    ({"example.com": f"{REJECT}; adkim=s"}, "example.com", "spf:a.example.com", "pass"),
    ({"example.com": f"{REJECT}; aspf=s"}, "example.com", "spf:a.example.com", "fail"),
    ({"example.com": f"{REJECT}; aspf=s"}, "example.com", "spf:example.com", "pass"),
    ({"example.com": f"{REJECT}; aspf=x"}, "example.com", "spf:a.example.com", "pass"),
    # The mode is that of the record that applies, not of the organization's.
    ({"a.example.com": f"{REJECT}; adkim=s", "example.com": NONE}, "a.example.com", "dkim:example.com", "fail"),
    ({"a.example.com": REJECT, "example.com": f"{NONE}; adkim=s"}, "a.example.com", "dkim:example.com", "pass"),
    # Section 4.10.2: organizational domains by walks from both.
    ({"example.com": REJECT, "a.example.com": f"{NONE}; psd=n"}, "example.com", "dkim:x.a.example.com", "fail"),
    ({"example.com": REJECT, "a.example.com": f"{NONE}; psd=n"}, "a.example.com", "dkim:x.a.example.com", "pass"),
    ({"example.com": REJECT, "a.example.com": f"{NONE}; psd=n"}, "a.example.com", "dkim:example.com", "fail"),
    ({"com": f"{REJECT}; psd=y"}, "one.com", "dkim:two.com", "fail"),
    ({"com": f"{REJECT}; psd=y"}, "one.com", "dkim:mail.one.com", "pass"),
    ({"com": f"{REJECT}; psd=y"}, "com", "dkim:one.com", "fail"),
    ({"test": REJECT}, "one.test", "dkim:two.test", "pass"),  # a top-level domain that does not say psd=y
    # The same domain is aligned, whatever its organization.
    ({NINE: REJECT}, NINE, f"spf:{NINE}", "pass"),
    ({}, "example.com", "dkim:example.com", "none"),
    # A check that could not be made is neither.
    ({"example.com": REJECT}, "example.com", "dkim:example.com?", "temperror"),
    ({"example.com": REJECT}, "example.com", "dkim:other.test?", "fail"),
    ({"example.com": f"{REJECT}; adkim=s"}, "example.com", "dkim:a.example.com?", "fail"),
]


@pytest.mark.parametrize(("records", "author", "identifier", "wanted"), ALIGNMENTS)
def test_rfc9989_4_4_alignment(records: Records, author: str, identifier: str, wanted: str) -> None:
    assert judged(records, author, identifier).result.value == wanted


def test_rfc9989_4_4_1_one_aligned_signature_among_others_is_enough() -> None:
    others = ("dkim:a.test", "dkim:b.test", "spf:list.test", "dkim:example.com?")
    assert judged({"example.com": REJECT}, "example.com", *others).result.value == "temperror"
    assert judged({"example.com": REJECT}, "example.com", *others, "dkim:mail.example.com").result.value == "pass"


@pytest.mark.parametrize(
    ("records", "failing", "identifier", "wanted"),
    [
        ({}, ("a.example.com",), "dkim:a.example.com", "temperror"),
        ({}, ("example.com",), "dkim:a.example.com", "temperror"),
        ({}, ("com",), "dkim:a.example.com", "temperror"),
        ({"a.example.com": REJECT}, ("com",), "dkim:a.example.com", "pass"),
        ({"a.example.com": REJECT}, ("com",), "dkim:example.net", "fail"),
        ({"a.example.com": REJECT}, ("com",), "dkim:b.example.com", "temperror"),
        ({"a.example.com": f"{REJECT}; adkim=s"}, ("com",), "dkim:b.example.com", "fail"),
        ({"a.example.com": f"{REJECT}; psd=n"}, ("example.com",), "dkim:x.a.example.com", "pass"),
        ({"a.example.com": f"{REJECT}; psd=n"}, ("example.com",), "dkim:b.example.com", "fail"),
        ({"example.com": f"{REJECT}; psd=n"}, ("com",), "dkim:b.example.com", "pass"),
        ({"example.com": f"{REJECT}; psd=n"}, ("b.example.com",), "dkim:b.example.com", "temperror"),
        # The author's own record wants nothing done: what is above cannot change that.
        ({"a.example.com": "v=DMARC1; p=bad"}, ("example.com",), "dkim:a.example.com", "none"),
    ],
)
def test_rfc9989_5_3_6_lookups_that_fail(
    records: Records, failing: tuple[str, ...], identifier: str, wanted: str
) -> None:
    assert judged(records, "a.example.com", identifier, failing=failing).result.value == wanted


@pytest.mark.parametrize(
    ("value", "domains"),
    [
        ("a@example.com", ("example.com",)),
        ("a@EXAMPLE.COM", ("example.com",)),
        ("a @ example.com", ("example.com",)),
        ("a@example . com", None),  # obsolete syntax (RFC 5322 section 4.4), in which forgers hide
        ("<a@example.com>", ("example.com",)),
        ("Ann (work) <a@example.com> (x)", ("example.com",)),
        ("Ann Example a@example.com", None),
        ("Ann, Example <a@example.com>", None),
        ('"Ann, Example" <a@example.com>', ("example.com",)),
        ("a@example.com,", ("example.com",)),
        (",a@example.com", ("example.com",)),
        ("a@example.com b@example.com", None),
        ("a@example.com, b@sub.example.com", ("example.com", "sub.example.com")),
        ("a@example.com, b@Example.com", ("example.com",)),
        ("Group:a@example.com;", ("example.com",)),
        ("Group: a@example.com, b@example.net;", ("example.com", "example.net")),
        ("Group:;", ()),
        ("A:; , b@example.com", ("example.com",)),
        ("", ()),
        ("a@münchen.example", ("xn--mnchen-3ya.example",)),
        ("a@MÜNCHEN.example", ("xn--mnchen-3ya.example",)),
        ("a@xn--mnchen-3ya.example", ("xn--mnchen-3ya.example",)),
        ("用户@例子.example", ("xn--fsqu00a.example",)),
        ("a@例子。example", ("xn--fsqu00a.example",)),
        ("a@xn--.example", None),
        ("a@b_c.example", ("b_c.example",)),
        ("a@localhost", ("localhost",)),
        ("a@.example.com", None),
        ("a@example..com", None),
        ("@example.com", None),
        ("a@", None),
        ("a", None),
        ("<>", None),
        ("a@[IPv6:2001:db8::1]", None),
        (f"a@{'x' * 64}.example", None),
    ],
)
def test_rfc9989_5_3_1_from_fields(value: str, domains: tuple[str, ...] | None) -> None:
    message = split(f"From: {value}\r\n\r\n".encode())
    if domains is None:
        with pytest.raises(NoAuthor):
            author_domains(message)
    else:
        assert author_domains(message) == domains


def test_rfc9989_4_5_the_strings_of_a_record_are_joined() -> None:
    made = World().add("_dmarc.example.com", "TXT", [b"v=DM", b"ARC1; p=re", b"ject"])
    assert made.run(evaluate(Evidence(authors=("example.com",)))).published.value == "reject"


def test_rfc9989_4_10_only_records_of_this_version_are_read() -> None:
    assert dmarc_records((b"x", REJECT.encode(), b"v=DMARC10; p=none")) == (REJECT.encode(),)
    with pytest.raises(InvalidDmarcRecord):
        parse_record(b"v=DMARC10; p=none")
