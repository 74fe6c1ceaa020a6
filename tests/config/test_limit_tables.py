"""`[limit]` and `[dns_list]`: what can be written, and the mistakes."""

from pathlib import Path

import pytest

from letterlock.config import BadConfig, load
from letterlock.receive.check_dns_lists import DnsList
from letterlock.receive.rate_limits import Per


def config(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "letterlock.toml"
    path.write_text('[queue]\ndirectory = "queue"\n' + text)
    return path


def test_limits_and_lists(tmp_path: Path) -> None:
    text = """
[limit.users]
per = "user"
messages = 200
recipients = 1000
[limit.strangers]
per = "network"
window_seconds = 60
connections = 100
delay_seconds = 5
exempt = ["192.0.2.0/24"]
[dns_list."bl.example.org"]
[dns_list."wl.example.org"]
weight = -2
answers = ["127.0.0.2"]
"""
    receive = load(config(tmp_path, text)).receive
    users, strangers = receive.rate_limits
    assert (users.per, users.messages, users.recipients, users.window_seconds) == (Per.USER, 200, 1000, 3600)
    assert (strangers.connections, strangers.delay_seconds, len(strangers.exempt)) == (100, 5, 1)
    assert receive.dns_lists == (
        DnsList(zone="bl.example.org"),
        DnsList(zone="wl.example.org", weight=-2, answers=frozenset({"127.0.0.2"})),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[limit.a]\nper = "user"\n', "limits nothing: it needs connections or messages"),
        ('[limit.a]\nper = "users"\nmessages = 1\n', "must be one of client, network, user, recipient_domain"),
        ('[limit.a]\nper = "recipient_domain"\nmessages = 1\n', "limits nothing: it needs recipients"),
        ('[limit.a]\nper = "recipient_domain"\nrecipients = 1\nmessages = 1\n', "messages cannot be counted"),
        ('[limit.a]\nper = "user"\nmessages = 0\n', "must be at least 1"),
        ('[dns_list."not a name"]\n', "not a name"),
        ('[dns_list."bl.test"]\nanswers = ["2"]\n', "2"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadConfig) as caught:
        load(config(tmp_path, text))
    assert message in str(caught.value)
