"""`login` of routes, and routes by sender: what can be written, and the mistakes."""

from pathlib import Path

import pytest

from letterlock.config import BadConfig, load
from letterlock.sasl.client_login import Credentials


def config(tmp_path: Path, text: str) -> Path:
    (tmp_path / "password").write_text("correct horse\n")
    (tmp_path / "password").chmod(0o600)
    (tmp_path / "open").write_text("x\n")
    (tmp_path / "open").chmod(0o644)
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "empty").chmod(0o600)
    path = tmp_path / "letterlock.toml"
    path.write_text('[queue]\ndirectory = "queue"\n' + text)
    return path


LOGIN = 'login = { user = "ann", password_file = "password" }\n'


def test_a_smarthost_for_all_mail(tmp_path: Path) -> None:
    text = '[route."*"]\nnext_hop = "[smtp.example.net]"\nport = 587\ntls = "verify"\n' + LOGIN
    settings = load(config(tmp_path, text)).route_settings
    assert settings.of("anywhere.example").login == Credentials("ann", "correct horse")


def test_a_route_by_sender_counts_after_one_for_the_recipients_and_before_the_one_for_all(tmp_path: Path) -> None:
    text = """
[route."local.example"]
next_hop = "maildir:/var/mail/{domain}/{local}"
[route."*"]
next_hop = "[out.example.net]"
[sender_route."sales.example"]
next_hop = "[smtp.provider.example]"
tls = "verify"
"""
    options = load(config(tmp_path, text + LOGIN))

    def hop(domain: str, sender: str | None) -> str:
        relay = options.rules.relay_for(domain, sender)
        assert relay is not None
        return relay.domain

    assert hop("anywhere.example", "sales.example") == "smtp.provider.example"
    assert hop("anywhere.example", "other.example") == "out.example.net"
    assert hop("anywhere.example", None) == "out.example.net"
    assert hop("local.example", "sales.example").startswith("maildir:")
    assert options.route_settings.of("anywhere.example", "sales.example").login is not None
    assert options.route_settings.of("anywhere.example", "other.example").login is None
    assert options.route_settings.of("local.example", "sales.example").login is None
    heard = options.rules.for_message("anywhere.example", "sales.example")
    assert heard.rule is not None
    assert heard.rule.tls.value == "verify"


def test_a_password_is_not_read_by_verbs_that_do_not_need_it(tmp_path: Path) -> None:
    text = '[route."*"]\nnext_hop = "[smtp.example.net]"\ntls = "verify"\n' + LOGIN.replace('password"', 'none"')
    assert load(config(tmp_path, text), secrets=False).route_settings.of("a.example").login is None


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (LOGIN, "only sent to a server that is authenticated", 'tls = "verify"'),
        ('tls = "require-tls"\n' + LOGIN, "only sent to a server that is authenticated", ""),
        ('tls = "verify"\nmode = "audit"\n' + LOGIN, "needs a rule that is enforced", ""),
        ('tls = "verify"\nlogin = { user = "ann" }\n', "password_file\n  is missing", ""),
        ('tls = "verify"\nlogin = { user = "ann", password_file = "none" }\n', "cannot be read: No such file", ""),
        ('tls = "verify"\nlogin = { user = "ann", password_file = "open" }\n', "that others can read", "chmod 600"),
        ('tls = "verify"\nlogin = { user = "ann", password_file = "empty" }\n', "has no password", ""),
    ],
)
def test_mistakes(tmp_path: Path, text: str, message: str, hint: str) -> None:
    with pytest.raises(BadConfig) as caught:
        load(config(tmp_path, '[route."*"]\nnext_hop = "[smtp.example.net]"\n' + text))
    assert message in str(caught.value)
    assert hint in str(caught.value)
