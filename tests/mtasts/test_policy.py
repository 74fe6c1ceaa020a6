"""The policy text by RFC 8461 section 3.2, and its patterns by section 4.1."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.mtasts import InvalidPolicy, Mode, StsPolicy, matches, parse_policy

TEXT = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n"
POLICY = StsPolicy(mode=Mode.ENFORCE, max_age_seconds=604_800, mx=("mail.example.com", "*.example.net"))


def wrong(text: str | bytes) -> str:
    found = parse_policy(text.encode() if isinstance(text, str) else text)
    assert isinstance(found, InvalidPolicy), found
    assert found.detail.isprintable()
    assert len(found.detail) < 200
    return found.detail


def made(*lines: str) -> StsPolicy | InvalidPolicy:
    return parse_policy("\n".join(lines).encode())


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        TEXT.replace("\r\n", "\n"),
        TEXT.removesuffix("\r\n"),
        TEXT.replace(": ", ":"),
        TEXT.replace(": ", ": \t "),
        TEXT.replace("\r\n", " \t\r\n"),
        TEXT.replace("mode: enforce\r\n", "mode: enforce\n"),
        "".join(reversed(TEXT.splitlines(keepends=True)[:2])) + "".join(TEXT.splitlines(keepends=True)[2:]),
        TEXT.replace("mail.example.com", "MAIL.Example.com"),
    ],
    ids=["CRLF", "LF", "no last end", "no space", "more space", "space at the end", "mixed", "other order", "case"],
)
def test_rfc8461_3_2_a_valid_policy(text: str) -> None:
    assert parse_policy(text.encode()) == POLICY


def test_rfc8461_3_2_the_three_modes() -> None:
    for mode in ("enforce", "testing", "none"):
        found = parse_policy(TEXT.replace("enforce", mode).encode())
        assert isinstance(found, StsPolicy)
        assert found.mode is Mode(mode)
    for mode in ("Enforce", "report", "enforced", "enforce, testing"):
        assert wrong(TEXT.replace("enforce", mode)).startswith("mode is not enforce, testing or none")


def test_rfc8461_3_2_unknown_fields_are_ignored() -> None:
    more = "future: whatever: it says\r\n9.x-y_z: \u00fcber \U0001f512 1\r\nVersion: STSv2\r\nMX: not even a name!\r\n"
    assert parse_policy((more + TEXT + more).encode()) == POLICY


def test_rfc8461_3_2_of_a_field_given_twice_the_first_counts() -> None:
    assert parse_policy((TEXT + "version: STSv2\r\nmode: none\r\nmax_age: never\r\n").encode()) == POLICY
    assert wrong("mode: nonsense\r\n" + TEXT).startswith("mode is not")


def test_rfc8461_3_2_mx_may_be_missing_only_with_mode_none() -> None:
    without = ("version: STSv1", "max_age: 86400")
    assert made(*without, "mode: none") == StsPolicy(mode=Mode.NONE, max_age_seconds=86_400, mx=())
    assert made(*without, "mode: enforce") == InvalidPolicy("mode is enforce, but there is no mx")
    assert made(*without, "mode: testing") == InvalidPolicy("mode is testing, but there is no mx")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("1", 1),
        ("0086400", 86_400),
        ("31557600", 31_557_600),
        ("31557601", 31_557_600),
        ("9" * 10, 31_557_600),
    ],
)
def test_rfc8461_3_2_max_age_has_a_ceiling(text: str, seconds: int) -> None:
    found = parse_policy(TEXT.replace("604800", text).encode())
    assert isinstance(found, StsPolicy)
    assert found.max_age_seconds == seconds


@pytest.mark.parametrize("text", ["-1", "1.5", "1e5", "9" * 11, "one", "1 2", "\u0661", "+1"])
def test_rfc8461_3_2_max_age_is_1_to_10_digits(text: str) -> None:
    assert wrong(TEXT.replace("604800", text)).startswith("max_age is not 1 to 10 digits")


@pytest.mark.parametrize("name", ["version", "mode", "max_age"])
def test_rfc8461_3_2_fields_that_must_be_there(name: str) -> None:
    lines = [line for line in TEXT.splitlines(keepends=True) if not line.startswith(name)]
    assert wrong("".join(lines)) == f"there is no {name}"


@pytest.mark.parametrize("version", ["STSv2", "stsv1", "STSv1.0", "STSv1;"])
def test_rfc8461_3_2_only_version_1_is_known(version: str) -> None:
    assert wrong(TEXT.replace("STSv1", version)).startswith("version is not STSv1")


@pytest.mark.parametrize(
    "line",
    [
        "",
        " ",
        "mode",
        "mode:",
        "mode: ",
        ": value",
        " mode: enforce",
        "mode : enforce",
        "a\tb: c",
        "x: a\x00b",
        "x: a\x1bb",
        "x: \x7f",
        "-x: a",
        "x" * 33 + ": a",
        "xä: a",
        "x: a\rb",
        "<html>",
        "\ufeffx: a",
    ],
)
def test_a_line_that_is_no_field_is_passed_over_and_told(line: str) -> None:
    """Who publishes the rest wants to be protected; strict senders will see no policy, so `check` tells."""
    for text, number in ((line + "\r\n" + TEXT, 1), (TEXT + line + "\r\n", 6)):
        found = parse_policy(text.encode())
        assert found == POLICY
        assert isinstance(found, StsPolicy)
        assert found.oddities[0].startswith(("it begins with a byte order mark", f"line {number} is not"))
        assert found.oddities[0].isprintable()


@pytest.mark.parametrize("name", ["version", "mode", "max_age"])
def test_rfc8461_3_2_what_must_be_there_is_not_made_up_from_a_line_that_is_no_field(name: str) -> None:
    lines = [f" {line}" if line.startswith(name) else line for line in TEXT.splitlines(keepends=True)]
    assert wrong("".join(lines)).startswith(f"there is no {name}; line ")


def test_a_byte_order_mark_comments_and_blank_lines_are_passed_over() -> None:
    text = "\ufeff# our policy\n\n" + TEXT.replace("mx: *", "\r\n# and the others\r\nmx: *")
    found = parse_policy(text.encode())
    assert found == POLICY
    assert isinstance(found, StsPolicy)
    assert len(found.oddities) == 5
    clean = parse_policy(TEXT.encode())
    assert isinstance(clean, StsPolicy)
    assert clean.oddities == ()


def test_what_is_told_of_an_odd_policy_is_bounded() -> None:
    found = parse_policy((TEXT + "\n" * 5_000).encode())
    assert isinstance(found, StsPolicy)
    assert len(found.oddities) == 10


@pytest.mark.parametrize(
    "body", [b"", b"\n", b"\r\n", b"\xff\xfe", TEXT.encode("utf-16"), TEXT.encode() + b"x: \xed\xa0\x80\n"]
)
def test_rfc8461_3_2_no_text_is_no_policy(body: bytes) -> None:
    wrong(body)


@pytest.mark.parametrize(
    "mx",
    [
        "*",
        "*.",
        "*.*.example.com",
        "m*.example.com",
        "mail.*.com",
        "example..com",
        ".example.com",
        "a b",
        "-.example",
        "a" * 64 + ".example",
        ".".join(["a" * 63] * 4),
        "[192.0.2.1]",
        "a,b",
        "**.a",
    ],
)
def test_an_mx_that_is_no_pattern_counts_for_nothing_and_spoils_nothing(mx: str) -> None:
    found = parse_policy((TEXT + f"mx: {mx}\r\n").encode())
    assert found == POLICY
    assert isinstance(found, StsPolicy)
    assert found.oddities[0].startswith("mx is not a host name")
    alone = "".join(line for line in TEXT.splitlines(keepends=True) if not line.startswith("mx"))
    assert wrong(alone + f"mx: {mx}\r\n").startswith("mx is not a host name")


@pytest.mark.parametrize(
    ("mx", "pattern"),
    [
        ("mail.example.org.", "mail.example.org"),
        ("*.Example.org.", "*.example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("*.bücher.example", "*.xn--bcher-kva.example"),
    ],
)
def test_an_mx_whose_meaning_is_plain_counts_and_is_told(mx: str, pattern: str) -> None:
    found = parse_policy((TEXT + f"mx: {mx}\r\n").encode())
    assert isinstance(found, StsPolicy)
    assert found.mx == (*POLICY.mx, pattern)
    assert found.oddities[0].startswith("mx is not in A-labels")


def test_rfc8461_3_2_a_policy_is_bounded() -> None:
    filler = "x: " + "y" * (65_536 - len(TEXT) - 5) + "\r\n"
    assert parse_policy((TEXT + filler).encode()) == POLICY
    assert wrong(TEXT + "y" + filler) == "longer than 65536 octets"
    head = ("version: STSv1", "mode: enforce", "max_age: 1")
    assert isinstance(made(*head, *("mx: a.example",) * 500), StsPolicy)
    assert made(*head, *("mx: a.example",) * 501) == InvalidPolicy("more than 500 mx patterns")


@pytest.mark.parametrize(
    ("pattern", "host", "matching"),
    [
        ("mail.example.com", "mail.example.com", True),
        ("mail.example.com", "MAIL.example.COM", True),
        ("MAIL.example.com", "mail.example.com", True),
        ("mail.example.com", "mail.example.com.", True),
        ("mail.example.com", "mail2.example.com", False),
        ("mail.example.com", "a.mail.example.com", False),
        ("example.com", "mail.example.com", False),
        ("*.example.com", "mail.example.com", True),
        ("*.example.com", "xn--bcher-kva.EXAMPLE.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", ".example.com", False),
        ("*.example.com", "a.b.example.com", False),
        ("*.example.com", "mailexample.com", False),
        ("*.example.com", "*.example.com", False),
        ("*.xn--bcher-kva.example", "mx.xn--bcher-kva.example", True),
        ("*.com", "example.com", True),
        ("m*.example.com", "mail.example.com", False),
        ("*il.example.com", "mail.example.com", False),
        ("mail.*.com", "mail.example.com", False),
        ("*.*.com", "mail.example.com", False),
        ("*.*.com", "mail.*.com", False),
        ("*", "com", False),
        ("*", "mail.example.com", False),
        ("*.", "mail.", False),
        ("*.", "mail", False),
        ("", "", False),
        ("", ".", False),
    ],
)
def test_rfc8461_4_1_matching(pattern: str, host: str, matching: bool) -> None:
    assert matches(pattern, host) is matching


def test_rfc8461_4_1_any_of_the_patterns_will_do() -> None:
    assert POLICY.names("mail.example.com")
    assert POLICY.names("mx7.example.net")
    assert not POLICY.names("mail.example.org")
    assert not StsPolicy(mode=Mode.NONE, max_age_seconds=1, mx=()).names("mail.example.org")


@given(st.binary(max_size=200), st.booleans())
def test_any_octets_are_a_policy_or_not(body: bytes, after: bool) -> None:
    found = parse_policy(TEXT.encode() + body if after else body)
    if isinstance(found, StsPolicy):
        assert found.mx or found.mode is Mode.NONE
        assert 0 <= found.max_age_seconds <= 31_557_600


@given(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?(\.[a-z]{1,5}){1,3}", fullmatch=True))
def test_rfc8461_4_1_a_wildcard_stands_for_exactly_one_label(host: str) -> None:
    parent = host.partition(".")[2]
    assert matches(host, host)
    assert matches(f"*.{parent}", host)
    assert not matches(f"*.{host}", host)
    assert not matches(f"*.{parent}", f"deeper.{host}")
