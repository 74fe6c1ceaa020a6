"""Routes to where mail ends: what reaches the policy, and what is refused at its place."""

import pytest

from letterlock.config import parse
from letterlock.mail.addresses import parse_mailbox
from letterlock.routing.destination_rule import TlsRule
from letterlock.routing.local_targets import CommandHop, LmtpLoopback, LmtpSocket, Maildir
from letterlock.routing.routes import RelayHost
from tests.config.test_reading import mistakes


def relay(text: str) -> RelayHost:
    """The one route of a configuration."""
    found = parse(f'[route."example.org"]\n{text}\n', "letterlock.toml").rules.relay_for("example.org")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('next_hop = "lmtp:/run/dovecot/lmtp"', LmtpSocket("/run/dovecot/lmtp")),
        ('next_hop = "lmtp:[127.0.0.1]:24"', LmtpLoopback("127.0.0.1", 24)),
        ('next_hop = "maildir:/var/mail/{domain}/{local}"', Maildir("/var/mail/{domain}/{local}")),
        ('next_hop = "maildir:/m/{local}"\ncreate_mailboxes = true', Maildir("/m/{local}", create=True)),
        ('next_hop = "command:/usr/bin/ticket --new"', CommandHop(("/usr/bin/ticket", "--new"))),
        (
            'next_hop = "command:/usr/bin/ticket"\ncommand_user = "nobody"\ncommand_timeout_seconds = 5',
            CommandHop(("/usr/bin/ticket",), "nobody", 5.0),
        ),
    ],
)
def test_a_route_may_end_on_this_machine(text: str, wanted: object) -> None:
    found = relay(text)
    assert (found.final, found.source) == (wanted, "letterlock.toml:1")
    assert found.domain == str(wanted)
    assert (found.rule, found.lmtp) == (None, False)


def test_lmtp_to_another_host_demands_tls() -> None:
    found = relay('next_hop = "lmtp:[mail.example.net]:2400"')
    assert (found.domain, found.port, found.is_host, found.lmtp) == ("mail.example.net", 2400, True, True)
    assert found.rule is not None
    assert (found.rule.tls, found.rule.source) == (TlsRule.REQUIRE_TLS, "letterlock.toml:1")
    assert found.final is None
    literal = relay('next_hop = "lmtp:[192.0.2.1]"\ntls = "verify"\nfingerprints = ["' + "ab" * 32 + '"]')
    assert (literal.domain, literal.port, literal.is_host) == ("[192.0.2.1]", 24, False)
    assert literal.rule is not None
    assert literal.rule.tls is TlsRule.VERIFY


def test_cleartext_lmtp_to_another_host_needs_an_exception() -> None:
    until = 'exception = { reason = "until the certificate is there", until = 2027-01-31, allow = "clear" }'
    found = relay(f'next_hop = "lmtp:[mail.example.net]"\n{until}')
    assert found.rule is not None
    assert found.rule.exception is not None
    (mistake,) = mistakes('[route."a.test"]\nnext_hop = "lmtp:[mail.example.net]"\ntls = "may"\n')
    assert mistake[:3] == (3, 'route."a.test".tls', "LMTP goes to another host inside TLS only")


@pytest.mark.parametrize(
    ("rest", "key"),
    [
        ('next_hop = "lmtp:/run/lmtp"\nport = 24', "port"),
        ('next_hop = "lmtp:[127.0.0.1]:24"\ntls = "require-tls"', "tls"),
        ('next_hop = "maildir:/m/{local}"\nmode = "audit"', "mode"),
        ('next_hop = "lmtp:[mail.example.net]"\nport = 24', "port"),
        ('next_hop = "lmtp:/run/lmtp"\ncreate_mailboxes = true', "create_mailboxes"),
        ('next_hop = "relay.example.net"\ncreate_mailboxes = false', "create_mailboxes"),
        ('next_hop = "lmtp:127.0.0.1"', "next_hop"),
        ('next_hop = "command:ticket"', "next_hop"),
        ('next_hop = "command:/usr/bin/ticket"\nignore_ehlo = ["CHUNKING"]', "ignore_ehlo"),
        ('next_hop = "command:/usr/bin/ticket"\ntls = "verify"', "tls"),
        ('next_hop = "lmtp:/run/lmtp"\ncommand_user = "nobody"', "command_user"),
        ('next_hop = "relay.example.net"\ncommand_timeout_seconds = 5', "command_timeout_seconds"),
        ('next_hop = "maildir:{local}"', "next_hop"),
    ],
)
def test_what_does_not_fit_is_a_mistake_at_its_place(rest: str, key: str) -> None:
    (mistake,) = mistakes(f'[route."a.test"]\n{rest}\n')
    assert mistake[1] == f'route."a.test".{key}'
    assert mistake[3]


