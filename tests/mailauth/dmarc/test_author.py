"""Who the author is: everything that could be read in two ways has no author."""

import contextlib
import time

import pytest

from letterlock.mailauth.dmarc.author import NoAuthor, author_domains
from letterlock.mailauth.message import split


def authors(value: str) -> tuple[str, ...]:
    return author_domains(split(f"From: {value}\r\n\r\n".encode()))


@pytest.mark.parametrize(
    ("value", "domains"),
    [
        ("ann@example.org", ("example.org",)),
        ("Ann <ann@Example.ORG>", ("example.org",)),
        ('"bob@evil.test" <ann@example.org>', ("example.org",)),
        ('"a \\" <x@evil.test>" <ann@example.org>', ("example.org",)),
        ("(bob@evil.test (nested)) ann@example.org (x)", ("example.org",)),
        ("=?utf-8?q?bob=40evil.test?= <ann@example.org>", ("example.org",)),
        ("a@one.test, b@two.test, c@one.test", ("one.test", "two.test")),
        ("Team: a@one.test, b@one.test;", ("one.test",)),
        ("undisclosed:;", ()),
        ("J. R. Doe <a..b@docomo.test>", ("docomo.test",)),
        ("ann@bücher.example", ("xn--bcher-kva.example",)),
        ("Ann\r\n <ann@example.org>", ("example.org",)),
        ('"a b"@example.org', ("example.org",)),
    ],
)
def test_rfc9989_5_3_1_the_domains_of_the_authors(value: str, domains: tuple[str, ...]) -> None:
    assert authors(value) == domains


@pytest.mark.parametrize(
    "value",
    [
        "good@example.org <evil@evil.test>",
        "<ann@example.org> bob",
        "<ann@example.org",
        "ann@example.org>",
        "<a@b@example.org>",
        "<@route.test:ann@example.org>",
        "ann@[192.0.2.1]",
        "ann example.org",
        "a b@example.org",
        "ann@exa mple.org",
        "ann@-bad-.test",
        "(never closed ann@example.org",
        '"never closed <ann@example.org>',
        "(" * 20 + ")" * 20 + "ann@example.org",
        "ann@example.org\\",
        "x" * 9000 + "@example.org",
    ],
)
def test_what_is_ambiguous_has_no_author(value: str) -> None:
    with pytest.raises(NoAuthor):
        authors(value)


@pytest.mark.parametrize(
    "header", ["Subject: x", "From: a@b.test\r\nFrom: c@d.test", "From: a@b.test\r\nfrom: c@d.test"]
)
def test_rfc5322_3_6_there_is_exactly_one_from(header: str) -> None:
    with pytest.raises(NoAuthor):
        author_domains(split(f"{header}\r\n\r\n".encode()))


@pytest.mark.parametrize("piece", ["(", "<", ",", ":", "a@b.test,", '"', "\\", "<,", "a "])
def test_a_hostile_from_is_bounded(piece: str) -> None:
    began = time.process_time()
    with contextlib.suppress(NoAuthor):
        authors(piece * (8_000 // len(piece)))
    assert time.process_time() - began < 1  # a few ms here
