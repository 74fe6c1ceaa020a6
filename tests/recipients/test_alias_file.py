"""Files of aliases, as aliases(5) and virtual(5) describe them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.mail.addresses import Mailbox
from letterlock.recipients.alias_file import read_aliases, read_members
from letterlock.recipients.targets import BadEntry, Discard, Include, Name, RefusalEntry, parse_targets

DEBIAN = """# /etc/aliases
mailer-daemon: postmaster
postmaster: root
nobody: root
usenet: root
www: root
security: root
"Quoted Name": ann
root: ann@example.org, "odd name"@example.net
"""


def test_the_file_that_distributions_install() -> None:
    entries, bad = read_aliases(DEBIAN)
    assert not bad
    assert entries["mailer-daemon"] == (Name("postmaster"),)
    assert entries["quoted name"] == (Name("ann"),)
    assert entries["root"] == (Mailbox("ann", "example.org"), Mailbox('"odd name"', "example.net"))


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("\\ann", Name("ann", is_final=True)),
        ("/dev/null", Discard()),
        (":include:/etc/lists/team", Include("/etc/lists/team")),
        (":fail: gone away", RefusalEntry("gone away")),
        ("error:450 busy, later", RefusalEntry("busy, later", 450, "4.7.1")),
        ("a..b@example.net", Mailbox('"a..b"', "example.net")),
        ("ann@B\u00fccher.example", Mailbox("ann", "xn--bcher-kva.example")),
    ],
)
def test_targets(text: str, target: object) -> None:
    assert parse_targets(text) == (target,)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('"|/usr/bin/vacation ann"', "command"),
        ("|/usr/bin/procmail", "command"),
        ("/var/mail/archive", "a file"),
        (":include:relative", "begins with /"),
        ("ann@", "no address"),
        ("error:550 4.1.1 x", "contradict"),
        ("error:550 a\u00e9", "printable ASCII"),
    ],
)
def test_what_cannot_be_used_says_why(text: str, why: str) -> None:
    with pytest.raises(BadEntry, match=why):
        parse_targets(text)


def test_bad_lines_are_named_and_the_others_are_used() -> None:
    entries, bad = read_aliases("ann: bob\n: nobody\nann: carl\nx: |cmd\n\nzoe: ann\n")
    assert set(entries) == {"ann", "zoe"}
    assert [each.number for each in bad] == [2, 3, 4]


def test_an_included_file_has_commas_or_lines() -> None:
    targets, bad = read_members("# team\nann, bob@example.net\n\ncarl\n")
    assert targets == (Name("ann"), Mailbox("bob", "example.net"), Name("carl"))
    assert not bad


@given(st.text(max_size=300))
def test_any_text_is_read_without_an_exception(text: str) -> None:
    entries, bad = read_aliases(text)
    assert len(entries) + len(bad) <= len(text.splitlines()) + 1