def test_a_command_must_not_see_the_queue_and_the_secrets() -> None:
    text = """
[accounts]
sqlite = "/var/lib/users.db"
query = "SELECT password FROM users WHERE name = :user"
[queue]
directory = "/srv/queue"
[route."a.test"]
next_hop = "command:/usr/bin/ticket"
[forwarding]
srs_domain = "a.test"
srs_secret_file = "/srv/secrets/srs"
[sender_route."b.test"]
next_hop = "command:/usr/bin/other"
"""
    options = parse(text, "/srv/config/letterlock.toml", secrets=False)
    assert options.deliver.private_directories == ("/srv/queue", "/srv/config", "/srv/secrets")
    assert [str(each) for each in options.commands] == ["command:/usr/bin/ticket", "command:/usr/bin/other"]
    assert parse("", "/srv/config/letterlock.toml").deliver.private_directories == ()


ADDRESS = """
[[listener]]
role = "mx"
listen = ["127.0.0.1:0"]
domains = ["a.test"]
[route."a.test"]
next_hop = "lmtp:/run/lmtp"
[route."Info@a.test"]
next_hop = "command:/usr/bin/ticket"
command_timeout_seconds = 5
[local."a.test"]
mailboxes = []
sub_address_delimiter = "-"
"""


async def test_a_route_for_one_address() -> None:
    options = parse(ADDRESS, "letterlock.toml")
    info, more, other = (parse_mailbox(f"{name}@a.test") for name in ("info", "info-x", "ann"))
    route = options.deliver.addresses.find(more)
    assert route is not None
    assert route == options.deliver.addresses.find(info)
    assert (route.final, route.source) == (CommandHop(("/usr/bin/ticket",), seconds=5.0), "letterlock.toml:8")
    assert options.deliver.addresses.find(other) is None
    assert options.commands == (CommandHop(("/usr/bin/ticket",), seconds=5.0),)
    domain = options.rules.relay_for("a.test")
    assert domain is not None
    assert domain.final == LmtpSocket("/run/lmtp")
    site = options.receive.site
    assert site is not None
    assert [(await site.directory.expand(each)).known for each in (info, more, other)] == [True, True, False]


@pytest.mark.parametrize(
    ("text", "key", "hint"),
    [
        (
            '[route."info@a.test"]\nnext_hop = "relay.example.net"\n',
            'route."info@a.test".next_hop',
            "an alias for info@a.test",
        ),
        ('[route."info@a.test"]\nnext_hop = "lmtp:[mail.example.net]"\n', 'route."info@a.test".next_hop', "alias"),
        (
            '[route."info@a.test"]\nnext_hop = "command:/bin/true"\nmax_concurrent = 1\n',
            'route."info@a.test".max_concurrent',
            "remove",
        ),
        ('[route."@a.test"]\nnext_hop = "command:/bin/true"\n', 'route."@a.test"', "write"),
        (
            '[route."info@a.test"]\nnext_hop = "command:/bin/a"\n[route."INFO@A.test"]\nnext_hop = "command:/bin/b"\n',
            'route."INFO@A.test"',
            "keep one of them",
        ),
    ],
)
def test_what_a_route_for_one_address_cannot_be(text: str, key: str, hint: str) -> None:
    (mistake,) = mistakes(text)
    assert mistake[1] == key
    assert hint in (mistake[3] or "")
