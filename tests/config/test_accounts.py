"""`[accounts]`: where users are kept, and the mistakes."""

from pathlib import Path

import pytest

from letterlock.accounts.dovecot import DovecotAccounts
from letterlock.config import BadConfig, load


def config(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "letterlock.toml"
    path.write_text('[queue]\ndirectory = "queue"\n' + text)
    return path


def test_users_of_a_dovecot(tmp_path: Path) -> None:
    options = load(config(tmp_path, '[accounts]\ndovecot = "unix:/run/dovecot/auth"\n'))
    assert isinstance(options.receive.accounts, DovecotAccounts)
    assert load(config(tmp_path, "")).receive.accounts is None
    assert load(config(tmp_path, '[accounts]\ndovecot = "127.0.0.1:9"\n'), secrets=False).receive.accounts is None


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            '[accounts]\nfile = "users"\ndovecot = "127.0.0.1:12345"\n',
            "5: accounts.dovecot\n  file and dovecot are given together",
            "users are kept in one place: remove the others",
        ),
        (
            '[accounts]\ndovecot = "/run/dovecot/auth"\n',
            "4: accounts.dovecot\n  '/run/dovecot/auth' is neither a socket nor an IP address and a port",
            'write "unix:/run/program/socket" or "127.0.0.1:11332"',
        ),
        (
            '[accounts]\ndomain = "example.org"\n',
            "4: accounts.domain\n  counts for the users of a Dovecot only",
            "remove it, or add dovecot",
        ),
        (
            '[accounts]\ndovecot = "127.0.0.1:9"\nsender_tables = ["sender"]\n[table.senders]\nfile = "/senders"\n',
            "5: accounts.sender_tables[0]\n  there is no table 'sender'",
            'did you mean "senders"?',
        ),
        (
            '[accounts]\nsender_tables = ["senders"]\n[table.senders]\nfile = "/senders"\n',
            "4: accounts.sender_tables\n  nobody logs in who could send as these",
            'add file = "users"',
        ),
    ],
)
def test_mistakes(tmp_path: Path, text: str, message: str, hint: str) -> None:
    with pytest.raises(BadConfig) as caught:
        load(config(tmp_path, text))
    assert f"letterlock.toml:{message}" in str(caught.value)
    assert f"hint: {hint}" in str(caught.value)
