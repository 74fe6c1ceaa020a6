"""The keys that Postfix asks for (measured with 3.7.11), and those that are none."""

import pytest

from letterlock.companion.postfix_key import next_hop
from letterlock.routing.routes import NextHop


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("example.org", NextHop("example.org")),
        ("Example.ORG.", NextHop("example.org")),
        ("example.org:587", NextHop("example.org", 587)),
        ("example.org:submission", NextHop("example.org", 587)),
        ("[mx.example.org]", NextHop("mx.example.org", is_host=True)),
        ("[mx.example.org]:2525", NextHop("mx.example.org", 2525, is_host=True)),
        ("[192.0.2.1]", NextHop("[192.0.2.1]")),
        ("[192.0.2.1]:26", NextHop("[192.0.2.1]", 26)),
        ("[2001:DB8::1]", NextHop("[ipv6:2001:db8::1]")),
        ("[IPv6:2001:db8::1]:25", NextHop("[ipv6:2001:db8::1]")),
        ("bücher.example", NextHop("xn--bcher-kva.example")),
        ("localhost", NextHop("localhost")),
    ],
)
def test_a_next_hop_in_each_spelling(key: str, expected: NextHop) -> None:
    assert next_hop(key.encode()) == expected


@pytest.mark.parametrize(
    "key",
    [
        "", ".", ".example.org", ".test", "a@example.org", "@example.org", "/run/dovecot/lmtp", "unix:/run/lmtp",
        "192.0.2.1", "[a:bb:ccc::dddd", "[a:bb:ccc::dddd]:x", "example.org:0", "example.org:65536", "example.org:",
        "example..org", "exa mple.org", "[]", "[mx.example.org]:", "[mx.example.org]x", "x" * 301, "*", "\x00",
    ],
)  # fmt: skip
def test_what_is_no_next_hop_is_not_looked_up(key: str) -> None:
    assert next_hop(key.encode()) is None


def test_bytes_that_are_no_text_are_no_next_hop() -> None:
    assert next_hop(b"\xff.example") is None
