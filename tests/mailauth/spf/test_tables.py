"""SPF from the text of RFC 7208, in tables: limits, macros, explanations, redirects, addresses, names."""

import pytest

from letterlock.mailauth.spf.evaluate import evaluate
from letterlock.mailauth.spf.request import helo_request, mail_from_request
from letterlock.mailauth.spf.verdict import SpfVerdict
from letterlock.resolver.answer import FailureKind
from tests.mailauth.dns_world import World

CLIENT, IPV6 = "192.0.2.7", "2001:db8::cb01"


def check(
    world: World, client: str = CLIENT, sender: str = "strong-bad@email.example.com", helo: str = "h.example.net"
) -> SpfVerdict:
    return world.run(evaluate(mail_from_request(client, sender, helo, receiver="mx.test", now=1_700_000_000)))


def mail(record: str) -> World:
    """A world in which the sender's domain has this record."""
    return World().add("email.example.com", "TXT", record)


def _includes(count: int, last: str) -> str:
    return "v=spf1 " + " ".join(f"include:i{number}.test" for number in range(count)) + f" {last}"


def _holding(text: str) -> World:
    world = mail(text)
    for number in range(12):
        world.add(f"i{number}.test", "TXT", "v=spf1 -all").add(f"a{number}.test", "A", "198.51.100.1")
    return world


@pytest.mark.parametrize(
    ("record", "wanted"),
    [
        # Section 4.6.4: include, a, mx, ptr, exists and redirect count; all, ip4, ip6 and exp do not.
        (_includes(10, "+all"), "pass"),
        (_includes(10, "ip4:192.0.2.7 -all"), "pass"),
        (_includes(10, "a:a1.test"), "permerror"),
        (_includes(9, "a:a1.test +all"), "pass"),
        (_includes(11, "+all"), "permerror"),
        (_includes(10, "redirect=i1.test"), "permerror"),
        (_includes(9, "redirect=i1.test"), "fail"),
        ("v=spf1 ip4:192.0.2.7 " + "a:a1.test " * 20, "pass"),  # what stands behind a match is not evaluated
        ("v=spf1 " + "a:a1.test " * 10 + "?all", "neutral"),
        ("v=spf1 " + "a:a1.test " * 11 + "?all", "permerror"),
        ("v=spf1 " + "exists:a1.test.nowhere " * 2 + "?all", "neutral"),
        ("v=spf1 " + "exists:a1.test.nowhere " * 3 + "?all", "permerror"),
        ("v=spf1 " + "ip4:198.51.100.1 " * 100 + "?all", "neutral"),
        ("v=spf1 ptr:x.test ptr:y.test " + "a:a1.test " * 8 + "~all", "softfail"),
        ("v=spf1 ptr:x.test ptr:y.test " + "a:a1.test " * 9 + "~all", "permerror"),
    ],
)
def test_rfc7208_4_6_4_terms_that_cause_lookups(record: str, wanted: str) -> None:
    world = _holding(record).add("7.2.0.192.in-addr.arpa", "PTR", "other.test")
    assert check(world).result.value == wanted


@pytest.mark.parametrize(("depth", "wanted"), [(9, "pass"), (10, "pass"), (11, "permerror"), (40, "permerror")])
@pytest.mark.parametrize("term", ["include:", "redirect="])
def test_rfc7208_4_6_4_lookups_are_counted_through_all_records(depth: int, wanted: str, term: str) -> None:
    world = mail(f"v=spf1 {term}r1.test")
    for number in range(1, depth):
        world.add(f"r{number}.test", "TXT", f"v=spf1 {term}r{number + 1}.test")
    world.add(f"r{depth}.test", "TXT", "v=spf1 +all")
    assert check(world).result.value == wanted


@pytest.mark.parametrize(
    ("terms", "wanted"),
    [
        ("a:n1.test a:n2.test", "neutral"),
        ("a:n1.test a:n2.test a:n3.test", "permerror"),
        ("mx:n1.test exists:n2.test", "neutral"),
        ("mx:n1.test exists:n2.test a:n3.test", "permerror"),
        ("a:n1.test a:n2.test a:there.test", "neutral"),
        ("a:n1.test a:n2.test ip4:192.0.2.7 a:n3.test", "pass"),
        ("a:nodata.test a:nodata.test", "neutral"),
        ("a:nodata.test a:nodata.test a:nodata.test", "permerror"),
        ("ptr:n1.test a:n2.test a:n3.test", "permerror"),  # the client has no name
    ],
)
def test_rfc7208_4_6_4_void_lookups(terms: str, wanted: str) -> None:
    world = mail(f"v=spf1 {terms}").add("there.test", "A", "198.51.100.1").add("nodata.test", "MX", (1, "x.test"))
    assert check(world).result.value == wanted


