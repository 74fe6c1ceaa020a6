"""`[table]`, `[local]` and `[forwarding]`: what can be written, and the mistakes."""

import asyncio
from pathlib import Path

import pytest

from letterlock.config import BadConfig, load
from letterlock.mail.addresses import parse_mailbox


def config(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "letterlock.toml"
    path.write_text('[queue]\ndirectory = "queue"\n' + text)
    return path


def test_without_them_there_is_no_site(tmp_path: Path) -> None:
    assert load(config(tmp_path, "")).receive.site is None


def test_tables_are_looked_up_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "first").write_text("info: root\n")
    (tmp_path / "second").write_text("info: bob\nall: bin\n")
    (tmp_path / "secret").write_text("0123456789abcdef\n")
    (tmp_path / "secret").chmod(0o600)
    text = """
[table.one]
file = "first"
[table.two]
file = "second"
[table.machine]
system_users = true
[local."Example.org"]
aliases = ["one", "two"]
mailboxes = ["machine"]
catch_all = "rest@example.net"
[forwarding]
srs_domain = "example.org"
srs_secret_file = "secret"
"""
    site = load(config(tmp_path, text)).receive.site
    assert site is not None
    assert site.srs is not None
    assert site.srs.domain == "example.org"

    async def ends(address: str) -> list[str]:
        found = await site.directory.expand(parse_mailbox(address))
        return [str(member.address) for member in found.members]

    assert asyncio.run(ends("info@example.org")) == ["root@example.org"]
    assert asyncio.run(ends("all@example.org")) == ["bin@example.org"]
    assert asyncio.run(ends("root@example.org")) == ["root@example.org"]
    assert asyncio.run(ends("x@example.org")) == ["rest@example.net"]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[table.a]\n", "table.a\n  a table has one source", 'file = "/etc/aliases"'),
        ('[table.a]\nfile = "x"\nsystem_users = true\n', "a table has one source", ""),
        ('[table.a]\nsqlite = "x"\n', "sqlite is given without query", "query = "),
        ('[table.alias]\nfile = "x"\n[local."a.test"]\naliases = ["alais"]\n', "there is no table 'alais'", '"alias"'),
        ('[local."a.test"]\nmailboxes = ["x"]\n', "there is no table 'x'", '[table."x"]'),
        ('[forwarding]\nsrs_domain = "a.test"\n', "srs_domain is given, but srs_secret_file is not", "both"),
        ('[forwarding]\nsrs_domain = "a.test"\nsrs_secret_file = "none"\n', "cannot be read: No such file", "prints"),
        (
            '[forwarding]\nsrs_domain = "a.test"\nsrs_secret_file = "open"\n',
            "a secret that others can read",
            "chmod 600",
        ),
        ('[forwarding]\nsrs_domain = "a.test"\nsrs_secret_file = "short"\n', "shorter than 16", "openssl rand"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, message: str, hint: str) -> None:
    (tmp_path / "open").write_text("0123456789abcdef\n")
    (tmp_path / "open").chmod(0o644)
    (tmp_path / "short").write_text("abc\n")
    (tmp_path / "short").chmod(0o600)
    with pytest.raises(BadConfig) as caught:
        load(config(tmp_path, text))
    assert message in str(caught.value)
    assert hint in str(caught.value)
