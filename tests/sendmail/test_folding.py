"""Lines that are too long: folded where folding is legal, broken where nothing is damaged."""

import re
from email.header import Header, decode_header, make_header
from email.utils import getaddresses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from letterlock.sendmail.exits import DATAERR, Failure
from letterlock.sendmail.folding import MAX_BLANKS, MAX_LINE_OCTETS, break_lines, fold_field

WORDS = st.lists(
    st.one_of(
        st.sampled_from(
            ["a", "ü" * 300, "x" * 600, "<a@b.example>", '"Doe, Jane"', "\t", " " * 30, "=?UTF-8?B?w7w=?="]
        ),
        st.text(alphabet="abcü€😀.,;", min_size=1, max_size=200),
    ),
    max_size=30,
)


def unfolded(text: bytes) -> bytes:
    """RFC 5322 section 2.2.3: a line end that white space follows is removed."""
    return re.sub(rb"\n(?=[ \t])", b"", text)


def folded_or_refused(name: bytes, line: bytes) -> bytes | None:
    try:
        return fold_field(name, line)
    except Failure:
        return None


def longest(text: bytes) -> int:
    return max(map(len, text.split(b"\n")))


@given(WORDS)
@settings(max_examples=300)
def test_rfc5322_2_2_3_unfolding_gives_back_what_was_folded_at_white_space(words: list[str]) -> None:
    line = ("Subject: " + " ".join(words)).encode().rstrip()
    folded = fold_field(b"subject", line)
    assert unfolded(folded) == line
    assert longest(folded) <= MAX_LINE_OCTETS
    assert all(part.strip(b" \t") for part in folded.split(b"\n")), "no line of blanks alone (RFC 5322 3.2.2)"
    folded.decode()


@given(WORDS, st.sampled_from([b"subject", b"x-other", b"to", b"references"]))
@settings(max_examples=300)
def test_whatever_comes_no_line_is_too_long_and_no_character_is_cut(words: list[str], name: bytes) -> None:
    line = name + b": " + "".join(words).encode()
    folded = folded_or_refused(name, line)
    if folded is None:
        assert name in (b"to", b"references")
        return
    assert longest(folded) <= MAX_LINE_OCTETS
    folded.decode()
    assert re.sub(rb"[ \t\n]", b"", folded) == re.sub(rb"[ \t\n]", b"", line)


@given(st.lists(st.integers(1, 60), min_size=20, max_size=200))
def test_rfc5322_3_4_addresses_survive(sizes: list[int]) -> None:
    """A list without one blank is folded behind commas only, and so has the addresses that it had."""
    people = [f'"N, {number}"<{"a" * size}@b.example>' for number, size in enumerate(sizes)]
    line = "To:" + ",".join(people)
    folded = fold_field(b"to", line.encode()).decode()
    assert longest(folded.encode()) <= MAX_LINE_OCTETS
    assert getaddresses([folded.partition(":")[2].replace("\n", "")]) == getaddresses([line.partition(":")[2]])


def test_rfc5322_3_6_4_message_ids_survive() -> None:
    ids = [f"<{number}.{'x' * 60}@host.example>" for number in range(40)]
    folded = fold_field(b"references", b"References: " + "".join(ids).encode())
    assert longest(folded) <= MAX_LINE_OCTETS
    assert re.findall(r"<[^<> \n]+>", folded.decode()) == ids


def test_rfc2047_2_encoded_words_survive() -> None:
    text = "Grüße an alle, " * 200
    words = Header(text, "utf-8", maxlinelen=75).encode().split()
    for glue in (b" ", b""):
        folded = fold_field(b"subject", b"Subject: " + glue.join(word.encode() for word in words))
        assert longest(folded) <= MAX_LINE_OCTETS
        assert re.findall(rb"=\?[^ \n]*?\?b\?[^ \n]*?\?=", folded) == [word.encode() for word in words]
    assert str(make_header(decode_header(unfolded(folded).partition(b": ")[2].decode()))) is not None


def test_an_address_that_no_line_can_hold_is_refused_not_broken() -> None:
    with pytest.raises(Failure, match="to: has a word of more than 998 bytes") as caught:
        fold_field(b"to", b"To: " + b"a" * 1_200 + b"@b.example")
    assert caught.value.status == DATAERR


@pytest.mark.parametrize("blanks", [b" " * 3_000, b"\t" * 3_000, b" \t" * 1_500, b" " * MAX_BLANKS])
def test_rfc5322_3_2_2_no_line_is_of_blanks_alone(blanks: bytes) -> None:
    for line in (b"Subject: a" + blanks + b"b", b"Subject: a" * 120 + blanks, blanks + b"x" * 1_200):
        folded = fold_field(b"subject", line)
        assert longest(folded) <= MAX_LINE_OCTETS
        assert all(part.strip() for part in folded.split(b"\n"))


def test_lines_of_a_body_are_broken_between_characters() -> None:
    """Input 27."""
    for text in ("x" + "ü" * 700, "😀" * 600, "x" * 5_000, "ü" * 499 + " " + "ü" * 600):
        broken = break_lines(text.encode() + b"\nshort\n")
        assert longest(broken) <= MAX_LINE_OCTETS
        assert broken.decode().replace("\n ", "").replace(" ", "") == text.replace(" ", "") + "\nshort\n"


@given(st.lists(st.text(alphabet="abü😀", min_size=1, max_size=400), min_size=1, max_size=30))
def test_a_body_with_blanks_is_the_same_but_for_the_line_ends(words: list[str]) -> None:
    line = " ".join(words).encode()
    broken = break_lines(line)
    assert longest(broken) <= MAX_LINE_OCTETS
    assert broken.replace(b"\n", b"") == line or max(len(word.encode()) for word in words) > 900


@given(st.binary(max_size=4_000))
def test_what_is_no_text_is_broken_too(octets: bytes) -> None:
    assert longest(break_lines(octets)) <= MAX_LINE_OCTETS
    octets = octets.replace(b"\n", b"").replace(b"\r", b"")
    assert longest(fold_field(b"x-other", b"X-Other: " + octets)) <= MAX_LINE_OCTETS