@pytest.mark.parametrize(("place", "wanted"), [(1, "pass"), (10, "pass"), (11, "permerror"), (0, "permerror")])
def test_rfc7208_4_6_4_hosts_of_an_mx(place: int, wanted: str) -> None:
    world = mail("v=spf1 mx -all")
    for number in range(1, 12):
        world.add("email.example.com", "MX", (number, f"m{number}.test"))
        world.add(f"m{number}.test", "A", CLIENT if number == place else "198.51.100.1")
    assert check(world).result.value == wanted


@pytest.mark.parametrize(("place", "wanted"), [(1, "pass"), (10, "pass"), (11, "fail"), (12, "fail")])
def test_rfc7208_5_5_names_of_a_client(place: int, wanted: str) -> None:
    world = mail("v=spf1 ptr -all")
    for number in range(1, 13):
        name = "host.email.example.com" if number == place else f"p{number}.test"
        world.add("7.2.0.192.in-addr.arpa", "PTR", name).add(name, "A", CLIENT)
    assert check(world).result.value == wanted


@pytest.mark.parametrize(
    ("pointers", "target", "wanted"),
    [
        (("email.example.com",), "ptr", "pass"),
        (("HOST.Email.Example.COM",), "ptr", "pass"),
        (("example.com",), "ptr", "fail"),
        (("notemail.example.com",), "ptr", "fail"),
        (("x.example.com",), "ptr:example.com", "pass"),
        (("x.example.com",), "ptr:EXAMPLE.com", "pass"),
        (("x.example.com",), "ptr:example.com.", "pass"),
        (("liar.test", "x.example.com"), "ptr:example.com", "pass"),
        (("fails.test", "x.example.com"), "ptr:example.com", "pass"),
        (("liar.example.com",), "ptr:example.com", "fail"),
        ((), "ptr", "fail"),
    ],
)
def test_rfc7208_5_5_ptr(pointers: tuple[str, ...], target: str, wanted: str) -> None:
    world = mail(f"v=spf1 {target} -all").add("7.2.0.192.in-addr.arpa", "PTR", *pointers).fail("fails.test")
    for name in pointers:
        if name != "fails.test":
            world.add(name, "A", "198.51.100.1" if "liar" in name else CLIENT)
    assert check(world).result.value == wanted


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        # Section 7.4, for strong-bad@email.example.com from 192.0.2.3 and 2001:db8::cb01.
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
        ("%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"),
        ("%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com"),
        ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
        # Section 7.1: digits, r, delimiters.
        ("%{l1-}.test", "bad.test"),
        ("%{l2-}.test", "strong.bad.test"),
        ("%{l3-}.test", "strong.bad.test"),
        ("%{l1r-}.test", "strong.test"),
        ("%{l1r}.test", "strong-bad.test"),
        ("%{L1R-}.test", "strong.test"),
        ("%{d1}.test", "com.test"),
        ("%{d2}.test", "example.com.test"),
        ("%{d02}.test", "example.com.test"),
        ("%{dr}.test", "com.example.email.test"),
        ("%{d1r}.test", "email.test"),
        ("%{d-}.test", "email.example.com.test"),  # a delimiter that is not there
        ("%{d.-}.test", "email.example.com.test"),
        ("%{s1@}.test", None),
        ("%{o1,+/_=.-}.test", "com.test"),
        ("%{i2}.test", "2.3.test"),
        ("%{ir1}.test", None),
        ("%{h}.test", "h.example.net.test"),
        ("%{h2}.test", "example.net.test"),
        ("%{o}.test", "email.example.com.test"),
        ("%{v}.test", "in-addr.test"),
        ("a%%b.test", "a%b.test"),
        ("a%_b.test", "a b.test"),
        ("a%-b.test", "a%20b.test"),
        ("%{l}", "strong-bad"),
        ("%{p}.test", "unknown.test"),
    ],
)
def test_rfc7208_7_domain_specs(spec: str, name: str | None) -> None:
    world = mail(f"v=spf1 exists:{spec} -all")
    if name is not None:
        world.add(name, "A", "127.0.0.2")
    found = check(world, "192.0.2.3")
    assert found.result.value == ("permerror" if name is None else "pass"), [str(each) for each in found.asked]


