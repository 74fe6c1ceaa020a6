"""Whom to ask, as text."""

import base64
from pathlib import Path

import pytest

from letterlock.net.dns import InvalidUpstream, NoUpstreams, Upstream, parse_upstream, system_upstreams

PIN = base64.b64encode(bytes(range(32))).decode()


@pytest.mark.parametrize(
    ("text", "address", "port", "shown"),
    [
        ("192.0.2.53", "192.0.2.53", 53, "192.0.2.53:53"),
        ("127.0.0.1:5353", "127.0.0.1", 5353, "127.0.0.1:5353"),
        ("127.0.0.1@5353", "127.0.0.1", 5353, "127.0.0.1:5353"),
        ("::1", "::1", 53, "[::1]:53"),
        ("::1@5353", "::1", 5353, "[::1]:5353"),
        ("[2001:DB8::1]", "2001:db8::1", 53, "[2001:db8::1]:53"),
        ("[2001:db8::1]:54", "2001:db8::1", 54, "[2001:db8::1]:54"),
        ("tls://192.0.2.1#dns.example", "192.0.2.1", 853, "tls://192.0.2.1:853#dns.example"),
        ("tls://[::1]:8853#dns.example", "::1", 8853, "tls://[::1]:8853#dns.example"),
        (f"tls://192.0.2.1#pin-sha256={PIN}", "192.0.2.1", 853, f"tls://192.0.2.1:853#pin-sha256={PIN}"),
        (f"tls://192.0.2.1#d.example#pin-sha256={PIN}", "192.0.2.1", 853, f"tls://192.0.2.1:853#d.example#pin-sha256={PIN}"),
    ],
)  # fmt: skip
def test_an_upstream_is_read_and_shown(text: str, address: str, port: int, shown: str) -> None:
    upstream = parse_upstream(text)
    assert (upstream.address, upstream.port, str(upstream)) == (address, port, shown)
    assert parse_upstream(str(upstream)) == upstream


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "not the IP address"),
        ("dns.example", "not the IP address"),
        ("192.0.2.1:", "not the IP address"),
        ("192.0.2.1:0", "between 1 and 65535"),
        ("192.0.2.1:70000", "between 1 and 65535"),
        ("tls://192.0.2.1", "whom to expect"),
        ("tls://192.0.2.1#", "neither a host name nor"),
        ("tls://192.0.2.1#a b", "neither a host name nor"),
        ("tls://192.0.2.1#pin-sha256=AAAA", "base64 of a SHA-256"),
        ("tls://192.0.2.1#pin-sha256=!", "base64 of a SHA-256"),
        ("tls://dns.example#dns.example", "not the IP address"),
        ("1" * 600, "longer than 512"),
    ],
)
def test_what_is_wrong_is_said(text: str, told: str) -> None:
    with pytest.raises(InvalidUpstream, match=told):
        parse_upstream(text)


def test_the_system_names_its_resolvers(tmp_path: Path) -> None:
    conf = tmp_path / "resolv.conf"
    conf.write_text("# local\nnameserver 192.0.2.1\nnameserver router.lan\nnameserver fe80::1%eth0\nnameserver ::1\n")
    assert system_upstreams(conf) == (Upstream("192.0.2.1"), Upstream("fe80::1%eth0"), Upstream("::1"))


def test_a_system_without_resolvers_is_told_by_file(tmp_path: Path) -> None:
    with pytest.raises(NoUpstreams, match=r"absent\.conf: No such file"):
        system_upstreams(tmp_path / "absent.conf")
    (tmp_path / "empty.conf").write_text("search example\n")
    with pytest.raises(NoUpstreams, match=r"empty\.conf has no nameserver line"):
        system_upstreams(tmp_path / "empty.conf")
