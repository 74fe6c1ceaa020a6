"""Address lists of RFC 5322 section 3.4."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.sendmail.address_lists import BadAddress, addresses, distinct, qualified

LETTERS = st.text('ab@<>()[]:;,."\\ \t\r\n\0é\x7f', max_size=30)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        (" , ,", []),
        ("bob", ["bob"]),
        ("a@b.example, c@d.example", ["a@b.example", "c@d.example"]),
        ('"B, <b@x>" <b@y.example>', ["b@y.example"]),
        ('"a b"@c.example', ['"a b"@c.example']),
        (r'"a\"@x"@c.example', [r'"a\"@x"@c.example']),
        ("Pete (a (nested) \\) comment) <pete@x.example> (more)", ["pete@x.example"]),
        ("friends: a@x.example, B <b@x.example>; c@x.example", ["a@x.example", "b@x.example", "c@x.example"]),
        ("undisclosed-recipients:;", []),
        ("<@a.example,@b.example:c@d.example>", ["c@d.example"]),
        ("u@[IPv6:2001:db8::1], <v@[192.0.2.1]>", ["u@[IPv6:2001:db8::1]", "v@[192.0.2.1]"]),
        ("<>", [""]),
        ("Grüße <a@x.example>", ["a@x.example"]),
        ("a@x.example\r\n ,\r\n\tb@x.example", ["a@x.example", "b@x.example"]),
    ],
)
def test_rfc5322_3_4_lists(text: str, found: list[str]) -> None:
    assert addresses(text) == found


@pytest.mark.parametrize(
    "text",
    [
        '"a', "(a", "<a@b", "a@[1", "<a@b> <c@d>", "a b@c", "a@b c", "a@@b", "a@", "@b", "<a\r\nRCPT TO:<x@y>", "a\0@b",
        "<a@b>c>", "a@b\x7f", "x" * 321, "\udcff@b", '"a\r\nb"@c', "a@[x\r\ny]", ">",
    ],
)  # fmt: skip
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadAddress):
        addresses(text)


@pytest.mark.parametrize("text", ["x " * 1_000_000, "<" + "x" * 1_000_000, "(" * 1_000_000, '"' + "x" * 1_000_000])
def test_hostile_lists_are_refused_at_once_and_in_few_words(text: str) -> None:
    with pytest.raises(BadAddress) as caught:
        addresses(text)
    assert len(str(caught.value)) < 200


def test_too_many_are_refused() -> None:
    with pytest.raises(BadAddress, match="more than"):
        addresses("a," * 50_001)


@given(LETTERS)
def test_whatever_is_found_fits_into_a_command(text: str) -> None:
    try:
        found = addresses(text)
    except BadAddress:
        return
    for address in found:
        bare = address
        while '"' in bare:
            head, _, rest = bare.partition('"')
            while rest and rest[0] != '"':
                rest = rest[2:] if rest[0] == "\\" else rest[1:]
            bare = head + rest[1:]
        assert address.isprintable()
        assert not set(bare) & set("<> ")


def test_a_local_name_gets_the_domain() -> None:
    assert qualified("root", "h.example") == "root@h.example"
    assert qualified('"a@b"', "h.example") == '"a@b"@h.example'
    assert qualified("a@b.example", "h.example") == "a@b.example"
    assert qualified("", "h.example") == ""


def test_rfc5321_2_4_each_recipient_is_sent_to_once_and_only_domains_are_compared_without_case() -> None:
    given_twice = ["b@X.example", "B@x.example", "b@x.EXAMPLE", '"b@c"@x.example', '"b@C"@x.example', "b", "b"]
    assert distinct(given_twice) == ["b@X.example", "B@x.example", '"b@c"@x.example', '"b@C"@x.example', "b"]