def test_rfc7208_7_3_an_ipv6_address_is_written_in_nibbles() -> None:
    nibbles = "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"
    world = mail("v=spf1 exists:%{ir}.%{v}._spf.%{d2} -all").add(f"{nibbles}.ip6._spf.example.com", "A", "127.0.0.2")
    assert check(world, IPV6).passed


@pytest.mark.parametrize(
    ("pointers", "wanted"),
    [
        (("mx.example.org",), "mx.example.org"),
        (("mx.example.org", "a.email.example.com"), "a.email.example.com"),
        (("mx.example.org", "a.email.example.com", "email.example.com"), "email.example.com"),
        (("liar.test",), "unknown"),
        ((), "unknown"),
    ],
)
def test_rfc7208_7_3_the_validated_name(pointers: tuple[str, ...], wanted: str) -> None:
    world = mail("v=spf1 -all exp=e.test.org").add("e.test.org", "TXT", "%{p}")
    world.add("7.2.0.192.in-addr.arpa", "PTR", *pointers)
    for name in pointers:
        world.add(name, "A", "198.51.100.1" if name == "liar.test" else CLIENT)
    assert check(world).explanation == wanted


def test_rfc7208_7_3_long_names_lose_labels_on_the_left() -> None:
    label = "x" * 63
    world = mail(f"v=spf1 exists:%{{l}}.{label}.{label}.{label}.test -all")
    world.add(f"{label}.{label}.{label}.test", "A", "127.0.0.2")
    assert check(world, sender=f"{'y' * 64}@email.example.com").passed
    found = check(mail("v=spf1 exists:%{l}.example.com -all"), sender=f"{'y' * 64}@email.example.com")
    assert found.result.value == "fail"  # a label of 64 is in no name: no match, and nothing is asked
    assert len(found.asked) == 1


INNER: dict[str, str | list[str]] = {"i.test": "v=spf1 -all exp=f.test.org", "e.test.org": "e", "f.test.org": "f"}
ALL_MACROS = "%{S} %{c} %{r} %{t} %%%_%-"
EXPLANATIONS: list[tuple[str, dict[str, str | list[str]], str | None]] = [
    # Section 6.2.
    ("v=spf1 -all exp=e.test.org", {"e.test.org": "no"}, "no"),
    ("v=spf1 exp=e.test.org -all", {"e.test.org": "no"}, "no"),
    (
        "v=spf1 EXP=%{d2} -all",
        {"example.com": ALL_MACROS},
        "strong-bad%40email.example.com 192.0.2.7 mx.test 1700000000 % %20",
    ),
    ("v=spf1 -all exp=e.test.org", {"e.test.org": ["by ", "two"]}, "by two"),
    ("v=spf1 -all exp=e.test.org", {}, None),
    ("v=spf1 -all exp=e.test.org", {"e.test.org": "%{x}"}, None),
    ("v=spf1 -all exp=e.test.org", {"e.test.org": "50%"}, None),
    ("v=spf1 -all exp=e.test.org", {"e.test.org": "\xe4"}, None),
    ("v=spf1 ~all exp=e.test.org", {"e.test.org": "no"}, None),
    ("v=spf1 ?all exp=e.test.org", {"e.test.org": "no"}, None),
    ("v=spf1 include:i.test -all exp=e.test.org", INNER, "e"),
    ("v=spf1 redirect=i.test exp=e.test.org", INNER, "f"),
    ("v=spf1 redirect=i.test exp=e.test.org", {"i.test": "v=spf1 -all", "e.test.org": "e"}, None),
    (
        "v=spf1 redirect=i.test",
        {"i.test": "v=spf1 -all exp=%{d}.org", "i.test.org": "at %{d} of %{o}"},
        "at i.test of email.example.com",
    ),
    ("v=spf1 -include:i.test exp=e.test.org", {"i.test": "v=spf1 +all", "e.test.org": "e"}, "e"),
]


