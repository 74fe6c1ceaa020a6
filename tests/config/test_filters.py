"""`[milter]` and `[policy_service]`: what can be written, and the mistakes."""

from pathlib import Path

import pytest

from letterlock.config import BadConfig, load
from letterlock.net.service_address import ServiceAddress

ONE_LISTENER = '[[listener]]\nlisten = ["127.0.0.1:1"]\n'


def config(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "letterlock.toml"
    path.write_text('[queue]\ndirectory = "queue"\n' + text)
    return path


def test_a_listener_has_its_filters_in_order(tmp_path: Path) -> None:
    text = """
[milter.rspamd]
address = "127.0.0.1:11332"
[milter.opendkim]
address = "unix:/run/opendkim/opendkim.sock"
timeout_seconds = 5
when_away = "accept"
[policy_service.postgrey]
address = "[::1]:10023"
[[listener]]
listen = ["127.0.0.1:2525"]
milters = ["opendkim", "rspamd"]
policy_services = ["postgrey"]
[[listener]]
listen = ["127.0.0.1:2526"]
"""
    first, second = load(config(tmp_path, text)).profiles
    assert [each.name for each in first.milters] == ["opendkim", "rspamd"]
    assert first.milters[0].address == ServiceAddress(path="/run/opendkim/opendkim.sock")
    assert (first.milters[0].seconds, first.milters[0].when_away) == (5, "accept")
    assert first.policies[0].address == ServiceAddress(host="::1", port=10023)
    assert not second.milters
    assert not second.policies


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('[milter.a]\naddress = "rspamd:11332"\n', "neither a socket nor an IP address", "127.0.0.1:11332"),
        ('[milter.a]\naddress = "unix:run/x"\n', "begins with /", "unix:/run"),
        ('[milter.a]\naddress = "127.0.0.1:0"\n', "neither a socket nor", ""),
        ("[milter.a]\n", "milter.a.address\n  is missing", ""),
        ('[[listener]]\nlisten = ["127.0.0.1:1"]\nmilters = ["x"]\n', "there is no [milter] 'x'", '[milter."x"]'),
        (
            '[policy_service.grey]\naddress = "127.0.0.1:1"\n' + ONE_LISTENER + 'policy_services = ["gray"]\n',
            "there is no [policy_service] 'gray'",
            '"grey"',
        ),
        ('[milter.a]\naddress = "127.0.0.1:1"\nwhen_away = "discard"\n', "when_away", ""),
    ],
)
def test_mistakes(tmp_path: Path, text: str, message: str, hint: str) -> None:
    with pytest.raises(BadConfig) as caught:
        load(config(tmp_path, text))
    assert message in str(caught.value)
    assert hint in str(caught.value)