@pytest.mark.parametrize(("record", "texts", "wanted"), EXPLANATIONS)
def test_rfc7208_6_2_explanations(record: str, texts: dict[str, str | list[str]], wanted: str | None) -> None:
    world = mail(record)
    for name, text in texts.items():
        world.add(name, "TXT", text)
    assert check(world).explanation == wanted


@pytest.mark.parametrize("kind", list(FailureKind))
def test_rfc7208_6_2_an_explanation_that_cannot_be_looked_up_changes_nothing(kind: FailureKind) -> None:
    found = check(mail("v=spf1 -all exp=e.test.org").fail("e.test.org", kind))
    assert (found.result.value, found.explanation) == ("fail", None)


@pytest.mark.parametrize(
    ("record", "inner", "wanted"),
    [
        # Section 6.1: redirect only where nothing matched; section 5.2: what an include's result means.
        ("v=spf1 redirect=i.test", "v=spf1 ~all", "softfail"),
        ("v=spf1 redirect=i.test", "v=spf1", "neutral"),
        ("v=spf1 redirect=i.test", "v=spf1 nonsense", "permerror"),
        ("v=spf1 redirect=i.test", "other", "permerror"),
        ("v=spf1 redirect=i.test", None, "permerror"),
        ("v=spf1 redirect=i.test ip4:192.0.2.7", "v=spf1 -all", "pass"),
        ("v=spf1 ip4:198.51.100.1 redirect=i.test", "v=spf1 +all", "pass"),
        ("v=spf1 redirect=%{d2}", "v=spf1 -all", "permerror"),
        ("v=spf1 REDIRECT=I.test", "v=spf1 +all", "pass"),
        ("v=spf1 redirect=i.test.", "v=spf1 +all", "pass"),
        ("v=spf1 include:i.test ?all", "v=spf1 +all", "pass"),
        ("v=spf1 include:i.test ?all", "v=spf1 -all", "neutral"),
        ("v=spf1 include:i.test ?all", "v=spf1 ~all", "neutral"),
        ("v=spf1 include:i.test ?all", "v=spf1 ?all", "neutral"),
        ("v=spf1 include:i.test ?all", "v=spf1", "neutral"),
        ("v=spf1 include:i.test ?all", "v=spf1 nonsense", "permerror"),
        ("v=spf1 include:i.test ?all", None, "permerror"),
        ("v=spf1 ~include:i.test ?all", "v=spf1 +all", "softfail"),
        ("v=spf1 include:i.test ?all", "v=spf1 redirect=i.test", "permerror"),
        ("v=spf1 include:i.test ?all", "v=spf1 a:fails.test", "temperror"),
        ("v=spf1 redirect=i.test", "v=spf1 a:fails.test", "temperror"),
    ],
)
def test_rfc7208_5_2_and_6_1_include_and_redirect(record: str, inner: str | None, wanted: str) -> None:
    world = mail(record).fail("fails.test")
    if inner is not None:
        world.add("i.test", "TXT", inner)
    assert check(world).result.value == wanted


@pytest.mark.parametrize(
    ("term", "client", "matches"),
    [
        ("a", CLIENT, True),
        ("a", "192.0.2.8", False),
        ("a/31", "192.0.2.6", True),
        ("a/32", "192.0.2.6", False),
        ("a/0", "203.0.113.1", True),
        ("a/0", "2001:db8::1", False),  # a prefix for IPv4 says nothing about IPv6
        ("a//0", "2001:db8:ffff::1", True),
        ("a//0", "203.0.113.1", False),
        ("a/24//64", "192.0.2.99", True),
        ("a/24//64", "2001:db8::1", True),
        ("a/24//64", "2001:db8:0:1::1", False),
        ("a//127", "2001:db8::cb00", True),
        ("a//128", "2001:db8::cb00", False),
        ("mx", CLIENT, True),
        ("mx/24", "192.0.2.99", True),
        ("mx//64", "2001:db8::5", True),
        ("ip4:192.0.2.0/25", "192.0.2.127", True),
        ("ip4:192.0.2.0/25", "192.0.2.128", False),
        ("ip4:192.0.2.7/0", "203.0.113.1", True),
        ("ip4:0.0.0.0/0", IPV6, False),
        ("ip6:::/0", CLIENT, False),
        ("ip6:::/0", IPV6, True),
        ("ip6:2001:DB8::CB01", IPV6, True),
        ("ip6:2001:db8::/32", IPV6, True),
        ("ip6:2001:db8::/127", IPV6, False),
        ("ip6:2001:0db8:0000:0000:0000:0000:0000:cb01", IPV6, True),
        ("ip4:192.0.2.7", "::ffff:192.0.2.7", True),
        ("ip6:::ffff:192.0.2.7", "::ffff:192.0.2.7", False),
        ("exists:email.example.com", IPV6, True),  # A, though the client has IPv6
        ("exists:only6.test", IPV6, False),
    ],
)
def test_rfc7208_5_addresses_and_prefixes(term: str, client: str, matches: bool) -> None:
    world = mail(f"v=spf1 {term} -all").add("email.example.com", "A", CLIENT).add("email.example.com", "AAAA", IPV6)
    world.add("email.example.com", "MX", (1, "email.example.com")).add("only6.test", "AAAA", IPV6)
    assert check(world, client).result.value == ("pass" if matches else "fail")


@pytest.mark.parametrize(
    ("texts", "wanted"),
    [
        # Sections 3.3, 4.4 and 4.5.
        (("v=spf1 +all",), "pass"),
        (("v=spf1 +all", "other"), "pass"),
        (("v=spf1 +all", "v=spf10 -all"), "pass"),
        (("v=spf1 +all", "v=spf1 +all"), "permerror"),
        (("v=spf1 +all", "V=SPF1"), "permerror"),
        ((["v=spf1 +", "all"],), "pass"),
        ((["v=sp", "f1", " -all"],), "fail"),
        ((["v=spf1", "+all"],), "none"),
        (("spf2.0/mfrom +all",), "none"),
        (("v=spf1 +all\x00",), "permerror"),
        (("v=spf1 \xe4 +all",), "permerror"),
        (("v=spf1 x=\xe4 +all",), "permerror"),
        ((), "none"),
    ],
)
def test_rfc7208_4_5_selection_of_the_record(texts: tuple[str | list[str], ...], wanted: str) -> None:
    world = World().add("email.example.com", "A", CLIENT)
    for text in texts:
        world.add("email.example.com", "TXT", text)
    assert check(world).result.value == wanted


@pytest.mark.parametrize(
    ("sender", "wanted"),
    [
        ("a@EMAIL.example.COM", "pass"),
        ("a@email.example.com.", "pass"),
        ("@email.example.com", "pass"),
        ("a@b@email.example.com", "pass"),
        ('"a b"@email.example.com', "pass"),
        ("a@com", "none"),
        ("a@", "none"),
        ("a@email..example.com", "none"),
        ("a@.example.com", "none"),
        (f"a@{'x' * 64}.example.com", "none"),
        (f"a@{'x.' * 140}com", "none"),
        ("a@[192.0.2.7]", "none"),
        ("a@gone.example.com", "none"),
    ],
)
def test_rfc7208_4_3_the_domain_that_is_checked(sender: str, wanted: str) -> None:
    assert check(mail("v=spf1 +all"), sender=sender).result.value == wanted


@pytest.mark.parametrize(
    ("helo", "wanted"),
    [
        *(("h.example.net", "fail"), ("H.Example.NET.", "fail"), ("localhost", "none")),
        *(("[192.0.2.7]", "none"), ("", "none"), ("a b", "none")),
    ],
)
def test_rfc7208_2_3_the_helo_identity(helo: str, wanted: str) -> None:
    world = World().add("h.example.net", "TXT", "v=spf1 exists:not.%{l}.%{o} -all")
    assert world.run(evaluate(helo_request(CLIENT, helo))).result.value == wanted
    assert check(world, sender="", helo=helo).result.value == wanted  # section 2.4: the null reverse-path


@pytest.mark.parametrize("term", ["a", "mx", "exists:x.test", "include:x.test"])
@pytest.mark.parametrize("kind", [FailureKind.TIMEOUT, FailureKind.SERVFAIL, FailureKind.BOGUS])
def test_rfc7208_4_4_and_5_lookups_that_fail(term: str, kind: FailureKind) -> None:
    world = mail(f"v=spf1 {term} -all").fail("email.example.com", kind).fail("x.test", kind)
    assert check(world).result.value == "temperror"
